"""Intervals hold the truth as often as they say, in the short form of ``benchmarks.coverage``.

The least share is four standard errors of so many simulations below 95 %.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import METHODS, Count, Counts, faults, main, rows, simulate, truth_of
from benchmarks.simulated import POPULATIONS, Draw

Counted = tuple[int, dict[str, float], Counts]


@pytest.fixture(scope="module", params=[("binary", 120), ("classes", 60), ("masks", 50)])
def counted(request: pytest.FixtureRequest) -> Counted:
    name, simulations = request.param
    population = replace(POPULATIONS[name], large=40_000)
    truth = truth_of(population, 0.5)
    return simulations, truth, simulate(population, truth, 60, simulations, methods=METHODS[:1])


def test_every_figure_holds_its_truth_and_has_a_width(counted: Counted) -> None:
    simulations, truth, counts = counted
    least = 0.95 - 4 * math.sqrt(0.95 * 0.05 / simulations)
    wanted = [name for name in truth if name.partition("/")[0] != "ece" and not math.isnan(truth[name])]
    assert len(wanted) >= 12
    for name in wanted:
        count = counts[name, "interval"]
        assert count.given > 0.9 * simulations, name
        assert count.share >= least, (name, count.share)
        assert (count.no_width, count.outside) == (0, 0), name
        assert np.median(count.widths) < 0.7 if 0 < truth[name] < 1 else True, name  # not by being wide


def test_plain_calibration_error_has_none(counted: Counted) -> None:
    _, truth, counts = counted
    assert all(counts[name, "interval"].given == 0 for name in truth if name.partition("/")[0] == "ece")


@pytest.mark.slow
def test_boxes_and_numbers_hold_theirs_too() -> None:
    for name, least in (("boxes", 15), ("regression", 3), ("good", 5), ("labels", 15)):
        population = replace(POPULATIONS[name], large=min(4000, POPULATIONS[name].large))
        truth = truth_of(population, 0.5)
        counts = simulate(population, truth, 60, 100, methods=METHODS[:1])
        known = {figure: count for (figure, _), count in counts.items() if count.given > 90}
        assert len(known) >= least
        for figure, count in known.items():
            assert count.share >= 0.86, (name, figure, count.share)
            assert (count.no_width, count.outside) == (0, 0), figure


def test_scans_of_a_patient_are_as_alike_as_is_said() -> None:
    draw = Draw(np.random.default_rng(0), 20_000, 0.5)
    effect = draw.effect()[:, 0]
    assert effect.std() == pytest.approx(1, abs=0.02)
    first = np.flatnonzero(draw.groups[:-1] == draw.groups[1:])
    assert np.corrcoef(effect[first], effect[first + 1])[0, 1] == pytest.approx(0.5, abs=0.02)
    assert np.bincount(np.bincount(draw.groups)).tolist()[0] == 0


def test_intervals_are_counted() -> None:
    count = Count()
    for value, low, high in ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), (1.0, 1.0, 1.0), (0.3, 0.35, 0.6), (0.5, math.nan, 1)):
        count.add(value, low, high, 0.55)
    assert (count.held, count.given, count.no_width, count.outside, count.share) == (2, 4, 1, 1, 0.5)
    counts = {("dice", "interval"): count, ("dice", "percentile"): Count()}
    (line,) = rows(POPULATIONS["masks"], {"dice": 0.55, "dice/organ": 0.5}, {30: counts}, 5)
    assert line == "| dice | 0.550 | 0.500 / - / - (4) |"
    assert faults({30: counts})[0] == "interval: 1 of 4 without a width, 1 with the value outside"


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POPULATIONS, "regression", replace(POPULATIONS["regression"], large=500))
    main(["--simulations", "3", "--patients", "12", "20", "--populations", "regression"])
    out = capsys.readouterr().out
    assert "| figure | truth | 12 patients | 20 patients |" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("| ")] == ["figure", "mae", "rmse", "r2"]
