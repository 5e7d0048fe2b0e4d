"""What is compared between parts, one value a case: sizes, intensities, scores, calls, targets, own columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.evaluated import PartTables

Kind: TypeAlias = Literal["number", "category"]
# Columns of the cases table that are the suite's own.
OWN = ("case_id", "patient_id", "path", "split", "width", "height", "spacing")
# A text with more values describes nobody's group.
MOST_LEVELS = 20
MOST_CLASSES = 20
# Columns of ``intensities.csv``, and as shown; 0 to 1 is what the model sees.
INTENSITIES = {
    "mean": "mean intensity",
    "sd": "spread of intensities (SD)",
    "p5": "dark end of intensities (5th percentile)",
    "p95": "bright end of intensities (95th percentile)",
}
_LEAST_NUMBERS = 3  # distinct ones; of two a number is a yes or no
_IDENTIFIER = 20  # patients from which a whole number that each has for itself is its name
_PERSONAL = re.compile(
    r"(sur|first|last|given|family|full|patient|physician).?name|^name$|birth|^dob$|mrn|accession|address|phone|mail|"
    r"^(patient|person|subject)s?$|(patient|person|subject|study|series).?(id|uid|number|no)$|uid$",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Variable:
    """Something that each case has one value of.

    Attributes:
        name: as shown.
        group: ``image``, ``score``, ``prediction``, ``target`` or ``column``.
        kind: of the values.
        values: ``(n,)`` float64 with NaN, or texts with None, in the order of the part's cases.
    """

    name: str
    group: str
    kind: Kind
    values: NDArray[Any]

    def take(self, rows: NDArray[np.intp]) -> Variable:
        """The values of some cases, by their row numbers."""
        return Variable(self.name, self.group, self.kind, self.values[rows])

    @property
    def known(self) -> NDArray[np.bool_]:
        """``(n,)`` which values are there."""
        return np.isfinite(self.values) if self.kind == "number" else ~pd.isna(self.values)


def number(name: str, group: str, values: Any) -> Variable:
    """A variable of numbers; what is none is unknown, and so is what is infinite."""
    found = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    found[~np.isfinite(found)] = np.nan
    return Variable(name, group, "number", found)


def category(name: str, group: str, values: Any) -> Variable:
    """A variable of texts; whole numbers are written without a point."""
    column = pd.Series(values)
    if pd.api.types.is_float_dtype(column.dtype):
        known = column.dropna()
        if bool(np.isfinite(known.to_numpy(dtype=np.float64)).all()) and bool((known == known.round()).all()):
            column = column.astype("Int64")
    found = column.astype("str").to_numpy(dtype=object)
    found[column.isna().to_numpy()] = None
    return Variable(name, group, "category", found)


def user_columns(cases: pd.DataFrame, patients: NDArray[np.intp]) -> tuple[dict[str, Kind], dict[str, str]]:
    """Columns of the user's own that describe a case, and those that do not.

    Args:
        cases: of all parts together, so that a column is of one kind in each.
        patients: ``(n,)`` patient number of each.

    Returns:
        Kind by column, and of the columns left out why.
    """
    kinds: dict[str, Kind] = {}
    left_out: dict[str, str] = {}
    for name in cases.columns:
        if name in OWN:
            continue
        found = _kind_of(str(name), cases[name], patients)
        if found in ("number", "category"):
            kinds[str(name)] = "number" if found == "number" else "category"
        else:
            left_out[str(name)] = found
    return kinds, left_out


def _kind_of(name: str, column: pd.Series, patients: NDArray[np.intp]) -> str:
    """A kind, or why there is none."""
    known = column.notna().to_numpy()
    values = column[known]
    distinct = values.nunique()
    if distinct < 2:
        return "it is the same in all cases" if distinct else "it is empty"
    if _PERSONAL.search(name):
        return "it may name a person"
    people = len(np.unique(patients[known]))
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        if distinct < _LEAST_NUMBERS:
            return "category"
        whole = bool((values == values.round()).all())
        return "it numbers the patients" if whole and distinct == people >= _IDENTIFIER else "number"
    if distinct > MOST_LEVELS:
        return f"it has more than {MOST_LEVELS} different texts"
    if distinct > 3 and 2 * distinct > people:
        return "it has a text of its own for nearly each patient"
    return "category"


def column_variable(name: str, kind: Kind, column: pd.Series) -> Variable:
    """A column of the user's as a variable."""
    return number(name, "column", column) if kind == "number" else category(name, "column", column)


def geometry(cases: pd.DataFrame) -> list[Variable]:
    """Sizes in pixels, and spacing in millimetres along each axis, of the scans as stored."""
    found = [number(f"{side} (pixels)", "image", cases[side]) for side in ("width", "height") if side in cases]
    if "spacing" in cases and cases["spacing"].notna().any():
        codes, distinct = pd.factorize(cases["spacing"])
        spacing = pd.Series(distinct).astype("str").str.split(expand=True)
        names = ("spacing, rows (mm)", "spacing, columns (mm)") if spacing.shape[1] < 3 else ()
        for axis in range(min(3, spacing.shape[1])):
            name = names[axis] if axis < len(names) else f"spacing, axis {axis + 1} (mm)"
            values = pd.to_numeric(spacing[axis], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
            found.append(number(name, "image", np.append(values, np.nan)[codes]))  # -1: not known
    return found


def intensities_of(cases: pd.DataFrame, intensities: pd.DataFrame | None) -> list[Variable]:
    """Intensities of the images as the model sees them, of the cases that were looked at."""
    if intensities is None:
        return []
    # Two parts may each have a case of the same name.
    key = ["case_id", "split"] if "split" in intensities and "split" in cases else ["case_id"]
    wanted = pd.MultiIndex.from_frame(cases[key]) if len(key) > 1 else pd.Index(cases["case_id"])
    by_case = intensities.drop_duplicates(key).set_index(key).reindex(wanted)
    return [number(label, "image", by_case[name].to_numpy()) for name, label in INTENSITIES.items() if name in by_case]


def outputs_of(tables: PartTables) -> list[Variable]:
    """What the model says of each case: scores, calls, sizes that it finds."""
    table, task = tables.predictions, tables.task
    if task.task == "segment":
        return _sizes(tables, "prediction")
    if task.task == "detect":
        return [variable for name in _most(tables, table) for variable in _boxes(tables, table, name, "prediction")]
    if tables.kind == "regression":
        return [number("predicted value", "prediction", table["prediction"])]
    names = [tables.positive_class] if tables.kind == "binary" else task.class_names[:MOST_CLASSES]
    scores = [number(f"score of {name}", "score", table[f"score_{name}"]) for name in names if f"score_{name}" in table]
    if tables.kind == "multilabel":
        for name in names:
            if f"prediction_{name}" in table:
                scores.append(category(f"{name} called", "prediction", table[f"prediction_{name}"]))
        return scores
    return [*scores, category("predicted class", "prediction", table["prediction"])]


def targets_of(tables: PartTables) -> list[Variable]:
    """The truth of each case, whose distribution is the prevalence."""
    table, task = tables.predictions, tables.task
    if task.task == "segment":
        return _sizes(tables, "target")
    if task.task == "detect":
        boxes = tables.targets
        if boxes is None:
            return []
        return [variable for name in _most(tables, boxes) for variable in _boxes(tables, boxes, name, "target")]
    if tables.kind == "regression":
        return [number("target", "target", table["target"])] if "target" in table else []
    if tables.kind == "multilabel":
        names = [name for name in task.class_names[:MOST_CLASSES] if f"target_{name}" in table]
        return [category(f"{name} present", "target", table[f"target_{name}"]) for name in names]
    return [category("target", "target", table["target"])] if "target" in table else []


def _sizes(tables: PartTables, group: str) -> list[Variable]:
    """Sizes of each class in segmentation, as annotated or as found."""
    table, cases = tables.predictions, tables.cases
    first, second, word = ("tp", "fn", "annotated") if group == "target" else ("tp", "fp", "found")
    if not {first, second, "class"} <= set(table.columns):
        return []
    unit, factor = _unit(cases)
    found = []
    for name in tables.task.class_names[:MOST_CLASSES]:
        rows = table[table["class"] == name].drop_duplicates("case_id").set_index("case_id")
        size = (rows[first] + rows[second]).reindex(cases["case_id"]).to_numpy(dtype=np.float64) * factor
        if np.isfinite(size).any():
            found.append(number(f"size of {name}, {word} ({unit})", group, size))
    return found


def _unit(cases: pd.DataFrame) -> tuple[str, NDArray[np.float64] | float]:
    """Unit of a size, and what a pixel or voxel of each case counts in it."""
    if "spacing" in cases and cases["spacing"].notna().all():
        spacing = cases["spacing"].astype("str").str.split(expand=True).apply(pd.to_numeric, errors="coerce")
        if not spacing.isna().to_numpy().any():
            power = {2: "mm²", 3: "mm³"}.get(spacing.shape[1])
            if power is not None:
                return power, spacing.prod(axis=1).to_numpy(dtype=np.float64)
    return "pixels", 1.0


def _most(tables: PartTables, boxes: pd.DataFrame) -> Sequence[str]:
    """The classes with the most boxes, in class order."""
    counts = boxes["label"].value_counts()
    chosen = sorted(tables.task.class_names, key=lambda name: -int(counts.get(name, 0)))[:MOST_CLASSES]
    return [name for name in tables.task.class_names if name in chosen]


def _boxes(tables: PartTables, boxes: pd.DataFrame, name: str, group: str) -> list[Variable]:
    """Boxes of a class in each case: how many, and of found ones the highest score."""
    own, cases = boxes[boxes["label"] == name], tables.cases["case_id"]
    if group == "target":
        return [
            number(f"boxes of {name}", group, own["case_id"].value_counts().reindex(cases, fill_value=0).to_numpy())
        ]
    highest = own.groupby("case_id")["score"].max().reindex(cases, fill_value=0.0).to_numpy()
    found = [number(f"highest score of {name}", "score", highest)]
    point = tables.task.operating_points.get(name)
    if point is not None:
        called = own[own["score"] >= point]["case_id"].value_counts().reindex(cases, fill_value=0)
        found.append(number(f"{name} called", group, called.to_numpy()))
    return found


def named_apart(variables: Sequence[Variable]) -> list[Variable]:
    """The same, columns of the user's that are called as one of ours is shown among them named as columns."""
    taken = {one.name for one in variables if one.group != "column"}
    return [
        Variable(f"{one.name} (column)", one.group, one.kind, one.values)
        if one.group == "column" and one.name in taken
        else one
        for one in variables
    ]


def one_a_patient(case_ids: pd.Series, patients: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of one case of each patient, in row order; which one, the hash of its id says.

    Cases of one patient resemble one another; tests that took them for independent would find differences that are
    none.

    Args:
        case_ids: ``(n,)`` names.
        patients: ``(n,)`` patient number of each.
    """
    hashes = pd.util.hash_array(case_ids.astype("str").to_numpy(dtype=object))
    order = np.lexsort((hashes, patients))
    _, first = np.unique(patients[order], return_index=True)
    return np.sort(order[first])
