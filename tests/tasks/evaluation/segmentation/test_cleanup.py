"""Clean-up worked out by hand, and the choice of it against cleaning and evaluating every case anew."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from scansuite.errors import SuiteError
from tasks.evaluation.segmentation import cleanup
from tasks.evaluation.segmentation.cleanup import CleanUp, CleanUpChoice
from tasks.evaluation.segmentation.overlap import count_overlap, overlap_metrics

CLASSES = ["background", "organ", "lesion"]
Mask = NDArray[np.uint8]


def drawn(*rows: str) -> Mask:
    return np.array([[int(one) for one in row.replace(".", "0")] for row in rows], np.uint8)


# Class 1: components of 4 (two of its pixels touch by a corner), 3 and 1 pixels; class 2: of 2 and 1.
FLAT = drawn(
    "11..111.",
    ".1......",
    "..1...22",
    "1.......",
    "....2...",
)


def test_largest_component_of_a_class_on_a_flat_image() -> None:
    given = FLAT.copy()
    cleaned = CleanUp(largest=("organ",))(given, CLASSES, None, False)
    expected = drawn(
        "11......",
        ".1......",
        "..1...22",
        "........",
        "....2...",
    )
    np.testing.assert_array_equal(cleaned, expected)
    np.testing.assert_array_equal(given, FLAT)
    assert cleaned.dtype == np.uint8


def test_smallest_size_in_pixels_and_in_square_millimetres() -> None:
    no_single = drawn(
        "11..111.",
        ".1......",
        "..1...22",
        "........",
        "....2...",
    )
    np.testing.assert_array_equal(CleanUp(min_size={"organ": 2})(FLAT, CLASSES), no_single)
    # A pixel is 0.5 x 0.8 = 0.4 mm^2: 3 pixels have 1.2 mm^2, although the header's float32 makes it a little less.
    spacing = (0.5, float(np.float32(0.8)) - 2e-8)
    np.testing.assert_array_equal(CleanUp(min_size={"organ": 1.2})(FLAT, CLASSES, spacing), no_single)
    four_only = CleanUp(min_size={"organ": 1.21, "lesion": 0.5})(FLAT, CLASSES, spacing)
    expected = drawn(
        "11......",
        ".1......",
        "..1...22",
        "........",
        "........",
    )
    np.testing.assert_array_equal(four_only, expected)


def test_volume_with_anisotropic_spacing() -> None:
    volume = np.zeros((6, 5, 4), np.uint8)
    volume[0, 0, :3] = 1
    volume[1, 1, 3] = 1  # touches the row by a corner: 4 voxels
    volume[4:6, 3:5, 0] = 1
    volume[5, 4, 1] = 1  # 5 voxels
    volume[3, 0, 0] = 2
    spacing = (0.5, 0.5, 3.0)  # 0.75 mm^3 a voxel
    largest = CleanUp(largest=("organ",))(volume, CLASSES, spacing)
    expected = volume.copy()
    expected[:2] = 0
    np.testing.assert_array_equal(largest, expected)
    np.testing.assert_array_equal(CleanUp(min_size={"organ": 3.0})(volume, CLASSES, spacing), volume)
    np.testing.assert_array_equal(CleanUp(min_size={"organ": 3.1})(volume, CLASSES, spacing), expected)
    np.testing.assert_array_equal(CleanUp(min_size={"organ": 3.1})(volume, CLASSES), volume)  # voxels: 4 > 3.1
    none = CleanUp(("organ",), {"organ": 3.8, "lesion": 0.76})(volume, CLASSES, spacing)
    assert not none.any()


def test_overlapping_regions_are_cleaned_one_by_one() -> None:
    regions = np.stack([FLAT > 0, FLAT == 1]).astype(np.uint8)
    cleaned = CleanUp(("whole",), {"core": 4})(regions, ["whole", "core"], None, True)
    # Of the three largest parts of the whole, only those of class 1 touch by a corner.
    only_four = drawn("11......", ".1......", "..1.....", "........", "........")
    np.testing.assert_array_equal(cleaned, np.stack([only_four, only_four]))


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_a_component_at_a_time(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "_VOXELS_AT_ONCE", 50)  # several slabs
    mask = np.random.default_rng(seed).choice(3, size=(9, 8, 7), p=[0.85, 0.1, 0.05]).astype(np.uint8)
    expected = mask.copy()
    for number, smallest in ((1, 3), (2, 2)):
        labels, count = ndimage.label(mask == number, np.ones((3, 3, 3)))
        for component in range(1, count + 1):
            if (labels == component).sum() < smallest:
                expected[labels == component] = 0
    assert (expected != mask).any()
    found = CleanUp(min_size={"organ": 3, "lesion": 2})(np.asfortranarray(mask), CLASSES)
    np.testing.assert_array_equal(found, expected)


def test_nothing_to_do() -> None:
    empty = np.zeros((4, 5), np.uint8)
    np.testing.assert_array_equal(CleanUp(("organ",), {"lesion": 9})(empty, CLASSES), empty)
    np.testing.assert_array_equal(CleanUp()(FLAT, CLASSES), FLAT)


def test_plain_values_and_back() -> None:
    clean_up = CleanUp(("organ",), {"lesion": 2.5})
    plain = json.loads(json.dumps(clean_up.to_dict()))
    assert plain == {"largest": ["organ"], "min_size": {"lesion": 2.5}}
    assert CleanUp.from_dict(plain) == clean_up
    assert CleanUp.from_dict(CleanUp().to_dict()) == CleanUp()
    with pytest.raises(SuiteError, match="unknown fields holes: made by a newer version"):
        CleanUp.from_dict({**plain, "holes": []})


def test_mistakes_are_named() -> None:
    with pytest.raises(SuiteError, match="no class 'organs' to clean: did you mean 'organ'"):
        CleanUp(("organs",))(FLAT, CLASSES)
    with pytest.raises(SuiteError, match="no class 'background'"):
        CleanUp(min_size={"background": 3})(FLAT, CLASSES)
    for size in (-1.0, math.nan, math.inf):
        with pytest.raises(SuiteError, match="smallest size of 'organ'"):
            CleanUp(min_size={"organ": size})
    with pytest.raises(ValueError, match="each of 2 axes"):
        CleanUp(("organ",))(FLAT, CLASSES, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="one grid"):
        CleanUpChoice(CLASSES).add(FLAT, FLAT.T)


Case = tuple[NDArray[Any], Mask, tuple[float, ...] | None]


def dice(case: Case, number: int, clean_up: CleanUp, overlapping: bool, ignore: int | None) -> float:
    truth, prediction, spacing = case
    cleaned = clean_up(prediction, CLASSES[1:] if overlapping else CLASSES, spacing, overlapping)
    true, called = (truth[number], cleaned[number]) if overlapping else (truth, cleaned)
    value = 1 if overlapping else number
    known = None if ignore is None else true != ignore
    return overlap_metrics(count_overlap(true == value, called == value, known))["dice"]


def noisy_cases(shape: tuple[int, ...], spacing: tuple[float, ...] | None, count: int = 6) -> list[Case]:
    """An organ with specks called about it, and in some cases a lesion, all with some unknown pixels."""
    cases: list[Case] = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(generator.standard_normal(shape), 2)
        truth = np.where(field > np.quantile(field, 0.85), 1, 0).astype(np.uint8)
        if seed % 2:
            truth[field < np.quantile(field, 0.03)] = 2
        prediction = truth.copy()
        noise = generator.random(shape)
        prediction[noise > 0.97] = 1
        prediction[noise < 0.005] = 2
        truth[generator.random(shape) < 0.05] = 255
        cases.append((truth, prediction, spacing))
    return cases


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 45), None), ((40, 45), (0.7, 0.31)), ((20, 18, 12), (0.5, 0.5, 2.5))]
)
def test_candidates_are_evaluated_as_if_cleaned_one_by_one(
    shape: tuple[int, ...], spacing: tuple[float, ...] | None, overlapping: bool
) -> None:
    cases = noisy_cases(shape, spacing, 4)
    if overlapping:
        cases = [
            (
                np.stack([np.where(truth == 255, 255, truth == k) for k in (1, 2)]).astype(np.uint8),
                np.stack([prediction == k for k in (1, 2)]).astype(np.uint8),
                spacing,
            )
            for truth, prediction, spacing in cases
        ]
    names = CLASSES[1:] if overlapping else CLASSES
    choice = CleanUpChoice(names, overlapping=overlapping, ignore_index=255)
    for truth, prediction, spacing in cases:
        choice.add(truth, prediction, spacing)
    for number, name in enumerate(names):
        if name == "background":
            assert not choice.defined[number].any()
            continue
        sizes = {1 + k: CleanUp(min_size={name: float(size)}) for k, size in enumerate(cleanup._SIZES)}
        candidates = {0: CleanUp(), len(sizes) + 1: CleanUp((name,)), **sizes}
        for place, clean_up in candidates.items():
            if 12 < place < 18 or (place > 34 and place in sizes):
                continue  # far below and above all components: a few of them are enough
            metrics = np.array([dice(case, number, clean_up, overlapping, 255) for case in cases])
            there = ~np.isnan(metrics)
            assert choice.defined[number, place] == there.sum()
            assert choice.total[number, place] == pytest.approx(metrics[there].sum(), abs=1e-9)


def test_what_helps_is_chosen() -> None:
    cases = noisy_cases((40, 45), (0.5, 0.5))
    choice = CleanUpChoice(CLASSES, ignore_index=255)
    for case in cases:
        choice.add(*case)
    clean_up = choice.choose()
    assert "organ" in clean_up.min_size
    assert "organ" not in clean_up.largest

    def mean(number: int, some: CleanUp) -> float:
        return float(np.nanmean([dice(case, number, some, False, 255) for case in cases]))

    for number in (1, 2):
        assert mean(number, clean_up) > mean(number, CleanUp()) + 1e-4
    rivals = [CleanUp(("organ",)), *(CleanUp(min_size={"organ": float(2.0**k)}) for k in range(-6, 12))]
    assert mean(1, clean_up) == pytest.approx(max(mean(1, rival) for rival in rivals))


def test_largest_component_where_false_calls_are_as_large_as_some_organs() -> None:
    choice = CleanUpChoice(["background", "organ"])
    for size in (6, 12):
        truth = np.zeros((30, 30), np.uint8)
        truth[:size, :size] = 1
        prediction = truth.copy()
        prediction[-size + 1 :, -size + 1 :] = 1  # larger in the second case than the organ of the first
        choice.add(truth, prediction)
    assert choice.choose() == CleanUp(largest=("organ",))


def test_gentlest_of_equals() -> None:
    choice = CleanUpChoice(["background", "organ"])
    truth = drawn("1111.....", "1111.....", ".........")
    prediction = truth.copy()
    prediction[2, 6:9] = 1
    choice.add(truth, prediction)  # 3 false pixels: 4 and 8 pixels, and the largest component, all take them away
    assert choice.choose() == CleanUp(min_size={"organ": 4.0})


def test_nothing_is_chosen_where_nothing_helps() -> None:
    assert CleanUpChoice(CLASSES).choose() == CleanUp()
    choice = CleanUpChoice(CLASSES)
    choice.add(FLAT, FLAT)  # all components are true
    choice.add(np.zeros_like(FLAT), np.zeros_like(FLAT))
    assert choice.choose() == CleanUp()
    # A gain of less than 1e-4: one false pixel beside an organ of 40000.
    truth = np.zeros((220, 220), np.uint8)
    truth[:200, :200] = 1
    prediction = truth.copy()
    prediction[-1, -1] = 1
    choice = CleanUpChoice(CLASSES)
    choice.add(truth, prediction)
    assert choice.choose() == CleanUp()
    # A class that no case has: all calls are false, but taking them away leaves nothing to evaluate.
    choice = CleanUpChoice(CLASSES)
    choice.add(np.zeros_like(FLAT), FLAT)
    assert choice.choose() == CleanUp()


def test_ranks_together_choose_as_one() -> None:
    cases = noisy_cases((30, 30), None)
    alone = CleanUpChoice(CLASSES, ignore_index=255)
    ranks = [CleanUpChoice(CLASSES, ignore_index=255) for _ in range(3)]
    for number, case in enumerate(cases):
        alone.add(*case)
        ranks[number % 2].add(*case)  # the third has seen nothing
    together = CleanUpChoice(CLASSES, ignore_index=255)
    together.merge(pickle.loads(pickle.dumps(ranks)))
    np.testing.assert_allclose(together.total, alone.total)
    np.testing.assert_array_equal(together.defined, alone.defined)
    assert together.choose() == alone.choose() != CleanUp()
