"""Values of what is annotated in volumes: as the reader gives them, of training, of voxels that bear a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.foreground import LEAST_VOXELS, PERCENTILES, range_of, values_of_classes
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.readers.volume import read_grid
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.dicom_on_disk import write_series
from tests.datamodules.volumes_on_disk import write_nifti

SHAPE = (20, 16, 8)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


def scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    """HU of a body in air beside metal, with an organ (1) whose lesion is 2, and a place that is left out (9)."""
    rng = np.random.default_rng(number)
    array = np.full(SHAPE, -1000, np.int16)
    array[2:18, 2:14] = -80
    array[0], array[:, 0] = 3000, -1024
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 4:12, 2:5], mask[6:8, 6:8, 3] = 1, 2
    array[mask > 0] = rng.integers(-2 * number, 60 + 2 * number, np.count_nonzero(mask)) * 2  # even: a slope of 2
    mask[14:16, 4:12, 6] = 9
    return array, mask


def dataset(root: Path, *, scaling: tuple[int, int] | None = None) -> Path:
    for number in range(10):
        array, mask = scan(number)
        slope, intercept = scaling or (1, 0)
        stored = ((array - intercept) // slope).astype(np.int16)
        write_nifti(root / "imagesTr" / f"v{number}.nii.gz", stored, scaling=scaling)
        write_nifti(root / "labelsTr" / f"v{number}.nii.gz", mask)
    return root


def data_of(root: Path, **settings: Any) -> Volumes:
    known: dict[str, Any] = {"num_workers": 0, "classes": {"none": 0, "organ": 1, "lesion": 2}, "ignore_value": 9}
    return Volumes(str(root), **{**known, **settings})


def of_training(data: Volumes) -> np.ndarray:
    """Values that bear a class in the training part."""
    names = data.table.cases["case_id"].iloc[data.rows("train")]
    pairs = [scan(int(name.removeprefix("v").removeprefix("case."))) for name in names]
    return np.concatenate([array[(mask == 1) | (mask == 2)] for array, mask in pairs])


@pytest.mark.parametrize("scaling", [None, (2, -1024)])
@pytest.mark.parametrize("axis", ["axial", "coronal"])
def test_the_range_is_that_of_annotated_voxels_of_training(
    scaling: tuple[int, int] | None, axis: Any, tmp_path: Path
) -> None:
    data = data_of(dataset(tmp_path, scaling=scaling), axis=axis)
    found = measure_fingerprint(data)
    assert found.foreground_range == pytest.approx(np.percentile(of_training(data), (0.5, 99.5)))
    again = measure_fingerprint(data_of(tmp_path, axis=axis))  # of what is kept
    assert again.foreground_range == found.foreground_range == Fingerprint.from_json(found.to_json()).foreground_range


def test_a_series_is_measured_in_hounsfield_units(tmp_path: Path) -> None:
    for number in range(10):
        array, mask = scan(number)
        folder = tmp_path / "imagesTr" / f"case.{number}"
        write_series(folder, array.transpose(2, 1, 0), uid=f"1.2.{number}", PatientID=f"P{number}")
        write_nifti(tmp_path / "labelsTr" / f"case.{number}.nii.gz", mask, read_grid(folder).affine)
    data = data_of(tmp_path)
    found = measure_fingerprint(data)
    assert found.modality == "ct"
    assert found.foreground_range == pytest.approx(np.percentile(of_training(data), (0.5, 99.5)))


def test_regions_that_overlap_count_each_voxel_once(tmp_path: Path) -> None:
    """A region alone is asked for: what is in no region is background."""
    root = dataset(tmp_path)
    data = data_of(root, overlapping=True, regions={"organ": ["organ", "lesion"], "lesion": ["lesion"]})
    assert measure_fingerprint(data).foreground_range == pytest.approx(np.percentile(of_training(data), (0.5, 99.5)))


def test_several_sequences_have_no_range_together(tmp_path: Path) -> None:
    for number in range(10):
        array, mask = scan(number)
        for sequence in range(2):
            write_nifti(tmp_path / "imagesTr" / f"v{number}_{sequence:04d}.nii.gz", array * (1 + 3 * sequence))
        write_nifti(tmp_path / "labelsTr" / f"v{number}.nii.gz", mask)
    assert measure_fingerprint(data_of(tmp_path)).foreground_range is None


def test_an_organ_of_one_slice_among_many_is_seen() -> None:
    slices = np.arange(300 * 16, dtype=np.int16).reshape(300, 4, 4)
    masks = np.zeros((300, 4, 4), np.uint8)
    masks[151, 1:3, 1:3] = 1
    masks[7] = 255
    assert values_of_classes(slices, masks, lambda mask: mask, 100).tolist() == slices[151, 1:3, 1:3].ravel().tolist()
    few = values_of_classes(slices, np.ones_like(masks), lambda mask: mask, 50)
    assert (len(few), few[0], few[-1]) == (50, 0, slices.max())
    assert np.all(np.diff(few) > 0)


def test_of_few_voxels_there_is_no_range() -> None:
    assert range_of([]) is None
    assert range_of([np.zeros(LEAST_VOXELS - 1)]) is None
    assert range_of([np.arange(LEAST_VOXELS, dtype=float)]) == tuple(np.percentile(range(LEAST_VOXELS), PERCENTILES))
