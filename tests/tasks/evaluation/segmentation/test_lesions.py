from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from tasks.evaluation.segmentation.lesions import Lesions, match_lesions
from tests.tasks.evaluation.masks import BoolMask, blobs, shifted


def one_by_one(truth: BoolMask, prediction: BoolMask, iou_above: float, full: bool = False) -> Lesions:
    """Every pair of components by itself, and the best assignment over the whole matrix."""
    structure = ndimage.generate_binary_structure(truth.ndim, truth.ndim if full else 1)
    parts: list[list[BoolMask]] = []
    for mask in (truth, prediction):
        labels, number = ndimage.label(mask, structure)
        parts.append([labels == k for k in range(1, number + 1)])
    good = np.array([[(t & p).sum() / (t | p).sum() > iou_above for p in parts[1]] for t in parts[0]], dtype=float)
    good = good.reshape(len(parts[0]), len(parts[1]))
    matched = int(good[linear_sum_assignment(good, maximize=True)].sum())
    found = sum(bool((t & prediction).any()) for t in parts[0])
    return Lesions(true=len(parts[0]), predicted=len(parts[1]), found=found, matched=matched)


@pytest.mark.parametrize("shape", [(40, 50), (14, 16, 12)])
@pytest.mark.parametrize("iou_above", [0.05, 0.2, 0.5, 0.7])
def test_equal_to_every_pair_by_itself(shape: tuple[int, ...], iou_above: float) -> None:
    matched = 0
    for seed in range(4):
        truth = blobs(shape, seed, share=0.2, smooth=1.2)
        noise = np.random.default_rng(seed).random(shape) > 0.97
        for prediction in (blobs(shape, seed + 50, share=0.25, smooth=1.2), truth ^ noise):
            for connectivity, full in (("face", False), ("full", True)):
                found = match_lesions(truth, prediction, iou_above, connectivity)  # type: ignore[arg-type]
                assert found == one_by_one(truth, prediction, iou_above, full)
                matched += found.matched
    assert matched > 0


def test_equal_to_every_pair_by_itself_on_real_nuclei(shared_data: Path) -> None:
    import cv2

    files = sorted((shared_data / "dsb2018_nuclei" / "labels").glob("*.png"))[5:8]
    assert files
    for file in files:
        nuclei: NDArray[np.integer] = np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        nuclei = nuclei[:200, :200]
        truth = nuclei > 0
        prediction = shifted(truth & (nuclei % 3 != 0), 2, 1)
        found = match_lesions(truth, prediction)
        assert found == one_by_one(truth, prediction, 0.5)
        assert 0 < found.matched < found.true


def test_by_hand() -> None:
    truth, prediction = np.zeros((10, 20), bool), np.zeros((10, 20), bool)
    truth[0:2, 0:4] = True  # 8 voxels, 6 of them found: IoU 0.75
    prediction[0:2, 1:4] = True
    truth[5:7, 0:4] = True  # touched in one voxel: found, but no match
    prediction[6:9, 3] = True
    truth[0:2, 10:12] = True  # missed
    prediction[8, 15] = True  # in vain
    found = match_lesions(truth, prediction)
    assert found == Lesions(true=3, predicted=3, found=2, matched=1)
    assert found.sensitivity == 2 / 3
    assert found.f1 == 2 / 6


def test_iou_of_exactly_the_threshold_is_no_match() -> None:
    truth, prediction = np.zeros((3, 6), bool), np.zeros((3, 6), bool)
    truth[1, :4] = True
    prediction[1, :2] = True
    assert match_lesions(truth, prediction, 0.5).matched == 0
    assert match_lesions(truth, prediction, 0.49).matched == 1


def test_one_prediction_over_two_lesions_matches_one() -> None:
    truth = np.zeros((3, 9), bool)
    truth[1, [0, 1, 2, 3, 5, 6, 7, 8]] = True
    prediction = np.zeros_like(truth)
    prediction[1] = True
    found = match_lesions(truth, prediction, 0.4)
    assert found == Lesions(true=2, predicted=1, found=2, matched=1)
    assert match_lesions(prediction, truth, 0.4) == Lesions(true=1, predicted=2, found=1, matched=1)


def test_connectivity() -> None:
    diagonal = np.eye(4, dtype=bool)
    assert match_lesions(diagonal, diagonal) == Lesions(4, 4, 4, 4)
    assert match_lesions(diagonal, diagonal, connectivity="full") == Lesions(1, 1, 1, 1)


def test_empty_masks() -> None:
    none, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    nothing = match_lesions(none, none)
    assert nothing == Lesions(0, 0, 0, 0)
    assert np.isnan([nothing.sensitivity, nothing.f1]).all()
    in_vain = match_lesions(none, some)
    assert np.isnan(in_vain.sensitivity)
    assert in_vain.f1 == 0
    assert (match_lesions(some, none).sensitivity, match_lesions(some, none).f1) == (0, 0)
