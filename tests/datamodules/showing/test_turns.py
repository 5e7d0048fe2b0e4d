from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datamodules.showing.turns import take_turns


@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=9), max_size=12), st.integers(1, 10))
def test_groups_take_turns(groups: list[list[int]], count: int) -> None:
    arrays = [np.array(members, dtype=np.int64) for members in groups]
    taken = take_turns(arrays, count)
    assert len(taken) == len(set(taken)) <= count
    everyone = {member for members in groups for member in members}
    assert set(taken) <= everyone
    if len(groups) <= count:
        assert len(taken) == min(count, len(everyone))


def test_each_class_comes_before_the_second_of_any() -> None:
    classes = [np.arange(0, 50), np.array([50, 51]), np.array([52])]
    assert take_turns(classes, 8) == [0, 50, 52, 1, 51, 2, 3, 4]
    many = [np.array([number]) for number in range(100)]
    assert take_turns(many, 5) == [0, 24, 49, 74, 99]
