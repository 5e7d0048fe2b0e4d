"""Conformal sets of a run: fitted on validation, looked at on another part, in tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scansuite.words import number_of
from tasks.evaluation.classification.columns import read_multilabel, read_regression, read_single_label
from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import BarPlot, Cell, Plot, Table
from tasks.evaluation.report.words import number, with_interval
from tasks.evaluation.uncertainty.conformal import ClassSets, Score, fit_half_width, fit_sets
from tasks.evaluation.uncertainty.coverage import (
    Coverage,
    coverage_of_interval,
    coverage_of_sets,
    share_by_patient,
    whole_patients_covered,
)

_NOTE = (
    "Fitted on validation, one weight a patient, and looked at on this part: the coverage is that of a case of a new "
    "patient (Lee, Barber and Willett 2023). It holds as long as new patients are like those of validation."
)


@dataclass(frozen=True, eq=False)
class SetReport:
    """What is to be said of conformal sets.

    Attributes:
        lines: sentences, the answer first.
        flags: what failed beyond chance.
        parts: tables and plots.
        figures: for ``report.json``.
        column: head of a case's set in a list of cases.
        named: the set of the case in a row of ``cases``, in words.
    """

    lines: Sequence[str]
    flags: Sequence[str]
    parts: Sequence[Table | Plot]
    figures: Mapping[str, Any]
    column: str
    named: Callable[[int], str]


@dataclass(frozen=True)
class _Method:
    """A way of making sets: its name, and how :func:`fit_sets` is called."""

    name: str
    kind: Score = "lac"
    by_class: bool = False
    whole_patients: bool = False


_METHODS = (
    _Method("LAC"),
    _Method("APS", "aps"),
    _Method("LAC, coverage in each class", by_class=True),
    _Method("LAC, all cases of a patient", whole_patients=True),
)


def conformal_report(fitted_on: PartTables | None, part: PartTables, coverage: float) -> SetReport | None:
    """Fit sets on one part and look at them on another.

    Args:
        fitted_on: validation; None, or the part itself = nothing can be fitted.
        part: the other, of classification.
        coverage: stated, above 0 and below 1.

    Returns:
        None where there is nothing to fit on, or the task has no such sets.
    """
    if part.task.task != "classify" or fitted_on is None or fitted_on.split == part.split:
        return None
    if part.kind == "regression":
        return _of_numbers(fitted_on, part, coverage)
    if part.kind == "multilabel":
        return _of_labels(fitted_on, part, coverage)
    return _of_classes(fitted_on, part, coverage)


def _of_classes(fitted_on: PartTables, part: PartTables, coverage: float) -> SetReport | None:
    names = part.task.class_names
    first, second = (read_single_label(each.predictions, names) for each in (fitted_on, part))
    before, groups = fitted_on.patients[first.rows], part.patients[second.rows]
    if not len(first.rows) or not len(second.rows):
        return None
    patients = len(np.unique(before))
    rows: list[Sequence[Cell]] = []
    figures: dict[str, Any] = {}
    found: dict[str, tuple[ClassSets, BoolArray, Coverage]] = {}
    for method in _METHODS:
        sets = fit_sets(
            first.score,
            first.target,
            before,
            coverage,
            method.kind,
            by_class=method.by_class,
            whole_patients=method.whole_patients,
        )
        inside = sets.predict(second.score)
        reached = coverage_of_sets(inside, second.target, groups, coverage, patients)
        shown = reached.reached
        if method.whole_patients:
            shown = whole_patients_covered(inside[np.arange(len(groups)), second.target], groups)
        found[method.name] = sets, inside, reached
        rows.append((method.name, coverage, shown, reached.size, reached.single, reached.right_single, reached.empty))
        figures[method.name] = _figures(shown, reached)
    sets, inside, reached = found["LAC"]
    table = Table(
        "conformal",
        "Prediction sets",
        ("method", "stated", "reached", "classes in a set", "of one class", "of these right", "empty"),
        rows,
        note=_NOTE
        + " LAC: all classes whose score is high enough; APS: from the highest score down until their sum is.",
    )
    by_class = Table(
        "conformal_by_class",
        "Coverage by true class",
        ("class", "cases", "LAC", "LAC, coverage in each class"),
        [
            (
                name,
                int((second.target == k).sum()),
                *(
                    _class_coverage(found[method][1], second.target, groups, k)
                    for method in ("LAC", "LAC, coverage in each class")
                ),
            )
            for k, name in enumerate(names)
        ],
        note="Sets that cover all cases as often as stated may cover a rare class less often.",
    )
    sizes = np.bincount(inside.sum(axis=1), minlength=len(names) + 1).astype(np.float64) / len(inside)
    bars = BarPlot(
        "set_sizes", "Classes in a prediction set (LAC)", "classes", "share of the cases",
        [str(size) for size in range(len(sizes))], {"LAC": sizes},
    )  # fmt: skip
    if not np.isfinite(sets.thresholds).all():
        lines = [_too_few(patients, coverage)]
    else:
        lines = [
            f"Prediction sets with a stated coverage of {number(coverage, 2)} hold the true class in "
            f"{with_interval(reached.reached)} of a new patient's cases, with {number(reached.size, 2)} classes in the "
            f"mean; {number(reached.single, 2)} of them name one class alone."
        ]
    place = np.full(len(part.cases), -1, dtype=np.intp)
    place[second.rows] = np.arange(len(second.rows))

    def named(row: int) -> str:
        if place[row] < 0:
            return ""
        return ", ".join(name for name, there in zip(names, inside[place[row]], strict=True) if there) or "empty"

    parts: list[Table | Plot] = [table, by_class, *([bars] if len(names) > 2 else [])]
    return SetReport(lines, _flags(reached, "the true class", coverage), parts, figures, "prediction set", named)


def _of_labels(fitted_on: PartTables, part: PartTables, coverage: float) -> SetReport | None:
    """Of each label on its own: there, absent, or either."""
    names = part.task.class_names
    first, second = (read_multilabel(each.predictions, names) for each in (fitted_on, part))
    rows: list[Sequence[Cell]] = []
    figures: dict[str, Any] = {}
    flags: list[str] = []
    sure: list[float] = []
    members: dict[str, BoolArray] = {}
    for k, name in enumerate(names):
        known, here = first.known[:, k], second.known[:, k]
        before, groups = fitted_on.patients[first.rows[known]], part.patients[second.rows[here]]
        score = np.stack([1 - first.score[known, k], first.score[known, k]], axis=1)
        sets = fit_sets(score, first.target[known, k].astype(np.intp), before, coverage)
        every = np.stack([1 - second.score[:, k], second.score[:, k]], axis=1)
        inside = sets.predict(np.nan_to_num(every))
        reached = coverage_of_sets(
            inside[here], second.target[here, k].astype(np.intp), groups, coverage, len(np.unique(before)), len(names)
        )
        rows.append((name, coverage, reached.reached, reached.single, reached.right_single, reached.empty))
        figures[name] = _figures(reached.reached, reached)
        flags += _flags(reached, f"the truth of {name}", coverage)
        sure.append(reached.single)
        members[name] = inside
    table = Table(
        "conformal",
        "Prediction sets of each label",
        ("label", "stated", "reached", "one answer", "of these right", "empty"),
        rows,
        note=f"A label is there, absent, or either (LAC). {_NOTE}",
    )
    known_shares = [share for share in sure if not math.isnan(share)]
    if not known_shares:
        return None
    lines = [
        f"Prediction sets with a stated coverage of {number(coverage, 2)} decide a label in "
        f"{number(float(np.mean(known_shares)), 2)} of the cases, in the mean over labels; in the others both answers "
        "stay possible."
    ]
    place = np.full(len(part.cases), -1, dtype=np.intp)
    place[second.rows] = np.arange(len(second.rows))

    def named(row: int) -> str:
        if place[row] < 0:
            return ""
        open_labels = [name for name in names if members[name][place[row]].all()]
        return ", ".join(open_labels) or "none"

    return SetReport(lines, flags, [table], figures, "undecided labels", named)


def _of_numbers(fitted_on: PartTables, part: PartTables, coverage: float) -> SetReport | None:
    before, true_before, said_before = read_regression(fitted_on.predictions)
    rows, true, said = read_regression(part.predictions)
    if not len(before) or not len(rows):
        return None
    patients, groups = fitted_on.patients[before], part.patients[rows]
    error = said - true
    table_rows: list[Sequence[Cell]] = []
    figures: dict[str, Any] = {}
    for name, whole in (("a case of a new patient", False), ("all cases of a new patient", True)):
        half = fit_half_width(said_before - true_before, patients, coverage, whole_patients=whole)
        reached = coverage_of_interval(error, half, groups, coverage, len(np.unique(patients)))
        shown = whole_patients_covered(np.abs(error) <= half, groups) if whole else reached.reached
        table_rows.append((name, coverage, shown, half if math.isfinite(half) else None))
        figures[name] = _figures(shown, reached)
        if not whole:
            first, width = reached, half
    table = Table(
        "conformal",
        "Prediction intervals",
        ("hold the truth of", "stated", "reached", "predicted value plus or minus"),
        table_rows,
        note=_NOTE + " Of absolute errors: each case has an interval of the same width.",
    )
    if not math.isfinite(width):
        lines = [_too_few(len(np.unique(patients)), coverage)]
    else:
        lines = [
            f"The predicted value plus or minus {width:.3g} holds the true one in {with_interval(first.reached)} of a "
            f"new patient's cases, where {number(coverage, 2)} were stated."
        ]
    value = dict(zip(rows.tolist(), said.tolist(), strict=True))

    def named(row: int) -> str:
        return f"{value[row] - width:.4g} to {value[row] + width:.4g}" if row in value and math.isfinite(width) else ""

    flags = _flags(first, "the true value", coverage)
    return SetReport(lines, flags, [table], figures, "prediction interval", named)


def _class_coverage(inside: BoolArray, target: IntArray, groups: IntArray, k: int) -> MetricValue:
    return share_by_patient(inside[target == k, k], groups[target == k])[0]


def _figures(shown: MetricValue, reached: Coverage) -> dict[str, float | MetricValue | bool | None]:
    """Of ``report.json``."""
    finite: Callable[[float], float | None] = lambda value: value if math.isfinite(value) else None  # noqa: E731
    return {
        "stated": reached.stated,
        "reached": shown,
        "size": finite(reached.size),
        "single": finite(reached.single),
        "right_single": finite(reached.right_single),
        "empty": finite(reached.empty),
    }


def _flags(reached: Coverage, what: str, coverage: float) -> list[str]:
    if not reached.failed:
        return []
    return [
        f"Conformal sets fitted on validation hold {what} in {with_interval(reached.reached)} of the cases here, where "
        f"{number(coverage, 2)} were stated: these patients are unlike those of validation."
    ]


def _too_few(patients: int, coverage: float) -> str:
    needed = math.ceil(coverage / (1 - coverage) - 1e-9)
    return (
        f"Validation has {number_of(patients, 'patient')}, too few to promise a coverage of {number(coverage, 2)}: it "
        f"takes {needed} at least, and many more for small sets."
    )
