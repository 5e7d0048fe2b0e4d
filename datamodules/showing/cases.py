"""What a page shows of one case: who it is, what is stored, what the model sees, and what training makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.classification.bag_images import spaced
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from datamodules.evenly import evenly
from datamodules.samples.dataset import SampleDataset
from datamodules.samples.label_values import IGNORE
from datamodules.segmentation.base import SegmentationData
from datamodules.showing.choice import annotated_names
from datamodules.showing.model_panels import sample_panel
from datamodules.showing.stored_panels import Panel, stored_panels
from datamodules.showing.turns import label_words
from datamodules.types import Draw, Sample, ScanInfo

_MOST_IMAGES = 6  # of a case that has several
_MOST_IN_BAG = 3  # of those, in each augmented version


@dataclass(frozen=True, eq=False)
class ShownCase:
    """A case on the page.

    Attributes:
        case_id: its name.
        patient: whose it is; "" where nobody knows.
        part: ``train``, ``val`` or ``test``; "" for none.
        label: its target, or what its masks or boxes show, in words.
        path: its first file, as the table has it.
        stored: as files hold it.
        seen: as the model sees it.
        augmented: as training makes it.
        notes: what is not shown, and why; "" where all is.
    """

    case_id: str
    patient: str
    part: str
    label: str
    path: str
    stored: Sequence[Panel]
    seen: Sequence[Panel]
    augmented: Sequence[Panel]
    notes: str = ""


class CaseCollector:
    """Collects what is shown of cases.

    Args:
        data: whose cases they are.
        augmented: augmented versions of each training case.
        seed: of the run; equal seeds, equal versions.
    """

    def __init__(self, data: ScanDataModule, augmented: int, seed: int) -> None:
        self.data, self.augmented, self.seed = data, augmented, seed

    def collect(self, row: int) -> ShownCase:
        """Read a case (row of the table).

        Raises:
            SuiteError: a file cannot be read.
        """
        data = self.data
        images = data.table.images_by_case[row]
        shares = _mask_shares(data, images)
        number = _most_telling(shares, len(images))
        sample = self._sample(row, number, len(images))
        if "bag" in sample:
            stored, seen = self._bag(sample, images)
        else:
            stored, seen = self._one(sample, images, number)
        versions = self._versions(row, number)
        changed = any(not torch.equal(one["image"], sample["image"]) for one in versions)
        cases = data.table.cases
        return ShownCase(
            case_id=str(cases["case_id"].iat[row]),
            patient=_text(cases["patient_id"].iat[row]),
            part=_text(cases["split"].iat[row]),
            label=_label(data, row, shares),
            path=str(cases["path"].iat[row]),
            stored=stored,
            seen=seen,
            augmented=[self._augmented(one, place) for place, one in enumerate(versions) if changed],
            notes="training shows it as it is" if versions and not changed else "",
        )

    def _sample(self, row: int, number: int, images: int) -> Sample:
        """A case as it is evaluated: its only image, one of several that are samples of their own, or a bag."""
        dataset = self.data.dataset(np.array([row]))
        return dataset.sample(Draw(number if len(dataset) == images else 0))

    def _one(self, sample: Sample, images: NDArray[np.int64], number: int) -> tuple[list[Panel], list[Panel]]:
        """One image of a case."""
        title = "as the model sees it"
        if (index := sample["scan"].get("slice")) is not None:
            of = f" of {len(images)}" if len(images) > 1 else ""
            title += f": slice {index + 1}{of}"
        panel = sample_panel(self.data, sample, title)
        if self.data.patch is not None:
            where = "a drawn patch" if self.data.patch.foreground_share is not None else "the patch in the middle"
            panel = replace(panel, lines=[*panel.lines, f"{where}: training draws them at random"])
        return stored_panels(self.data, images[number : number + 1]), [panel]

    def _bag(self, sample: Sample, images: NDArray[np.int64]) -> tuple[list[Panel], list[Panel]]:
        """Some of the images of a case that are evaluated together."""
        count = len(sample["bag"])
        numbers = spaced(len(images), cast("ClassificationData", self.data).bag_limit or 0)
        shown = evenly(count, _MOST_IMAGES)
        seen = []
        for place in shown.tolist():
            index = sample["bag"][place].slice
            name = f"image {place + 1} of {count}" if index < 0 else f"slice {index + 1}, one of {count}"
            seen.append(sample_panel(self.data, _of_bag(sample, place), f"as the model sees it: {name}"))
        return stored_panels(self.data, images[numbers[shown]]), seen

    def _versions(self, row: int, number: int) -> list[Sample]:
        """Augmented versions of a training case, as in the first epochs; validation and test are never augmented."""
        place = int(np.searchsorted(self._train, row))
        if place == len(self._train) or self._train[place] != row:
            return []
        case = place if len(self._training) == len(self._train) else int(self._firsts[place]) + number
        return [self._training.sample(Draw(case, (self.seed, version, case))) for version in range(self.augmented)]

    def _augmented(self, sample: Sample, version: int) -> Panel:
        title = f"augmented {version + 1}"
        if "bag" not in sample:
            return sample_panel(self.data, sample, title, all_channels=False)
        images = [_of_bag(sample, one) for one in evenly(len(sample["bag"]), _MOST_IN_BAG).tolist()]
        parts = [sample_panel(self.data, one, title, all_channels=False) for one in images]
        return replace(parts[0], views=[view for part in parts for view in part.views])

    @cached_property
    def _train(self) -> NDArray[np.int64]:
        return self.data.rows("train")

    @cached_property
    def _training(self) -> SampleDataset:
        """The training part, whole: a mosaic takes three other cases of it."""
        return self.data.dataset(self._train, augmented=True)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """Number of the first image of each training case among their images."""
        counts = [len(self.data.table.images_by_case[row]) for row in self._train]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _of_bag(sample: Sample, place: int) -> Sample:
    """An image of a bag as a sample of its own."""
    index = sample["bag"][place].slice
    scan = ScanInfo() if index < 0 else ScanInfo(slice=index)
    return Sample(image=sample["image"][place], scan=scan)


def _mask_shares(data: ScanDataModule, images: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(S, C + 1) shares of the pixels of each image that are of a class, and last those that are left out."""
    if not isinstance(data, SegmentationData):
        return None
    shares = []
    for image in images:
        mask = data.read_mask(int(image))
        if mask.ndim == 2:
            counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
            shares.append([*counts[1 : 1 + len(annotated_names(data))], counts[IGNORE]] / counts.sum())
        else:
            unknown = (mask == IGNORE).any(axis=0).mean()
            shares.append(np.array([*(mask == 1).mean(axis=(1, 2)), unknown]))
    return np.array(shares)


def _most_telling(shares: NDArray[np.float64] | None, count: int) -> int:
    """The image that shows most of the classes; the middle one where none does."""
    if shares is None or not shares[:, :-1].any():
        return count // 2
    return int(shares[:, :-1].sum(axis=1).argmax())


def _label(data: ScanDataModule, row: int, shares: NDArray[np.float64] | None) -> str:
    """The target of a case, or what is annotated, in words."""
    targets = data.case_labels(np.array([row]))
    names = annotated_names(data)
    if targets is not None:
        value = targets.numpy()[0]
        unknown = [name for name, one in zip(names, np.atleast_1d(value), strict=False) if value.ndim and np.isnan(one)]
        return label_words(value, names) + (f" (unknown: {', '.join(unknown)})" if unknown else "")
    if shares is not None:
        whole = shares.mean(axis=0)
        parts = [
            f"{name}: {100 * share:.2g} %" for name, share in zip([*names, "left out"], whole, strict=True) if share
        ]
        return ", ".join(parts) or "no class"
    if isinstance(data, DetectionData):
        counts = np.bincount(data.boxes_of(row)[1], minlength=len(names))
        parts = [f"{name}: {count}" for name, count in zip(names, counts, strict=True) if count]
        ignored = len(data.ignored_boxes_of(row)[1])
        parts += [f"ignored: {ignored}"] if ignored else []
        return ", ".join(parts) or "no box"
    return ""


def _text(value: object) -> str:
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]
