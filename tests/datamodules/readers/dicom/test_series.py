"""DICOM series as volumes: order, geometry as dcm2niix makes it, and what is refused by name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from datamodules.readers.dicom.series import find_series, read_grid, read_volume
from datamodules.readers.hashing import content_hashes
from datamodules.readers.volume import read_volume as read_any
from datamodules.readers.volume import same_grid, write_volume
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import AXIAL, CORONAL, SAGITTAL, blob, write, write_enhanced, write_series

SHAPE = (60, 24, 20)
DIRECTIONS = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "oblique": (0.96, 0.28, 0.0, 0.0, 0.0, -1.0)}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_60_shuffled_files_are_the_volume_of_dcm2niix(tmp_path: Path, name: str) -> None:
    write_series(tmp_path / "series", blob(SHAPE), direction=DIRECTIONS[name])
    assert_as_dcm2niix(tmp_path / "series", tmp_path / "out")


def assert_as_dcm2niix(series: Path, out: Path) -> None:
    """A series is the volume, and lies where, that dcm2niix says."""
    beside = Path(sys.executable).with_name("dcm2niix")  # the wheel of the extra `test` brings it
    program = str(beside) if beside.is_file() else shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix is not installed")
    out.mkdir()
    command = [program, "-z", "n", "-b", "n", "-f", "x", "-o", str(out), str(series)]
    subprocess.run(command, check=True, capture_output=True)
    theirs = nibabel.load(out / "x.nii")
    ours = read_volume(series)
    assert np.array_equal(ours.array, np.asarray(theirs.dataobj))
    assert np.allclose(ours.affine, theirs.affine, atol=1e-4)
    assert same_grid(ours, read_any(out / "x.nii"))


@pytest.mark.parametrize(
    "measures",
    [
        {"SliceThickness": 5},
        {"SliceThickness": 5, "SpacingBetweenSlices": 6},
        {"SliceThickness": 5, "SpacingBetweenSlices": 2},
        {"SliceThickness": None, "SpacingBetweenSlices": 6},
        {"SliceThickness": 0, "SpacingBetweenSlices": 6},
        {"SliceThickness": 5, "SpacingBetweenSlices": 0},
        {"SliceThickness": 5, "SpacingBetweenSlices": -6},
        {"SliceThickness": None},
    ],
)
def test_a_single_slice_is_as_thick_as_dcm2niix_has_it(tmp_path: Path, measures: dict[str, Any]) -> None:
    said = {name: value for name, value in measures.items() if value is not None}
    write_series(tmp_path / "classic", blob((1, 8, 6)), **measures)
    assert_as_dcm2niix(tmp_path / "classic", tmp_path / "out classic")
    for per_frame in (False, True):
        name = f"enhanced {per_frame}"
        write_enhanced(tmp_path / name / "x.dcm", blob((1, 8, 6)), measures=said, per_frame=per_frame)
        assert_as_dcm2niix(tmp_path / name, tmp_path / f"out {name}")


def test_frames_of_an_enhanced_file_lie_where_their_positions_say(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a" / "x.dcm", blob((4, 8, 6)), step=2.5, measures={"SliceThickness": 5})
    assert_as_dcm2niix(tmp_path / "a", tmp_path / "out")
    assert read_grid(tmp_path / "a").spacing == pytest.approx((0.7, 0.8, 2.5))


def interleaved(folder: Path, *tags: dict[str, Any]) -> Path:
    """Several acquisitions of one series, the images of each between those of the others: one step in space."""
    for number, own in enumerate(tags):
        place: dict[str, Any] = {"origin": (-50.0, -40.0, 30.0 + 2.5 * number / len(tags)), "step": 2.5}
        files = write_series(folder / "part", blob((6, 8, 6), number), **place, **own)
        for file in files:
            file.rename(folder / f"{file.name}{number}")
    (folder / "part").rmdir()
    return folder


@pytest.mark.parametrize(
    ("what", "tags"),
    [
        ("2 time points", [{"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}]),
        ("3 time points", [{"TemporalPositionIdentifier": number} for number in (1, 2, 3)]),
        ("2 echoes", [{"EchoNumbers": 1}, {"EchoNumbers": 2}]),
        ("2 frames of reference", [{"FrameOfReferenceUID": "1.2.3"}, {"FrameOfReferenceUID": "1.2.4"}]),
    ],
)
def test_times_echoes_and_frames_of_reference_between_each_other_are_refused(
    tmp_path: Path, what: str, tags: list[dict[str, Any]]
) -> None:
    message = refused(interleaved(tmp_path, *tags))
    assert message.startswith(f"{tmp_path}: series 2 (CT, {6 * len(tags)} images) has {what}, in IM")
    assert message.endswith("for instance: keep one of them, or put each into a folder of its own")


def test_one_time_of_all_images_is_no_reason_to_refuse(tmp_path: Path) -> None:
    same = {"TemporalPositionIdentifier": 1, "EchoNumbers": 1}
    assert read_grid(interleaved(tmp_path, same, same)).shape == (6, 8, 12)


def test_time_points_of_frames_are_refused(tmp_path: Path) -> None:
    times = [{"TemporalPositionIndex": 1 + number % 2} for number in range(6)]
    write_enhanced(tmp_path / "x.dcm", blob((6, 8, 6)), contents=times)
    assert "has 2 time points, in x.dcm frame 0 and x.dcm frame 1 for instance" in refused(tmp_path)


def test_voxels_lie_where_the_header_says(tmp_path: Path) -> None:
    array = blob((5, 8, 6))
    write_series(tmp_path, array, origin=(-50, -40, 30), spacing=(0.8, 0.7), step=2.5)
    volume = read_any(tmp_path)
    assert volume.array.shape == volume.shape == (6, 8, 5)
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))
    column, row, number = 2, 3, 4
    voxel = volume.array[column, 8 - 1 - row, number]
    assert voxel == array[number, row, column]
    place = volume.affine @ [column, 8 - 1 - row, number, 1]
    assert np.allclose(place[:3], [50 - 2 * 0.7, 40 - 3 * 0.8, 30 + 4 * 2.5])
    write_volume(tmp_path / "mask.nii.gz", (volume.array > 0).astype(np.uint8), volume)
    assert same_grid(volume, read_any(tmp_path / "mask.nii.gz"))


def test_frames_of_one_file_are_a_volume(shared_data: Path) -> None:
    file = shared_data / "dicom_syntaxes" / "eCT_Supplemental.dcm"
    volume = read_any(file)
    assert volume.shape == (512, 512, 2)
    assert volume.array.min() == -1024


def refused(folder: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        read_volume(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_volume_is_named(tmp_path: Path) -> None:
    def series(name: str) -> list[Path]:
        return write_series(tmp_path / name, blob((12, 8, 6)))

    files = series("gap")
    files[5].unlink()
    message = refused(tmp_path / "gap")
    assert "1 slice is missing" in message
    assert files[4].name in message
    assert files[6].name in message

    files = series("twice")
    shutil.copy(files[3], tmp_path / "twice" / "copy")
    assert {files[3].name, "copy"} <= set(refused(tmp_path / "twice").replace(":", " ").split())

    files = series("size")
    place = {"ImageOrientationPatient": list(AXIAL), "PixelSpacing": [0.8, 0.7], "SeriesInstanceUID": "1.2.826.0.1.1.1"}
    write(files[7], blob((1, 8, 7))[0], ImagePositionPatient=[-50, -40, 47.5], **place)
    assert f"{files[7].name} has 7 x 8 pixels, but most of series 2 (CT, 12 images) have 6 x 8" in refused(
        tmp_path / "size"
    )

    files = series("turned")
    turned = {**place, "ImageOrientationPatient": list(CORONAL)}
    write(files[2], blob((1, 8, 6))[0], ImagePositionPatient=[-50, -40, 35], **turned)
    assert f"{files[2].name} lies in another direction" in refused(tmp_path / "turned")

    files = series("uneven")
    write(files[4], blob((1, 8, 6))[0], ImagePositionPatient=[-50, -40, 40.9], **place)
    assert f"{files[4].name} (40.90 mm) lies 0.90 mm from where it would" in refused(tmp_path / "uneven")

    files = series("lost")
    write(files[1], blob((1, 8, 6))[0], SeriesInstanceUID="1.2.826.0.1.1.1")
    assert f"{files[1].name} says not where it lies" in refused(tmp_path / "lost")

    files = series("phases")
    for number, file in enumerate(files):
        shutil.copy(file, file.with_name(f"again{number}"))
    assert "has 2 images at each position" in refused(tmp_path / "phases")

    files = series("broken")
    files[6].write_bytes(files[6].read_bytes()[:-20])
    assert str(files[6]) in refused(tmp_path / "broken")

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    assert "no DICOM images in it" in refused(tmp_path / "empty")


def test_localisers_and_several_series(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scout: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesNumber": 1}
    write_series(tmp_path / "scout", blob((2, 30, 30)), direction=CORONAL, uid="1.2.3", **scout)
    assert "series 1 (CT, 2 images) is a localiser, not a volume" in refused(tmp_path / "scout")

    write_series(tmp_path / "study" / "a", blob((5, 8, 6)))
    write_series(tmp_path / "study" / "b", blob((2, 30, 30)), direction=CORONAL, uid="1.2.3", **scout)
    with caplog.at_level("INFO", "datamodules"):
        assert read_grid(tmp_path / "study").shape == (6, 8, 5)
    assert "localisers are passed over: series 1 (CT, 2 images)" in caplog.text

    write_series(tmp_path / "study" / "c", blob((4, 8, 6)), uid="1.2.4", SeriesNumber=3)
    message = refused(tmp_path / "study")
    assert (
        "has 2 series (series 2 (CT, 5 images), series 3 (CT, 4 images)): put each into a folder of its own" in message
    )
    assert len(find_series(tmp_path / "study")) == 3


def test_limits(tmp_path: Path) -> None:
    write_series(tmp_path, blob((5, 8, 6)))
    with pytest.raises(SuiteError, match="5 frames unpack to 480 bytes, more than the 400 allowed"):
        read_volume(tmp_path, max_bytes=400)
    with pytest.raises(SuiteError, match="6 x 8 pixels are more than the 40 allowed"):
        read_volume(tmp_path, max_pixels=40)


def test_a_folders_hash_is_that_of_its_files(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", blob((5, 8, 6)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / files[0].name).rename(tmp_path / "b" / "zzz")
    write_series(tmp_path / "c", blob((5, 8, 6), seed=1))
    first, second, third, file = content_hashes([tmp_path / "a", tmp_path / "b", tmp_path / "c", files[0]], None)
    assert first == second != third
    assert file == content_hashes([files[0]], None)[0]
