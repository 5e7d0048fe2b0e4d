"""What calls at the operating points are, patient by patient, and the figures of a decision that come from them.

Likelihood ratios have the interval of a ratio of two shares from the intervals of both (A. Donner and G. Y. Zou,
Closed-form confidence intervals for functions of the normal mean and standard deviation, Statistical Methods in Medical
Research 21:347-359, 2012): it needs no cell above 0. Sensitivity and specificity are taken for independent; where the
patients are the same it is a little too wide. A predictive value at a prevalence is a function of one likelihood ratio
and has its interval from it (Bayes' theorem), so that it stands for cases of that prevalence and otherwise like these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.decisions.findings import findings_of
from tasks.evaluation.detection.calls import call_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import Ratios, patient_sums
from tasks.evaluation.intervals.scales import LOG, student_interval
from tasks.evaluation.intervals.share import share_interval
from tasks.evaluation.metric_values import NO_SPREAD, MetricValue, with_interval


@dataclass(frozen=True, eq=False)
class Called:
    """Calls of one class at its operating point.

    Attributes:
        name: of the class.
        threshold: lowest score of a call.
        tp: ``(G,)`` right calls of each patient.
        fp: ``(G,)`` wrong ones.
        fn: ``(G,)`` what is there and not called.
        tn: ``(G,)`` cases without the finding and without a call; None of boxes.
        cases: ``(G,)`` of which the truth is known; of boxes images.
    """

    name: str
    threshold: float
    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray | None
    cases: FloatArray

    @property
    def positives(self) -> int:
        """Cases with the finding; true boxes."""
        return int((self.tp + self.fn).sum())

    def ratio(self, kind: str) -> Ratios:
        """A share of the calls, or ``fp``: wrong calls a case (of boxes: an image), as a ratio over patients."""
        none = np.zeros_like(self.tp)
        tn = none if self.tn is None else self.tn
        part, whole = {
            "sensitivity": (self.tp, self.tp + self.fn),
            "specificity": (tn, tn + self.fp),
            "precision": (self.tp, self.tp + self.fp),
            "npv": (tn, tn + self.fn),
            "fp": (self.fp, self.cases),
        }[kind]
        return Ratios(part[:, None], whole[:, None])

    def value(self, kind: str) -> MetricValue:
        """The same with its interval: ``sensitivity``, ``specificity``, ``precision``, ``npv`` or ``fp``."""
        ratio = self.ratio(kind)
        value, variance, patients = float(ratio.value[0]), float(ratio.variance[0]), int(ratio.patients[0])
        if kind in ("precision", "npv") and math.isnan(value) and (self.fn if kind == "precision" else self.fp).sum():
            value = 0.0  # nothing is called where something is there: as in metrics.json
        if kind == "fp":
            ends = student_interval(value, variance, LOG, patients)
        else:
            ends = share_interval(value, variance, float(ratio.units[0]), patients)
        return with_interval(
            (value, *ends),
            int(self.cases.sum()),
            int((self.cases > 0).sum()),
            rests=patients,
            positives=self.positives,
            missing=NO_SPREAD,
        )

    def likelihood_ratio(self, sign: Literal["+", "-"]) -> MetricValue:
        """How many times as often a call (``+``), or none (``-``), comes from a case with the finding as without.

        NaN where it is infinite, with its lower end all the same; of boxes always.
        """
        sensitivity, specificity = self.value("sensitivity"), self.value("specificity")
        known = [(each.value, each.low, each.high) for each in (sensitivity, specificity) if not math.isnan(each.value)]
        nothing = replace(sensitivity, value=math.nan, low=math.nan, high=math.nan)
        if self.tn is None or len(known) < 2:
            return nothing
        (found, found_low, found_high), (spared, spared_low, spared_high) = known
        if sign == "+":
            top, bottom = (found, found_low, found_high), (1 - spared, 1 - spared_high, 1 - spared_low)
        else:
            top, bottom = (1 - found, 1 - found_high, 1 - found_low), (spared, spared_low, spared_high)
        value, low, high = ratio_of_shares(top, bottom)
        withheld = sensitivity.withheld or specificity.withheld
        return replace(sensitivity, value=value, low=low, high=high, withheld=withheld)

    def predictive_value(self, sign: Literal["+", "-"], prevalence: float) -> MetricValue:
        """Share of the calls that are right (``+``), or of the cases not called that have nothing (``-``).

        Args:
            sign: of which.
            prevalence: share of the cases that have the finding where the model is used, above 0 and below 1.
        """
        ratio = self.likelihood_ratio(sign)
        # The chance of the finding after a call; after none it is what is left to 1.
        value, low, high = (_after(each, prevalence) for each in (ratio.value, ratio.low, ratio.high))
        if sign == "+":
            if math.isnan(value) and self.fp.sum() == 0 and self.tp.sum() > 0:
                value, high = 1.0, 1.0 if not math.isnan(low) else math.nan
            return replace(ratio, value=value, low=low, high=high)
        return replace(ratio, value=1 - value, low=1 - high, high=1 - low)


def called_of(tables: PartTables) -> list[Called]:
    """Calls of each class that has an operating point; none of segmentation and regression.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    if tables.task.task == "detect":
        return _called_boxes(tables)
    found = []
    for finding in findings_of(tables):
        if finding.threshold is None or not len(finding.score):
            continue
        called, truth = finding.score >= finding.threshold, finding.truth
        cells = np.stack([truth & called, ~truth & called, truth & ~called, ~truth & ~called, np.ones_like(truth)], 1)
        found.append(Called(finding.name, finding.threshold, *patient_sums(cells, finding.groups).T))
    return found


def _called_boxes(tables: PartTables) -> list[Called]:
    names, points, groups = tables.task.class_names, tables.task.operating_points, tables.patients
    calls = call_boxes(tables.matches, names, 0, points)
    found = []
    for k, name in enumerate(names):
        if name in points:
            cells = np.stack([calls.tp[:, k], calls.fp[:, k], calls.fn[:, k], np.ones(len(groups))], axis=1)
            tp, fp, fn, images = patient_sums(cells, groups).T
            found.append(Called(name, points[name], tp, fp, fn, None, images))
    return found


def ratio_of_shares(top: tuple[float, float, float], bottom: tuple[float, float, float]) -> tuple[float, float, float]:
    """Ratio of two shares with its interval.

    Args:
        top: share, low, high.
        bottom: likewise; where the share is 0 the ratio and its upper end are NaN.
    """
    (p, p_low, p_high), (q, q_low, q_high) = top, bottom
    value = p / q if q > 0 else math.nan
    if any(map(math.isnan, (p_low, p_high, q_low, q_high))):
        return value, math.nan, math.nan
    product = p * q
    lower, upper = p_low * (2 * p - p_low), q_high * (2 * q - q_high)
    below = product + math.sqrt(max(0.0, product**2 - lower * upper))
    low = max(0.0, lower) / below if below > 0 else 0.0
    if q_low <= 0:
        return value, low, math.nan
    upper, lower = p_high * (2 * p - p_high), q_low * (2 * q - q_low)
    high = (product + math.sqrt(max(0.0, product**2 - upper * lower))) / lower
    return value, min(value, low), max(value, high)


def _after(ratio: float, prevalence: float) -> float:
    """Chance of the finding behind a result with that likelihood ratio."""
    odds = ratio * prevalence / (1 - prevalence)
    return odds / (1 + odds)
