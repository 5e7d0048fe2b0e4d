"""A check says where a network would see little of its range, or nothing says what is black and white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.classification.image_folder import ImageFolder
from datamodules.readers.raster import write_png
from datamodules.segmentation.volumes import Volumes
from tests.datamodules.checks.checking import findings
from tests.datamodules.dicom_on_disk import write
from tests.datamodules.volumes_on_disk import write_nifti


def noise(case: int, low: int, high: int) -> NDArray[np.uint16]:
    return np.random.default_rng(case).integers(low, high, (48, 40)).astype(np.uint16)


def kinds_of(folder: Path, **flags: Any) -> dict[str, str]:
    """What is found out about scales, and of which detail, in a folder of images."""
    data = ImageFolder(str(folder), num_workers=0, cache_dir=str(folder / "cache"), split="all_test", **flags)
    number = len(list(folder.parent.iterdir()))
    found = findings(data, folder.parent / f"checked{number}")
    found = found[found["kind"].isin(["faint", "narrow", "no_scale"])]
    return dict(zip(found["kind"], found["detail"], strict=True))


def folder_of(folder: Path, low: int, high: int, suffix: str, **tags: Any) -> Path:
    for case in range(4):
        file = folder / "ab"[case % 2] / f"{case}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".png":
            write_png(file, noise(case, low, high))
        else:
            write(file, noise(case, low, high), **tags)
    return folder


def test_12_bits_in_a_picture_of_16_are_found(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "png", 0, 4096, ".png")
    found = kinds_of(folder)
    assert set(found) == {"narrow"}
    assert "a network would see 0.000 to 0.06" in found["narrow"]
    # What the user says of the scale is used.
    assert kinds_of(folder, value_range=[0, 4095]) == {}
    assert kinds_of(folder, percentiles=[1, 99]) == {}
    assert kinds_of(folder, gamma=0.5) == {}
    assert set(kinds_of(folder, window="40000:4000")) == {"narrow"}  # beside the values
    assert set(kinds_of(folder_of(tmp_path / "faint", 0, 300, ".png"))) == {"faint"}
    assert kinds_of(folder_of(tmp_path / "full", 0, 65535, ".png")) == {}


def test_what_a_header_states_is_the_range(tmp_path: Path) -> None:
    twelve = {"Modality": "DX", "BitsStored": 12, "HighBit": 11}
    assert kinds_of(folder_of(tmp_path / "dicom", 0, 4096, ".dcm", **twelve)) == {}
    assert set(kinds_of(folder_of(tmp_path / "dim", 0, 300, ".dcm", **twelve))) == {"narrow"}
    assert set(kinds_of(folder_of(tmp_path / "faint", 0, 60, ".dcm", **twelve))) == {"faint"}


def test_hounsfield_units_without_a_window_are_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "ct", 0, 2000, ".dcm", RescaleSlope=1, RescaleIntercept=-1024)
    found = kinds_of(folder)
    assert set(found) == {"no_scale"}
    assert "int16 values have no scale of their own: give --data.window" in found["no_scale"]
    assert kinds_of(folder, window="40:400") == {}
    assert set(kinds_of(folder, window="3000:400")) == {"narrow"}


@pytest.mark.parametrize(("window", "kinds"), [(None, set()), ("100:200", set()), ("5000:100", {"narrow"})])
def test_volumes_are_seen_through_their_window(tmp_path: Path, window: str | None, kinds: set[str]) -> None:
    for case in range(4):
        array = np.random.default_rng(case).integers(0, 200, (12, 10, 4)).astype(np.int16)
        for name, values in (("imagesTr", array), ("labelsTr", (array > 150).astype(np.uint8))):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            write_nifti(tmp_path / "data" / name / f"{case}.nii.gz", values)
    data = Volumes(
        str(tmp_path / "data"), window=window, num_workers=0, cache_dir=str(tmp_path / "cache"), split="all_test"
    )
    found = findings(data, tmp_path / "checked")
    assert set(found["kind"]) & {"faint", "narrow", "no_scale"} == kinds
