"""Decision curves: what calling by a model is worth beside calling every case or none.

At a threshold probability a reader holds one missed finding for as bad as (1 - threshold) / threshold false calls. Net
benefit is the share of right calls less that of wrong ones times threshold / (1 - threshold): in right calls a case,
free of any false one. Sources: A. J. Vickers and E. B. Elkin, Decision curve analysis, Medical Decision Making
26:565-574, 2006; standardised (divided by the prevalence, so that 1 is the best there can be): K. F. Kerr and others,
Assessing the clinical impact of risk prediction models with decision curves, Journal of Clinical Oncology 34:2534-2540,
2016.

It is read at thresholds that are probabilities, so it takes scores for calibrated ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.decisions.levels import dealt
from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.ratios import Ratios
from tasks.evaluation.metric_values import LEAST_PATIENTS, LEAST_RESTS, NO_SPREAD, MetricValue, with_interval
from tasks.evaluation.operating_rules import OperatingRule

THRESHOLDS = np.round(np.arange(1, 100) / 100, 2)


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at each of T thresholds, by patient.

    Attributes:
        thresholds: ``(T,)`` above 0 and below 1.
        model: ``(T,)`` calling from the threshold on.
        low: ``(T,)`` lower end of its pointwise 95 % band; NaN where fewer than five patients are called, or too few in
            all.
        high: ``(T,)`` upper end.
        every: ``(T,)`` calling all cases; calling none is 0.
        prevalence: share of the cases with the finding: the largest net benefit there can be.
    """

    thresholds: FloatArray
    model: FloatArray
    low: FloatArray
    high: FloatArray
    every: FloatArray
    prevalence: float

    @property
    def standardised(self) -> FloatArray:
        """Net benefit of the model as a share of the largest."""
        share: FloatArray = self.model / self.prevalence
        return share


@dataclass(frozen=True)
class Benefit:
    """Net benefit at one threshold.

    Attributes:
        threshold: at which.
        model: of calling from it on.
        every: of calling all.
        gain: of the model beyond the better of calling all and calling none (0).
        beyond: ``all`` or ``none``: which of the two is better.
    """

    threshold: float
    model: MetricValue
    every: MetricValue
    gain: MetricValue
    beyond: str


def decision_curve(finding: Finding, thresholds: FloatArray = THRESHOLDS) -> DecisionCurve | None:
    """Net benefit of a finding's scores; None where the cases are all of one side.

    Args:
        finding: its cases.
        thresholds: ``(T,)`` above 0 and below 1, ascending.
    """
    if finding.truth.all() or not finding.truth.any():
        return None
    odds = thresholds / (1 - thresholds)
    called, cases = _by_patient(replace(finding, groups=dealt(finding.groups)), thresholds)
    ratio = Ratios(called[0] - odds * called[1], np.broadcast_to(cases, called[0].shape))
    reach = np.full(len(thresholds), np.nan)
    if ratio.patients[0] >= LEAST_PATIENTS:
        enough = (called.sum(axis=0) > 0).sum(axis=0) >= LEAST_RESTS
        reach = np.where(enough, student(int(ratio.patients[0]) - 1) * np.sqrt(ratio.variance), np.nan)
    prevalence = finding.prevalence
    every = prevalence - (1 - prevalence) * odds
    return DecisionCurve(thresholds, ratio.value, ratio.value - reach, ratio.value + reach, every, prevalence)


def benefit_at(finding: Finding, threshold: float, odds: float | None = None) -> Benefit:
    """Net benefit of calling from a threshold on, with intervals by patient.

    Args:
        finding: its cases.
        threshold: of the score.
        odds: what a wrong call costs in right ones; None = threshold / (1 - threshold), above 0 and below 1.
    """
    weight = threshold / (1 - threshold) if odds is None else odds
    called, cases = _by_patient(finding, np.array([threshold]))
    right = np.bincount(finding.groups, finding.truth, len(cases))[:, None]
    every = right - weight * (cases - right)
    model = called[0] - weight * called[1]
    best = every if every.sum() > 0 else np.zeros_like(every)
    model_value, every_value, gain = (_value(each, cases, finding) for each in (model, every, model - best))
    return Benefit(threshold, model_value, every_value, gain, "all" if every.sum() > 0 else "none")


def benefit_at_point(finding: Finding, rule: OperatingRule | None) -> Benefit | None:
    """Net benefit at the operating point; None where there is none above 0 and below 1.

    Args:
        finding: its cases.
        rule: by which the point was chosen: of a cost the net benefit weighs calls by it, of others by the threshold.
    """
    if finding.threshold is None or not 0 < finding.threshold < 1 or not len(finding.truth):
        return None
    odds = 1 / rule.bound if rule is not None and rule.kind == "cost" else None
    return benefit_at(finding, finding.threshold, odds)


def _value(part: FloatArray, cases: FloatArray, finding: Finding) -> MetricValue:
    ratio = Ratios(part, cases)
    patients, value = len(cases), float(ratio.value[0])
    reach = student(patients - 1) * float(np.sqrt(ratio.variance[0])) if patients > 1 else np.nan
    # A spread of nothing is ignorance: nobody, or everybody, was called.
    ends = (value - reach, value + reach) if reach > 0 else (np.nan, np.nan)
    return with_interval(
        (value, *ends), len(finding.truth), patients, positives=int(finding.truth.sum()), missing=NO_SPREAD
    )


def _by_patient(finding: Finding, thresholds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right and wrong calls of each patient at each threshold, ``(2, G, T)``, and his cases, ``(G, 1)``."""
    patients = int(finding.groups.max()) + 1 if len(finding.groups) else 0
    place = np.searchsorted(thresholds, finding.score, side="right")  # thresholds that call it
    width = len(thresholds) + 1
    cells = finding.groups * width + place
    sides = []
    for one in (finding.truth, ~finding.truth):
        counts = np.bincount(cells[one], minlength=patients * width).reshape(patients, width).astype(np.float64)
        # Called at a threshold is what reaches it or a higher one.
        sides.append(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:])
    return np.stack(sides), np.bincount(finding.groups, minlength=patients).astype(np.float64)[:, None]
