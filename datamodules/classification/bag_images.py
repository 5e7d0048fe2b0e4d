"""The images of cases that have many: which of them are seen, and read straight from the files. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.case_rows import slice_name
from datamodules.input_cases import InputCases
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError
from scansuite.random_streams import BAGS


def drawn(images: int, wanted: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the images of a case to train on: one at random of each of ``wanted`` stretches of equal length.

    Args:
        images: how many there are.
        wanted: how many are taken; all where there are no more.
        seed: words of the draw; equal words, equal images.

    Returns:
        Ascending numbers 0..images-1, none twice.
    """
    if images <= wanted:
        return np.arange(images)
    edges = np.arange(wanted + 1) * images // wanted
    return np.random.default_rng([*seed, BAGS]).integers(edges[:-1], edges[1:])


def spaced(images: int, limit: int) -> NDArray[np.int64]:
    """Numbers of the images of a case to evaluate: all, or ``limit`` of them, evenly spaced; a limit of 0 is none."""
    if limit == 0 or images <= limit:
        return np.arange(images)
    return ((np.arange(limit) + 0.5) * images / limit).astype(np.int64)


class SeenImage(NamedTuple):
    """An image of a case.

    Attributes:
        image: (H, W) or (H, W, C) float32 in [0, 1]; with ``limits`` as stored.
        limits: (2, K) float32, see :attr:`.OpenedImage.limits`; None where the image is as the model sees it.
        scan: of the image, with the path of its file; where it is a case of its own, with its case id.
    """

    image: NDArray[Any]
    limits: NDArray[np.float32] | None
    scan: ScanInfo


class BagImages:
    """The images of cases that have many. It is pickled for the processes of a loader.

    Args:
        inputs: how files are read.
        table: the files of each case.
        preprocess: of the model.
        slices: how the model's volumes are cut; None for raster images.
        joined: the model evaluates the images of a case together; else each slice is a case of its own.
        limit: most images of a case, evenly spaced; 0 for all.

    Attributes:
        scans: identity of each case.
    """

    def __init__(
        self,
        inputs: InputCases,
        table: CaseTable,
        preprocess: Preprocess,
        slices: SliceSpec | None,
        *,
        joined: bool,
        limit: int,
    ) -> None:
        paths = table.images["path"]
        files = table_of_images(pd.DataFrame({"path": paths, "case_id": [str(number) for number in range(len(paths))]}))
        self.source = inputs.source(files, preprocess, slices)
        self.preprocess, self.joined = preprocess, joined
        self.limit = limit if joined else 0
        self.files = [[int(file) for file in some] for some in table.images_by_case]
        self.paths = [str(path) for path in paths]
        self.scans = [
            ScanInfo(case_id=case, path=path, patient_id=None)
            for case, path in zip(table.cases["case_id"], table.cases["path"], strict=True)
        ]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, case: int, *, stored: bool = False) -> tuple[list[SeenImage], list[tuple[str, str]]]:
        """The images of a case that are seen, and (path, reason) of what cannot be read, each once.

        Args:
            case: its number.
            stored: images are handed over as stored, where that can be.
        """
        unreadable: list[tuple[str, str]] = []
        images: list[tuple[int, Sequence[Scan], int]] = []
        for file in self.files[case]:
            try:
                scans = self.source.images(file)
            except SuiteError as error:
                unreadable.append((self.paths[file], str(error)))
                continue
            images += [(file, scans, number) for number in range(len(scans))]
        seen: list[SeenImage] = []
        for number in spaced(len(images), self.limit):
            file, scans, index = images[number]
            try:
                scan = scans[index]
                opened = self.preprocess.opened(scan)
                part = opened.part(0, 0, *opened.size, stored=stored)
            except SuiteError as error:
                unreadable.append((self.paths[file], str(error)))
                continue
            info = cast("ScanInfo", {**scan.info, "path": self.paths[file]})
            if not self.joined:
                info["case_id"] = slice_name(self.scans[case]["case_id"], scan.info.get("slice") or 0)
            seen.append(SeenImage(*part, info))
        return seen, list(dict.fromkeys(unreadable))
