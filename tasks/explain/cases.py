"""Cases that are explained: their images as stored and as the model sees them, read as ``predict`` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.cases.table import table_of_images
from datamodules.classification.bag_images import spaced
from datamodules.input_cases import InputCases
from datamodules.opened_image import OpenedImage
from datamodules.preprocess import Preprocess
from datamodules.readers.volume import slice_spacing
from datamodules.resampling import resize_image
from datamodules.samples.picture import picture
from datamodules.samples.slices import SliceSpec
from datamodules.samples.tiles import fill_up, plan_tiles
from datamodules.types import Scan
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.ensemble import Ensemble
from tasks.explain.choice import most_telling
from tasks.loading import Model

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class SeenImage:
    """An image of a case.

    Attributes:
        path: of its file.
        scan: as its reader gives it.
        image: (C, H, W) float32 in [0, 1] as the model sees it, whole or a part of it.
        content: (h, w) of the whole image at the model's size, without filling.
        place: (top, left) of ``image`` on it.
        spacing: mm per row and column of the scan; None: unknown.
        slice: index of a volume's slice, from 0; None: the image is no slice.
        slices: how many there are.
        preprocess: of the model.
    """

    path: str
    scan: Scan
    image: Tensor
    content: Size
    place: Size
    spacing: tuple[float, float] | None
    slice: int | None
    slices: int
    preprocess: Preprocess

    @property
    def original(self) -> Size:
        """(H, W) as stored."""
        height, width = self.scan.info.get("original_size", self.scan.array.shape[:2])
        return height, width

    def shown(self) -> NDArray[np.float32]:
        """(H, W, C) in [0, 1] at the size as stored, with the model's window."""
        return picture(self.scan, self.preprocess)

    def on_scan(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """A map (h, w) of ``image`` on the scan as stored, (H, W); 0 where the model has not looked."""
        whole = np.zeros(self.content, np.float32)
        top, left = self.place
        part = values[: self.content[0] - top, : self.content[1] - left]
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        return np.asarray(resize_image(whole, self.original), np.float32)

    def box_on_scan(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """A box in pixels of ``image`` in those of the scan as stored."""
        top, left = self.place
        down, across = (stored / seen for stored, seen in zip(self.original, self.content, strict=True))
        x1, y1, x2, y2 = box
        return (x1 + left) * across, (y1 + top) * down, (x2 + left) * across, (y2 + top) * down


class ExplainedCases:
    """Cases found in files, folders or a table.

    A case of a model that evaluates images together is all of its images. Of a volume one slice is taken, and of an
    image that the model sees by tiles one tile: the one with most of the class, or with its highest score.

    Args:
        model: that is explained.
        inputs: how files are read.
        paths: files, folders and tables.
        wanted: names of classes that are explained; empty: as predicted.
        slice: index of the slice of every volume; None: see above.

    Attributes:
        unreadable: (path, reason) of the images that cases go on without.

    Raises:
        SuiteError: nothing is found, or the model has no slices.
    """

    def __init__(
        self, model: Model, inputs: InputCases, paths: Sequence[str], wanted: Sequence[str], slice: int | None = None
    ) -> None:
        self.member: Task = model.first if isinstance(model, Ensemble) else model
        self.wanted, self.index = list(wanted), slice
        self.slices: SliceSpec | None = model.slices
        if slice is not None and self.slices is None:
            raise SuiteError(f"--slice {slice}: the model is for flat images: leave it out")
        self.preprocess = inputs.prepared(model.preprocess, self.slices)
        self.joined = getattr(model, "aggregate", "none") != "none"
        self.limit = getattr(model, "bag_limit", None) or 0
        sequences = 1 if self.slices is None or self.joined else self.slices.sequences(self.preprocess)
        self.table = inputs.table(paths, volumes=self.slices is not None, sequences=sequences, together=self.joined)
        self.files = [str(path) for path in self.table.images["path"]]
        table = self.table
        if self.joined:  # a case's files are read by themselves
            numbers = [str(number) for number in range(len(self.files))]
            table = table_of_images(pd.DataFrame({"path": self.files, "case_id": numbers}))
        self.unreadable: list[tuple[str, str]] = []
        self.source = inputs.source(table, self.preprocess, self.slices)

    def __len__(self) -> int:
        return len(self.table)

    def name(self, case: int) -> str:
        """Id of a case."""
        return str(self.table.cases["case_id"].iat[case])

    def path(self, case: int) -> str:
        """Its (first) file."""
        return str(self.table.cases["path"].iat[case])

    def images(self, case: int) -> list[SeenImage]:
        """The images of a case that the model looks at together, or the one that tells most; none is readable: none.

        Raises:
            SuiteError: it cannot be read, or has no such slice.
        """
        if self.joined:
            return self._bag(case)
        scans = self.source.images(case)
        return [self._image(scans, self._chosen(scans, self.path(case)), self.path(case))]

    def _bag(self, case: int) -> list[SeenImage]:
        found: list[tuple[str, Sequence[Scan], int]] = []
        for file in self.table.images_by_case[case]:
            try:
                scans = self.source.images(int(file))
            except SuiteError as error:  # as in prediction, the case goes on without it
                self.unreadable.append((self.files[file], str(error)))
                continue
            found += [(self.files[file], scans, number) for number in range(len(scans))]
        images: list[SeenImage] = []
        for path, scans, number in (found[one] for one in spaced(len(found), self.limit)):
            try:
                images.append(self._image(scans, number, path))
            except SuiteError as error:
                self.unreadable.append((path, str(error)))
        if len({one.image.shape for one in images}) > 1:
            raise SuiteError(f"{self.path(case)}: the images of the case differ in size")
        return images

    def _chosen(self, scans: Sequence[Scan], path: str) -> int:
        if self.index is not None:
            if not 0 <= self.index < len(scans):
                raise SuiteError(f"{path}: has {len(scans)} slices, from 0 on, and none of number {self.index}")
            return self.index
        if len(scans) == 1:
            return 0
        whole = (_tile(opened, 0, 0, opened.size) for opened in map(self.preprocess.opened, scans))
        return most_telling(self.member, whole, self.wanted)

    def _image(self, scans: Sequence[Scan], number: int, path: str) -> SeenImage:
        scan = scans[number]
        opened = self.preprocess.opened(scan)
        content = opened.content_size if self.preprocess.fills else scan.info.get("content_size", opened.size)
        place, image = self._part(opened, content)
        index = scan.info.get("slice")
        return SeenImage(
            path, scan, image, content, place, self._spacing(scan), index, len(scans) if index is not None else 1,
            self.preprocess,
        )  # fmt: skip

    def _part(self, opened: OpenedImage, content: Size) -> tuple[Size, Tensor]:
        """Place and pixels of what the model looks at: the image, or of one seen by tiles the tile that tells most."""
        tile = self.member.tile
        if tile is None:
            return (0, 0), _tile(opened, 0, 0, opened.size)
        places = plan_tiles(content, tile, self.member.overlap)

        def parts() -> Iterator[Tensor]:
            for top, left in places:
                yield _tile(opened, top, left, tile)

        number = most_telling(self.member, parts(), self.wanted) if len(places) > 1 else 0
        return places[number], _tile(opened, *places[number], tile)

    def _spacing(self, scan: Scan) -> tuple[float, float] | None:
        affine, spacing = scan.info.get("affine"), scan.info.get("spacing")
        if affine is not None and self.slices is not None and scan.info.get("slice") is not None:
            row, column = slice_spacing(affine, self.slices.plane)[1:]
            return row, column
        return (spacing[0], spacing[1]) if spacing is not None and len(spacing) == 2 else None


def _tile(opened: OpenedImage, top: int, left: int, size: Size) -> Tensor:
    """(C, h, w) part of an image; beyond its border the last pixels are repeated, as in prediction."""
    return torch.from_numpy(np.ascontiguousarray(fill_up(opened.tile(top, left, *size), size).transpose(2, 0, 1)))
