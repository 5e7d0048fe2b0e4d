"""Uncertainty: does the model know where it is wrong, whom should somebody else read, and sets of stated coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scansuite.words import number_of
from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.intervals.auroc import auroc_interval, clustered_auroc
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.metric_values import MetricValue, with_interval
from tasks.evaluation.report.conformal import SetReport, conformal_report
from tasks.evaluation.report.content import Cell, Line, LinePlot, Plot, Section, Subject, Table
from tasks.evaluation.report.words import number
from tasks.evaluation.report.words import with_interval as interval_text
from tasks.evaluation.uncertainty.cases import CaseUncertainty, case_uncertainty
from tasks.evaluation.uncertainty.risk_coverage import aurc, caught, risk_curve

_PARTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)  # of the cases, that are read again
_SAID = 0.1
_LISTED = 500  # cases


def section(subject: Subject) -> Section | None:
    """Uncertainty of the reported part, and conformal sets that validation fitted."""
    cases = case_uncertainty(subject.tables)
    sets = conformal_report(subject.validation, subject.tables, subject.settings.coverage)
    if not len(cases.rows) or not (cases.measures or sets is not None):
        return None
    parts: list[Table | Plot] = []
    lines: list[str] = []
    flags: list[str] = []
    figures: dict[str, Any] = {}
    if cases.measures:
        groups = subject.tables.patients[cases.rows]
        informative = {name: _tells_errors(values, cases, groups) for name, values in cases.measures.items()}
        first = next(iter(cases.measures))
        lines += [_answer(first, informative[first], cases), *_review_line(cases, groups)]
        if informative[first].high < 0.5:
            flags.append(
                f"The model is wrong more often where it is sure: by {first} AUROC of errors "
                f"{interval_text(informative[first])}."
            )
        parts += [_curve(cases, groups), _measures(cases, groups, informative)]
        parts.append(_savings(cases, groups))
        figures["measures"] = {name: {"auroc_of_errors": value} for name, value in informative.items()}
    if sets is not None:
        lines += sets.lines
        flags += sets.flags
        parts += sets.parts
        figures["conformal"] = sets.figures
    if cases.measures:
        parts.append(_second_reader(subject, cases, sets))
    return Section("uncertainty", "Uncertainty", lines, flags, parts, figures)


def _tells_errors(values: FloatArray, cases: CaseUncertainty, groups: IntArray) -> MetricValue:
    """AUROC of uncertainty for errors; where errors are numbers, for those above their median."""
    wrong = cases.error > (0.5 if cases.share else np.median(cases.error))
    area = clustered_auroc(rank(values, wrong, np.ones(len(wrong), dtype=bool)), groups)
    return with_interval(
        (area.value, *auroc_interval(area)), len(wrong), area.patients, rests=area.smaller, positives=int(wrong.sum())
    )


def _answer(name: str, tells: MetricValue, cases: CaseUncertainty) -> str:
    what = cases.error_name if cases.share else f"{cases.error_name} above their median"
    if math.isnan(tells.value):
        return f"Whether the model knows where it is wrong cannot be said: there are no {what}, or nothing else."
    said = f"AUROC {interval_text(tells)} of {name} for {what}"
    if math.isnan(tells.low):
        return f"Whether the model knows where it is wrong cannot be said with so few patients: {said}."
    if tells.low > 0.5:
        return f"The model knows where it is wrong: {said}."
    if tells.high < 0.5:
        return f"The model is wrong more often where it is sure: {said}."
    return f"That the model knows where it is wrong could not be shown: {said}; 0.5 is guessing."


def _review_line(cases: CaseUncertainty, groups: IntArray) -> list[str]:
    """What a second reading of some of the cases would catch."""
    values = next(iter(cases.measures.values()))
    total = cases.error.sum()
    if not total > 0:
        return []
    count, share = caught(values, cases.error, groups, _SAID)
    of = number_of(count, "case")
    if not cases.share:
        return [f"The {_SAID:.0%} most uncertain ({of}) hold {interval_text(share)} of all {cases.error_name}."]
    found = round(share.value * total)
    return [
        f"Reading the {_SAID:.0%} most uncertain ({of}) again meets {found} of {int(total)} {cases.error_name}: a "
        f"share of {interval_text(share)}; as many cases at random would meet {number(count / len(cases.error))}."
    ]


def _curve(cases: CaseUncertainty, groups: IntArray) -> LinePlot:
    name, values = next(iter(cases.measures.items()))
    found = risk_curve(values, cases.error, groups, share=cases.share)
    chance = np.full(len(found.coverage), float(cases.error.mean()))
    lines = [
        Line(f"by {name}", found.coverage, found.risk, found.low, found.high),
        Line("best possible order", found.coverage, found.best, kind="reference"),
        Line("random order", found.coverage, chance, kind="reference"),
    ]
    label = f"share of {cases.error_name}" if cases.share else f"mean of {cases.error_name}"
    return LinePlot(
        "risk_coverage",
        "Errors among the cases that are kept",
        "share of the cases kept",
        f"{label} among them",
        lines,
        x_range=(0.0, 1.0),
        note="The least uncertain cases are kept first; the others are given to a second reader. The band is the 95 % "
        "interval by patient at each share.",
    )


def _measures(cases: CaseUncertainty, groups: IntArray, informative: Mapping[str, MetricValue]) -> Table:
    """A row a measure of uncertainty."""
    rows: list[Sequence[Cell]] = []
    for name, values in cases.measures.items():
        area = aurc(values, cases.error, groups, share=cases.share)
        rows.append((name, informative[name], area, float(values.mean())))
    nothing = float(cases.error.mean())
    return Table(
        "measures",
        "Measures of uncertainty",
        ("measure", "AUROC of errors", "AURC", "mean"),
        rows,
        note="AUROC of errors: chance that a case that is wrong is the more uncertain; 0.5 is guessing. AURC: mean "
        f"error over all shares of kept cases; in random order {number(nothing)}, lower is better. The first measure "
        "sorts the cases below.",
    )


def _savings(cases: CaseUncertainty, groups: IntArray) -> Table:
    """What a second reading of the most uncertain cases would catch."""
    values = next(iter(cases.measures.values()))
    total, n = float(cases.error.sum()), len(cases.error)
    order = np.argsort(-values, kind="stable")
    rows: list[Sequence[Cell]] = []
    for part in _PARTS:
        count, share = caught(values, cases.error, groups, part)
        if rows and rows[-1][1] == count:  # of few cases
            continue
        met = float(cases.error[order[:count]].sum())
        left = (total - met) / (n - count) if n > count else math.nan
        rows.append((f"{part:.0%}", count, int(met) if cases.counted else met, share, left))
    rest = "share still wrong in the rest" if cases.share else "mean error of the rest"
    return Table(
        "savings",
        "What a second reading would catch",
        ("read again", "cases", f"{cases.error_name} met", "share of all", rest),
        rows,
        note="The most uncertain cases first. That the second reader sees every error is not said.",
    )


def _second_reader(subject: Subject, cases: CaseUncertainty, sets: SetReport | None) -> Table:
    """The most uncertain cases first."""
    values = next(iter(cases.measures.values()))
    order = np.argsort(-values, kind="stable")
    met = np.cumsum(cases.error[order])
    total = float(cases.error.sum())
    ids = subject.tables.cases["case_id"].to_numpy()
    named: Callable[[int], str] | None = None if sets is None else sets.named
    rows: list[Sequence[Cell]] = []
    for place, number_of_case in enumerate(order[:_LISTED].tolist()):
        row = int(cases.rows[number_of_case])
        called, true = cases.describe(number_of_case)
        error = float(cases.error[number_of_case])
        rows.append(
            (
                place + 1,
                str(ids[row]),
                float(values[number_of_case]),
                called,
                *([] if named is None else [named(row)]),
                true,
                ("yes" if error else "no") if cases.share else int(error) if cases.counted else error,
                float(met[place]) / total if total > 0 else None,
            )
        )
    said = () if sets is None else (sets.column,)
    head = (
        "place",
        "case",
        "uncertainty",
        "called",
        *said,
        "true",
        "wrong" if cases.share else "error",
        "errors so far",
    )
    more = len(order) - len(rows)
    note = "Errors so far: share of all errors among the cases down to this one."
    return Table(
        "second_reader",
        "Cases for a second reader",
        head,
        rows,
        note=note + (f" {number_of(more, 'less uncertain case')} not listed." if more > 0 else ""),
        sortable=True,
    )
