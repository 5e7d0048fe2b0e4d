"""Stored masks -> class numbers: what colours and file names mean, and which values a mask holds."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.limits import DEFAULT, Limits
from datamodules.samples.label_values import IGNORE, check_class_names, whole_values
from datamodules.segmentation.jpeg_masks import black_and_white
from datamodules.tables.file import read_frame
from datamodules.tables.form import AS_FOUND, TableForm
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from scansuite.words import plain_words

_MANY_OBJECTS = 20


@dataclass(frozen=True)
class Palette:
    """Classes of a colour mask.

    Attributes:
        names: (C,) classes in class order; the first is the background.
        colours: (C,) 8-bit red, green and blue of each.
        ignore: colour that becomes :data:`IGNORE`, if any.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    ignore: tuple[int, int, int] | None = None

    def read(self, array: NDArray[Any], where: str) -> NDArray[np.uint8]:
        """Class numbers of a picture: (H, W, 3 or 4) or grey (H, W) uint8 -> (H, W) uint8.

        Raises:
            SuiteError: a colour stands for no class, or it is no 8-bit picture.
        """
        if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] < 3):
            raise SuiteError(f"{where}: a colour mask is an 8-bit picture, not {array.dtype} of shape {array.shape}")
        colour = np.stack([array] * 3, axis=-1) if array.ndim == 2 else array[:, :, :3]
        codes = _code(colour.astype(np.int64))
        given = [*self.colours, self.ignore] if self.ignore is not None else list(self.colours)
        numbers = np.array([*range(len(self.colours)), IGNORE][: len(given)], np.uint8)
        known = _code(np.array(given, np.int64))
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        unknown = known[order][place] != codes
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            raise SuiteError(
                f"{where}: unknown colour {tuple(colour[row, column].tolist())} at row {row}, column {column} "
                f"({int(unknown.sum())} pixels): add it to --data.palette",
                kind="unknown_value",
            )
        return numbers[order][place]


def _code(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    coded: NDArray[np.int64] = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
    return coded


def read_palette(file: Path, form: TableForm = AS_FOUND) -> Palette:
    """Read a palette file.

    Args:
        file: JSON ``{"class": [r, g, b]}`` or ``{"class": "#rrggbb"}``, or CSV/TSV with a column ``class`` (or
            ``name``) and ``r,g,b`` (or ``red,green,blue``) or ``colour`` (or ``color``) with ``#rrggbb``. The first
            class is the background. A class called ``ignore`` is left out of training and evaluation.
        form: of a table, as flags say it.

    Raises:
        SuiteError: no such file, not of these forms, a class or a colour twice.
    """
    pairs = _json_palette(file) if file.suffix.lower() == ".json" else _table_palette(file, form)
    named = [(name, _colour(value, name, file)) for name, value in pairs]
    colours = [colour for _, colour in named]
    for name, colour in named:
        if colours.count(colour) > 1:
            raise SuiteError(f"{file}: colour {colour} of class {name!r} is duplicated")
    ignore = next((colour for name, colour in named if name == "ignore"), None)
    kept = [(name, colour) for name, colour in named if name != "ignore"]
    names = tuple(name for name, _ in kept)
    check_class_names(names, f"--data.palette {file}")
    return Palette(names, tuple(colour for _, colour in kept), ignore)


def _json_palette(file: Path) -> list[tuple[str, Any]]:
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"--data.palette {file}: no JSON: {plain_words(error)}: mend it") from None
    if not isinstance(content, dict):
        raise SuiteError(f'--data.palette {file}: expected {{"class": [r, g, b], ...}}: write it so')
    return list(content.items())


def _table_palette(file: Path, form: TableForm) -> list[tuple[str, Any]]:
    frame = read_frame(file, "--data.palette", ("class", "name", "colour", "color"), form=form.of_joined())
    frame.columns = [column.lower() for column in frame.columns]
    name = next((column for column in ("class", "name") if column in frame), None)
    joined = next((column for column in ("colour", "color") if column in frame), None)
    parts = next((each for each in (["r", "g", "b"], ["red", "green", "blue"]) if set(each) <= set(frame)), None)
    if name is None or (joined is None and parts is None):
        raise SuiteError(
            f"--data.palette {file}: expected columns class,r,g,b or class,colour (found: {', '.join(frame.columns)}): "
            "rename them"
        )
    values = frame[joined].tolist() if joined is not None else frame[parts].to_numpy().tolist()
    return list(zip(frame[name].astype(str), values, strict=True))


def _colour(value: Any, name: str, file: Path) -> tuple[int, int, int]:
    numbers: list[Any] = []
    if isinstance(value, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", value.strip()):
        numbers = list(bytes.fromhex(value.strip().removeprefix("#")))
    elif isinstance(value, list):
        numbers = value
    whole = [number for number in numbers if isinstance(number, int | float) and number in range(256)]
    if len(whole) != 3 or len(numbers) != 3:
        raise SuiteError(f"{file}: colour {value!r} of class {name!r} is neither three numbers 0..255 nor #rrggbb")
    return int(whole[0]), int(whole[1]), int(whole[2])


def read_label_file(path: Path, limits: Limits = DEFAULT) -> NDArray[Any]:
    """Read a mask as label values, (H, W).

    As :func:`datamodules.readers.formats.read` with ``labels``; grey that is stored as colour gives the grey value. A
    mask of black and white that was saved as JPEG gives 0 and 255
    (:func:`~datamodules.segmentation.jpeg_masks.black_and_white`).

    Raises:
        SuiteError: the file cannot be read, is a colour picture, or is JPEG and was not black and white.
    """
    from datamodules.readers import formats, raster

    array = formats.read(path, limits, labels=True).array
    if raster.is_jpeg(path):
        return black_and_white(array, str(path))
    if array.ndim == 2:
        return array
    if not raster.is_grey(array):
        raise SuiteError(f"{path}: the mask is a colour picture: say what its colours mean with --data.palette")
    return np.ascontiguousarray(array[:, :, 0])


def seen_values(array: NDArray[Any], where: str, ignore_value: int | None = None) -> set[int]:
    """The different label values of a mask, to make classes of where nobody names them.

    Args:
        array: label values of any shape; floats that are whole numbers will do.
        where: the file, for messages.
        ignore_value: is left out.

    Raises:
        SuiteError: a value is no whole number, or negative: that is no class that anyone would number so.
    """
    seen = set(np.unique(whole_values(array, where)).tolist()) - {ignore_value}
    below = min(seen, default=0)
    if below < 0:
        raise SuiteError(
            f"{where}: label value {below} is negative, which often stands for unknown: leave such places out with "
            f"--data.ignore_value {below}, or name it with --data.classes"
        )
    return seen


def foreground(array: NDArray[Any], where: str, ignore_value: int | None = None) -> NDArray[np.uint8]:
    """Foreground, which is what is not 0: instance maps (0, 1, 2, ...) -> 0 and 1 of uint8, with :data:`IGNORE`.

    Raises:
        SuiteError: a value is no whole number, or negative and not to be ignored.
    """
    classes: NDArray[np.uint8] = (array != 0).astype(np.uint8)
    if array.dtype.kind not in "bu":
        seen_values(array, where, ignore_value)
    if ignore_value is not None:
        classes[array == ignore_value] = IGNORE
    return classes


def number_objects(by_mask: Sequence[set[int]]) -> bool:
    """Whether masks plainly number objects, and not classes.

    They do where each mask has 1 to n without a gap, n is not the same in all of them, and 20 at least in one. Masks of
    classes leave out what an image does not show, or have all; with few values either may be meant.

    Args:
        by_mask: the values of each mask.
    """
    counts = {len(values - {0}) for values in by_mask}
    return (
        len(counts) > 1
        and max(counts) >= _MANY_OBJECTS
        and all(values | {0} == set(range(len(values - {0}) + 1)) for values in by_mask)
    )


def stack_classes(masks: Sequence[NDArray[np.uint8]], names: Sequence[str], where: str) -> NDArray[np.uint8]:
    """Put one binary mask a class together to class numbers: 0 is the background, the first mask 1, and so on.

    Args:
        masks: (H, W) of 0 and 1, one a class; :data:`IGNORE` in any of them is kept.
        names: of the classes, without the background.
        where: the case, for messages.

    Raises:
        SuiteError: masks of two classes overlap.
    """
    together = np.zeros_like(masks[0])
    ignored = (np.stack(masks) == IGNORE).any(axis=0)
    for number, mask in enumerate(masks, start=1):
        both = (together > 0) & (mask > 0) & ~ignored
        if both.any():
            other = names[int(together[both][0]) - 1]
            raise SuiteError(
                f"{where}: {int(both.sum())} pixels belong to {other!r} and to {names[number - 1]!r}: give "
                "--data.overlapping true if classes may overlap"
            )
        together[mask > 0] = number
    together[ignored] = IGNORE
    return together
