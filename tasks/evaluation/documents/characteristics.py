"""Characteristics of the cases of each part side by side, as in the first table of a paper, and their flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.words import number_of
from tasks.evaluation.documents.facts import RunFacts
from tasks.evaluation.drift.differences import standardised_mean, standardised_shares
from tasks.evaluation.drift.parts import copies_of_target
from tasks.evaluation.drift.variables import (
    MOST_LEVELS,
    Kind,
    Variable,
    column_variable,
    geometry,
    targets_of,
    user_columns,
)
from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.report.content import Cell
from tasks.evaluation.report.header import part_name
from tasks.evaluation.report.words import number

_MOST_COLUMNS = 40
_LONG = 60  # characters of a level
_YES = (("0", "1"), ("no", "yes"), ("False", "True"))  # the first is shown by the second


@dataclass(frozen=True)
class Characteristics:
    """A table of characteristics.

    Attributes:
        parts: evaluated, in words.
        rows: name; a text for each part; standardised difference of the last part from the first, or None.
        left_out: columns of the user's that are not described, and why.
        one_class: the target has one class, or none, in these parts.
    """

    parts: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left_out: Mapping[str, str]
    one_class: Sequence[str]


def characteristics_of(run: EvaluatedRun) -> Characteristics:
    """Describe the evaluated cases of each part by what is known of them.

    Args:
        run: its tables.
    """
    parts = [run.part(name) for name in run.parts]
    patients = [part.patients for part in parts]
    together = pd.concat([part.cases for part in parts], ignore_index=True)
    numbers = np.concatenate([own + 10**9 * place for place, own in enumerate(patients)])
    kinds, left_out = user_columns(together, numbers)
    for name in list(kinds)[_MOST_COLUMNS:]:
        left_out[name] = f"more than {_MOST_COLUMNS} columns are described already"
        del kinds[name]
    described = [_described(part, kinds) for part in parts]
    for name in copies_of_target(described):
        left_out[name] = "it says the same as the target"
        for one in described:
            one.pop(name, None)
    rows: list[Sequence[Cell]] = [("cases", *(f"{len(part.cases):,}" for part in parts), None)]
    if any("patient_id" in part.cases and part.cases["patient_id"].notna().any() for part in parts):
        rows.append(("patients", *(f"{int(own.max()) + 1:,}" for own in patients), None))
        rows.append(("cases of a patient, mean (most)", *(_a_patient(own) for own in patients), None))
    for name in dict.fromkeys(name for one in described for name in one):
        rows += _rows(name, [one.get(name) for one in described])
    one_class = [part.split for part in parts if _one_class(part)]
    return Characteristics([part_name(part.split) for part in parts], rows, left_out, one_class)


def _described(part: PartTables, kinds: Mapping[str, Kind]) -> dict[str, Variable]:
    columns = [column_variable(name, kind, part.cases[name]) for name, kind in kinds.items() if name in part.cases]
    found: dict[str, Variable] = {}
    for variable in (*geometry(part.cases), *targets_of(part), *columns):
        found.setdefault(variable.name, variable)
    return found


def _a_patient(patients: NDArray[np.intp]) -> str:
    counts = np.bincount(patients)
    return f"{counts.mean():.1f} ({counts.max()})"


def _rows(name: str, sides: Sequence[Variable | None]) -> list[Sequence[Cell]]:
    """Rows of a variable: one for numbers, one a level for categories, and one for what is unknown."""
    known = [np.empty(0) if side is None else side.values[side.known] for side in sides]
    kind = next(side.kind for side in sides if side is not None)
    two = known[0], known[-1]
    if kind == "number":
        difference = standardised_mean(two[0].astype(float), two[1].astype(float)) if len(sides) > 1 else math.nan
        rows: list[Sequence[Cell]] = [
            (f"{name}, mean (SD)", *(_mean(values.astype(float)) for values in known), _cell(difference))
        ]
    else:
        rows = _levels(name, [pd.Series(values).astype("str").value_counts() for values in known])
    unknown = [0 if side is None else int((~side.known).sum()) for side in sides]
    if any(unknown):
        totals = [0 if side is None else len(side.values) for side in sides]
        rows.append((f"{name}: unknown", *(_share(count, of) for count, of in zip(unknown, totals, strict=True)), None))
    return rows


def _levels(name: str, sides: Sequence[pd.Series]) -> list[Sequence[Cell]]:
    """Rows of the levels, from how often each is in each part."""
    levels = sorted({str(level) for side in sides for level in side.index})
    counts = np.stack([side.reindex(levels, fill_value=0).to_numpy(dtype=np.int64) for side in sides])
    difference = standardised_shares(counts[[0, -1]]) if len(sides) > 1 and len(levels) else math.nan
    totals = counts.sum(axis=1)
    rows: list[Sequence[Cell]] = []
    shown_first = 1 if tuple(levels) in _YES else 0
    for place, level in enumerate(levels[:MOST_LEVELS]):
        if place < shown_first:
            continue
        shown = level if len(level) <= _LONG else f"{level[: _LONG - 1]}…"
        cells = [_share(int(counts[side, place]), int(totals[side])) for side in range(len(sides))]
        rows.append((f"{name}: {shown}, n (%)", *cells, _cell(difference) if place == shown_first else None))
    return rows


def _cell(difference: float) -> Cell:
    if math.isinf(difference):
        return "no overlap"
    return None if math.isnan(difference) else difference


def _mean(values: NDArray[np.float64]) -> str:
    if not len(values):
        return ""
    digits = 0 if abs(values.mean()) >= 1000 else 1 if abs(values.mean()) >= 10 else 2
    spread = f" ({number(float(values.std(ddof=1)), digits)})" if len(values) > 1 else ""
    return f"{number(float(values.mean()), digits)}{spread}"


def _share(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.1f})" if of else ""


def _one_class(part: PartTables) -> bool:
    if part.task.task != "classify" or part.kind in ("regression", "multilabel"):
        return False
    return bool(part.predictions["target"].nunique() < 2)


def flow_of(facts: RunFacts, run: EvaluatedRun) -> list[tuple[Cell, ...]]:
    """The way of the cases from what was found to what was evaluated: step, cases, patients, remark.

    Args:
        facts: of the run's files.
        run: its tables.
    """
    inside = sum(part.cases for part in facts.parts.values())
    patients = [part.patients for part in facts.parts.values()]
    known = [count for count in patients if count is not None]
    noted = facts.notes.get("split/unreadable_cases")
    found = max(inside + facts.unreadable, 0 if noted is None else noted.n)
    rows: list[tuple[Cell, ...]] = []
    if facts.unreadable or found > inside:
        rows.append(("found", found, None, ""))
    if facts.unreadable:
        rows.append(("left out: cannot be read", facts.unreadable, None, "files that are damaged or of another kind"))
    if found - facts.unreadable > inside:
        remark = "cases that the given split does not name"
        rows.append(("left out: in no part", found - facts.unreadable - inside, None, remark))
    remark = ""
    if known:
        remark = (
            f"{number_of(facts.shared, 'patient')} in two of them" if facts.shared else "no patient is in two of them"
        )
    rows.append(("in the parts", inside, sum(known) - facts.shared if known else None, remark))
    for name, part in facts.parts.items():
        evaluated = run.cases[run.cases["split"] == name] if name in run.parts else None
        remark = "not evaluated here" if evaluated is None and name != "train" else ""
        rows.append((f"{PART_STEPS.get(name, name)}", part.cases, part.patients, remark))
        if evaluated is not None:
            unknown = _unknown_targets(run, name)
            if unknown:
                rows.append((f"{part_name(name)}: target unknown", unknown, None, "counts in no metric of the target"))
    return rows


PART_STEPS = {"train": "training", "val": "validation", "test": "test"}


def _unknown_targets(run: EvaluatedRun, split: str) -> int:
    """Cases of a part of which no target is known."""
    table = run.predictions[run.predictions["split"] == split]
    columns = [name for name in table.columns if name == "target" or str(name).startswith("target_")]
    if run.task.task != "classify" or not columns:
        return 0
    return int(table[columns].isna().all(axis=1).sum())
