"""Operating points chosen on a table of predictions, and the calls they add to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.classification.metrics import classification_metrics
from tasks.evaluation.classification.operating_point import call_at, choose_operating_point, operating_points
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

BINARY = ["benign", "malignant"]


def binary(scores: list[float], malignant: list[int | None]) -> pd.DataFrame:
    target = pd.Series([None if m is None else BINARY[m] for m in malignant], dtype="str")
    score = np.array(scores)
    return pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(len(scores))],
            "target": target,
            "prediction": np.where(score > 0.5, "malignant", "benign"),
            "score_benign": 1 - score,
            "score_malignant": score,
        }
    )


def test_binary_is_the_positive_class_alone() -> None:
    table = binary([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1])
    assert operating_points(table, "binary", BINARY, "malignant") == pytest.approx({"malignant": 0.25})
    assert operating_points(table, "binary", BINARY, "benign") == pytest.approx({"benign": 0.75})


def test_binary_leaves_unknown_targets_out() -> None:
    table = binary([0.1, 0.2, 0.3, 0.4, 0.22, 0.28], [0, 0, 1, 1, None, None])
    assert operating_points(table, "binary", BINARY, "malignant") == pytest.approx({"malignant": 0.25})


@pytest.mark.parametrize("present", [0, 1])
def test_binary_with_one_class_has_none_and_no_column(present: int) -> None:
    table = binary([0.1, 0.6], [present, present])
    points = operating_points(table, "binary", BINARY, "malignant")
    assert points == {}
    assert "prediction_op" not in call_at(table, points, "binary", BINARY, "malignant")


def test_calls_of_a_binary_target_by_name() -> None:
    table = binary([0.1, 0.25, 0.3, 0.4], [0, 0, 1, 1])
    called = call_at(table, {"malignant": 0.25}, "binary", BINARY, "malignant")
    assert called["prediction_op"].tolist() == ["benign", "malignant", "malignant", "malignant"]
    turned = call_at(table, {"benign": 0.75}, "binary", BINARY, "benign")
    assert turned["prediction_op"].tolist() == ["benign", "benign", "malignant", "malignant"]
    assert "prediction_op" not in table
    assert called["prediction"].tolist() == table["prediction"].tolist()


def test_the_figures_at_the_chosen_point_have_the_best_youden_index() -> None:
    table = single_label(200, BINARY, seed=3)
    points = operating_points(table, "binary", BINARY, "malignant")
    called = call_at(table, points, "binary", BINARY, "malignant")
    metrics = classification_metrics(called, "binary", BINARY, "malignant", resamples=0)
    youden = metrics["sensitivity@op"].value + metrics["specificity@op"].value - 1
    known = table[table["target"].notna()]
    positive = (known["target"] == "malignant").to_numpy()
    score = known["score_malignant"].to_numpy()
    possible = [
        (score[positive] >= t).mean() + (score[~positive] < t).mean() - 1 for t in np.unique(np.append(score, 1.1))
    ]
    assert youden == pytest.approx(max(possible))
    assert metrics["sensitivity"].value + metrics["specificity"].value - 1 < youden + 1e-9


def test_multilabel_has_a_point_for_each_label_that_can_have_one() -> None:
    table = multilabel(150, seed=1).drop(columns=[f"prediction_op_{name}" for name in LABELS])
    points = operating_points(table, "multilabel", LABELS, None)
    assert set(points) == {"mass", "oedema", "007"}  # hernia occurs nowhere
    for name, threshold in points.items():
        assert threshold == choose_operating_point(table[f"target_{name}"], table[f"score_{name}"])

    called = call_at(table, points, "multilabel", LABELS, None)
    added = [column for column in called.columns if column.startswith("prediction_op_")]
    assert added == ["prediction_op_mass", "prediction_op_oedema", "prediction_op_007"]
    for name, threshold in points.items():
        expected = (table[f"score_{name}"] >= threshold).astype(int)
        assert called[f"prediction_op_{name}"].tolist() == expected.tolist()
    metrics = classification_metrics(called, "multilabel", LABELS, resamples=0)
    assert metrics["sensitivity@op/007"].value > metrics["sensitivity/007"].value  # never called at 0.5


def test_targets_that_came_back_as_objects_are_read() -> None:
    table = multilabel(60, seed=2)
    table["target_mass"] = [None if np.isnan(cell) else int(cell) for cell in table["target_mass"]]
    table["target_mass"] = table["target_mass"].astype(object)
    table["target_hernia"] = pd.Series([None] * len(table), dtype=object)
    points = operating_points(table, "multilabel", LABELS, None)
    assert points["mass"] == operating_points(multilabel(60, seed=2), "multilabel", LABELS, None)["mass"]
    assert "hernia" not in points


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "regression"])
def test_other_kinds_have_none(kind: str) -> None:
    table = single_label(30, ["a", "b", "c"], seed=0)
    assert operating_points(table, kind, ["a", "b", "c"], None) == {}
    pd.testing.assert_frame_equal(call_at(table, {}, kind, ["a", "b", "c"], None), table)


def test_a_float32_score_is_compared_in_double_precision() -> None:
    table = binary([0.1, 0.3], [0, 1])
    table["score_malignant"] = table["score_malignant"].astype("float32")
    just_above = float(np.float32(0.3)) + 1e-12  # rounds to the score itself in float32
    called = call_at(table, {"malignant": just_above}, "binary", BINARY, "malignant")
    assert called["prediction_op"].tolist() == ["benign", "benign"]


def test_an_undefined_score_is_no_call() -> None:
    table = binary([0.9, np.nan], [1, 0])
    called = call_at(table, {"malignant": 0.5}, "binary", BINARY, "malignant")
    assert called["prediction_op"].tolist() == ["malignant", "benign"]
