"""Decision curve: what calling by the model is worth, beside calling every case or none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tasks.evaluation.decisions.choice import rule_of
from tasks.evaluation.decisions.findings import Finding, findings_of
from tasks.evaluation.decisions.net_benefit import Benefit, DecisionCurve, benefit_at, benefit_at_point, decision_curve
from tasks.evaluation.holm import holm
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Line, LinePlot, Section, Subject, Table
from tasks.evaluation.report.header import part_of
from tasks.evaluation.report.words import number, with_interval

_MOST = 30  # classes
_SHOWN = (0.05, 0.1, 0.2, 0.3, 0.5)  # thresholds of the table
_OF = 1000  # cases, in words
_WORSE = 0.025  # one-sided level at which a model is worse than no model


def section(subject: Subject) -> Section | None:
    """Decision curves of the reported part; None where no case is scored for a finding (segmentation, boxes, numbers).

    A flag is raised where the model, at its own operating point, is worse than calling all cases or none.
    """
    findings = {each.name: each for each in findings_of(subject.tables)}
    curves = {name: decision_curve(each) for name, each in findings.items()}
    known = {name: curve for name, curve in curves.items() if curve is not None}
    if not known:
        return None
    most = sorted(known, key=lambda name: -known[name].prevalence)[:_MOST]
    shown = {name: curve for name, curve in known.items() if name in most}
    rule = rule_of(subject.tables)
    points = {name: benefit_at_point(findings[name], rule) for name in known}
    at = {name: each for name, each in points.items() if each is not None}
    parts: list[LinePlot | Table] = [_plot(subject, shown), _table(shown, {name: findings[name] for name in shown}, at)]
    lines = [sentence for name, benefit in at.items() if (sentence := _said(name, benefit))][:3]
    if not at:
        name, curve = next(iter(shown.items()))
        useful = curve.thresholds[curve.model > np.maximum(curve.every, 0) + 1e-12]
        where = "at no threshold"
        if len(useful):
            where = f"at {len(useful)} of {len(curve.thresholds)} thresholds, from {useful[0]:g} to {useful[-1]:g}"
        lines.append(
            f"For {name} the net benefit of the model is above that of calling all or no cases {where}; how sure that "
            "is, the gains in the table say."
        )
    lines.append(
        "A threshold of 0.2 says that one missed finding weighs as much as four false calls. Net benefit takes the "
        "scores for probabilities: see the calibration."
    )
    figures = {
        "net_benefit": {
            name: {"threshold": each.threshold, "model": each.model, "all": each.every, "gain": each.gain}
            for name, each in at.items()
        }
    }
    return Section("decision", "Decision curve", lines, _flags(at), parts, figures)


def _plot(subject: Subject, curves: dict[str, DecisionCurve]) -> LinePlot:
    lowest = -max(curve.prevalence for curve in curves.values()) / 3
    # At the lowest threshold the band is that of the prevalence.
    highest = max(float(np.nanmax([*curve.high, *curve.model])) for curve in curves.values()) * 1.02
    lines = []
    for name, curve in curves.items():
        banded = ~np.isnan(curve.low)
        last = int(np.flatnonzero(banded)[-1]) + 1 if banded.any() else 0
        if last:
            model, low, high = (np.maximum(each[:last], lowest) for each in (curve.model, curve.low, curve.high))
            lines.append(Line(name, curve.thresholds[:last], model, low, high, group=name))
        # Beyond it too few patients are called for a band.
        rest = slice(max(0, last - 1), None)
        if len(curve.thresholds[rest]) > 1:
            heights = np.maximum(curve.model[rest], lowest)
            lines.append(Line("" if last else name, curve.thresholds[rest], heights, group=name))
        seen = curve.every >= lowest
        every = Line("calling all", curve.thresholds[seen], curve.every[seen], kind="reference", group=name)
        lines.append(every if len(curves) == 1 else replace(every, name=f"calling all, {name}"))
    lines.append(Line("calling none", np.array([0.0, 1.0]), np.zeros(2), kind="reference"))
    return LinePlot(
        "decision_curve",
        f"Decision curve, {part_of(subject)}",
        "threshold probability",
        "net benefit",
        lines,
        (0.0, 1.0),
        (lowest, highest),
        note=(
            "Net benefit: right calls a case, less wrong ones times threshold / (1 - threshold). Dashed: calling all "
            "cases (falling) and none (level). Shaded: 95 % by patient, where five patients or more are called."
        ),
    )


def _table(curves: dict[str, DecisionCurve], findings: dict[str, Finding], at: dict[str, Benefit]) -> Table:
    rows = []
    for name, curve in curves.items():
        benefits = [benefit_at(findings[name], threshold) for threshold in _SHOWN]
        if name in at:
            benefits.append(at[name])
        for each in benefits:
            mark = "operating point" if each is at.get(name) else ""
            rows.append(
                (name, each.threshold, mark, each.model, each.every, each.gain, each.model.value / curve.prevalence)
            )
    head = ("class", "threshold", "", "net benefit", "of calling all", "gain", "standardised")
    note = (
        "Gain: beyond the better of calling all and calling none. Standardised: share of the largest net benefit, the "
        "prevalence. 95 % intervals by patient."
    )
    return Table("net_benefit", "Net benefit", head, rows, note, sortable=len(rows) > 20)


def _said(name: str, benefit: Benefit) -> str:
    """What a net benefit means, in cases."""
    if math.isnan(benefit.model.value):
        return ""
    net = benefit.model.value * _OF
    gain = benefit.gain.value * _OF
    beside = ""
    if benefit.beyond == "all":
        better = f"{abs(gain):.0f} {'more' if gain > 0 else 'fewer'} than" if round(gain) else "as many as"
        beside = f", {better} calling every case"
    worth = f"{net:.0f} findings without a false call" if net >= 0 else f"{-net:.0f} findings less than calling no case"
    return (
        f"At the operating point of {name} ({number(benefit.threshold)}) the net benefit is "
        f"{with_interval(benefit.model)}: of {_OF} cases it is worth {worth}{beside}."
    )


def _flags(at: dict[str, Benefit]) -> list[str]:
    """Where a model is worse than none, by more than chance over all classes (Holm)."""
    tests = dict(zip(at, holm([_worse(each.gain) for each in at.values()]), strict=True))
    return [
        f"{name}: at its operating point the model is worth less than calling "
        f"{'every case' if at[name].beyond == 'all' else 'no case'} ({with_interval(at[name].gain)} net benefit)."
        for name, p in tests.items()
        if p <= _WORSE
    ]


def _worse(gain: MetricValue) -> float:
    """One-sided p of a gain that is no loss; NaN where its interval is withheld."""
    from scipy.stats import t  # here: slow to import

    if math.isnan(gain.low) or gain.patients is None:
        return math.nan
    reach = gain.high - gain.value
    degrees = gain.patients - 1
    return float(t.cdf(gain.value / (reach / t.ppf(0.975, degrees)), degrees))
