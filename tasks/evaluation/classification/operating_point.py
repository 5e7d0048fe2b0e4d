"""Operating point: the threshold from which a score is a call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def choose_operating_point(target: ArrayLike, score: ArrayLike) -> float:
    """The threshold with the largest Youden index J = sensitivity + specificity - 1; ``score >= threshold`` is a call.

    Candidates are the midpoints between neighbouring distinct scores (see :func:`between`). Of equally good ones the
    nearest to 0.5 is taken. Source: W. J. Youden,
    Index for rating diagnostic tests, Cancer 3:32-35, 1950.

    Args:
        target: ``(n,)`` 1 = has the finding, 0 = has not, NaN = unknown (left out).
        score: ``(n,)`` probability of the finding, in [0, 1].

    Returns:
        The threshold; 0.5 where all scores are the same; NaN where every known target is of one class.
    """
    truth, scores = np.asarray(target, dtype=np.float64), np.asarray(score, dtype=np.float64)
    known = ~np.isnan(truth)
    positive, scores = truth[known] == 1, scores[known]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return math.nan
    levels, level = np.unique(scores, return_inverse=True)
    if len(levels) == 1:
        return 0.5
    midpoints = between(levels[:-1], levels[1:])
    # Cases below each midpoint, as whole numbers: ties between thresholds are exact.
    missed = np.cumsum(np.bincount(level[positive], minlength=len(levels)))[:-1]
    rejected = np.cumsum(np.bincount(level[~positive], minlength=len(levels)))[:-1]
    youden = (positives - missed) * negatives + rejected * positives
    best = midpoints[youden == youden.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def between(lower: NDArray[np.float64], higher: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thresholds that part scores: above the lower and at most the higher one.

    They are midpoints, so that rounding a score on its way through a table of fewer digits cannot move it to the other
    side; near 1 two scores may have no number between them, and the midpoint would round to the lower.
    """
    middle = (lower + higher) / 2
    return np.where(middle > lower, middle, higher)


def operating_points(
    predictions: pd.DataFrame, kind: str, class_names: Sequence[str], positive_class: str | None
) -> dict[str, float]:
    """Choose the operating point of a binary target's positive class, or of each label of a multilabel one.

    Args:
        predictions: the rows of the validation part, with targets.
        kind: of target.
        class_names: in class order.
        positive_class: of a binary target.

    Returns:
        Threshold by class; without those that cannot be chosen, and empty for other kinds of target.
    """
    if kind == "binary":
        positive = str(positive_class)
        target = predictions["target"]
        truth = (target == positive).astype(np.float64).mask(target.isna())
        chosen = {positive: choose_operating_point(truth, predictions[f"score_{positive}"])}
    elif kind == "multilabel":
        chosen = {
            name: choose_operating_point(
                pd.to_numeric(predictions[f"target_{name}"]).to_numpy(dtype=np.float64), predictions[f"score_{name}"]
            )
            for name in class_names
        }
    else:
        chosen = {}
    return {name: threshold for name, threshold in chosen.items() if not math.isnan(threshold)}


def call_at(
    predictions: pd.DataFrame,
    points: Mapping[str, float],
    kind: str,
    class_names: Sequence[str],
    positive_class: str | None,
) -> pd.DataFrame:
    """Add ``prediction_op`` (``prediction_op_<label>``): what is called at the operating points.

    Args:
        predictions: rows with scores.
        points: threshold by class, from :func:`operating_points`; nothing is added for other classes.
        kind: of target.
        class_names: in class order.
        positive_class: of a binary target.
    """
    added: dict[str, object] = {}
    if kind == "binary" and points:
        positive = str(positive_class)
        negative = next(name for name in class_names if name != positive)
        added["prediction_op"] = np.where(_called(predictions, positive, points), positive, negative)
    elif kind == "multilabel":
        for name in points:
            added[f"prediction_op_{name}"] = _called(predictions, name, points).astype(int)
    return predictions.assign(**added)  # type: ignore[arg-type]


def _called(predictions: pd.DataFrame, name: str, points: Mapping[str, float]) -> NDArray[np.bool_]:
    # In double precision: a float32 column would round the threshold before it is compared.
    return predictions[f"score_{name}"].to_numpy(dtype=np.float64) >= points[name]
