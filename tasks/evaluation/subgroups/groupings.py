"""Columns of the cases table by which cases fall into subgroups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError, nearest
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.metric_values import LEAST_PATIENTS
from tasks.evaluation.subgroups.bands import FloatArray, decades, halves, is_age, quantile_bands, read_numbers

IntArray = NDArray[np.intp]

MOST_GROUPS = 12
MOST_COLUMNS = 12  # without a flag
MOST_PAIRED = 4  # of these the first so many by twos
MOST_OF_A_PAIR = 24
MOST_CELLS_OF_PAIRS = 500_000  # cases by classes, without a flag: more would take the time of all other sections
MOST_BANDS_OF_A_PAIR = 3  # each
MOST_COMMON = 0.9  # share of the cases: subgroups that are all of so common a class are nothing special
IMAGE_SIZE, LESION_SIZE = "image size", "lesion size"
# Of the suite, not of the user's table.
_OWN = ("case_id", "patient_id", "path", "split", "width", "height")
# The last word of a column's name, or the whole of it.
_ENDS_OF_IDS = {"id", "ids", "uid", "uuid", "mrn", "accession", "file", "filename", "path", "fold", "split"}
_IDS = {"patient", "subject", "case", "study", "series", "image", "mask", "name", "number", "index"}


@dataclass(frozen=True, eq=False)
class Grouping:
    """Subgroups of the cases by a column, or by two.

    Attributes:
        columns: its column, or its two.
        names: of the subgroups.
        number: ``(n,)`` subgroup of each case; -1 = not known, and in none.
        coarse: of a column of numbers in more than three bands the same in two, for pairs; otherwise None.
    """

    columns: tuple[str, ...]
    names: list[str]
    number: IntArray
    coarse: Grouping | None = None

    @property
    def title(self) -> str:
        """As it is shown: ``sex``, ``sex x site``."""
        return " x ".join(self.columns)

    @property
    def unknown(self) -> int:
        """Cases that are in none."""
        return int((self.number < 0).sum())


def find_groupings(tables: PartTables, asked: Sequence[str] = ()) -> list[Grouping]:
    """The columns by which a part falls into subgroups, and then pairs of them.

    Without ``asked``: size of image and of lesion where they are known, and of the user's columns those with 2 to 12
    categories and those of numbers; not ids, paths, what tells the target, and what is the same in all cases.

    Args:
        tables: of the part.
        asked: columns of the cases table, ``image size`` or ``lesion size``.

    Raises:
        SuiteError: there is no such column, or it has too many categories.
    """
    if asked:
        found = [_asked(tables, column) for column in dict.fromkeys(asked)]
        return found + _pairs(tables, found)
    found = []
    for column in tables.cases.columns:
        if column not in _OWN and not _is_id(tables, column):
            grouping = _grouping(tables, column)
            if 2 <= len(grouping.names) <= MOST_GROUPS and not _tells_target(tables, column, grouping):
                found.append(grouping)
    # Those first that can be compared; the order of the table otherwise.
    found = sorted(_distinct(found), key=lambda grouping: _large(tables, grouping) < 2)[:MOST_COLUMNS]
    cells = len(tables.cases) * max(1, len(tables.task.class_names))
    pairs = _pairs(tables, found[:MOST_PAIRED]) if cells <= MOST_CELLS_OF_PAIRS else []
    sizes = [_grouping(tables, name) for name in (IMAGE_SIZE, LESION_SIZE) if _sizes(tables, name) is not None]
    return found + [grouping for grouping in sizes if len(grouping.names) > 1] + pairs


def _asked(tables: PartTables, column: str) -> Grouping:
    known = [*tables.cases.columns, *(name for name in (IMAGE_SIZE, LESION_SIZE) if _sizes(tables, name) is not None)]
    if column not in known:
        raise SuiteError(f"--subgroups {column}: the cases table has no such column: {nearest(column, known)}")
    grouping = _grouping(tables, column)
    if len(grouping.names) > MOST_GROUPS:
        raise SuiteError(
            f"--subgroups {column}: the column has {len(grouping.names)} categories, and at most {MOST_GROUPS} can be "
            "compared: put them together into fewer"
        )
    return grouping


def _grouping(tables: PartTables, column: str) -> Grouping:
    """Of one column."""
    sizes = _sizes(tables, column)
    numbers = read_numbers(tables.cases[column]) if sizes is None else sizes
    if numbers is not None and not np.isnan(numbers).all():
        band = decades if is_age(column) and np.nanmax(numbers) - np.nanmin(numbers) > 10 else quantile_bands
        number, names = band(numbers, tables.patients)
        coarse = Grouping((column,), *halves(numbers)) if len(names) > MOST_BANDS_OF_A_PAIR else None
        return Grouping((column,), names, number, coarse)
    if sizes is not None:  # nobody has a lesion
        return Grouping((column,), [], np.full(len(sizes), -1, dtype=np.intp))
    words = tables.cases[column].astype("str").mask(tables.cases[column].isna())
    number, found = pd.factorize(words, sort=True)
    return Grouping((column,), [str(name) for name in found], number.astype(np.intp))


def _sizes(tables: PartTables, column: str) -> FloatArray | None:
    """Sizes that stand in no column of their own, ``(n,)``; None where they are not known or a column bears the name.

    Of an image its pixels; of lesions in segmentation the true pixels or voxels of all classes, in detection the area
    of the largest true box in square pixels. A case without any lesion is in no band.
    """
    if column in tables.cases:
        return None
    if column == IMAGE_SIZE and {"width", "height"} <= set(tables.cases.columns):
        sides = [read_numbers(tables.cases[side]) for side in ("width", "height")]
        return None if sides[0] is None or sides[1] is None else sides[0] * sides[1]
    ids = tables.cases["case_id"]
    if column == LESION_SIZE and tables.task.task == "segment" and {"tp", "fn"} <= set(tables.predictions.columns):
        voxels = tables.predictions["tp"] + tables.predictions["fn"]
        size = voxels.groupby(tables.predictions["case_id"]).sum()
    elif column == LESION_SIZE and tables.task.task == "detect" and tables.targets is not None:
        boxes = tables.targets
        area = (boxes["x2"] - boxes["x1"]) * (boxes["y2"] - boxes["y1"])
        size = area.groupby(boxes["case_id"]).max()
    else:
        return None
    sizes = size.reindex(ids).to_numpy(dtype=np.float64)
    return np.where(sizes > 0, sizes, np.nan)


def _is_id(tables: PartTables, column: str) -> bool:
    """Whether a column names cases, patients or files, by its name or by its cells."""
    cells = tables.cases[column]
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", str(column)).lower()) if word]
    if words and (words[-1] in _ENDS_OF_IDS or (len(words) == 1 and words[0] in _IDS)):
        return True
    numbers = read_numbers(cells)
    if numbers is None:
        return bool(cells.nunique() > MOST_GROUPS)
    known = ~np.isnan(numbers)
    whole = bool(known.any() and (numbers[known] == np.floor(numbers[known])).all())
    patients = len(np.unique(tables.patients[known]))
    # A whole number of its own for each patient, or case: none of thirty ages is without its like.
    return whole and not is_age(column) and len(np.unique(numbers[known])) >= max(30, patients)


def _tells_target(tables: PartTables, column: str, grouping: Grouping) -> bool:
    """Whether a column is a target of classification, or a part of one.

    All subgroups have cases of one class alone, or one has, and more patients than chance would make so once in a
    hundred times. That nobody of a subgroup has a rare finding tells nothing of the others. In regression it is the
    number itself.
    """
    if tables.task.task != "classify":
        return False
    if tables.kind == "regression":
        numbers = read_numbers(tables.cases[column])
        target = read_numbers(tables.predictions["target"])
        return numbers is not None and target is not None and bool(np.allclose(numbers, target, equal_nan=True))
    for name in [name for name in tables.predictions.columns if name == "target" or name.startswith("target_")]:
        cells = pd.DataFrame(
            {"group": grouping.number, "target": tables.predictions[name], "patient": tables.patients}
        ).dropna()
        shares = cells["target"].value_counts(normalize=True)
        by_group = cells[cells["group"] >= 0].groupby("group")["target"].nunique()
        if len(shares) > 1 and len(by_group) and (by_group == 1).all():
            return True
        for _, rows in cells[cells["group"] >= 0].groupby("group"):
            share = float(shares[rows["target"].iloc[0]])
            pure = rows["target"].nunique() == 1 and share <= MOST_COMMON
            if pure and share ** rows["patient"].nunique() < 0.01:
                return True
    return False


def _large(tables: PartTables, grouping: Grouping) -> int:
    """How many subgroups have patients enough for an interval."""
    patients = [np.bincount(tables.patients[grouping.number == k]) for k in range(len(grouping.names))]
    return sum(int(np.count_nonzero(count) >= LEAST_PATIENTS) for count in patients)


def _distinct(groupings: list[Grouping]) -> list[Grouping]:
    """Without columns that part the cases as one before them does."""
    kept: dict[bytes, Grouping] = {}
    for grouping in groupings:
        first = pd.factorize(np.where(grouping.number < 0, -1, grouping.number))[0]
        kept.setdefault(first.tobytes(), grouping)
    return list(kept.values())


def _pairs(tables: PartTables, groupings: Sequence[Grouping]) -> list[Grouping]:
    """Every two columns together, where that makes two subgroups large enough; of too many subgroups the largest."""
    found = []
    coarse = [grouping.coarse or grouping for grouping in groupings]
    for place, first in enumerate(coarse):
        for second in coarse[place + 1 :]:
            known = (first.number >= 0) & (second.number >= 0)
            cell = np.where(known, first.number * len(second.names) + second.number, -1)
            there, counts = np.unique(cell[known], return_counts=True)
            kept = np.sort(there[np.argsort(-counts, kind="stable")][:MOST_OF_A_PAIR])
            if len(kept) <= max(len(first.names), len(second.names)):
                continue  # one says what the other says
            number = np.where(np.isin(cell, kept), np.searchsorted(kept, cell), -1).astype(np.intp)
            names = [f"{first.names[k // len(second.names)]}, {second.names[k % len(second.names)]}" for k in kept]
            pair = Grouping((*first.columns, *second.columns), names, number)
            if _large(tables, pair) > 1:
                found.append(pair)
    return found
