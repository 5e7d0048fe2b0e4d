"""Figures of calibration of a part, for all of it and by class, and whether it is miscalibrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.evaluation.calibration.maps import FloatArray
from tasks.evaluation.calibration.reliability import BrierParts, brier_parts
from tasks.evaluation.calibration.scored import Finding, Scored
from tasks.evaluation.calibration.slope import Recalibration, recalibration
from tasks.evaluation.classification.weighted_scores import calibration_error
from tasks.evaluation.holm import holm
from tasks.evaluation.intervals.calibration import SquaredError
from tasks.evaluation.intervals.jackknife import BLOCKS, jackknife
from tasks.evaluation.intervals.smooth import smooth_interval
from tasks.evaluation.metric_values import BIASED, LEAST_PATIENTS, MetricValue, with_interval

# What is miscalibrated is said where chance alone would say it once in a hundred, all classes together, and where it
# matters: scores that are 0.02 off in the mean change no decision.
ALPHA = 0.01
LEAST_OFF = 0.02
# Patients with the finding, or without it: of fewer the test finds too much.
LEAST_SIDE = 20
# Of many cases fewer blocks of patients are left out: time grows with both.
_CELLS, _LEAST_BLOCKS = 20_000_000, 20


@dataclass(frozen=True)
class Figures:
    """Calibration of one finding, or of the whole.

    Attributes:
        name: of the class; empty for the whole.
        cases: that entered; in detection boxes.
        patients: that these are of.
        smaller: patients with the finding or without it, whichever are fewer.
        score: mean score.
        share: of the cases with the finding.
        recalibration: slope, intercept, test.
        brier: Brier score; of several exclusive classes its sum over them, as in ``metrics.json``.
        parts: of the Brier score; likewise.
        ece: expected calibration error over 15 bins of equal width.
        squared_ece: without what chance adds.
        adjusted: p of the test, by Holm's method over the classes and the whole; NaN = no test.
    """

    name: str
    cases: int
    patients: int
    smaller: int
    score: float
    share: float
    recalibration: Recalibration
    brier: MetricValue
    parts: BrierParts
    ece: MetricValue
    squared_ece: MetricValue
    adjusted: float = math.nan

    @property
    def miscalibrated(self) -> bool:
        """Whether the scores are off by more than chance and by so much that it matters."""
        return (
            self.patients >= LEAST_PATIENTS
            and self.smaller >= LEAST_SIDE
            and self.adjusted < ALPHA
            and self.recalibration.off >= LEAST_OFF
        )

    @property
    def direction(self) -> str:
        """What is wrong with miscalibrated scores: ``too high``, ``too low``, ``over-confident``, ``under-confident``.

        The first two where most of what they are off lies on one side. Otherwise the slope says whether they are too
        near to 0 and 1 or not near enough. Of several classes it is the score of the highest-scoring, its confidence.
        """
        of_several = not self.name and self.parts.uncertainty > self.share * (1 - self.share) + 1e-9
        if of_several:
            return "over-confident" if self.score > self.share else "under-confident"
        if abs(self.score - self.share) > self.recalibration.off / 2:
            return "too high" if self.score > self.share else "too low"
        slope = self.recalibration.slope.value
        if math.isnan(slope):  # told apart without a mistake: better than the share of all, or in the wrong order
            slope = math.inf if self.parts.brier < self.parts.uncertainty else -math.inf
        return "under-confident" if slope > 1 else "over-confident"


def calibration_figures(scored: Scored, *, intervals: bool = True) -> tuple[Figures | None, list[Figures]]:
    """Figures of the whole (None for labels) and of each finding.

    Args:
        scored: scores beside the truth.
        intervals: give the Brier score and the squared error of the whole theirs, which cost time.
    """
    own = [one for one in scored.findings if len(one.score)]
    by_class = [_figures(one, intervals=intervals and len(scored.findings) == 1) for one in own]
    whole = _whole(scored, by_class, intervals=intervals) if scored.whole is not None and own else None
    if whole is not None and len(scored.findings) == 1:
        return whole, [whole]
    tested = [*([whole] if whole is not None else []), *by_class]
    adjusted = holm([one.recalibration.p for one in tested])
    tested = [replace(one, adjusted=float(p)) for one, p in zip(tested, adjusted, strict=True)]
    return (tested[0], tested[1:]) if whole is not None else (None, tested)


def _whole(scored: Scored, by_class: Sequence[Figures], *, intervals: bool) -> Figures:
    assert scored.whole is not None
    if scored.kind != "classes":
        found = _figures(scored.whole, intervals=intervals)
        return replace(found, adjusted=found.recalibration.p)
    assert scored.scores is not None
    assert scored.target is not None
    truth = np.arange(scored.scores.shape[1]) == scored.target[:, None]
    error = ((scored.scores - truth) ** 2).sum(axis=1)
    sums = [sum(getattr(one.parts, part) for one in by_class) for part in BrierParts.__dataclass_fields__]
    return replace(_figures(scored.whole, error, intervals=intervals), parts=BrierParts(*sums))


def _figures(finding: Finding, error: FloatArray | None = None, *, intervals: bool) -> Figures:
    """Figures of one finding, not yet adjusted; ``error`` is the squared error of each case where it is not its own."""
    count, outcome = len(finding.score), finding.there.astype(np.float64)
    error = (finding.score - outcome) ** 2 if error is None else error
    known = np.ones(count, dtype=bool)
    squared = SquaredError(finding.score, finding.there, known, finding.groups)
    every = np.ones((1, count))
    values = {"brier": float(error.mean()), "squared_ece": float(squared(every)[0])}

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        return {"brier": weights @ error / weights.sum(axis=1), "squared_ece": squared(weights)}

    blocks = max(_LEAST_BLOCKS, min(BLOCKS, _CELLS // max(1, count)))
    variances = jackknife(statistics, finding.groups, blocks) if intervals and finding.patients > 1 else {}
    positives = int(outcome.sum())

    def value_of(name: str) -> MetricValue:
        ends = smooth_interval(name, values[name], variances.get(name, math.nan), finding.patients)
        return with_interval((values[name], *ends), count, finding.patients, positives=positives)

    ece = float(calibration_error(every, finding.score, finding.there, known)[0])
    return Figures(
        name=finding.name,
        cases=count,
        patients=finding.patients,
        smaller=finding.smaller,
        score=float(finding.score.mean()),
        share=float(outcome.mean()),
        recalibration=recalibration(finding),
        brier=value_of("brier"),
        parts=brier_parts(finding),
        ece=with_interval(
            (ece, math.nan, math.nan),
            count,
            finding.patients,
            positives=positives,
            missing=BIASED if intervals else None,
        ),
        squared_ece=value_of("squared_ece"),
    )
