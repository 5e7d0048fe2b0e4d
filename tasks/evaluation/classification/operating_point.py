"""Operating point: the threshold from which a score is a call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tasks.evaluation.operating_rules import YOUDEN, OperatingRule, case_candidates


def choose_operating_point(target: ArrayLike, score: ArrayLike, rule: OperatingRule = YOUDEN, name: str = "") -> float:
    """The threshold that a rule takes; ``score >= threshold`` is a call.

    Which it may take: :func:`tasks.evaluation.operating_rules.case_candidates`.

    Args:
        target: ``(n,)`` 1 = has the finding, 0 = has not, NaN = unknown (left out).
        score: ``(n,)`` probability of the finding, in [0, 1].
        rule: see there.
        name: of the class, for what is said.

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
    if len(levels) == 1 and rule is YOUDEN:
        return 0.5
    # Cases at and above each level, as whole numbers: ties between thresholds are exact.
    tp, fp = (
        np.cumsum(np.bincount(level[one], minlength=len(levels))[::-1])[::-1].astype(np.float64)
        for one in (positive, ~positive)
    )
    return rule.choose(case_candidates(levels, tp, fp, rule), name)


def operating_points(
    predictions: pd.DataFrame,
    kind: str,
    class_names: Sequence[str],
    positive_class: str | None,
    rule: OperatingRule = YOUDEN,
) -> dict[str, float]:
    """Choose the operating point of a binary target's positive class, or of each label of a multilabel one.

    Args:
        predictions: the rows of the validation part, with targets.
        kind: of target.
        class_names: in class order.
        positive_class: of a binary target.
        rule: by which it is chosen.

    Returns:
        Threshold by class; without those that cannot be chosen, and empty for other kinds of target.
    """
    if kind == "binary":
        positive = str(positive_class)
        target = predictions["target"]
        truth = (target == positive).astype(np.float64).mask(target.isna())
        chosen = {positive: choose_operating_point(truth, predictions[f"score_{positive}"], rule, positive)}
    elif kind == "multilabel":
        chosen = {
            name: choose_operating_point(
                pd.to_numeric(predictions[f"target_{name}"]).to_numpy(dtype=np.float64),
                predictions[f"score_{name}"],
                rule,
                name,
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
