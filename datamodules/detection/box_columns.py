"""Columns of a table of boxes: which they are by their names, and what their numbers mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError, nearest

BoxKind = Literal["xyxy", "xywh", "cxcywh"]
BoxFormat = Literal["auto", "xyxy", "xywh", "cxcywh"]

# Names as people give them, without what is no letter and no digit; the first that is there is taken.
PATHS = (
    "path", "imagepath", "filepath", "imgpath", "file", "filename", "imagefile", "image", "img", "imagename", "imageid",
    "imageindex", "imgid", "fname",
)  # fmt: skip
LABELS = (
    "label", "class", "classname", "category", "categoryname", "labelname", "name", "findinglabel", "finding", "lesion",
    "lesiontype", "object", "type", "target", "classid", "categoryid", "labelid",
)  # fmt: skip
_NAMED: tuple[tuple[BoxKind, str], ...] = (
    ("xyxy", "x1 y1 x2 y2"), ("xyxy", "xmin ymin xmax ymax"), ("xyxy", "minx miny maxx maxy"),
    ("xyxy", "x0 y0 x1 y1"), ("xyxy", "left top right bottom"), ("xyxy", "xtl ytl xbr ybr"),
    ("xyxy", "startx starty endx endy"), ("xyxy", "xstart ystart xend yend"),
    ("cxcywh", "cx cy w h"), ("cxcywh", "cx cy width height"), ("cxcywh", "xc yc w h"),
    ("cxcywh", "xcenter ycenter width height"), ("cxcywh", "xcentre ycentre width height"),
    ("cxcywh", "xcenter ycenter w h"), ("cxcywh", "centerx centery width height"), ("cxcywh", "centerx centery w h"),
    ("xywh", "x y w h"), ("xywh", "x y width height"), ("xywh", "xmin ymin w h"), ("xywh", "xmin ymin width height"),
    ("xywh", "x1 y1 w h"), ("xywh", "x1 y1 width height"), ("xywh", "left top width height"),
)  # fmt: skip
_TOGETHER = ("bbox", "box", "boundingbox", "bboxes", "bndbox", "rect")  # one column of four numbers a cell
_AROUND = re.compile(r"^(boundingbox|bndbox|bbox|box|bb|rect|roi)(?=.)")
_RELATIVE = {"norm", "normalized", "normalised", "rel", "relative", "frac", "fraction", "fractional"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_LARGEST_FRACTION = 2.0  # of a side: boxes may reach out of their image


class BoxColumns(NamedTuple):
    """Columns of a table with the numbers of boxes.

    Attributes:
        names: four, in the order of the format; or one, whose cells have four numbers.
        kind: the format.
        relative: the names say that the numbers are fractions of the image's sides.
    """

    names: tuple[str, ...]
    kind: BoxKind
    relative: bool


def plain(name: str) -> tuple[str, bool]:
    """A column's name in small letters and digits alone, and whether it speaks of fractions."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    kept = [word for word in words if word not in _RELATIVE]
    return _AROUND.sub("", "".join(kept)), len(kept) < len(words)


def column_by_name(columns: Sequence[str], usual: Sequence[str]) -> str | None:
    """The column that bears the first of some usual names."""
    by_name = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), None)


def box_columns(columns: Sequence[str], named: Sequence[str], box_format: BoxFormat, where: str) -> BoxColumns:
    """The columns of the boxes, by flag or by their names.

    Names that say what they are go before the order in which a flag names them.

    Args:
        columns: of the table.
        named: by ``--data.box_columns``; empty where it is left out.
        box_format: by ``--data.box_format``.
        where: the table, for messages.

    Raises:
        SuiteError: there are none, or their names do not say what they mean.
    """
    kind = None if box_format == "auto" else box_format
    for name in named:
        if name not in columns:
            raise SuiteError(f"{where}: no column {name!r} for --data.box_columns: {nearest(name, columns)}")
    if len(named) not in (0, 1, 4):
        raise SuiteError(f"--data.box_columns {','.join(named)}: four columns, or one whose cells have four numbers")
    found = _by_names(named or columns, kind)
    if found is not None and (not named or sorted(found.names) == sorted(named)):
        return found
    together = list(named) if len(named) == 1 else [name for name in columns if plain_whole(name) in _TOGETHER][:1]
    if len(named) == 4 or together:
        if kind is None:
            what = (
                f"columns {', '.join(named)}" if len(named) == 4 else f"column {together[0]!r} with four numbers a cell"
            )
            raise SuiteError(
                f"{where}: {what}: say what they are with --data.box_format: xyxy (corners), xywh (corner, width and "
                "height, as in COCO) or cxcywh (centre, width and height, as in YOLO)"
            )
        return BoxColumns(tuple(named if len(named) == 4 else together), kind, any(plain(one)[1] for one in named))
    raise SuiteError(
        f"{where}: no columns of boxes, such as x1,y1,x2,y2, xmin,ymin,xmax,ymax or x,y,width,height (there are "
        f"{', '.join(columns[:12])}): name four with --data.box_columns and --data.box_format"
    )


def plain_whole(name: str) -> str:
    """A column's name in small letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _by_names(columns: Sequence[str], kind: BoxKind | None) -> BoxColumns | None:
    """Four columns whose names say what they are. ``x,y,w,h`` may be centres, where the flag says so."""
    by_name = {plain(name)[0]: name for name in reversed(columns)}
    for named_kind, text in _NAMED:
        meant = named_kind if kind is None or (named_kind, kind) != ("xywh", "cxcywh") else kind
        if kind not in (None, meant):
            continue
        names = text.split()
        if all(name in by_name for name in names):
            four = tuple(by_name[name] for name in names)
            return BoxColumns(four, meant, any(plain(name)[1] for name in four))
    return None


def numbers_of(
    frame: pd.DataFrame, columns: BoxColumns
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The four numbers of each row.

    Args:
        frame: the table.
        columns: of the boxes.

    Returns:
        (N, 4) numbers, NaN where there is none; (N,) whether a row has no box; (N,) whether a cell that has something
        is no number, or some cells of a row are empty and others not.
    """
    if len(columns.names) == 1:
        cells = frame[columns.names[0]].astype("str")
        found = [_NUMBER.findall(cell) if isinstance(cell, str) else [] for cell in cells]
        values = np.array([[float(part) for part in one] if len(one) == 4 else [np.nan] * 4 for one in found])
        empty = np.array([not isinstance(cell, str) or not cell.strip("[]() ") for cell in cells], bool)
        return values.reshape(-1, 4), empty, ~empty & np.isnan(values.reshape(-1, 4)).any(axis=1)
    parts, filled = [], []
    for name in columns.names:
        column = frame[name]
        blank = column.isna() | (column.astype("str").str.strip() == "")
        parts.append(pd.to_numeric(column, errors="coerce").to_numpy(np.float64))
        filled.append(~blank.to_numpy(bool))
    values, there = np.stack(parts, axis=1), np.stack(filled, axis=1)
    bare: NDArray[np.bool_] = np.logical_not(there.any(axis=1))
    return values, bare, ~bare & np.isnan(values).any(axis=1)


def are_fractions(values: NDArray[np.float64]) -> bool:
    """Whether numbers can be no pixels: none is above 1, and some are no whole numbers."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(known.max() <= 1) and bool((known % 1 != 0).any())


def refuse_large(values: NDArray[np.float64], where: str) -> None:
    """Refuse fractions that can be none.

    Raises:
        SuiteError: names the first row.
    """
    rows = np.flatnonzero((np.abs(values) > _LARGEST_FRACTION).any(axis=1))
    if len(rows):
        shown = ", ".join(f"{number:.6g}" for number in values[rows[0]])
        raise SuiteError(
            f"{where}: a box at ({shown}) is no fraction of its image's sides ({len(rows)} rows): are they pixels? "
            "--data.relative false"
        )


def corners_of(values: NDArray[np.float64], kind: BoxKind, sides: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Corners in pixels.

    Args:
        values: (N, 4) numbers in the order of the format.
        kind: the format.
        sides: (N, 2) width and height of each box's image, of which the numbers are fractions; None: they are pixels.

    Returns:
        (N, 4) xyxy.
    """
    first, second = values[:, :2], values[:, 2:]
    if kind == "xyxy":
        corners = np.hstack([first, second])
    elif kind == "xywh":
        corners = np.hstack([first, first + second])
    else:
        corners = np.hstack([first - second / 2, first + second / 2])
    return corners if sides is None else corners * np.hstack([sides, sides])
