"""Measures of cases: against the metrics of the same tables, case by case."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.gallery.measures import case_measures
from tasks.evaluation.pictures.box_overlays import case_f1
from tasks.evaluation.task_file import RunTask
from tasks.evaluation.uncertainty.cases import ENTROPY, case_uncertainty
from tests.tasks.evaluation.box_data import as_tables, names, random_images
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label


def classified(kind: str, predictions: pd.DataFrame, class_names: list[str]) -> PartTables:
    task = RunTask("classify", class_names, {}, {"target": kind, "positive_class": class_names[-1]})
    return PartTables(task, "test", predictions[["case_id", "split"]], predictions)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_one_class_a_case(kind: str) -> None:
    classes = ["NA", "score_x"] if kind == "binary" else ["NA", "score_x", "<b>"]
    table = single_label(60, classes, 0)
    table["prediction_op"] = classes[-1] if kind == "binary" else table["prediction"]
    found = case_measures(classified(kind, table, classes))
    for row, case in table.iterrows():
        at = int(str(row))
        if pd.isna(case["target"]):
            assert np.isnan(found.value[at])
            assert found.group[at] == -1
            kinds = (found.false_positive, found.false_negative, found.wrong_class)
            assert not any(one[at] for one in kinds)
            continue
        assert found.value[at] == case[f"score_{case['target']}"]
        assert classes[found.group[at]] == case["target"]
        called = case["prediction_op"] if kind == "binary" else case["prediction"]
        assert found.false_positive[at] == (kind == "binary" and case["target"] == classes[0])
        assert not found.false_negative[at]  # all are called
        assert found.wrong_class[at] == (kind != "binary" and called != case["target"])


def test_several_labels_a_case() -> None:
    table = multilabel(80, 1)
    found = case_measures(classified("multilabel", table, list(LABELS)))
    assert not found.higher_is_better
    for row, case in table.iterrows():
        at = int(str(row))
        known = [name for name in LABELS if not pd.isna(case[f"target_{name}"])]
        if not known:
            assert np.isnan(found.value[at])
            continue
        right = [case[f"score_{n}"] if case[f"target_{n}"] == 1 else 1 - case[f"score_{n}"] for n in known]
        assert found.value[at] == pytest.approx(-np.mean([math.log(max(one, 1e-12)) for one in right]))
        calls = {n: (case[f"prediction_op_{n}"] == 1, case[f"target_{n}"] == 1) for n in known}
        assert found.false_positive[at] == any(call and not true for call, true in calls.values())
        assert found.false_negative[at] == any(true and not call for call, true in calls.values())


def test_numbers() -> None:
    table = pd.DataFrame({"case_id": list("abc"), "split": "test", "target": [1, np.nan, 5], "prediction": [3, 1, 4.5]})
    found = case_measures(classified("regression", table, ["size"]))
    np.testing.assert_array_equal(found.value, [2, np.nan, 0.5])
    np.testing.assert_array_equal(found.goodness, [-2, np.nan, -0.5])
    assert np.isnan(found.uncertainty).all()


def test_masks() -> None:
    table = pd.DataFrame(
        [("a", "x", 0.5, 5, 5, 5), ("a", "y", np.nan, 0, 0, 0), ("b", "x", 0.0, 0, 9, 0), ("b", "y", 0.0, 0, 0, 7)],
        columns=["case_id", "class", "dice", "tp", "fp", "fn"],
    )
    cases = pd.DataFrame({"case_id": ["b", "c", "a"], "split": "test"})
    tables = PartTables(RunTask("segment", ["0", "x", "y"], {}), "test", cases, table)
    found = case_measures(tables)
    np.testing.assert_array_equal(found.value, [0, np.nan, 0.5])
    assert found.false_positive.tolist() == found.false_negative.tolist() == [True, False, False]
    bare = PartTables(tables.task, "test", cases, table[["case_id", "dice"]])
    np.testing.assert_array_equal(case_measures(bare).value, found.value)
    with pytest.raises(SuiteError, match="no column 'dice'"):
        case_measures(PartTables(tables.task, "test", cases, table[["case_id"]]))


@pytest.mark.parametrize("points", [{}, {"k0": 0.3, "k1": 0.9, "k2": 0.1, "never found": 0.5, "never true": 0.5}])
def test_boxes_as_the_overlays_rank_them(points: dict[str, float]) -> None:
    cases, targets, predictions = as_tables(*random_images(3), names())
    tables = PartTables(
        RunTask("detect", names(), points, {"max_detections": 100}),
        "test",
        cases.assign(split="test"),
        predictions,
        targets,
    )
    found = case_measures(tables)
    ids = [str(case) for case in cases["case_id"]]
    np.testing.assert_allclose(found.value, case_f1(ids, targets, predictions, points).to_numpy())
    assert (found.false_positive | found.false_negative)[found.value < 1].all()
    assert not (found.false_positive | found.false_negative)[found.value == 1].any()


def test_a_detector_that_finds_nothing() -> None:
    cases, targets, predictions = as_tables(*random_images(3), names())
    task = RunTask("detect", names(), {}, {"max_detections": 100})
    found = case_measures(PartTables(task, "test", cases, predictions.iloc[:0], targets))
    assert not found.false_positive.any()
    assert set(found.value[~np.isnan(found.value)]) == {0}


def test_the_most_uncertain_are_those_for_a_second_reader() -> None:
    tables = classified("multiclass", single_label(60, ["a", "b", "c"], 0), ["a", "b", "c"])
    own, found = case_measures(tables), case_uncertainty(tables)
    assert own.uncertainty_name == next(iter(found.measures)) == ENTROPY
    np.testing.assert_array_equal(own.uncertainty[found.rows], found.measures[ENTROPY])
    assert np.isnan(np.delete(own.uncertainty, found.rows)).all()


def test_other_tasks() -> None:
    with pytest.raises(SuiteError, match="not judged from tables alone"):
        case_measures(PartTables(RunTask("count", [], {}), "test", pd.DataFrame(), pd.DataFrame()))
