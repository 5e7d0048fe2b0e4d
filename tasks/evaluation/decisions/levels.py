"""What is called at each score, patient by patient: what ROC, precision-recall and FROC curves are drawn from.

Patients are resampled as rows of weights; the curves of all resamples come from one matrix product. Of more than
:data:`MOST` distinct scores, neighbours are merged, so that a curve is off by a thousandth at most; more than
:data:`MOST` patients are dealt out to so many blocks, which are resampled in their place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tasks.evaluation.bootstrap import BLOCK_BYTES, resample_weights
from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.detection.froc import build_froc
from tasks.evaluation.detection.matching import Matches
from tasks.evaluation.intervals.ratios import IntArray, patient_sums

MOST = 1000


class Counted(NamedTuple):
    """Calls of B resamples at and above each of L levels, best score first."""

    tp: FloatArray  # (B, L) right ones
    fp: FloatArray  # (B, L) wrong ones
    positives: FloatArray  # (B,) cases with the finding, true boxes
    others: FloatArray  # (B,) cases without it; of boxes the images


@dataclass(frozen=True, eq=False)
class Levels:
    """Calls of G patients (or blocks of them) at L levels of the score, best score first.

    Attributes:
        highest: ``(L,)`` score of a level; where neighbours were merged the highest.
        lowest: ``(L,)`` likewise the lowest.
        tp: ``(G, L)`` right calls at the level itself.
        fp: ``(G, L)`` wrong ones.
        positives: ``(G,)`` cases with the finding, true boxes.
        others: ``(G,)`` cases without it; of boxes the images.
        with_positive: patients with a positive.
        patients: in all, which are more than G where there are blocks.
    """

    highest: FloatArray
    lowest: FloatArray
    tp: FloatArray
    fp: FloatArray
    positives: FloatArray
    others: FloatArray
    with_positive: int
    patients: int

    @property
    def smaller(self) -> int:
        """Patients with a positive or without the finding (of boxes: with an image), whichever are fewer."""
        return min(self.with_positive, int((self.others > 0).sum()))

    def counted(self, weights: FloatArray | None = None) -> Counted:
        """Calls at and above each level.

        Args:
            weights: ``(B, G)`` of the patients; None = each counts once.
        """
        weight = np.ones((1, len(self.positives))) if weights is None else weights
        return Counted(
            np.cumsum(weight @ self.tp, axis=1),
            np.cumsum(weight @ self.fp, axis=1),
            weight @ self.positives,
            weight @ self.others,
        )

    def resampled(self, resamples: int, seed: int = 0) -> Iterator[FloatArray]:
        """Weights of resampled patients, ``(b, G)`` a block, small enough that curves of a block fit into memory."""
        wide = max(1, len(self.highest), len(self.positives))
        block = max(1, BLOCK_BYTES // wide) * max(1, len(self.positives))
        yield from resample_weights(np.arange(len(self.positives)), resamples, seed, block)


def levels_of(finding: Finding, seed: int = 0) -> Levels:
    """Levels of a finding's scores; scores near 1 are told apart as AUROC does.

    Args:
        finding: its cases.
        seed: of the dealing of patients.
    """
    ranking = finding.ranking
    level = np.repeat(np.arange(len(ranking.ends)), np.diff(ranking.ends, prepend=-1))
    positives, others = patient_sums(np.stack([finding.truth, ~finding.truth], axis=1), finding.groups).T
    scores = finding.score[ranking.order][ranking.ends]
    return _levels(scores, level, ranking.positive > 0, finding.groups[ranking.order], positives, others, seed)


def box_levels(classes: list[Matches], groups: IntArray, threshold: int = 0, seed: int = 0) -> Levels:
    """Levels of the scores of boxes, of some classes together.

    Args:
        classes: matches of each class.
        groups: ``(n,)`` patient number of each image, 0..G-1.
        threshold: number of the IoU threshold.
        seed: of the dealing of patients.
    """
    curve = build_froc(classes, groups, threshold)
    lesions, images = patient_sums(np.stack([curve.lesions, np.ones(len(groups))], axis=1), groups).T
    starts = np.diff(curve.score, prepend=np.inf) != 0
    return _levels(
        curve.score[starts],
        np.cumsum(starts) - 1,
        curve.hit,
        groups[curve.image],
        lesions,
        images,
        seed,
    )


def dealt(groups: IntArray, seed: int = 0) -> IntArray:
    """Block of each case: its patient, or where there are more than :data:`MOST` one of so many.

    Args:
        groups: ``(n,)`` patient number of each case, 0..G-1.
        seed: of the dealing.
    """
    patients = int(groups.max()) + 1 if len(groups) else 0
    if patients <= MOST:
        return groups
    block: IntArray = np.random.default_rng(seed).permutation(patients) % MOST
    return block[groups]


def _levels(
    scores: FloatArray,
    level: IntArray,
    right: BoolArray,
    groups: IntArray,
    positives: FloatArray,
    others: FloatArray,
    seed: int,
) -> Levels:
    merged = _merged(level, right, len(scores))
    first = np.flatnonzero(np.diff(merged, prepend=-1))
    level, count = merged[level], len(first)
    patients, with_positive = len(positives), int((positives > 0).sum())
    rows = patients
    if patients > MOST:
        rows = MOST
        block = dealt(np.arange(patients), seed)
        groups = block[groups]
        positives, others = patient_sums(np.stack([positives, others], axis=1), block).T
    cells = groups * count + level
    tp, fp = (
        np.bincount(cells[one], minlength=rows * count).reshape(rows, count).astype(np.float64)
        for one in (right, ~right)
    )
    highest, lowest = scores[first], scores[np.append(first[1:], len(scores)) - 1] if count else scores
    return Levels(highest, lowest, tp, fp, positives, others, with_positive, patients)


def _merged(level: IntArray, right: BoolArray, count: int) -> IntArray:
    """New number of each level: itself, or where there are many a number up to :data:`MOST`, both sides alike."""
    if count <= MOST:
        return np.arange(count)
    share = np.zeros(count)
    for one in (right, ~right):
        own = np.bincount(level[one], minlength=count)
        share += np.cumsum(own) / max(1, own.sum()) / 2
    return np.unique(np.minimum((share * MOST).astype(np.intp), MOST - 1), return_inverse=True)[1].astype(np.intp)
