"""Reliability: how many cases have the finding where a score says how many should; Brier score and its parts.

Source of the parts: A. H. Murphy, A new vector partition of the probability score, J. Appl. Meteorol. 12:595-600, 1973;
of what bins add to them: D. B. Stephenson, C. A. S. Coelho and I. T. Jolliffe, Two extra components in the Brier score
decomposition, Weather and Forecasting 23:752-757, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.evaluation.calibration.maps import FloatArray
from tasks.evaluation.calibration.scored import Finding, IntArray
from tasks.evaluation.intervals.ratios import ratios
from tasks.evaluation.intervals.share import share_intervals

BINS = 10
LEAST_IN_BIN = 10  # of fewer the share says nothing


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: bins with about as many cases each, ``(m,)``, empty ones left out.

    Attributes:
        score: mean score.
        share: of the cases with the finding.
        low: lower end of the share's 95 % interval by patient; NaN of one patient.
        high: upper end.
        cases: in the bin.
        patients: that these are of.
    """

    score: FloatArray
    share: FloatArray
    low: FloatArray
    high: FloatArray
    cases: IntArray
    patients: IntArray


@dataclass(frozen=True)
class BrierParts:
    """Brier score = reliability - resolution + uncertainty + within.

    Attributes:
        brier: mean squared error of the score.
        reliability: squared distance of score and share, bin by bin: 0 where calibrated.
        resolution: squared distance of the shares of the bins from that of all: what the score tells apart.
        uncertainty: share x (1 - share) of all cases: of the data, not of the model.
        within: what differs within bins: spread of the scores, less twice their covariance with the outcome.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def _bins_for(cases: int, bins: int | None) -> int:
    return max(2, min(BINS, cases // LEAST_IN_BIN)) if bins is None else bins


def bins_of(score: FloatArray, bins: int = BINS) -> IntArray:
    """Bin of each score, ``(n,)``, between quantiles: equal scores share one; as scikit-learn's ``calibration_curve``.

    Args:
        score: ``(n,)``.
        bins: how many at most.
    """
    if not len(score):
        return np.zeros(0, dtype=np.intp)
    edges = np.percentile(score, np.linspace(0, 100, bins + 1))
    return np.searchsorted(edges[1:-1], score).astype(np.intp)


def reliability_of(finding: Finding, bins: int | None = None) -> Reliability:
    """The diagram of one finding.

    Args:
        finding: scores beside the truth.
        bins: at most; None = ten, or fewer of less than a hundred cases.
    """
    place = bins_of(finding.score, _bins_for(len(finding.score), bins))
    used, place = np.unique(place, return_inverse=True)
    cells = np.zeros((len(place), len(used)))
    cells[np.arange(len(place)), place] = 1
    shares = ratios(cells * finding.there[:, None], cells, finding.groups)
    ends = np.array(share_intervals(shares)).reshape(-1, 2)
    count = np.bincount(place, minlength=len(used))
    mean = np.bincount(place, finding.score, len(used)) / np.maximum(count, 1)
    return Reliability(mean, shares.value, ends[:, 0], ends[:, 1], count, shares.patients)


def brier_parts(finding: Finding, bins: int | None = None) -> BrierParts:
    """The Brier score of one finding in parts; NaN of no case.

    Args:
        finding: scores beside the truth.
        bins: as in :func:`reliability_of`.
    """
    score, outcome = finding.score, finding.there.astype(np.float64)
    if not len(score):
        return BrierParts(*[float("nan")] * 5)
    bins = _bins_for(len(score), bins)
    place = bins_of(score, bins)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    kept = count > 0
    mean, share = (np.bincount(place, of, bins)[kept] / count[kept] for of in (score, outcome))
    weight, whole = count[kept] / len(score), outcome.mean()
    brier = float(((score - outcome) ** 2).mean())
    reliability = float((weight * (mean - share) ** 2).sum())
    resolution = float((weight * (share - whole) ** 2).sum())
    uncertainty = float(whole * (1 - whole))
    return BrierParts(brier, reliability, resolution, uncertainty, brier - reliability + resolution - uncertainty)
