from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from tasks.evaluation.segmentation.surface import assd, hd95, image_diagonal, nsd, penalised, surface, surface_distances
from tests.tasks.evaluation.masks import BoolMask, blobs, shifted

TOLERANCE = 1.3


def by_brute_force(
    truth: BoolMask, prediction: BoolMask, spacing: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every surface voxel against every other, surfaces by scipy's erosion of the uncropped mask."""
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * spacing for mask in (truth, prediction)]
    matrix = cdist(*points)
    return matrix.min(axis=1), matrix.min(axis=0)


def assert_equal_to_brute_force(truth: BoolMask, prediction: BoolMask, spacing: tuple[float, ...]) -> None:
    found = surface_distances(truth, prediction, spacing)
    there, back = by_brute_force(truth, prediction, spacing)
    assert found.to_prediction == pytest.approx(there, abs=1e-9)
    assert found.to_truth == pytest.approx(back, abs=1e-9)
    assert hd95(found) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-9)
    assert assd(found) == pytest.approx((there.sum() + back.sum()) / (len(there) + len(back)), abs=1e-9)
    within = (there <= TOLERANCE).sum() + (back <= TOLERANCE).sum()
    assert nsd(found, TOLERANCE) == pytest.approx(within / (len(there) + len(back)), abs=1e-9)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((33, 27), (1.0, 1.0)), ((24, 40), (0.37, 1.9)), ((14, 11, 13), (1.0, 1.0, 1.0)), ((12, 15, 9), (0.7, 0.81, 5.0))],
)
def test_equal_to_brute_force(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    for seed in range(4):
        truth = blobs(shape, seed, share=0.15 + 0.1 * seed)
        other, noise = blobs(shape, seed + 9), np.random.default_rng(seed).random(shape) > 0.6
        for prediction in (other, shifted(truth, *range(1, len(shape) + 1)), noise, truth):
            assert_equal_to_brute_force(truth, prediction, spacing)


def test_equal_to_brute_force_on_real_masks(shared_data: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    files = sorted((shared_data / "msd_hippocampus" / "labelsTr").glob("*.nii.gz"))[:2]
    assert files
    for file in files:
        volume = nibabel.load(file)
        labels = np.asarray(volume.dataobj)
        spacing = tuple(float(mm) for mm in volume.header.get_zooms()[:3])
        for label in (1, 2):
            truth = labels == label
            for prediction in (shifted(truth, 1, 0, -2), ndimage.binary_dilation(truth), labels == 3 - label):
                assert_equal_to_brute_force(truth, prediction, (spacing[0], spacing[1] * 0.5, spacing[2] * 3))
                assert_equal_to_brute_force(truth, prediction, spacing)


@pytest.mark.parametrize("shape", [(19,), (16, 21), (9, 8, 10), (1, 7), (5, 6, 1)])
def test_surface_is_what_erosion_takes_away(shape: tuple[int, ...]) -> None:
    for mask in (blobs(shape, 3), np.ones(shape, bool), np.zeros(shape, bool)):
        before = mask.copy()
        assert np.array_equal(surface(mask), mask & ~ndimage.binary_erosion(mask))
        assert np.array_equal(mask, before)


def test_by_hand() -> None:
    truth, prediction = np.zeros((9, 12), bool), np.zeros((9, 12), bool)
    truth[2:7, 2] = True  # two lines of five pixels, three columns apart
    prediction[2:7, 5] = True
    found = surface_distances(truth, prediction, (1.0, 0.5))
    assert (hd95(found), assd(found)) == (1.5, 1.5)
    assert (nsd(found, 1.5), nsd(found, 1.4)) == (1, 0)
    prediction[2, 2] = True  # a sixth pixel, on the true line
    found = surface_distances(truth, prediction, (1.0, 0.5))
    assert found.to_prediction.tolist() == [0, 1, 1.5, 1.5, 1.5]
    assert sorted(found.to_truth) == [0, 1.5, 1.5, 1.5, 1.5, 1.5]
    assert hd95(found) == 1.5
    assert assd(found) == pytest.approx(13 / 11)
    assert nsd(found, 1.0) == pytest.approx(3 / 11)


def test_percentile_is_of_each_direction_and_the_larger_counts() -> None:
    truth, prediction = np.zeros((1, 200), bool), np.zeros((1, 200), bool)
    truth[0, :100] = True
    prediction[0, :110] = True
    found = surface_distances(truth, prediction)
    assert hd95(found) == pytest.approx(np.percentile([0] * 100 + list(range(1, 11)), 95))
    assert hd95(found) > np.percentile(np.concatenate(found), 95)  # as MedPy pools them


def test_symmetric_and_scales_with_spacing() -> None:
    truth, prediction = blobs((15, 12, 10), 0), blobs((15, 12, 10), 1)
    one = surface_distances(truth, prediction, (0.5, 0.8, 2.0))
    turned = surface_distances(prediction, truth, (0.5, 0.8, 2.0))
    twice = surface_distances(truth, prediction, (1.0, 1.6, 4.0))
    for distance in (hd95, assd):
        assert distance(one) == pytest.approx(distance(turned), abs=1e-12)
        assert distance(twice) == pytest.approx(2 * distance(one))
    assert nsd(one, 1.0) == nsd(turned, 1.0) == nsd(twice, 2.0)
    same = surface_distances(truth, truth)
    assert (hd95(same), assd(same), nsd(same, 0)) == (0, 0, 1)


def test_axes_and_spacing_turn_together() -> None:
    truth, prediction, spacing = blobs((15, 12, 10), 0), blobs((15, 12, 10), 1), (0.5, 0.8, 2.0)
    straight = surface_distances(truth, prediction, spacing)
    turned = surface_distances(truth.transpose(2, 0, 1), prediction.transpose(2, 0, 1), (2.0, 0.5, 0.8))
    assert hd95(turned) == pytest.approx(hd95(straight), abs=1e-12)
    assert assd(turned) == pytest.approx(assd(straight), abs=1e-12)


def test_empty_masks() -> None:
    none, some = np.zeros((6, 6), bool), np.eye(6, dtype=bool)
    for truth, prediction in ((none, some), (some, none)):
        found = surface_distances(truth, prediction, (1.0, 2.0))
        assert np.isnan([hd95(found), assd(found)]).all()
        assert nsd(found, 100.0) == 0
    nothing = surface_distances(none, none)
    assert np.isnan([hd95(nothing), assd(nothing), nsd(nothing, 1.0)]).all()


def test_a_miss_is_the_diagonal_of_the_image() -> None:
    mask, nothing = np.zeros((240, 240, 155), dtype=bool), np.zeros((240, 240, 155), dtype=bool)
    mask[100:120, 90:95, 60:70] = True
    diagonal = image_diagonal(mask.shape, (1.0, 1.0, 1.0))
    assert diagonal == pytest.approx(373.13, abs=0.01)  # what the BraTS challenge takes
    for truth, prediction, expected in ((mask, nothing, diagonal), (nothing, mask, diagonal), (nothing, nothing, 0.0)):
        distances = surface_distances(truth, prediction)
        assert penalised(hd95(distances), distances, diagonal) == expected
    distances = surface_distances(mask, mask)
    assert penalised(hd95(distances), distances, diagonal) == 0
    assert image_diagonal((3, 4)) == 5
    assert image_diagonal((3, 4), (2.0, 2.0)) == 10


def test_spacing_of_a_nifti_header_lies_within_its_tolerance() -> None:
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:5] = True
    for mm in (0.8, 0.7, 0.1, 1.1):
        found = surface_distances(truth, shifted(truth, 0, 3), (1.0, float(np.float32(mm))))
        assert nsd(found, 3 * mm) == 1
        assert nsd(found, 3 * mm - 1e-3) < 1


def test_mistakes_are_refused() -> None:
    mask = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match="evaluate on one grid"):
        surface_distances(mask, mask[:3])
    for spacing in ((1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="positive number for each of 2 axes"):
            surface_distances(mask, mask, spacing)
    with pytest.raises(ValueError, match="tolerance_mm is -1"):
        nsd(surface_distances(mask, mask), -1)
