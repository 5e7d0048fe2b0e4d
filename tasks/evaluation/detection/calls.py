"""Thresholds from which found boxes are calls, by class, and sensitivity, precision and F1 of the calls at IoU 0.5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.evaluation.classification.weighted import Counts, FloatArray, rates
from tasks.evaluation.detection.matching import Matches
from tasks.evaluation.operating_rules import F1, OperatingRule, box_candidates

CALL_IOU = 0.5
NO_HIT = 0.5  # operating point of a class of which no box hits


@dataclass(frozen=True)
class Calls:
    """Counts of each image and class, ``(n, K)``; a class without an operating point has NaN.

    Attributes:
        tp: calls that hit a true box.
        fp: other calls.
        fn: true boxes without a call.
    """

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray


def choose_thresholds(
    classes: Sequence[Matches], class_names: Sequence[str], threshold: int, rule: OperatingRule = F1
) -> dict[str, float]:
    """The operating point of each class, by a rule over its boxes.

    Which it may take: :func:`tasks.evaluation.operating_rules.box_candidates`. With no hit at all it is 0.5.

    Args:
        classes: matches of each class, in the whole range of areas (the first).
        class_names: in class order.
        threshold: number of the IoU threshold.
        rule: by which it is chosen.

    Returns:
        Score by class; without those that have no true box.
    """
    chosen = {name: _choose(matches, threshold, rule, name) for name, matches in zip(class_names, classes, strict=True)}
    return {name: point for name, point in chosen.items() if not math.isnan(point)}


def _choose(matches: Matches, threshold: int, rule: OperatingRule, name: str) -> float:
    truth = matches.truth[0].sum()
    if truth == 0:
        return math.nan
    kept = ~matches.ignored[0, threshold]
    score, hit = matches.score[kept], matches.hit[0, threshold][kept]
    if not hit.any():
        return NO_HIT
    ends = np.flatnonzero(np.diff(score, append=-np.inf) != 0)
    right = np.cumsum(hit)[ends].astype(np.float64)
    images = matches.truth.shape[1]
    candidates = box_candidates(score[ends], right, ends + 1 - right, float(truth), images, rule)
    return rule.choose(candidates, name)


def call_boxes(
    classes: Sequence[Matches], class_names: Sequence[str], threshold: int, points: Mapping[str, float]
) -> Calls:
    """Count the calls of each image.

    Args:
        classes: matches of each class, in the whole range of areas (the first).
        class_names: in class order.
        threshold: number of the IoU threshold.
        points: lowest score of a call by class.
    """
    images = classes[0].truth.shape[1] if len(classes) else 0
    counts = np.full((3, images, len(classes)), np.nan)
    for k, (name, matches) in enumerate(zip(class_names, classes, strict=True)):
        if name in points:
            called = (matches.score >= points[name]) & ~matches.ignored[0, threshold]
            hit = matches.hit[0, threshold]
            tp = np.bincount(matches.image[called & hit], minlength=images)
            fp = np.bincount(matches.image[called & ~hit], minlength=images)
            counts[:, :, k] = tp, fp, matches.truth[0] - tp
    return Calls(*counts)


def call_rates(weights: FloatArray, calls: Calls) -> dict[str, FloatArray]:
    """``sensitivity@op``, ``precision@op`` and ``f1@op``, each ``(B, K)``, of weighted images; undefined = NaN.

    Args:
        weights: ``(B, n)``.
        calls: from :func:`call_boxes`.
    """
    tp, fp, fn = weights @ calls.tp, weights @ calls.fp, weights @ calls.fn
    values = rates(Counts(tp=tp, fp=fp, fn=fn, tn=np.zeros_like(tp)))
    return {f"{name}@op": values[name] for name in ("sensitivity", "precision", "f1")}
