"""Real scans to run an export on, as the model sees them: in the sizes and numbers that it will meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.base import ScanDataModule
from datamodules.evenly import evenly
from datamodules.loading.case_source import TableCases
from datamodules.loading.case_stream import CaseStream
from datamodules.types import Batch
from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.predictor import Predictor

MOST = 100  # scans
BATCH = 8  # of the larger batches
_RESIZED = 12  # scans that are shown at other sizes too
_PER_CASE = 8  # images of a case: slices and tiles of one scan are much alike
# Factors on height and width of the other sizes: squares, tall and wide ones, of odd numbers of pixels.
_FACTORS = ((1.0, 1.37), (1.61, 1.0), (0.77, 0.77), (1.23, 1.23))


@dataclass(frozen=True)
class Scans:
    """Images of real scans.

    Attributes:
        source: where they come from, in words.
        images: (C, H, W) float32 in [0, 1] each.
    """

    source: str
    images: Sequence[Tensor]

    def __str__(self) -> str:
        return f"{number_of(len(self.images), 'scan')} of {self.source}"

    def batches(self, *, resized: bool) -> Iterator[Tensor]:
        """(B, C, H, W) batches of one image and of several, each image once.

        Args:
            resized: some are shown at other sizes too, for a graph that takes any.
        """
        groups: dict[tuple[int, ...], list[Tensor]] = {}
        for image in self.images:
            groups.setdefault(tuple(image.shape), []).append(image)
        for group in groups.values():
            alone = max(1, len(group) // 4)
            for image in group[:alone]:
                yield image[None]
            for start in range(alone, len(group), BATCH):
                yield torch.stack(group[start : start + BATCH])
        if resized:
            yield from self._resized()

    def _resized(self) -> Iterator[Tensor]:
        chosen = [self.images[number] for number in evenly(len(self.images), _RESIZED)]
        for number, factors in enumerate(_FACTORS):
            for image in chosen[number :: len(_FACTORS)]:
                size = [max(1, round(side * factor)) for side, factor in zip(image.shape[1:], factors, strict=True)]
                yield F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)


def scans_of_data(
    model: Predictor, data: ScanDataModule, most: int = MOST, parts: Sequence[str] = ("val", "test", "train")
) -> Scans:
    """Scans of the validation part of a data set; where there is none, of test, then of training.

    Args:
        model: whose preprocessing and tiles are taken.
        data: to which the model's preprocessing was given.
        most: number of images.
        parts: the first that has cases is taken.

    Raises:
        SuiteError: the data have no cases.
    """
    split = next((part for part in parts if len(data.rows(part))), None)
    if split is None:
        raise SuiteError("the data have no cases to compare the export with PyTorch on: name others with --data")
    name = {"val": "validation", "test": "test", "train": "training"}[split]
    return scans_of_cases(model, data, data.rows(split), f"the {name} part of {type(data).__name__}", most)


def scans_of_cases(
    model: Predictor, data: ScanDataModule, rows: NDArray[np.int64], source: str, most: int = MOST
) -> Scans:
    """Scans of some cases of a data set.

    Args:
        model: whose tiles are taken.
        data: to which the model's preprocessing was given.
        rows: of its cases.
        source: where they come from, in words.
        most: number of images.
    """
    rows = rows[evenly(len(rows), most)]
    stream = CaseStream(TableCases(data, rows), data.preprocess, BATCH, model.tile, model.overlap)
    return Scans(source, _images(stream, len(rows), most))


def scans_of_loader(loader: Iterable[Batch], cases: int, source: str, most: int = MOST) -> Scans:
    """Scans of the batches that ``predict`` would see.

    Args:
        loader: of them.
        cases: how many there are.
        source: where they come from, in words.
        most: number of images.

    Raises:
        SuiteError: none of the files can be read.
    """
    images = _images(loader, cases, most)
    if not images:
        raise SuiteError(f"{source}: none of the files can be read: there is nothing to compare the export on")
    return Scans(source, images)


def _images(batches: Iterable[Any], cases: int, most: int) -> list[Tensor]:
    """Images of batches, some of each case where it has many."""
    of_case = max(1, min(_PER_CASE, most // max(1, cases)))
    seen: dict[object, int] = {}
    kept: list[Tensor] = []
    for batch in batches:
        pieces = batch.get("pieces")
        for number, image in enumerate(batch["image"]):
            case = object() if pieces is None else pieces[number].case
            if seen.setdefault(case, 0) >= of_case:
                continue
            seen[case] += 1
            kept.append(torch.from_numpy(np.ascontiguousarray(image.numpy(), np.float32)))
            if len(kept) == most:
                return kept
    return kept
