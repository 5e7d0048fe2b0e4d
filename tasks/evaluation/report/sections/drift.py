"""Drift: do the reported cases resemble those of validation and training in images, scores, truth and columns?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.drift.differences import ALPHA, LEAST, LEAST_EFFECT, Difference
from tasks.evaluation.drift.parts import Drift, adjusted_together, part_drift, profile_drift
from tasks.evaluation.drift.profile import read_profile
from tasks.evaluation.drift.variables import Variable
from tasks.evaluation.drift.words import change, plain, short
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import (
    BarPlot,
    Cell,
    ForestPlot,
    Line,
    LinePlot,
    Plot,
    PValue,
    Section,
    Subject,
    Table,
)
from tasks.evaluation.report.header import part_name

GROUPS = {
    "image": "image",
    "score": "score",
    "prediction": "prediction",
    "target": "truth",
    "column": "column of the table",
}
_NAMED = 3  # differences in the answer
_CURVES = 4  # plots of numbers, and of categories
_POINTS = 200  # of a distribution function
_FOREST = 40


def section(subject: Subject) -> Section | None:
    """What differs between training, validation and the reported part; None where there is nothing to compare with."""
    compared = _compared(subject)
    if not compared:
        return None
    drifts = adjusted_together([drift for _, drift in compared])
    lines: list[str] = []
    flags: list[str] = []
    parts: list[Table | Plot] = []
    figures: dict[str, Any] = {}
    for (reference, _), drift in zip(compared, drifts, strict=True):
        names = reference, part_name(subject.split)
        lines += lines_of(drift.differences, names, drift.patients, by_patient=_by_patient(subject))
        flags += flags_of(drift.differences, names)
        parts += [table_of(reference, drift.differences, names), *_plots(drift, names)]
        figures[reference] = figures_of(drift)
    return Section("drift", "Drift", lines, flags, parts, figures)


def _compared(subject: Subject) -> list[tuple[str, Drift]]:
    """What the part is compared with, and how it differs from it."""
    run, tables, seed = subject.run, subject.tables, subject.settings.seed
    validation = subject.validation if subject.split != "val" else None
    found = []
    profile = None
    if run.folder is not None:
        with suppress(SuiteError):  # a damaged one is none
            profile = read_profile(run.folder)
    if profile is not None:
        if validation is not None or subject.split == "val":
            profile = replace(profile, validation=())  # scores are compared with those of the part itself
        found.append(("training", profile_drift(profile, tables, run.intensities, seed)))
    if validation is not None:
        found.append(("validation", part_drift(validation, tables, run.intensities, seed)))
    return found


def _by_patient(subject: Subject) -> bool:
    cases = subject.tables.cases
    return "patient_id" in cases and bool(cases["patient_id"].notna().any())


def lines_of(
    differences: Sequence[Difference], names: tuple[str, str], patients: tuple[int, int], *, by_patient: bool
) -> list[str]:
    """The answer in words.

    Args:
        differences: all that were looked at.
        names: of the reference and of the new part.
        patients: compared in each.
        by_patient: patients are known; otherwise each case counts as one.
    """
    who, by = ("patient", ", one case of each") if by_patient else ("case", ": no patients are given")
    tested = [one for one in differences if not math.isnan(one.p)]
    flagged = _flagged(differences)
    if not tested:
        return [
            f"Whether the {names[1]} cases resemble those of {names[0]} was not tested: "
            + (
                f"it takes {LEAST} {who}s in each."
                if min(patients) < LEAST
                else "nothing that varies is known of both."
            )
        ]
    if not flagged:
        count = f"{len(tested)} properties" if len(tested) > 1 else "the one property that is known"
        answer = (
            f"Between the {names[1]} cases and those of {names[0]} no difference beyond chance and more than a trifle "
            f"was found, in {count}. That is no proof that they are alike."
        )
    else:
        verb = "differs" if len(flagged) == 1 else "differ"
        answer = (
            f"The {names[1]} cases differ from those of {names[0]}: {len(flagged)} of {len(tested)} properties "
            f"compared {verb} beyond chance: {_said(flagged)}. Results may not carry over from one to the other."
        )
    return [answer, f"Compared were {patients[0]} and {number_of(patients[1], who)}{by}."]


def flags_of(differences: Sequence[Difference], names: tuple[str, str]) -> list[str]:
    """The flag, where something differs."""
    flagged = _flagged(differences)
    return [f"The {names[1]} cases differ from those of {names[0]}: {_said(flagged)}."] if flagged else []


def _flagged(differences: Sequence[Difference]) -> list[Difference]:
    return sorted((one for one in differences if one.flagged), key=lambda one: -one.distance)


def _said(flagged: Sequence[Difference]) -> str:
    named = "; ".join(f"{one.name} ({change(one)})" for one in flagged[:_NAMED])
    more = len(flagged) - _NAMED
    return f"{named}; and {more} more" if more > 0 else named


def table_of(name: str, differences: Sequence[Difference], names: tuple[str, str]) -> Table:
    """All that was compared, the largest differences first."""
    ordered = sorted(differences, key=lambda one: (not one.flagged, _order(one.adjusted), -_order(one.distance, 0.0)))
    rows: list[tuple[Cell, ...]] = [
        (
            one.name,
            _summary(one, one.reference),
            _summary(one, one.new),
            "differs" if one.flagged else "",
            _finite(one.standardised),
            one.distance,
            one.untested if math.isnan(one.p) else PValue(one.p, one.adjusted),
            one.psi,
            GROUPS[one.group],
            *one.patients,
        )
        for one in ordered
    ]
    head = (
        "property", names[0], names[1], "verdict", "standardised difference", "D or V", "p", "PSI", "of the",
        f"patients, {names[0]}", f"patients, {names[1]}",
    )  # fmt: skip
    note = (
        "One case of each patient. Numbers: mean (SD), test of Kolmogorov and Smirnov with its D, the largest distance "
        "of the two distribution functions. Categories: the shares that differ most, chi-squared or Fisher's exact "
        "test, Cramér's V. p adjusted by Holm's method over all rows; a row differs where p < "
        f"{ALPHA:g} and D or V is at least {LEAST_EFFECT:g}. PSI: population stability index; in small samples it is "
        "above 0 by chance alone."
    )
    return Table(name, f"Compared with {names[0]}", head, rows, note=note, sortable=len(rows) > 12)


def _order(value: float, unknown: float = 2.0) -> float:
    return unknown if math.isnan(value) else value


def _finite(value: float) -> Cell:
    return value if math.isfinite(value) else "no overlap" if math.isinf(value) else math.nan


def _summary(one: Difference, values: Sequence[float]) -> str:
    if not values:
        return ""
    if one.kind == "number":
        return plain(values[0]) + (f" ({plain(values[1])})" if math.isfinite(values[1]) else "")
    if len(one.levels) == 2:
        return f"{short(one.levels[1])}: {100 * values[1]:.1f} %"
    apart = np.sort(np.argsort(-np.abs(np.subtract(one.new, one.reference)), kind="stable")[:_NAMED])
    shown = ", ".join(f"{short(one.levels[level])}: {100 * values[level]:.1f} %" for level in apart)
    return f"{shown}, ..." if len(one.levels) > _NAMED else shown


def _plots(drift: Drift, names: tuple[str, str]) -> list[Plot]:
    """Standardised differences beside one another, and the distributions that differ most."""
    forest = forest_of(drift.differences, names)
    varying = [one for one in drift.differences if one.distance > 0 and one.name in drift.reference]
    varying.sort(key=lambda one: (not one.flagged, _order(one.adjusted), -one.distance))
    numbers = [one for one in varying if one.kind == "number"][:_CURVES]
    levels = [one for one in varying if one.kind == "category"][:_CURVES]
    return [
        *([forest] if forest is not None else []),
        *(
            _curve(f"{names[0]}_numbers_{rank}", one, (drift.reference[one.name], drift.new[one.name]), names)
            for rank, one in enumerate(numbers, start=1)
        ),
        *(_bars(f"{names[0]}_categories_{rank}", one, names) for rank, one in enumerate(levels, start=1)),
    ]


def forest_of(differences: Sequence[Difference], names: tuple[str, str]) -> ForestPlot | None:
    """Standardised differences, the largest first; None where there are none."""
    known = [one for one in differences if math.isfinite(one.standardised)]
    known.sort(key=lambda one: (not one.flagged, -abs(one.standardised)))
    if not known:
        return None
    rows = [(one.name, _value(one)) for one in known[:_FOREST]]
    return ForestPlot(
        f"{names[0]}_standardised",
        f"Standardised differences, {names[1]} from {names[0]}",
        "standardised difference (0: alike)",
        rows,
        reference=0.0,
        flagged=[row for row, one in enumerate(known[:_FOREST]) if one.flagged],
        note="Numbers: difference of means in standard deviations, with 95 % interval. Categories: distance of their "
        "shares, without a sign and an interval.",
    )


def _value(one: Difference) -> MetricValue:
    return MetricValue(one.standardised, *one.standardised_interval, sum(one.patients), patients=sum(one.patients))


def _curve(name: str, one: Difference, sides: tuple[Variable, Variable], names: tuple[str, str]) -> LinePlot:
    lines = []
    for part, variable in zip(names, sides, strict=True):
        values = np.sort(variable.values[variable.known].astype(np.float64))
        shares = np.arange(1, len(values) + 1) / len(values)
        shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), _POINTS)).round().astype(int))
        x, y = np.concatenate([values[:1], values[shown]]), np.concatenate([[0.0], shares[shown]])
        lines.append(Line(part, x, y, kind="step"))
    note = f"D {one.distance:.3f}." + (" Differs beyond chance." if one.flagged else "")
    return LinePlot(name, f"Distribution: {one.name}", one.name, "share of patients at or below", lines,
                    y_range=(0.0, 1.0), note=note)  # fmt: skip


def _bars(name: str, one: Difference, names: tuple[str, str]) -> BarPlot:
    shares = {part: np.asarray(values) for part, values in zip(names, (one.reference, one.new), strict=True)}
    note = f"Cramér's V {one.distance:.3f}." + (" Differs beyond chance." if one.flagged else "")
    levels = [short(level) for level in one.levels]
    return BarPlot(name, f"Shares: {one.name}", one.name, "share of patients", levels, shares, note=note)


def figures_of(drift: Drift) -> dict[str, Any]:
    """What ``report.json`` holds of a comparison beside its table."""
    return {
        "tested": sum(not math.isnan(one.p) for one in drift.differences),
        "differ": [one.name for one in drift.flagged],
        "left_out": dict(drift.left_out),
    }
