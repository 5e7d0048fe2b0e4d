"""Figures of calls: those of the metrics, Bayes' theorem, and intervals that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.decisions.called import Called, called_of, ratio_of_shares
from tests.tasks.evaluation.decisions.runs import binary_run, box_run


def called(tp: list[int], fp: list[int], fn: list[int], tn: list[int]) -> Called:
    found, false, missed, spared = (np.array(each, dtype=np.float64) for each in (tp, fp, fn, tn))
    return Called("ill", 0.5, found, false, missed, spared, found + false + missed + spared)


def test_shares_are_those_of_the_metrics() -> None:
    part = binary_run(3).part("test")
    metrics = part.metrics()
    (own,) = called_of(part)
    for kind in ("sensitivity", "specificity", "precision", "npv"):
        value, metric = own.value(kind), metrics[f"{kind}@op"]
        assert (value.value, value.low, value.high) == pytest.approx((metric.value, metric.low, metric.high))
        assert (value.n, value.patients, value.positives) == (metric.n, metric.patients, metric.positives)


def test_shares_of_boxes_are_those_of_the_metrics() -> None:
    part = box_run().part("test")
    metrics = part.metrics()
    for own in called_of(part):
        for kind in ("sensitivity", "precision"):
            value, metric = own.value(kind), metrics[f"{kind}@op/{own.name}"]
            assert (value.value, value.low, value.high) == pytest.approx((metric.value, metric.low, metric.high))
        assert math.isnan(own.likelihood_ratio("+").value)
    false = called_of(part)[1].value("fp")
    assert false.low < false.value < false.high


counts = st.lists(st.integers(0, 4), min_size=12, max_size=12)


@given(counts, counts, counts, counts)
def test_at_the_prevalence_of_the_data_predictive_values_are_precision_and_npv(
    tp: list[int], fp: list[int], fn: list[int], tn: list[int]
) -> None:
    own = called(tp, fp, fn, tn)
    cells = sum(tp) + sum(fp) + sum(fn) + sum(tn)
    there = sum(tp) + sum(fn)
    if not 0 < there < cells:
        return
    for sign, kind, part, whole in (("+", "precision", tp, fp), ("-", "npv", tn, fn)):
        value = own.predictive_value(sign, there / cells)  # type: ignore[arg-type]
        if sum(part) + sum(whole) and not (sign == "-" and sum(tn) == 0):
            assert value.value == pytest.approx(own.value(kind).value)
            if not math.isnan(value.low):
                assert value.low - 1e-9 <= value.value <= value.high + 1e-9
                assert value.low < value.high


def test_predictive_values_fall_and_rise_with_the_prevalence() -> None:
    (own,) = called_of(binary_run(1).part("test"))
    precision, npv = ([own.predictive_value(sign, share).value for share in (0.01, 0.1, 0.5)] for sign in ("+", "-"))
    assert precision == sorted(precision)
    assert npv == sorted(npv, reverse=True)


def test_a_published_example() -> None:
    # D. G. Altman and J. M. Bland, Diagnostic tests 2: predictive values, BMJ 309:102, 1994: liver scans.
    own = called([231], [32], [27], [54])
    assert own.value("precision").value == pytest.approx(0.88, abs=0.005)
    assert own.predictive_value("+", 0.25).value == pytest.approx(0.45, abs=0.005)
    assert own.predictive_value("-", 0.25).value == pytest.approx(0.95, abs=0.005)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30))
def test_a_ratio_lies_in_its_interval(a: int, b: int, more: int, others: int) -> None:
    from tasks.evaluation.intervals.share import wilson

    shares = [(part / whole, *wilson(part / whole, whole)) for part, whole in ((a, a + more), (b, b + others))]
    value, low, high = ratio_of_shares(*shares)
    if b == 0:
        assert math.isnan(value)
        assert math.isnan(high)
        assert low >= 0
    else:
        assert 0 <= low <= value <= high
        assert low < high


def test_ratios_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        truth = generator.random(120) < 0.4
        call = generator.random(120) < np.where(truth, 0.9, 0.15)
        cells = [truth & call, ~truth & call, truth & ~call, ~truth & ~call]
        value = called(*[each.astype(int).tolist() for each in cells]).likelihood_ratio("+")
        held += value.low <= 6 <= value.high
    assert 0.92 <= held / 400 <= 0.98
