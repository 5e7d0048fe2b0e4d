"""The pace of a training, by arithmetic, without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.pace import CLOSING, Pace, Usual


def test_a_schedule_that_was_laid_out_right_moves_by_one_step() -> None:
    pace = Pace(100)
    assert [pace.advance(step) for step in range(1, 101)] == [1] * 100


@pytest.mark.parametrize(("total", "last"), [(100, 150), (150, 100), (7, 1000), (1000, 7), (1, 1)])
def test_another_number_of_steps_ends_with_the_schedule_at_an_even_pace(total: int, last: int) -> None:
    pace = Pace(total, last=last)
    at = 0
    for step in range(1, last + 1):
        at += pace.advance(step)
        assert at == pytest.approx(total * step / last, abs=1)
    assert at == total
    assert pace.advance(last + 1) == 0  # never past its end


def test_the_end_moves_with_the_time_that_is_left() -> None:
    pace = Pace(1000, stretches=True)
    # 0.1 s a step and 2 s behind each 100 steps: 0.12 s a step; of 62 s the last 2 are a pause.
    pace.aim(200, 62.0, 0.1, 2.0, 100)
    assert pace.last == 700
    pace.aim(200, 122.0, 0.1, 2.0, 100)
    assert pace.last == 1200
    held = Pace(1000)
    held.aim(200, 1e6, 0.1, 2.0, 100)
    assert held.last == 1000  # no longer than planned


def test_an_end_that_is_near_the_end_of_an_epoch_is_there() -> None:
    pace = Pace(1000, stretches=True)
    pace.aim(250, 60.0, 0.1, 0.0, 100, begun=50)  # 600 steps more: 850
    assert pace.last == 850
    pace.aim(250, 64.6, 0.1, 0.0, 100, begun=50)  # 646 more: 896, which is near 900
    assert pace.last == 900


def test_where_the_time_is_over_the_schedule_still_gets_its_end() -> None:
    pace = Pace(1000)
    for step in range(1, 401):
        pace.advance(step)
    pace.aim(400, -5.0, 0.1, 2.0, 100)
    assert pace.closing
    assert pace.last == 401 + int(CLOSING * 400)
    assert 400 + sum(pace.advance(step) for step in range(401, pace.last + 1)) == 1000
    pace.aim(401, 1e6, 0.1, 2.0, 100)  # nothing moves it any more
    assert pace.last == 405


def test_a_pace_goes_on_from_its_state() -> None:
    whole = Pace(100, last=260)
    moves = [whole.advance(step) for step in range(1, 261)]
    first = Pace(100, last=260)
    begin = [first.advance(step) for step in range(1, 78)]
    again = Pace(**first.state_dict())
    assert begin + [again.advance(step) for step in range(78, 261)] == moves


def test_what_is_usual_is_of_late() -> None:
    usual = Usual(3)
    assert usual.seconds is None
    for value in (9.0, 1.0, 2.0, 3.0):
        usual.add(value)
    assert usual.seconds == 2.0


@given(
    total=st.integers(60, 3000),
    an_epoch=st.integers(1, 40),
    factor=st.floats(0.3, 3.0),
    validation=st.floats(0.0, 4.0),
    changes=st.lists(st.floats(0.6, 1.7), min_size=40, max_size=40),
    every=st.integers(1, 4),
)
def test_a_training_ends_on_time_with_its_schedule_whatever_the_machine_does(
    total: int, an_epoch: int, factor: float, validation: float, changes: list[float], every: int
) -> None:
    """A fake clock: epochs last longer and shorter by up to 70 %, and the plan was wrong by up to three times."""
    a_step, budget = 0.5, total * 0.5
    pace = Pace(round(total * factor), stretches=True)
    batch, moved, now, step, epoch = Usual(), 0, 0.0, 0, 0
    pauses = validation / every
    while step < pace.last:
        begun = step % an_epoch
        took = a_step * changes[(epoch * 7) % len(changes)]
        now, step = now + took, step + 1
        batch.add(took)
        moved += pace.advance(step)
        at_end = begun + 1 == an_epoch
        if at_end or (begun + 1) % max(1, an_epoch // 8) == 0:
            assert batch.seconds is not None
            left = budget - now - (validation - pauses)
            pace.aim(step, left, batch.seconds, pauses, an_epoch, begun + 1)
        if at_end:
            epoch += 1
            if epoch % every == 0 and step < pace.last:
                now += validation
    now += validation
    assert moved == pace.total
    an_epoch_long = an_epoch * a_step * 1.7 + every * validation
    assert abs(now - budget) <= max(0.1 * budget, 2 * an_epoch_long)
