"""How uncertain the model is of each case, and how wrong it was there, from the tables of a part.

What of the uncertainty is there depends on the tables: scores of classes have an entropy and a distance from the
operating point; ``uncertainty`` is the entropy of a class's mask, and where several models or passes classified, their
spread. Sources: C. E. Shannon, Bell
System Technical Journal 27:379-423, 1948; A. Malinin and M. Gales, NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.columns import read_multilabel, read_regression, read_single_label
from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.detection.boxes import read_boxes
from tasks.evaluation.detection.calls import call_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import IntArray

STORED = "uncertainty"  # column of the predictions table
SPREAD, MASKS = "spread between models or views", "entropy of the masks"
ENTROPY, NEARNESS, MARGIN = "entropy of the scores", "nearness to the operating point", "margin of the two best classes"
NEAREST_BOX, EXPECTED = "box nearest to the operating point", "expected wrong calls"

MOST_WRONG = 0.9  # of the images


@dataclass(frozen=True, eq=False)
class CaseUncertainty:
    """Cases of a part whose truth is known.

    Attributes:
        rows: ``(m,)`` their places in ``cases``.
        error: ``(m,)`` 1 = wrong; where ``share`` is False how wrong, 0 or more.
        share: the error is wrong or right.
        error_name: what is wrong, in a word or two.
        measures: ``(m,)`` of uncertainty by name, larger = more uncertain; the first is used for the list of cases.
            Empty = the tables say nothing of it.
        describe: of the case in a place of ``rows`` what was predicted and what is true, in words.
    """

    rows: IntArray
    error: FloatArray
    share: bool
    error_name: str
    measures: Mapping[str, FloatArray]
    describe: Callable[[int], tuple[str, str]]

    @cached_property
    def counted(self) -> bool:
        """Whether errors are counted: cases, or boxes."""
        return bool((self.error == np.floor(self.error)).all())


def case_uncertainty(tables: PartTables) -> CaseUncertainty:
    """Uncertainty and error of each case.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    if tables.task.task == "segment":
        return _of_masks(tables)
    if tables.task.task == "detect":
        return _of_boxes(tables)
    if tables.kind == "regression":
        return _of_numbers(tables)
    return _of_labels(tables) if tables.kind == "multilabel" else _of_classes(tables)


def entropy(score: FloatArray) -> FloatArray:
    """Entropy of probabilities, 0 (certain) to 1 (all alike): ``(n, K)`` -> ``(n,)``."""
    held = np.clip(score, 0, 1)
    terms = np.zeros_like(held)
    np.log(held, out=terms, where=held > 0)
    found: FloatArray = -(held * terms).sum(axis=1) / np.log(max(2, score.shape[1]))
    return np.minimum(found, 1.0)


def nearness(score: FloatArray, point: float) -> FloatArray:
    """How near scores are to an operating point: 1 at it, 0 at the ends of the range.

    Args:
        score: of any shape, 0..1.
        point: threshold from which a score is a call.
    """
    side = np.where(score < point, point, 1 - point)
    away = np.divide(np.abs(score - point), side, out=np.ones_like(score), where=side > 0)
    near: FloatArray = np.clip(1 - away, 0, 1)
    return near


def _of_classes(tables: PartTables) -> CaseUncertainty:
    names = tables.task.class_names
    cases = read_single_label(tables.predictions, names)
    calls, kept = cases.prediction, np.ones(len(cases.rows), dtype=bool)
    measures: dict[str, FloatArray] = {}
    positive = tables.positive_class
    point = tables.task.operating_points.get(positive) if positive is not None else None
    if cases.at_operating_point is not None and positive is not None and point is not None:
        calls, kept = cases.at_operating_point, cases.at_operating_point >= 0
        measures[NEARNESS] = nearness(cases.score[:, names.index(positive)], point)
    measures[ENTROPY] = entropy(cases.score)
    if len(names) > 2:
        best = np.sort(cases.score, axis=1)[:, -2:]
        measures[MARGIN] = 1 - (best[:, 1] - best[:, 0])
    measures |= _stored(tables, cases.rows)
    called, true = calls[kept], cases.target[kept]
    return CaseUncertainty(
        cases.rows[kept],
        (calls != cases.target)[kept].astype(np.float64),
        True,
        "wrong calls",
        {name: values[kept] for name, values in measures.items()},
        lambda place: (names[called[place]], names[true[place]]),
    )


def _of_labels(tables: PartTables) -> CaseUncertainty:
    """A case is wrong where any of its known labels is."""
    names = tables.task.class_names
    cases = read_multilabel(tables.predictions, names)
    points, calls, known = dict.fromkeys(names, 0.5), cases.prediction, cases.known
    if cases.at_operating_point is not None:
        points |= tables.task.operating_points
        calls, known = cases.at_operating_point, cases.known_at_operating_point
    kept = known.any(axis=1)
    near = np.stack([nearness(cases.score[:, k], points[name]) for k, name in enumerate(names)], axis=1)
    both = np.stack([entropy(np.stack([column, 1 - column], axis=1)) for column in cases.score.T], axis=1)
    # The label nearest to its point decides whether any is wrong.
    measures = {NEARNESS: _highest(near), "mean " + ENTROPY: np.nan_to_num(both).mean(axis=1)}
    measures |= _stored(tables, cases.rows)
    called, true = calls[kept], (cases.target & cases.known)[kept]
    return CaseUncertainty(
        cases.rows[kept],
        ((calls != cases.target) & known).any(axis=1)[kept].astype(np.float64),
        True,
        "cases with a wrong label",
        {name: values[kept] for name, values in measures.items()},
        lambda place: (_listed(called[place], names), _listed(true[place], names)),
    )


def _of_numbers(tables: PartTables) -> CaseUncertainty:
    rows, target, prediction = read_regression(tables.predictions)
    return CaseUncertainty(
        rows,
        np.abs(prediction - target),
        False,
        "absolute errors",
        _stored(tables, rows),
        lambda place: (f"{prediction[place]:.4g}", f"{target[place]:.4g}"),
    )


def _of_masks(tables: PartTables) -> CaseUncertainty:
    """The error is 1 less the mean Dice over the classes; cases in which none is defined are left out.

    Uncertainty is the mean over the classes that have any: as in the mean Dice, those that are far from being called
    have no part in it.
    """
    by_case = tables.predictions.groupby("case_id", sort=False)
    ids = tables.cases["case_id"]
    dice = by_case["dice"].mean().reindex(ids).to_numpy(dtype=np.float64)
    rows = np.flatnonzero(~np.isnan(dice)).astype(np.intp)
    measures: dict[str, FloatArray] = {}
    if STORED in tables.predictions:
        told = pd.to_numeric(tables.predictions[STORED], errors="coerce").astype(np.float64)
        case = tables.predictions["case_id"]
        every, some = (
            table.groupby(case, sort=False).mean().reindex(ids).to_numpy(dtype=np.float64)[rows]
            for table in (told, told.where(told > 0))
        )
        if len(rows) and np.isfinite(every).all():
            measures[MASKS] = np.where(np.isnan(some), every, some)
    return CaseUncertainty(
        rows, 1 - dice[rows], False, "losses of Dice", measures, lambda place: (f"Dice {dice[rows[place]]:.3f}", "")
    )


def _of_boxes(tables: PartTables) -> CaseUncertainty:
    """An image is wrong where a true box is missed or a call is false, at the operating points.

    Where nearly all images are, as in counting cells, it is counted how many boxes are.
    """
    names, points = tables.task.class_names, tables.task.operating_points
    if not points:
        return CaseUncertainty(np.zeros(0, dtype=np.intp), np.zeros(0), True, "images", {}, lambda place: ("", ""))
    assert tables.targets is not None
    calls = call_boxes(tables.matches, names, 0, points)
    tp, fp, fn = (np.nan_to_num(counts).sum(axis=1) for counts in (calls.tp, calls.fp, calls.fn))
    boxes = read_boxes(tables.cases, tables.targets, tables.predictions, names)
    level = np.array([points.get(name, np.nan) for name in names])[boxes.label]
    own = ~np.isnan(level)
    image, score, level = boxes.image[own], boxes.score[own], level[own]
    near, expected = np.zeros((2, boxes.images))
    side = np.where(score < level, level, 1 - level)
    away = np.divide(np.abs(score - level), side, out=np.ones_like(score), where=side > 0)
    np.maximum.at(near, image, np.clip(1 - away, 0, 1))
    np.add.at(expected, image, np.where(score >= level, 1 - score, score))
    wrong = ((fp + fn) > 0).astype(np.float64)
    share = bool(boxes.images and wrong.mean() <= MOST_WRONG)
    return CaseUncertainty(
        np.arange(boxes.images, dtype=np.intp),
        wrong if share else fp + fn,
        share,
        "images with a missed box or a false one" if share else "missed and false boxes",
        {EXPECTED: expected, NEAREST_BOX: near},
        lambda i: (f"{tp[i] + fp[i]:.0f} called, {fp[i]:.0f} false", f"{tp[i] + fn[i]:.0f} true, {fn[i]:.0f} missed"),
    )


def _stored(tables: PartTables, rows: IntArray) -> dict[str, FloatArray]:
    """The column ``uncertainty`` of the predictions, where there is one that is known for all cases."""
    if STORED not in tables.predictions:
        return {}
    values = pd.to_numeric(tables.predictions[STORED], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return {SPREAD: values[rows]} if len(rows) and np.isfinite(values[rows]).all() else {}


def _highest(values: FloatArray) -> FloatArray:
    """Largest of each row; 0 of rows and columns without a score."""
    highest: FloatArray = np.nan_to_num(values).max(axis=1, initial=0.0)
    return highest


def _listed(cells: BoolArray, names: list[str]) -> str:
    """Names of the labels of a case, ``(L,)``."""
    return ", ".join(name for name, there in zip(names, cells, strict=True) if there) or "none"
