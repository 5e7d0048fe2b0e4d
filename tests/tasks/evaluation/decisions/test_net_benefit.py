"""Net benefit against dcurves and against what follows from its definition."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.decisions.net_benefit import THRESHOLDS, benefit_at, benefit_at_point, decision_curve
from tasks.evaluation.operating_rules import read_rule
from tests.tasks.evaluation.decisions.runs import finding

REFERENCES = Path(__file__).resolve().parents[6] / "refs"


@pytest.mark.parametrize("decimals", [None, 2])
def test_the_curve_is_that_of_dcurves(decimals: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if REFERENCES.is_dir():
        monkeypatch.setattr(sys, "path", [*sys.path, str(REFERENCES)])
    reference = pytest.importorskip("dcurves", reason="dcurves is not installed: pip install dcurves")
    own = finding(5, decimals=decimals)
    curve = decision_curve(own)
    assert curve is not None
    data = pd.DataFrame({"ill": own.truth.astype(int), "model": own.score})
    table = reference.dca(data=data, outcome="ill", modelnames=["model"], thresholds=THRESHOLDS)
    for name, values in (("model", curve.model), ("all", curve.every)):
        np.testing.assert_allclose(values, table.loc[table["model"] == name, "net_benefit"], atol=1e-6)


def test_the_curve_is_its_definition() -> None:
    own = finding(6)
    curve = decision_curve(own)
    assert curve is not None
    for threshold, value in zip(curve.thresholds, curve.model, strict=True):
        called = own.score >= threshold
        wrong = (called & ~own.truth).mean() * threshold / (1 - threshold)
        assert value == pytest.approx((called & own.truth).mean() - wrong)
    assert curve.standardised.max() <= 1


@given(st.integers(0, 1000), st.floats(0.01, 0.99))
def test_calling_all_is_worth_nothing_at_the_prevalence(seed: int, threshold: float) -> None:
    own = finding(seed, patients=12)
    if own.truth.all() or not own.truth.any():
        return
    every = benefit_at(own, own.prevalence).every
    assert every.value == pytest.approx(0, abs=1e-12)
    lowest = Finding("ill", np.ones(len(own.score)), own.truth, own.groups)
    both = benefit_at(lowest, threshold)
    assert both.model.value == pytest.approx(both.every.value)
    assert both.gain.value <= 1e-12 or both.beyond == "none"


def test_a_point_between_the_band_is_that_of_the_curve() -> None:
    own = finding(7)
    curve = decision_curve(own)
    assert curve is not None
    at = benefit_at(own, 0.4)
    place = int(np.flatnonzero(curve.thresholds == 0.4)[0])
    assert (at.model.value, at.model.low, at.model.high) == pytest.approx(
        (curve.model[place], curve.low[place], curve.high[place])
    )


def test_a_cost_weighs_calls_by_itself() -> None:
    own = finding(8)
    by_cost = benefit_at_point(own, read_rule("cost 1:10", "cases"))
    assert by_cost is not None
    called = own.score >= 0.4
    assert by_cost.model.value == pytest.approx((called & own.truth).mean() - (called & ~own.truth).mean() / 10)


def test_bands_hold_the_truth() -> None:
    held = 0
    large = decision_curve(finding(0, patients=200_000), np.array([0.3]))
    assert large is not None
    for seed in range(1, 101):
        curve = decision_curve(finding(seed), np.array([0.3]))
        assert curve is not None
        held += bool(curve.low[0] <= large.model[0] <= curve.high[0])
    assert held >= 88


def test_many_patients_have_a_band_by_blocks() -> None:
    own = finding(0, patients=3000)
    blocks, every = decision_curve(own), benefit_at(own, 0.2)
    assert blocks is not None
    place = int(np.flatnonzero(blocks.thresholds == 0.2)[0])
    assert blocks.high[place] - blocks.low[place] == pytest.approx(every.model.high - every.model.low, rel=0.1)


def test_one_side_alone_has_no_curve() -> None:
    own = finding(0)
    assert decision_curve(Finding("ill", own.score, own.truth | True, own.groups)) is None
