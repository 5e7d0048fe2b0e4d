"""Paired differences hold the truth as often as they say and are found no oftener, in the short form of the benchmark.

The bounds are four standard errors of so many simulations from 95 % and 5 %.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.comparison import POPULATIONS, Found, main, simulate, truth_of

SIMULATIONS = 50
SLACK = 4 * math.sqrt(0.95 * 0.05 / SIMULATIONS)
Counted = tuple[float, dict[str, Found]]


@pytest.fixture(scope="module", params=[("binary", 0.0), ("masks", 0.4)])
def counted(request: pytest.FixtureRequest) -> Counted:
    name, better = request.param
    models = replace(POPULATIONS[name], large=20_000)
    truth = truth_of(models, better, 0.5)
    return better, simulate(models, truth, better, 60, SIMULATIONS, seed=1)


def test_intervals_hold_the_truth_and_have_a_width(counted: Counted) -> None:
    for name, found in counted[1].items():
        assert found.intervals.given > 0.95 * SIMULATIONS, name
        assert found.intervals.share >= 0.95 - SLACK, name
        assert (found.intervals.no_width, found.intervals.outside) == (0, 0), name


def test_models_that_are_alike_are_seldom_told_apart_and_better_ones_often(counted: Counted) -> None:
    better, found = counted
    if not better:
        assert max(one.share for one in found.values()) <= 0.05 + SLACK
    else:
        assert found["dice"].share > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("name", "simulations"), [("classes", 100), ("regression", 100), ("boxes", 60)])
@pytest.mark.parametrize("different", [False, True])
def test_the_others_hold_theirs_too(name: str, simulations: int, different: bool) -> None:
    models = POPULATIONS[name]
    better = models.better if different else 0.0
    slack = 4 * math.sqrt(0.95 * 0.05 / simulations)
    for metric, found in simulate(models, truth_of(models, better, 0.5), better, 60, simulations).items():
        assert found.intervals.share >= 0.95 - slack, metric
        assert different or found.share <= 0.05 + slack, metric


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POPULATIONS, "regression", replace(POPULATIONS["regression"], large=500))
    main(["--simulations", "2", "--patients", "12", "--populations", "regression"])
    out = capsys.readouterr().out
    assert "| regression | difference | none, 12 | better, 12 |" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("| ")] == [
        "regression",
        "mae",
        "rmse",
        "r2",
    ]
    assert "12 intervals: 0 without a width, 0 with the value outside." in out
