"""Subgroups: values are those of the metrics, gaps are found, and fair models raise no flag."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.scales import LOGIT
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.subgroups.analysis import Analysis, Comparison, analyse
from tasks.evaluation.subgroups.estimates import difference, on_scale
from tasks.evaluation.subgroups.measures import measures_of
from tests.tasks.evaluation.part_tables import KINDS, part_tables

# By how much site C is worse where a gap is planted.
GAPS = {"binary": 1.6, "multiclass": 1.6, "ordinal": 1.6, "multilabel": 1.2, "regression": 5.0, "segment": 1.2}


def one(analysis: Analysis, column: str, measure: str) -> Comparison:
    return next(e for e in analysis.comparisons if e.grouping.columns == (column,) and e.measure.name == measure)


def agree(found: MetricValue, expected: MetricValue) -> None:
    for name in ("value", "low", "high", "n", "patients", "positives", "withheld"):
        first, second = getattr(found, name), getattr(expected, name)
        assert first == pytest.approx(second, rel=1e-9, nan_ok=True) if isinstance(second, float) else first == second


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("binary", ("auroc", "sensitivity@op", "specificity@op")),
        ("multiclass", ("accuracy",)),
        ("segment", ("dice",)),
        ("regression", ("mae",)),
    ],
)
def test_a_subgroup_has_the_metrics_of_its_cases_alone(kind: str, names: tuple[str, ...]) -> None:
    tables = part_tables(kind)
    analysis = analyse(tables, ["site"], resamples=200)
    for number, site in enumerate("ABC"):
        expected = tables.take((tables.cases["site"] == site).to_numpy()).metrics(200)
        for name in names:
            found = one(analysis, "site", name).subgroups[number].metric
            if kind == "segment":  # drawn patients differ by the order of the rows
                assert (found.low, found.high) == pytest.approx((expected[name].low, expected[name].high), abs=0.01)
                assert found.value == pytest.approx(expected[name].value)
            elif kind == "regression":  # by the jackknife there
                assert found.value == pytest.approx(expected[name].value)
                assert (found.low, found.high) == pytest.approx((expected[name].low, expected[name].high), rel=0.02)
            else:
                agree(found, expected[name])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_means_over_classes_are_those_of_the_metrics(kind: str) -> None:
    tables = part_tables(kind)
    found = one(analyse(tables, ["site"]), "site", "auroc")
    assert found.whole.value == pytest.approx(tables.metrics(0)["auroc"].value)
    expected = tables.take((tables.cases["site"] == "B").to_numpy()).metrics(200)["auroc"]
    assert found.subgroups[1].metric.value == pytest.approx(expected.value)
    assert found.subgroups[1].metric.low == pytest.approx(expected.low, abs=0.03)


def test_boxes_are_counted_at_the_operating_point() -> None:
    tables = part_tables("detect")
    found = one(analyse(tables, ["site"]), "site", "pooled_sensitivity@op").subgroups[0].metric
    expected = tables.take((tables.cases["site"] == "A").to_numpy()).metrics(0)["sensitivity@op/nodule"]
    assert found.value == pytest.approx(expected.value)
    assert found.positives == expected.positives
    calls = tables.predictions[tables.predictions["score"] >= 0.4]
    false = one(analyse(tables, ["site"]), "site", "false_positives_per_image")
    share = (calls["x1"] == 200).sum() / len(tables.cases)  # no true box is there
    assert false.whole.value == pytest.approx(share)


def test_the_difference_from_the_rest_is_that_of_two_separate_groups() -> None:
    """Of patients who lie in one group each, squares of both errors add up."""
    tables = part_tables("regression")
    (measure, _) = measures_of(tables)
    inside = (tables.cases["site"] == "A").to_numpy()
    first, second = measure.estimate(inside), measure.estimate(~inside)
    gap = difference(first, second, [0])
    one_side, other = first.metric([0]), second.metric([0])
    assert gap.value == pytest.approx(one_side.value - other.value)
    assert gap.low == pytest.approx(
        gap.value - math.hypot(one_side.value - one_side.low, other.high - other.value), rel=1e-9
    )


def test_subgroups_that_are_too_small_are_listed_and_in_no_test() -> None:
    tables = part_tables("binary")
    few = tables.patients < 8
    tables.cases["scanner"] = np.where(few, "old", np.where(tables.patients % 2, "new", "newer"))
    found = one(analyse(tables, ["scanner"]), "scanner", "auroc")
    old = found.subgroups[found.grouping.names.index("old")]
    assert old.metric.n == int(few.sum())
    assert old.metric.withheld == "fewer than 10 patients"
    assert math.isnan(old.rest.low)
    assert found.test.groups == 2


def test_all_patients_of_a_subgroup_agree_and_the_test_is_no_certainty() -> None:
    """A variance of 0 is none of certainty: 12 patients who are all right do not differ from 0.9."""
    value, error = on_scale(1.0, 0.0, 12, math.inf, LOGIT, 0.9)
    whole = math.log(0.9 / 0.1)
    assert 0 < (value - whole) / error < 1.96
    assert all(math.isnan(number) for number in on_scale(1.0, 0.0, 12, math.inf, LOGIT, 1.0))


def flags(tables: PartTables) -> list[Comparison]:
    return [each for each in analyse(tables, resamples=100).comparisons if each.flagged]


@pytest.mark.parametrize("kind", sorted(GAPS))
def test_a_planted_gap_is_found_and_its_place_named(kind: str) -> None:
    found = flags(part_tables(kind, seed=5, patients=200, gap=GAPS[kind]))
    assert any(each.grouping.columns == ("site",) and "C" in [one.name for one in each.flagged] for each in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gaps_are_found_nearly_always_and_fair_models_raise_no_flag(kind: str) -> None:
    gap = GAPS.get(kind, 2.0)
    assert sum(bool(flags(part_tables(kind, seed=seed))) for seed in range(60)) <= 3
    found = [flags(part_tables(kind, seed=seed, patients=200, gap=gap)) for seed in range(20)]
    assert sum(any("site" in each.grouping.columns for each in one) for one in found) >= 18


def test_fair_models_raise_no_flag() -> None:
    """The short form of the one above."""
    assert sum(bool(flags(part_tables("binary", seed=seed, patients=100))) for seed in range(8)) <= 1


def test_tests_of_fair_models_reject_as_often_as_they_say() -> None:
    """Views lie within patients, so that most patients are in both groups."""
    p = [
        one(analyse(part_tables("regression", seed=s, patients=60), ["view"]), "view", "mae").test.p for s in range(60)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert 0.3 < np.mean(np.array(p) < 0.5) < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_few_patients_one_class_and_no_patients_column(kind: str) -> None:
    for patients in (1, 3):
        assert not flags(part_tables(kind, patients=patients))
    tables = part_tables(kind, patients=30)
    cases = tables.cases.drop(columns="patient_id")
    analyse(PartTables(tables.task, "test", cases, tables.predictions, tables.targets), resamples=20)


def test_one_class_equal_scores_and_unknown_targets() -> None:
    tables = part_tables("binary", patients=40)
    tables.predictions["score_ill"] = tables.predictions["score_healthy"] = 0.5
    assert not flags(tables)
    tables.predictions["target"] = "ill"
    assert not flags(tables)
    tables.predictions["target"] = None
    assert not flags(tables)


def test_a_detector_that_found_nothing() -> None:
    tables = part_tables("detect", patients=40)
    nothing = tables.predictions.iloc[:0]
    assert not flags(PartTables(tables.task, "test", tables.cases, nothing, tables.targets))
