"""Views of cases for pages: an image, or a plane of a volume, with what is annotated on it, drawn at any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.boxes import draw_boxes
from datamodules.pictures.canvas import Colour
from datamodules.pictures.masks import mask_layers, paint_masks
from datamodules.pictures.panels import UNKNOWN, class_colour
from datamodules.readers.volume import PLANES, slice_axis, slice_spacing, to_slices
from datamodules.resampling import resize_image, resize_mask

_UNANNOTATED = 255  # in masks, and never a class
_MOST_SIDE = 1024  # pixels of a view: more are thinned out, since no page shows them
_MOST_VALUES = 1 << 20  # of an image or a volume that the stretch is found of
_STRETCH = (0.5, 99.5)  # percentiles that become black and white
_TEXTS_FROM = 256  # side in pixels from which names of boxes can be read
_GAP = 4  # px between views


@dataclass(frozen=True, eq=False)
class View:
    """An image with its annotation.

    Attributes:
        pixels: (H, W, 3) RGB, with hard pixels; (h, w) of them may show an image of more.
        layers: (L, H', W') where each class (the background is none) or region is; None: no mask.
        unknown: (H', W') what is left out of training; None: nothing.
        boxes: (N, 4) xyxy in pixels of the image; None: no boxes.
        labels: (N,) class number of each box, -1 for one that is none of the classes.
        size: (H, W) of the image that boxes are in pixels of; None: that of ``pixels``.
        spacing: mm from row to row and from column to column; None: pixels are square.
        caption: what it shows, such as ``axial``.
    """

    pixels: NDArray[np.uint8]
    layers: NDArray[np.bool_] | None = None
    unknown: NDArray[np.bool_] | None = None
    boxes: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    size: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    caption: str = ""

    def with_mask(self, mask: NDArray[Any], count: int | None = None, *, separate: bool = False) -> View:
        """The view with a mask on it.

        Args:
            mask: (H, W) class numbers, 0 the background; or (L, H, W) regions of 0 and 1; 255 is left out of training.
            count: classes beside the background; None: up to the largest number there is.
            separate: the mask has a layer for each region.
        """
        longest = max(mask.shape[-2:])
        if longest > _MOST_SIDE:  # a layer a class of a slide would take gigabytes
            height, width = (max(1, round(length * _MOST_SIDE / longest)) for length in mask.shape[-2:])
            mask = resize_mask(mask, (height, width))
        left_out = mask == _UNANNOTATED
        known = np.where(left_out, 0, mask)
        layers = mask_layers(known, int(known.max(initial=0)) if count is None else count, separate)
        unknown = left_out.any(axis=0) if separate else left_out
        return replace(self, layers=layers, unknown=unknown if unknown.any() else None)

    def classes(self) -> list[int]:
        """Numbers of the classes that are drawn, ascending; of masks without the background, the first of them 0."""
        found: set[int] = set()
        if self.layers is not None:
            found |= set(np.flatnonzero(self.layers.any(axis=(1, 2))).tolist())
        if self.labels is not None:
            found |= {int(label) for label in self.labels if label >= 0}
        return sorted(found)

    def proportions(self) -> tuple[float, float]:
        """Height and width as they are to be seen, in a unit of their own: mm, or pixels."""
        height, width = self.size or self.pixels.shape[:2]
        row, column = self.spacing or (1.0, 1.0)
        return height * row, width * column


def stored_view(array: NDArray[Any], spacing: Sequence[float] | None = None, caption: str = "") -> View:
    """A view of an image as stored, whatever its values mean: see :func:`as_shown`.

    Args:
        array: (H, W) or (H, W, C) of any type; of more than 1024 pixels a side some are shown.
        spacing: mm from row to row and from column to column, if known; further numbers are of no interest.
        caption: see :class:`View`.
    """
    step = max(1, -(-max(array.shape[:2]) // _MOST_SIDE))
    known = None if spacing is None or len(spacing) < 2 or not min(spacing[:2]) > 0 else (spacing[0], spacing[1])
    size = (array.shape[0], array.shape[1])
    return View(as_shown(array[::step, ::step]), size=size, spacing=known, caption=caption)


def volume_views(
    array: NDArray[Any],
    affine: NDArray[np.float64],
    mask: NDArray[Any] | None = None,
    count: int | None = None,
) -> list[View]:
    """Axial, coronal and sagittal plane of a volume through the middle of what is annotated, else of the volume.

    They lie as :data:`datamodules.readers.volume.PLANES` says, by what the affine says of the axes: where that is wrong
    the picture is of another plane than its name.

    Args:
        array: (X, Y, Z) or (X, Y, Z, C), of which the first channel is shown.
        affine: (4, 4) voxel index -> RAS mm.
        mask: (X, Y, Z) class numbers, 0 the background, 255 left out of training.
        count: classes beside the background; None: up to the largest number there is.
    """
    values = array if array.ndim == 3 else array[..., 0]
    middle = _middle(mask) if mask is not None and mask.shape == values.shape else None
    place = middle or tuple(side // 2 for side in values.shape)
    low, high = _limits(values)
    if mask is not None and count is None:
        count = int(np.where(mask == _UNANNOTATED, 0, mask).max(initial=0))
    views = []
    for plane in PLANES:
        axis = slice_axis(affine, plane)

        def cut(whole: NDArray[Any], axis: int = axis, plane: Any = plane) -> NDArray[Any]:
            return np.asarray(to_slices(np.take(whole, [place[axis]], axis), affine, plane)[0])

        pixels = _grey(cut(values), low, high)
        view = View(pixels, spacing=slice_spacing(affine, plane)[1:], caption=plane)
        fits = mask is not None and mask.shape == values.shape
        views.append(view.with_mask(cut(mask), count) if mask is not None and fits else view)
    return views


def as_shown(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Stored values as people can see them.

    Args:
        array: (H, W) or (H, W, C) of any type. Of three or four channels three are colours, of others the first is
            shown.

    Returns:
        (H, W, 3); colour of 8 bits as it is, everything else stretched from its lowest to its highest values.
    """
    colour = array.ndim == 3 and array.shape[2] in (3, 4)
    shown = array[:, :, :3] if colour else array if array.ndim == 2 else array[:, :, 0]
    if colour and array.dtype == np.uint8:
        return np.ascontiguousarray(shown)
    return _grey(shown, *_limits(shown))


def as_seen(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(H, W, C) in [0, 1], as a network sees it -> (H, W, 3); of counts of channels other than 3 the middle one."""
    channels = image.shape[2]
    values = image if channels == 3 else image[:, :, channels // 2]
    return _grey(values, 0.0, 1.0)


def draw(view: View, side: int, names: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Draw a view.

    Args:
        view: what is drawn; classes as a veil with a contour, boxes as frames, each class in its colour, and in grey
            what is unknown.
        side: longer side of the picture in pixels.
        names: of the classes; written at boxes, where the picture is large enough and its letters are known.

    Returns:
        (h, w, 3) RGB.
    """
    tall, wide = view.proportions()
    factor = side / max(tall, wide)
    return _drawn(view, (max(1, round(tall * factor)), max(1, round(wide * factor))), names)


def draw_together(views: Sequence[View], side: int, names: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Draw several views side by side on black; where all have a spacing, in one scale, else all as high.

    Args:
        views: at least one.
        side: longer side of the whole picture in pixels.
        names: see :func:`draw`.
    """
    if len(views) == 1:
        return draw(views[0], side, names)
    sizes = np.array([view.proportions() for view in views])
    if any(view.spacing is None for view in views):
        sizes = sizes / sizes[:, :1]
    room = side - _GAP * (len(views) - 1)
    sizes = np.maximum(1, np.round(sizes * min(room / sizes[:, 1].sum(), side / sizes[:, 0].max()))).astype(int)
    height = int(sizes[:, 0].max())
    parts: list[NDArray[np.uint8]] = []
    for view, (tall, wide) in zip(views, sizes.tolist(), strict=True):
        part = np.zeros((height, wide + (_GAP if parts else 0), 3), np.uint8)
        top = (height - tall) // 2
        part[top : top + tall, -wide:] = _drawn(view, (tall, wide), names)
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _drawn(view: View, target: tuple[int, int], names: Sequence[str]) -> NDArray[np.uint8]:
    picture = np.asarray(resize_image(view.pixels, target, "nearest"), np.uint8)
    large = max(target) >= _TEXTS_FROM
    width = 2 if large else 1  # of lines
    if view.layers is not None:
        picture = paint_masks(picture, resize_mask(view.layers, target), width)
    if view.unknown is not None:
        where = resize_mask(view.unknown, target)
        picture[where] = np.round(0.4 * picture[where] + 0.6 * np.array(UNKNOWN)).astype(np.uint8)
    if view.boxes is not None and len(view.boxes):
        labels = [-1] * len(view.boxes) if view.labels is None else view.labels.tolist()
        colours: list[Colour] = [UNKNOWN if label < 0 else class_colour(label) for label in labels]
        texts = [names[label] if 0 <= label < len(names) else "" for label in labels]
        known = [text if text.isascii() and text.isprintable() else "" for text in texts]
        size = view.size or (view.pixels.shape[0], view.pixels.shape[1])
        picture = draw_boxes(picture, view.boxes, size, colours, width, known if large else ())
    return picture


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Values that become black and white."""
    step = max(1, round((values.size / _MOST_VALUES) ** (1 / values.ndim)))
    some = _numbers(values[(slice(None, None, step),) * values.ndim])
    # Values that are there, not between them: the distance of the largest floats is none.
    low, high = np.percentile(some, _STRETCH, method="nearest") if some.size else (0.0, 1.0)
    return float(low), float(high)


def _grey(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) -> (H, W, 3), black at ``low`` and white at ``high``."""
    # By halves, which no float is too large for.
    width = high / 2 - low / 2
    scaled = (_numbers(values) / 2 - low / 2) / (width if width > 0 else 1.0)
    grey = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)


def _numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """NaN and infinite ones as 0."""
    return np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)


def _middle(mask: NDArray[Any]) -> tuple[int, ...] | None:
    """A labelled voxel in the middle of what is labelled; None where nothing is.

    Axis by axis the median of what the axes before it have left: the middle between two parts of a structure, the
    hippocampi say, would show neither.
    """
    labelled = (mask > 0) & (mask != _UNANNOTATED)
    place = []
    for _ in range(mask.ndim):
        counts = labelled.reshape(len(labelled), -1).sum(axis=1)
        if not counts.any():
            return None
        place.append(int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)))
        labelled = labelled[place[-1]]
    return tuple(place)
