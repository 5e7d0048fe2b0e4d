"""What is left of a training: from steps in the first epoch, from whole epochs afterwards."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.words import clock
from tasks.training.remaining import Remaining, numbered, to_come


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_epoch_counts_steps_later_ones_count_validation_too() -> None:
    time = Clock()
    remaining = Remaining(time)
    remaining.begin_epoch()
    assert remaining.seconds(0, 10, 2) is None
    time.now += 5
    assert remaining.seconds(5, 10, 2) == pytest.approx(25)  # 1 s a step
    time.now += 15  # 5 s of steps, 10 s of validation
    remaining.end_epoch()
    remaining.begin_epoch()
    assert remaining.seconds(0, 10, 1) == pytest.approx(40)
    time.now += 8
    assert remaining.seconds(8, 10, 1) == pytest.approx(32)


def test_an_epoch_that_was_taken_up_in_its_middle_does_not_count_as_one() -> None:
    time = Clock()
    remaining = Remaining(time)
    remaining.begin_epoch(8)
    time.now += 2
    assert remaining.seconds(9, 10, 1) == pytest.approx(22)  # one step took 2 s; 1 and 10 are to come
    remaining.end_epoch()
    remaining.begin_epoch()
    assert remaining.seconds(0, 10, 0) is None


def test_one_slow_epoch_is_forgotten() -> None:
    time = Clock()
    remaining = Remaining(time)
    for seconds in (100, 10, 10):
        remaining.begin_epoch()
        time.now += seconds
        remaining.end_epoch()
    assert remaining.seconds(0, 10, 0) == pytest.approx(10)


@given(
    took=st.lists(st.floats(0.01, 1e5), max_size=8),
    done=st.integers(0, 50),
    epochs=st.floats(0, 100),
    passed=st.floats(0, 1e6),
)
def test_it_is_never_negative_and_falls_as_time_passes(
    took: list[float], done: int, epochs: float, passed: float
) -> None:
    time = Clock()
    remaining = Remaining(time)
    for seconds in took:
        remaining.begin_epoch()
        time.now += seconds
        remaining.end_epoch()
    remaining.begin_epoch()
    before = remaining.seconds(done, 50, epochs)
    time.now += passed
    after = remaining.seconds(done, 50, epochs)
    assert after is None or after >= 0
    if took:
        assert before is not None
        assert after is not None
        assert after <= before


@pytest.mark.parametrize("steps_and_epochs", [(math.inf, 3.0), (10.0, math.inf)])
def test_what_has_no_end_has_no_time_left(steps_and_epochs: tuple[float, float]) -> None:
    time = Clock()
    remaining = Remaining(time)
    remaining.begin_epoch()
    time.now += 1
    assert remaining.seconds(1, *steps_and_epochs) is None


class Of:
    """What is asked of a trainer."""

    def __init__(self, **values: Any) -> None:
        vars(self).update({"num_training_batches": 10, "max_epochs": 5, "max_steps": -1, "accumulate_grad_batches": 1})
        vars(self).update({"current_epoch": 1, "global_step": 14, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (10, 3)),
        ({"max_epochs": -1}, (10, math.inf)),
        ({"max_epochs": None, "max_steps": 40}, (10, 2)),
        ({"max_steps": 16}, (6, 0)),
        ({"max_steps": 25}, (10, 0.5)),
        ({"max_steps": 25, "accumulate_grad_batches": 4}, (10, 3)),
        ({"num_training_batches": math.inf, "max_steps": 25}, (math.inf, 3)),
    ],
)
def test_steps_and_epochs_end_with_what_comes_first(values: dict[str, Any], expected: tuple[float, float]) -> None:
    assert to_come(cast("Any", Of(**values)), 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"), (7500, "2:05 h"), (273600, "3 d 4 h")],
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_numbers_with_and_without_an_end() -> None:
    assert (numbered(3, 20), numbered(3, -1), numbered(3, None)) == ("3/20", "3", "3")
