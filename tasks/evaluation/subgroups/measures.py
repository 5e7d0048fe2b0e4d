"""What is compared between subgroups, by task: the headline metric first, each computed directly for any cases.

Sensitivity and specificity by subgroup are the equalised odds of M. Hardt, E. Price and N. Srebro, Equality of
opportunity in supervised learning, NeurIPS 2016; the false positive and false negative rates are what is left to 1.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.columns import read_multilabel, read_regression, read_single_label
from tasks.evaluation.classification.weighted import BoolArray
from tasks.evaluation.classification.weighted_scores import Ranking, rank
from tasks.evaluation.detection.calls import call_boxes
from tasks.evaluation.detection.froc import build_froc, froc_points
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.intervals.scales import LOG, LOGIT, PLAIN
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.subgroups.estimates import Measure, auroc_estimator, ratio_estimator

CALIBRATION = "mean_score_less_prevalence"
BIAS = "mean_error"
FOUND_BOXES = "pooled_sensitivity"
FALSE_BOXES = "false_positives_per_image"


def measures_of(tables: PartTables, resamples: int = 1000) -> list[Measure]:
    """The measures of a task, the most important one first.

    Args:
        tables: of the part, with all of its cases.
        resamples: of the studentised bootstrap of means of masks; 0 = Student's t.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    if tables.task.task == "segment":
        return [_dice(tables, resamples)]
    if tables.task.task == "detect":
        return _of_boxes(tables)
    if tables.kind == "regression":
        return _of_numbers(tables)
    return _of_labels(tables) if tables.kind == "multilabel" else _of_classes(tables)


def _of_classes(tables: PartTables) -> list[Measure]:
    """Of one class a case: AUROC; of two classes the calls and the mean score, of more the accuracy."""
    names = tables.task.class_names
    cases = read_single_label(tables.predictions, names)
    truth = cases.target[:, None] == np.arange(len(names))
    rankings = [
        rank(score, truth[:, k], np.ones(len(score), dtype=bool), np.delete(cases.score, k, axis=1).sum(axis=1))
        for k, score in enumerate(cases.score.T)
    ]
    rankings = [_of_table(ranking, cases.rows) for ranking in rankings]
    groups, size = tables.patients, len(tables.cases)
    if tables.positive_class is None:
        correct = _spread(cases.prediction == cases.target, cases.rows, size)
        known = _spread(np.ones(len(cases.rows)), cases.rows, size)
        return [
            Measure("auroc", label_of("auroc"), LOGIT, True, auroc_estimator(rankings, groups, one=False)),
            Measure("accuracy", label_of("accuracy"), LOGIT, False, ratio_estimator(correct, known, groups, LOGIT)),
        ]
    positive = names.index(tables.positive_class)
    there = truth[:, positive]
    point = "" if cases.at_operating_point is None else "@op"
    calls = cases.prediction if cases.at_operating_point is None else cases.at_operating_point
    called, decided = calls == positive, calls >= 0
    score = cases.score[:, positive]
    found = [Measure("auroc", label_of("auroc"), LOGIT, False, auroc_estimator([rankings[positive]], groups, one=True))]
    sides: tuple[tuple[str, BoolArray, BoolArray], ...] = (
        ("sensitivity", called, there),
        ("specificity", ~called, ~there),
    )
    for name, right, side in sides:
        numerator, denominator = (_spread(cells & decided, cases.rows, size) for cells in (right & side, side))
        count, counted = _spread(there, cases.rows, size)[:, 0], _spread(decided, cases.rows, size)[:, 0] > 0
        estimator = ratio_estimator(numerator, denominator, groups, LOGIT, positives=count, counted=counted)
        found.append(Measure(f"{name}{point}", label_of(f"{name}{point}"), LOGIT, False, estimator))
    more, every = _spread(score - there, cases.rows, size), _spread(np.ones(len(score)), cases.rows, size)
    estimator = ratio_estimator(more, every, groups, PLAIN, sides=_spread(there, cases.rows, size)[:, 0] > 0)
    return [*found, Measure(CALIBRATION, "mean score less share of positives", PLAIN, False, estimator, 0)]


def _of_labels(tables: PartTables) -> list[Measure]:
    """Of several labels a case: means over the labels."""
    names = tables.task.class_names
    cases = read_multilabel(tables.predictions, names)
    groups, size = tables.patients, len(tables.cases)
    rankings = [rank(*columns) for columns in zip(cases.score.T, cases.target.T, cases.known.T, strict=True)]
    rankings = [_of_table(ranking, cases.rows) for ranking in rankings]
    at_point = cases.at_operating_point
    point = "" if at_point is None else "@op"
    called: BoolArray = cases.prediction if at_point is None else at_point
    known: BoolArray = cases.known if at_point is None else cases.known_at_operating_point
    found = [Measure("auroc", label_of("auroc"), LOGIT, True, auroc_estimator(rankings, groups, one=False))]
    sides: tuple[tuple[str, BoolArray, BoolArray], ...] = (
        ("sensitivity", called, cases.target & known),
        ("specificity", ~called, ~cases.target & known),
    )
    for name, right, side in sides:
        numerator, denominator = (_spread(cells, cases.rows, size) for cells in (right & side, side))
        counted = _spread(np.asarray(known.any(axis=1)), cases.rows, size)[:, 0] > 0
        estimator = ratio_estimator(numerator, denominator, groups, LOGIT, counted=counted)
        found.append(Measure(f"{name}{point}", label_of(f"{name}{point}"), LOGIT, True, estimator))
    return found


def _of_numbers(tables: PartTables) -> list[Measure]:
    """Of a number a case: how far off it is, and on which side."""
    rows, target, prediction = read_regression(tables.predictions)
    size, groups = len(tables.cases), tables.patients
    known = _spread(np.ones(len(rows)), rows, size)
    off, signed = (_spread(error, rows, size) for error in (np.abs(prediction - target), prediction - target))
    return [
        Measure("mae", label_of("mae"), LOG, False, ratio_estimator(off, known, groups, LOG), -1),
        Measure(
            BIAS, "mean error (predicted less true)", PLAIN, False, ratio_estimator(signed, known, groups, PLAIN), 0
        ),
    ]


def _dice(tables: PartTables, resamples: int) -> Measure:
    """Mean Dice over the classes; of a class over the cases in which it is defined."""
    table = tables.predictions
    case = tables.cases["case_id"].reset_index(drop=True)
    rows = case.size
    place = dict(zip(case, range(rows), strict=True))
    names = [name for name in tables.task.class_names if (table["class"] == name).any()]
    values = np.full((rows, len(names)), np.nan)
    at = table["case_id"].map(place).to_numpy(dtype=np.intp)
    number = table["class"].map(dict(zip(names, range(len(names)), strict=True))).to_numpy(dtype=np.intp)
    values[at, number] = table["dice"].to_numpy(dtype=np.float64)
    defined = ~np.isnan(values)
    estimator = ratio_estimator(
        np.where(defined, values, 0.0), defined, tables.patients, LOGIT, resamples=max(1, resamples)
    )
    return Measure("dice", label_of("dice"), LOGIT, len(names) > 1, estimator)


def _of_boxes(tables: PartTables) -> list[Measure]:
    """Of boxes: the share of true ones that is called, and false calls an image, at the operating point.

    Average precision is left out: it depends on how many true boxes the images of a subgroup have. Where no operating
    point was chosen it is the score from which all images together have one false positive each.
    """
    names, groups = tables.task.class_names, tables.patients
    points, point = tables.task.operating_points, "@op"
    if not points:
        points, point = dict.fromkeys(names, _at_one_false(tables)), "@1fp"
    calls = call_boxes(tables.matches, names, 0, points)
    tp, fp, fn = (np.nan_to_num(counts) for counts in (calls.tp, calls.fp, calls.fn))
    found, true = tp.sum(axis=1, keepdims=True), (tp + fn).sum(axis=1, keepdims=True)
    images = np.ones((len(groups), 1))
    where = label_of(f"sensitivity{point}").removeprefix(label_of("sensitivity"))
    # All classes' boxes together: a class that is rare in a subgroup would spoil a mean.
    shares = ratio_estimator(found, true, groups, LOGIT, positives=true[:, 0], counted=images[:, 0] > 0)
    false = ratio_estimator(fp.sum(axis=1, keepdims=True), images, groups, LOG)
    return [
        Measure(f"{FOUND_BOXES}{point}", f"share of all true boxes found{where}", LOGIT, False, shares),
        Measure(FALSE_BOXES, "false positives an image", LOG, False, false, -1),
    ]


def _at_one_false(tables: PartTables) -> float:
    """The lowest score at which all images together have at most one false positive each."""
    curve = build_froc(tables.matches, tables.patients, 0)
    if not len(curve.ends):
        return 0.5
    rate = froc_points(np.ones((1, len(tables.cases))), curve)[0][0]
    return float(curve.score[curve.ends[max(0, int((rate <= 1).sum()) - 1)]])


def _of_table(ranking: Ranking, rows: IntArray) -> Ranking:
    """The same with case numbers of the whole table."""
    return Ranking(rows[ranking.order], ranking.positive, ranking.ends)


def _spread(values: FloatArray | BoolArray, rows: IntArray, size: int) -> FloatArray:
    """Of known cases, in the places of the whole table: ``(m,)`` or ``(m, K)`` -> ``(size, K)``, 0 elsewhere."""
    columns = np.asarray(values, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    placed = np.zeros((size, columns.shape[1]))
    placed[rows] = columns
    return placed
