"""Which cases are drawn: no more than asked for, none twice, of every class, and the same with the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.arrays.boxes import BoxedArrays
from datamodules.arrays.labels import LabelledArrays
from datamodules.arrays.masks import MaskedArrays
from datamodules.showing import choice
from datamodules.showing.choice import draw_cases, named_cases
from scansuite.errors import SuiteError

RNG = np.random.default_rng(0)
QUICK: dict[str, Any] = {"num_workers": 0, "check_files": False, "folds": 3}


def images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return RNG.integers(0, 256, (count, 8, 8), dtype=np.uint8)


def masked(numbers: list[int]) -> MaskedArrays:
    """A mask of one class each: of class ``numbers[i]``, 0 for none."""
    masks = np.zeros((len(numbers), 8, 8), np.int64)
    masks[:, 2:5, 2:5] = np.array(numbers)[:, None, None]
    names = ["background", *(f"class {number}" for number in range(1, 5))]
    return MaskedArrays(images(len(numbers)), masks, classes=names, **QUICK)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=30), st.integers(1, 12), st.integers(0, 3))
def test_cases_of_every_class_are_drawn(numbers: list[int], count: int, seed: int) -> None:
    data = masked(numbers)
    rows = np.arange(len(numbers))
    chosen = draw_cases(data, rows, count, seed)
    assert chosen == draw_cases(data, rows, count, seed)
    assert len(chosen.rows) == len(set(chosen.rows)) == min(count, len(rows))
    shown, there = {numbers[row] for row in chosen.rows}, set(numbers)
    if count >= len(there):
        assert shown == there
    assert chosen.absent == [f"class {number}" for number in range(1, 5) if number not in there]


def test_the_seed_and_the_rows_decide() -> None:
    labels = np.arange(40) % 2
    data = LabelledArrays(images(40), labels, parts=["train"] * 30 + ["val"] * 10, **QUICK)
    drawn = [draw_cases(data, data.rows("train"), 6, seed).rows for seed in range(4)]
    assert len({tuple(rows) for rows in drawn}) == 4
    for rows in drawn:
        assert sorted(labels[rows]) == [0, 0, 0, 1, 1, 1]
        assert max(rows) < 30


def test_boxes_say_what_an_image_shows() -> None:
    boxes = [np.array([[1, 1, 6, 6]], np.float64)[: number % 10 != 0] for number in range(40)]
    labels = [["rare" if number == 7 else "common"] * len(one) for number, one in enumerate(boxes)]
    data = BoxedArrays(images(40), boxes, labels, **QUICK)
    chosen = draw_cases(data, np.arange(40), 3, 0)
    drawn = [int(data.table.cases["case_id"][row]) for row in chosen.rows]  # boxes come in the order of names
    assert 7 in drawn
    assert sum(len(boxes[number]) == 0 for number in drawn) == 1


def test_not_all_masks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = masked([1, 2, 3, 4] * 10)
    read: list[int] = []
    original = data.read_mask

    def told(image: int) -> Any:
        read.append(image)
        return original(image)

    monkeypatch.setattr(data, "read_mask", told)
    assert draw_cases(data, np.arange(40), 4, 0).absent == []
    assert 4 <= len(read) < 40
    monkeypatch.setattr(choice, "_MOST_MASKS", 6)
    rare = masked([1] * 39 + [2])
    chosen = draw_cases(rare, np.arange(40), 3, 1)
    assert (chosen.absent, chosen.looked_at) == (["class 2", "class 3", "class 4"], 6)


def test_named_cases() -> None:
    names = [f"p{number:04d}" for number in range(5000)]
    data = LabelledArrays(images(5000), np.arange(5000) % 2, case_ids=names, **QUICK)
    assert named_cases(data, ["p0004", "p4999", " p0004 "]) == [4, 4999]
    with pytest.raises(SuiteError, match=r"--case_id p30000: no such case: did you mean 'p3000'\?"):
        named_cases(data, ["p0001", "p30000"])
