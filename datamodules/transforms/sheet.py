"""A sheet of augmented samples, to see by eye whether the strengths suit the scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.boxes import draw_boxes
from datamodules.pictures.canvas import legend, titled
from datamodules.pictures.masks import mask_layers, paint_masks
from datamodules.pictures.panels import UNKNOWN, class_colour
from datamodules.resampling import resize_image, resize_mask
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.pipeline import Augmentation
from scansuite.errors import SuiteError
from scansuite.files import replacing

_GAP = 4  # px between tiles
_GROUND = 96  # grey of the ground, neither the black nor the white of a scan
_UNANNOTATED = 255  # in masks, and never a class


@dataclass(frozen=True, eq=False)
class SheetRow:
    """A case on the sheet.

    Attributes:
        image: (H, W, C) float32 in [0, 1], as the model sees it. Three channels are shown as colour; of any other count
            the first is shown as grey.
        mask: (H, W) class numbers, or (L, H, W) regions of 0 and 1; None: there are no masks.
        boxes: (N, 4) xyxy in pixels, with ``labels`` (N,); None: there are no boxes.
        labels: class number of each box.
        caption: stands above the row, such as its class; empty: nothing does.
    """

    image: NDArray[np.float32]
    mask: NDArray[Any] | None = None
    boxes: NDArray[np.float32] | None = None
    labels: NDArray[Any] | None = None
    caption: str = ""

    def annotations(self) -> dict[str, NDArray[Any]]:
        """What goes into the augmentation beside the image."""
        given = {"mask": self.mask, "boxes": self.boxes, "labels": self.labels}
        return {name: value for name, value in given.items() if value is not None}

    def classes(self) -> set[int]:
        """Numbers of the classes that are annotated; of masks without the background, the first of them 0."""
        found = set() if self.mask is None else classes_in(self.mask)
        return found if self.labels is None else found | {int(label) for label in self.labels}


def classes_in(mask: NDArray[Any]) -> set[int]:
    """Numbers of the classes in a mask, without the background: the first of them 0.

    Args:
        mask: see :class:`SheetRow`.
    """
    if mask.ndim == 3:
        return set(np.flatnonzero((mask == 1).any(axis=(1, 2))).tolist())
    return {int(value) - 1 for value in np.unique(mask) if 0 < value < _UNANNOTATED}


def write_sheet(
    rows: Sequence[SheetRow],
    augmentation: Augmentation | DeviceAugmentation,
    file: Path,
    *,
    class_names: Sequence[str] = (),
    columns: int = 5,
    tile: int = 144,
    seed: int = 0,
) -> None:
    """Write a PNG with one row a case: the image as it is, then augmented differently in each further column.

    Masks and boxes are drawn as they come out of the augmentation, each class in its colour, with a legend below.

    Args:
        rows: the cases; sizes may differ.
        augmentation: what training uses.
        file: the PNG to write; its folder must exist.
        class_names: of what is annotated, in class order, the background of masks not among them.
        columns: tiles in a row, the first one included.
        tile: side of a tile in pixels; images are fitted into it.
        seed: first of the seed words (seed, row, column).

    Raises:
        SuiteError: there is no image, or the file cannot be written.
    """
    if not rows:
        raise SuiteError(f"{file}: no image to show on the sheet")
    strips = []
    for number, row in enumerate(rows):
        tiles = [row]
        for column in range(1, columns):
            moved = augmentation(row.image, (seed, number, column), **row.annotations())
            tiles.append(SheetRow(moved["image"], moved.get("mask"), moved.get("boxes"), moved.get("labels")))
        strip = _side_by_side([_drawn(one, tile) for one in tiles], tile)
        strips.append(titled(strip, row.caption) if row.caption else strip)
    seen = sorted(set().union(*(row.classes() for row in rows)))
    names = [(class_names[number], class_colour(number)) for number in seen if number < len(class_names)]
    sheet = legend(np.concatenate(strips), names)
    with replacing(file) as temporary:
        temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())


def choose_rows(candidates: Iterable[SheetRow], count: int = 8) -> list[SheetRow]:
    """Some of many cases: those that show the most classes that the ones before them do not, then the next.

    Args:
        candidates: with annotations.
        count: how many to choose.

    Returns:
        At most ``count`` of them. When all classes have been seen they are looked for again, so that each is seen about
        as often; where nothing is annotated the first ones are chosen.
    """
    left = [(row, row.classes()) for row in candidates]
    chosen: list[SheetRow] = []
    unseen: set[int] = set()
    while left and len(chosen) < count:
        if not any(unseen & classes for _, classes in left):
            unseen = set().union(*(classes for _, classes in left))
        place = max(range(len(left)), key=lambda number: (len(left[number][1] & unseen), -number))
        row, classes = left.pop(place)
        unseen -= classes
        chosen.append(row)
    return chosen


def _side_by_side(pictures: Sequence[NDArray[np.uint8]], tile: int) -> NDArray[np.uint8]:
    """Pictures in the middle of their tiles, on grey ground."""
    step = tile + _GAP
    strip = np.full((step + _GAP, len(pictures) * step + _GAP, 3), _GROUND, np.uint8)
    for column, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        top, left = _GAP + (tile - height) // 2, _GAP + column * step + (tile - width) // 2
        strip[top : top + height, left : left + width] = picture
    return strip


def _drawn(row: SheetRow, tile: int) -> NDArray[np.uint8]:
    """An 8-bit RGB picture whose longer side is ``tile``; small images keep their hard pixels."""
    height, breadth = row.image.shape[:2]
    width = max(1, tile // 70)  # of lines
    colour = row.image if row.image.shape[2] == 3 else np.repeat(row.image[:, :, :1], 3, axis=2)
    factor = tile / max(height, breadth)
    target = (max(1, round(height * factor)), max(1, round(breadth * factor)))
    picture = np.asarray(np.round(resize_image(colour, target, "nearest") * 255), dtype=np.uint8)
    if row.mask is not None:
        mask = resize_mask(row.mask, target)
        overlapping = mask.ndim == 3
        known = np.where(mask == _UNANNOTATED, 0, mask)
        count = len(mask) if overlapping else int(known.max(initial=0))
        picture = paint_masks(picture, mask_layers(known, count, overlapping), width)
        picture[(mask == _UNANNOTATED).any(axis=0) if overlapping else mask == _UNANNOTATED] = UNKNOWN
    if row.boxes is not None and row.labels is not None:
        colours = [class_colour(int(label)) for label in row.labels]
        picture = draw_boxes(picture, row.boxes, (height, breadth), colours, width)
    return picture
