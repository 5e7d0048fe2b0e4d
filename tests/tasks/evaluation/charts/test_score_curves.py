from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tasks.evaluation.charts.score_curves import score_curve, score_curves
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40
    ).filter(lambda cases: len({truth for _, truth in cases}) == 2)
)
def test_points_and_areas_are_those_of_sklearn(cases: list[tuple[float, bool]]) -> None:
    score, truth = np.array([score for score, _ in cases]), np.array([truth for _, truth in cases])
    curve = score_curve("ill", 0, score, truth, np.ones(len(cases), dtype=bool))
    rates = sk.roc_curve(truth, score, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, rates[0], atol=1e-12)
    np.testing.assert_allclose(curve.sensitivity, rates[1], atol=1e-12)
    precision, recall, _ = sk.precision_recall_curve(truth, score)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(curve.sensitivity[1:], recall[:-1][::-1], atol=1e-12)
    # The number in the legend is the area under the line that is drawn.
    assert curve.auroc == pytest.approx(np.trapezoid(curve.sensitivity, curve.false_positive_rate), abs=1e-9)
    assert curve.average_precision == pytest.approx(np.sum(np.diff(curve.sensitivity) * curve.precision), abs=1e-9)


def test_the_operating_point_is_where_the_table_calls() -> None:
    frame = multilabel(80, 3)
    ids, curves = score_curves(frame, "multilabel", LABELS, None, dict.fromkeys(LABELS, 0.3))
    assert len(ids) == 79  # the first has no known label
    for name, curve in zip(LABELS, curves, strict=True):
        known = frame[frame[f"target_{name}"].notna()]
        assert curve.n == len(known)
        truth, called = known[f"target_{name}"] == 1, known[f"prediction_op_{name}"] == 1
        assert curve.point is not None
        if name == "hernia":  # occurs nowhere
            assert np.isnan(curve.auroc)
            assert np.isnan(curve.point[0])
            continue
        assert curve.point[0] == pytest.approx(sk.recall_score(truth, called))
        assert curve.point[1] == pytest.approx(1 - sk.recall_score(~truth, ~called))
        assert curve.point[2] == pytest.approx(sk.precision_score(truth, called, zero_division=np.nan), nan_ok=True)


def test_a_binary_target_has_the_curve_of_its_positive_class() -> None:
    names = ["ill", "well"]
    frame = single_label(50, names, 1)
    known = frame["target"].notna()
    for positive, expected in ((None, "well"), ("ill", "ill")):
        ids, (curve,) = score_curves(frame, "binary", names, positive, {})
        assert (curve.name, curve.point) == (expected, None)
        assert list(ids) == list(frame["case_id"][known])
        truth = frame["target"][known] == expected
        assert curve.auroc == pytest.approx(sk.roc_auc_score(truth, frame[f"score_{expected}"][known]))


def test_each_class_has_its_curve() -> None:
    names = ["a", "b", "c", "never"]
    _, curves = score_curves(single_label(70, names, 2, absent=("never",)), "multiclass", names, None, {})
    assert [curve.name for curve in curves] == names
    assert [np.isnan(curve.auroc) for curve in curves] == [False, False, False, True]
