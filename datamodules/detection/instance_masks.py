"""``InstanceMasks``: boxes around the objects of instance maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.contents import Unit
from datamodules.cases.table import CaseTable
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.detection.files import beside, images_by_stem, relative, split_of_folders
from datamodules.faults import report_fault
from datamodules.readers.listing import passed_over
from datamodules.segmentation.masks import read_label_file
from datamodules.types import Scan
from scansuite.errors import SuiteError

# What is put behind an image's stem to name its mask, beside nothing.
_SUFFIXES = ("", "_mask", "_masks", "_label", "_labels", "_instances")
_MASK_FOLDERS = ("masks", "labels")
_PIECES_ASKED = 2  # connected pieces of a number on average, from which on it may be a class
_NUMBERS_COUNTED = 2000


MaskKind = Literal["auto", "instances", "binary"]


class InstanceMasks(DetectionData):
    """Images beside maps in which each object has a number of its own (8, 16 or 32 bit); 0 is the background.

    Each object becomes one box, as tight as can be, all of one class. Where every sub-folder of ``images`` bears the
    name of a part (``train``, ``val``, ``test`` and the like), that is the split. A case is named by its image's path
    below ``images``, without the suffix.

    Args:
        root: folder of the data set.
        images: folder of the images in ``root``.
        masks: folder of the maps in ``root``; left out: ``masks`` or ``labels``. A map has its image's name, or that
            with ``_mask``, ``_label`` or ``_instances`` behind it.
        mask_kind: ``instances`` (each number is an object, in one piece or several) or ``binary`` (each connected piece
            of what is not 0 is one, also where they touch by a corner); ``auto`` takes numbers for objects, and asks
            where most of them are scattered, as in masks of classes.
        kwargs: see :class:`~datamodules.detection.base.DetectionData`; ``classes`` names the one class.
    """

    walks_folder: ClassVar[bool] = True

    def __init__(
        self,
        root: str = ".",
        *,
        images: str = "images",
        masks: str | None = None,
        mask_kind: MaskKind = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.images, self.masks, self.mask_kind = images, masks, mask_kind
        self._maps: dict[str, str] = {}  # by the path of their image
        self._broken: dict[str, str] = {}  # why a map cannot be used, by the path of its image
        if self.classes is not None and len(self.classes) != 1:
            raise SuiteError(f"--data.classes {','.join(self.classes)}: instance maps have one class")

    def read_annotations(self) -> Annotated:
        """Read all maps."""
        images = self._folder(self.images, "images")
        maps = self._folder(self._mask_folder(), "masks")
        found, below = images_by_stem(images, self.patterns, self.root), images_by_stem(maps)
        if not found:
            raise SuiteError(f"{images}: no images in it{passed_over(images)}")
        label = self.classes[0] if self.classes is not None else "object"
        boxes = RawBoxes()
        sizes: list[tuple[int, int] | None] = []
        where = []
        names = []
        scattered = _Scattered()
        for name, path in found.items():
            partner = next((below[name + suffix] for suffix in _SUFFIXES if name + suffix in below), None)
            shown = relative(images / path, self.root)
            if partner is None:
                text = f"{images / path}: no map of this name in {maps}: add it, or take the image away"
                report_fault("mask_pair", text, [shown])
                continue
            file = str(maps / partner)
            names.append(name)
            where.append(file)
            self._maps[shown] = file
            try:
                array = read_label_file(maps / partner, self.limits)
                if self.mask_kind == "binary":
                    array = _pieces(array != 0)[0]
                tight = boxes_of_instances(array, file)
            except SuiteError as error:  # is named with all images that cannot be read
                self._broken[shown] = str(error)
                sizes.append(None)
                continue
            if self.mask_kind == "auto" and scattered.numbers < _NUMBERS_COUNTED:
                scattered.add(array, tight)
            sizes.append((array.shape[0], array.shape[1]))
            for x1, y1, x2, y2 in tight:
                boxes.add(len(names) - 1, label, (x1, y1, x2, y2), file)
        scattered.refuse(maps)
        paths = [relative(images / found[name], self.root) for name in names]
        cases = pd.DataFrame({"case_id": names, "path": paths})
        parts = split_of_folders(names)
        if parts is not None:
            cases["split"] = parts
        return Annotated(cases, sizes, boxes, where, classes=[label], published=parts is not None)

    def units(self, table: CaseTable) -> list[Unit]:
        """An image with its map."""
        pairs = zip(super().units(table), table.cases["path"], strict=True)
        return [unit._replace(files=(*unit.files, self._maps[path])) for unit, path in pairs]

    def read(self, image: int) -> Scan:
        """Read an image whose map could be read."""
        broken = self._broken.get(str(self.table.images["path"].iat[image]))
        if broken is not None:
            report_fault("mask_unreadable", broken)
        return super().read(image)

    def _mask_folder(self) -> str:
        if self.masks is not None:
            return self.masks
        there = [name for name in _MASK_FOLDERS if (self.root / name).is_dir()]
        if len(there) != 1:
            how = "both masks/ and labels/ are there" if there else "neither masks/ nor labels/ is there"
            raise SuiteError(f"{self.root}: {how}: name the folder of the maps with --data.masks")
        return there[0]

    def _folder(self, name: str, flag: str) -> Path:
        folder = beside(self.root, name)
        if not folder.is_dir():
            raise SuiteError(f"--data.{flag} {folder}: no such folder: InstanceMasks wants images/ beside masks/")
        return folder


@dataclass
class _Scattered:
    """How many numbers have been seen, and of how many connected pieces what bears them is."""

    numbers: int = 0
    pieces: int = 0
    values: set[float] = field(default_factory=set)

    def add(self, array: NDArray[Any], boxes: NDArray[np.float64]) -> None:
        """Count a map, whose boxes are in the order of its numbers."""
        numbers = [number for number in np.unique(array).tolist() if number != 0]
        self.numbers += len(numbers)
        self.values.update(numbers)
        for number, (x1, y1, x2, y2) in zip(numbers, boxes.astype(int), strict=True):
            self.pieces += _pieces(array[y1:y2, x1:x2] == number)[1]

    def refuse(self, maps: Path) -> None:
        """Ask, where a number mostly stands for several pieces.

        Raises:
            SuiteError: names the choices.
        """
        if self.pieces < _PIECES_ASKED * self.numbers or self.numbers == 0:
            return
        shown = ", ".join(f"{value:g}" for value in sorted(self.values)[:6]) + ", ..." * (len(self.values) > 6)
        raise SuiteError(
            f"{maps}: a number ({shown}) stands for {self.pieces / self.numbers:.1f} separate pieces of an image on "
            "average, as in masks of classes: say --data.mask_kind binary, if each piece is an object, or "
            "--data.mask_kind instances, if each number is one"
        )


def _pieces(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Connected pieces, by corners too, numbered from 1, and how many there are."""
    from scipy.ndimage import label

    numbered, count = label(inside, np.ones((3, 3)))
    return numbered, int(count)


def boxes_of_instances(array: NDArray[Any], where: str) -> NDArray[np.float64]:
    """The tight box around each object of an instance map.

    Args:
        array: (H, W) whole numbers; 0 is the background, and equal numbers are one object, connected or not.
        where: the file, for messages.

    Returns:
        (N, 4) xyxy in pixels, half-open, in the order of the numbers.

    Raises:
        SuiteError: the map holds fractions or negative numbers.
    """
    from scipy.ndimage import find_objects

    if array.dtype.kind not in "bu" and (array.min() < 0 or (array != np.floor(array)).any()):
        raise SuiteError(f"{where}: an instance map holds whole numbers from 0: this one does not")
    numbers, dense = np.unique(array, return_inverse=True)
    # Numbers may be sparse and large: find_objects makes a list up to the largest.
    first = 0 if numbers[0] == 0 else 1
    found = find_objects(dense.reshape(array.shape) + first)
    corners = [(x.start, y.start, x.stop, y.stop) for y, x in found]
    return np.array(corners, np.float64).reshape(-1, 4)
