"""Uncertainty and error of each case, from tables of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.evaluation.uncertainty.cases import (
    ENTROPY,
    MARGIN,
    MASKS,
    NEARNESS,
    SPREAD,
    case_uncertainty,
    entropy,
    nearness,
)
from tests.tasks.evaluation.part_tables import KINDS, part_tables


def test_entropy_is_that_of_scipy_as_a_share_of_the_largest() -> None:
    score = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    np.testing.assert_allclose(entropy(score), stats.entropy(score, axis=1) / np.log(5), rtol=1e-12)
    assert entropy(np.array([[0.0, 1.0], [0.5, 0.5]])).tolist() == [0.0, 1.0]


def test_nearness_is_1_at_the_operating_point_and_0_at_both_ends() -> None:
    assert nearness(np.array([0.0, 0.1, 0.2, 0.6, 1.0]), 0.2) == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])
    assert nearness(np.array([0.0, 0.5]), 0.0).tolist() == [1.0, 0.5]
    assert nearness(np.array([1.0, 0.0]), 1.0).tolist() == [0.0, 0.0]


def test_binary_cases_are_wrong_by_the_calls_at_the_operating_point() -> None:
    tables = part_tables("binary")
    found = case_uncertainty(tables)
    assert list(found.measures) == [NEARNESS, ENTROPY]
    wrong = tables.predictions["prediction_op"] != tables.predictions["target"]
    assert (found.error == wrong).all()
    at_point = np.abs(tables.predictions["score_ill"] - 0.4).argmin()
    assert found.measures[NEARNESS].argmax() == at_point
    called, true = found.describe(3)
    assert (called, true) == tuple(tables.predictions.loc[3, ["prediction_op", "target"]])


def test_measures_of_several_classes() -> None:
    found = case_uncertainty(part_tables("multiclass"))
    assert list(found.measures) == [ENTROPY, MARGIN]


def test_a_spread_in_the_table_is_a_measure() -> None:
    tables = part_tables("regression")
    assert not case_uncertainty(tables).measures
    tables.predictions["uncertainty"] = np.linspace(0, 1, len(tables.cases))
    assert list(case_uncertainty(tables).measures) == [SPREAD]
    masks = part_tables("segment")
    assert not case_uncertainty(masks).measures
    masks.predictions["uncertainty"] = 0.25
    assert (case_uncertainty(masks).measures[MASKS] == 0.25).all()


def test_classes_that_are_nowhere_near_have_no_part_in_the_uncertainty_of_masks() -> None:
    masks = part_tables("segment")
    table, ids = masks.predictions, masks.cases["case_id"].tolist()
    nowhere, both = table["case_id"] == ids[3], table["case_id"] == ids[5]
    table["uncertainty"] = np.where(table["class"] == "liver", 0.5, 0.0)
    table.loc[nowhere, "uncertainty"] = 0.0
    table.loc[both, "uncertainty"] = [0.5, 0.25]
    expected = np.full(len(ids), 0.5)
    expected[3], expected[5] = 0, 0.375
    np.testing.assert_array_equal(case_uncertainty(masks).measures[MASKS], expected)
    table.loc[both, "uncertainty"] = np.nan  # unknown is not sure
    assert not case_uncertainty(masks).measures


def test_a_case_of_several_labels_is_wrong_where_any_known_one_is() -> None:
    tables = part_tables("multilabel")
    found = case_uncertainty(tables)
    table = tables.predictions
    wrong = np.zeros(len(table), dtype=bool)
    for name in tables.task.class_names:
        wrong |= (
            table[f"target_{name}"].notna() & (table[f"target_{name}"] != table[f"prediction_op_{name}"])
        ).to_numpy()
    assert (found.error == wrong[found.rows]).all()


def test_images_are_wrong_where_a_box_is_missed_or_false() -> None:
    tables = part_tables("detect")
    found = case_uncertainty(tables)
    calls = tables.predictions[tables.predictions["score"] >= 0.4]
    false = calls[calls["x1"] == 200].groupby("case_id").size()
    assert set(tables.cases["case_id"][found.rows[found.error == 1]]) >= set(false.index)
    assert found.share


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_error_for_each_case(kind: str) -> None:
    tables = part_tables(kind, patients=20)
    found = case_uncertainty(tables)
    assert len(found.error) == len(found.rows) == len(tables.cases)
    assert (found.error >= 0).all()
    assert all(np.isfinite(values).all() for values in found.measures.values())
    assert all(isinstance(word, str) for word in found.describe(0))
