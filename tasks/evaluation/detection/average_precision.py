"""COCO's average precision for many sets of image weights at once, from images matched once.

Precision is read only where recall rises, at hits: between them it falls, and COCO takes the best precision at that
recall or any higher. So a class costs one running sum over its false positives and, for each IoU threshold, one over
its hits. With all weights 1 the metrics are COCO's own. Shapes and weights as in
:mod:`tasks.evaluation.classification.weighted`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted import BoolArray, FloatArray, divide
from tasks.evaluation.detection.boxes import IntArray
from tasks.evaluation.detection.coco_map import RECALL_THRESHOLDS
from tasks.evaluation.detection.matching import Matches

# Numbers in one array at once: enough to keep numpy busy, few enough to stay near the processor.
BLOCK_NUMBERS = 2**19


@dataclass(frozen=True)
class Ladder:
    """The found boxes of a class and range of areas, parted by what can change from one IoU threshold to the next.

    Attributes:
        false_image: ``(F,)`` image of those that hit nothing at any threshold, best first.
        image: ``(U,)`` image of the others, best first.
        before: ``(U,)`` how many of the F are better than each of these.
        hit: ``(T, U)``.
        false: ``(T, U)``.
        truth: ``(n,)`` true boxes of each image.
    """

    false_image: IntArray
    image: IntArray
    before: IntArray
    hit: BoolArray
    false: BoolArray
    truth: FloatArray


def build_ladder(matches: Matches, area: int, thresholds: slice) -> Ladder:
    """Part the found boxes of a class.

    Args:
        matches: of the class.
        area: number of the range of areas.
        thresholds: which of the IoU thresholds.
    """
    hit, ignored = matches.hit[area, thresholds], matches.ignored[area, thresholds]
    false = ~(hit | ignored)
    always = false.all(axis=0)
    others = ~always & ~ignored.all(axis=0)
    return Ladder(
        false_image=matches.image[always],
        image=matches.image[others],
        before=np.cumsum(always, dtype=np.intp)[others],
        hit=hit[:, others],
        false=false[:, others],
        truth=matches.truth[area],
    )


def average_precision(weights: FloatArray, ladder: Ladder) -> tuple[FloatArray, FloatArray]:
    """Average precision and the recall reached, each ``(B, T)``; NaN where no true box is drawn.

    Args:
        weights: ``(B, n)`` of the images.
        ladder: from :func:`build_ladder`.
    """
    rows = max(1, BLOCK_NUMBERS // max(1, len(ladder.false_image), len(ladder.image)))
    parts = [_block(weights[start : start + rows], ladder) for start in range(0, len(weights), rows)]
    precision, recall = zip(*parts, strict=True)
    return np.concatenate(precision), np.concatenate(recall)


def _block(weights: FloatArray, ladder: Ladder) -> tuple[FloatArray, FloatArray]:
    total = weights @ ladder.truth
    own = weights[:, ladder.image]
    always_false = np.zeros((len(weights), len(ladder.false_image) + 1))
    np.cumsum(weights[:, ladder.false_image], axis=1, out=always_false[:, 1:])
    always_false = always_false[:, ladder.before]
    averages, reached = np.zeros((2, len(weights), len(ladder.hit)))
    for t, (hit, false) in enumerate(zip(ladder.hit, ladder.false, strict=True)):
        steps = np.flatnonzero(hit)
        if not len(steps):
            continue
        right = np.cumsum(own[:, steps], axis=1)
        wrong = always_false[:, steps] + np.cumsum(own * false, axis=1)[:, steps]
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = divide(right, np.broadcast_to(total[:, None], right.shape))
        # How many of the 101 recalls each step is the first to reach.
        served = np.searchsorted(RECALL_THRESHOLDS, recall, side="right")
        averages[:, t] = (best * np.diff(served, axis=1, prepend=0)).sum(axis=1) / len(RECALL_THRESHOLDS)
        reached[:, t] = recall[:, -1]
    undefined = total == 0
    averages[undefined], reached[undefined] = np.nan, np.nan
    return averages, reached
