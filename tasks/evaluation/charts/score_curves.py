"""Points of ROC and precision-recall curves, by case; the areas are those of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.classification.columns import read_multilabel, read_single_label
from tasks.evaluation.classification.weighted_scores import rank, ranking_areas

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreCurve:
    """What a threshold that goes down from the highest score calls, for one class against the rest.

    Attributes:
        name: of the class.
        number: of the class, for its colour.
        sensitivity: ``(g + 1,)`` at each distinct score, from 0 on; NaN where no case has the class.
        false_positive_rate: ``(g + 1,)`` likewise; NaN where every case has it.
        precision: ``(g,)`` without the start.
        auroc: area under the ROC curve; NaN = undefined.
        average_precision: NaN = undefined.
        prevalence: share of the cases that have the class.
        n: cases.
        threshold: operating point; None = there is none.
        point: sensitivity, false positive rate and precision at it; None = there is none.
    """

    name: str
    number: int
    sensitivity: FloatArray
    false_positive_rate: FloatArray
    precision: FloatArray
    auroc: float
    average_precision: float
    prevalence: float
    n: int
    threshold: float | None = None
    point: tuple[float, float, float] | None = None


def score_curve(
    name: str,
    number: int,
    score: FloatArray,
    target: NDArray[np.bool_],
    known: NDArray[np.bool_],
    rest: FloatArray | None = None,
    threshold: float | None = None,
) -> ScoreCurve:
    """The curve of one class; its areas are those of ``metrics.json``.

    Args:
        name: of the class.
        number: of the class.
        score: ``(n,)``.
        target: ``(n,)`` the case has it.
        known: ``(n,)`` the truth is known; other cases are left out.
        rest: see :func:`~tasks.evaluation.classification.weighted_scores.rank`.
        threshold: operating point.
    """
    ranking = rank(score, target, known, rest)
    found = np.cumsum(ranking.positive)[ranking.ends]
    called = (ranking.ends + 1).astype(np.float64)
    positives, n = float(ranking.positive.sum()), len(ranking.order)
    auroc, average_precision = (float(area[0]) for area in ranking_areas(np.ones((1, len(score))), ranking))

    def share(counts: FloatArray, total: float) -> FloatArray:
        return np.append(0.0, counts) / total if total else np.full(len(counts) + 1, np.nan)

    point = None
    if threshold is not None and n:
        calls = score[known] >= threshold
        true, false = float((calls & target[known]).sum()), float((calls & ~target[known]).sum())
        of = (positives, n - positives, true + false)
        point = tuple(part / whole if whole else np.nan for part, whole in zip((true, false, true), of, strict=True))
    return ScoreCurve(
        name,
        number,
        share(found, positives),
        share(called - found, n - positives),
        found / called,
        auroc,
        average_precision,
        positives / n if n else np.nan,
        n,
        threshold,
        point,  # type: ignore[arg-type]
    )


def score_curves(
    predictions: pd.DataFrame,
    kind: str,
    class_names: Sequence[str],
    positive_class: str | None,
    points: Mapping[str, float],
) -> tuple[pd.Series, list[ScoreCurve]]:
    """Curves of the classes of a target, and the ids of the cases with a known truth.

    Args:
        predictions: the rows of one part.
        kind: ``binary`` (one curve, of the positive class: the other one's is its mirror image), ``multiclass`` or
            ``multilabel``.
        class_names: in class order.
        positive_class: of a binary target; None = the last.
        points: operating point by class.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    if kind == "multilabel":
        labels = read_multilabel(predictions, class_names)
        curves = [
            score_curve(
                name, k, labels.score[:, k], labels.target[:, k], labels.known[:, k], threshold=points.get(name)
            )
            for k, name in enumerate(class_names)
        ]
        return predictions["case_id"].iloc[labels.rows], curves
    cases = read_single_label(predictions, class_names)
    positive = list(class_names).index(positive_class) if positive_class is not None else len(class_names) - 1
    curves = [
        score_curve(
            class_names[k],
            k,
            cases.score[:, k],
            cases.target == k,
            np.ones(len(cases.target), dtype=bool),
            np.delete(cases.score, k, axis=1).sum(axis=1),
            points.get(class_names[k]),
        )
        for k in ([positive] if kind == "binary" else range(len(class_names)))
    ]
    return predictions["case_id"].iloc[cases.rows], curves
