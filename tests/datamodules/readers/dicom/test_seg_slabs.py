"""How thick the frames of a DICOM segmentation are, against SimpleITK's nearest neighbour of highdicom's volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import Measures, Place
from datamodules.readers.dicom.seg import read_on_grid
from datamodules.readers.dicom.seg_place import Frame, slab_of, stack
from datamodules.readers.dicom.series import read_grid
from datamodules.readers.volume import Grid
from datamodules.segmentation.volumes import Volumes
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import AXIAL, blob, write_series
from tests.datamodules.seg_on_disk import write_seg

LABELS = {1: "Liver", 2: "tumour"}
ROWS, COLUMNS = 16, 12
OBLIQUE = (0.96, 0.28, 0.0, 0.0, 0.0, -1.0)


def drawn(slices: int) -> NDArray[np.uint8]:
    mask = np.zeros((slices, ROWS, COLUMNS), np.uint8)
    mask[1:4, 3:9, 4:11] = 1
    mask[2:, 10:15, 2:6] = 2
    return mask


def nearest(seg: Path, image: Grid) -> NDArray[Any]:
    """What SimpleITK's nearest neighbour makes of a segmentation that highdicom reads, as (X, Y, Z)."""
    import highdicom
    import SimpleITK

    volume = highdicom.seg.segread(seg).get_volume(combine_segments=True)
    moving = SimpleITK.GetImageFromArray(volume.array.astype(np.uint8))
    moving.SetOrigin(volume.position)
    moving.SetSpacing(volume.spacing[::-1])
    moving.SetDirection((volume.affine[:3, 2::-1] / np.array(volume.spacing[::-1])).ravel().tolist())
    fixed = SimpleITK.Image([int(side) for side in image.shape], SimpleITK.sitkUInt8)
    matrix = np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    fixed.SetOrigin(matrix[:, 3].tolist())
    fixed.SetSpacing(spacing.tolist())
    fixed.SetDirection((matrix[:, :3] / spacing).ravel().tolist())
    found = SimpleITK.Resample(moving, fixed, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    return np.asarray(SimpleITK.GetArrayFromImage(found).transpose(2, 1, 0))


def edited(seg: Path, change: Callable[[Any, list[Any]], None]) -> Path:
    """Change the shared PixelMeasures item and the groups of the frames."""
    dataset = pydicom.dcmread(seg)
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    change(dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], groups)
    dataset.save_as(seg)
    return seg


@pytest.fixture(scope="module")
def fine(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """Images of 1 mm around those of 5 mm, on one in-plane grid."""
    folder = tmp_path_factory.mktemp("fine")
    write_series(folder, blob((35, ROWS, COLUMNS)), step=1.0, origin=(-50.0, -40.0, 27.0))
    return read_grid(folder)


def thick(tmp_path: Path, slices: int = 6, **tags: Any) -> list[Path]:
    return write_series(tmp_path / "thick", blob((slices, ROWS, COLUMNS)), step=5.0, **tags)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("direction", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("step", [1.0, 2.0])
def test_5_mm_frames_over_1_mm_images_are_what_simpleitk_makes_of_them(
    tmp_path: Path, kind: str, direction: Any, step: float
) -> None:
    seg = write_seg(tmp_path / "seg.dcm", thick(tmp_path, direction=direction), drawn(6), LABELS, kind)
    write_series(tmp_path / "images", blob((40, ROWS, COLUMNS)), step=step, direction=direction)
    grid = read_grid(tmp_path / "images")
    expected = nearest(seg, grid)
    found = read_on_grid(seg, grid).array
    assert np.array_equal(found, expected)
    if step == 1:
        assert (found > 0).sum() == pytest.approx(5 * (drawn(6) > 0).sum(), rel=0.1)


@pytest.mark.parametrize("spacing", [(0.8, 0.7), (0.5, 0.45)])
def test_frames_that_were_left_out_are_empty_and_not_bridged(tmp_path: Path, spacing: tuple[float, float]) -> None:
    mask = drawn(6)
    mask[2:4] = 0  # highdicom writes no empty frames: positions 5, 20 and 25 are left
    seg = write_seg(tmp_path / "seg.dcm", thick(tmp_path), mask, LABELS)
    size = (32, ROWS, COLUMNS) if spacing == (0.8, 0.7) else (32, 26, 20)
    write_series(tmp_path / "images", blob(size), step=1.0, spacing=spacing)
    grid = read_grid(tmp_path / "images")
    found = read_on_grid(seg, grid).array
    assert np.array_equal(found, nearest(seg, grid))
    assert found.any(axis=(0, 1)).sum() == 5 + 10  # slices

    def without_spacing(measures: Any, groups: Any) -> None:
        del measures.SpacingBetweenSlices

    assert np.array_equal(read_on_grid(edited(seg, without_spacing), grid).array, found)


def test_a_lone_frame_has_its_own_thickness(tmp_path: Path, fine: Grid) -> None:
    mask = drawn(1)
    mask[0, 3:9, 4:11] = 1
    # highdicom says SpacingBetweenSlices 1.0 of a lone frame.
    seg = write_seg(tmp_path / "lone.dcm", thick(tmp_path, 1), mask, LABELS)
    found = read_on_grid(seg, fine).array
    assert np.flatnonzero(found.any(axis=(0, 1))).tolist() == [1, 2, 3, 4, 5]  # 28 to 32 mm around 30
    assert (found[:, :, 1] == found[:, :, 3]).all()
    mask = drawn(6)
    mask[:3] = mask[4:] = 0
    seg = write_seg(tmp_path / "one.dcm", thick(tmp_path), mask, LABELS)
    found = read_on_grid(seg, fine).array
    assert np.array_equal(found, nearest(seg, fine))
    assert found.any(axis=(0, 1)).sum() == 5


def test_thickness_of_each_frame_counts_where_it_is_not_shared(tmp_path: Path, fine: Grid) -> None:
    seg = write_seg(tmp_path / "seg.dcm", thick(tmp_path), drawn(6), LABELS)
    expected = read_on_grid(seg, fine).array
    dataset = pydicom.dcmread(seg)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelMeasuresSequence = shared.PixelMeasuresSequence
    del shared.PixelMeasuresSequence
    dataset.save_as(seg)
    assert np.array_equal(read_on_grid(seg, fine).array, expected)


def test_frames_on_their_own_images_stay_one_slice_thick(tmp_path: Path) -> None:
    # Reconstructed with an overlap: 5 mm thick, 2.5 mm apart; and with gaps: 3 mm thick, 5 mm apart.
    for name, step, thickness in (("overlap", 2.5, 5.0), ("gap", 5.0, 3.0)):
        images = blob((6, ROWS, COLUMNS))
        files = write_series(tmp_path / name, images, step=step, SliceThickness=thickness)
        grid = read_grid(tmp_path / name)
        for frames in (slice(0, 6), slice(1, 2), slice(0, 6, 2)):
            mask = np.zeros((6, ROWS, COLUMNS), np.uint8)
            mask[frames, 3:9, 4:11] = 1
            seg = write_seg(tmp_path / "seg.dcm", files, mask, {1: "Liver"})
            expected = mask[:, ::-1].transpose(2, 1, 0)
            assert np.array_equal(read_on_grid(seg, grid).array, expected)

            def nothing_said(measures: Any, groups: Any) -> None:
                del measures.SpacingBetweenSlices, measures.SliceThickness

            assert np.array_equal(read_on_grid(edited(seg, nothing_said), grid).array, expected)
        one = write_seg(tmp_path / "one.dcm", files[1:2], mask[2:3], {1: "Liver"})  # of one image alone
        assert read_on_grid(one, grid).array.any(axis=(0, 1)).tolist() == [False, True, False, False, False, False]


def test_tilted_frames_are_sheared_as_they_lie(tmp_path: Path) -> None:
    files = thick(tmp_path)
    seg = write_seg(tmp_path / "seg.dcm", files, drawn(6), LABELS)
    write_series(tmp_path / "images", blob((40, 60, 40)), step=1.0, spacing=(0.5, 0.5), origin=(-52.0, -42.0, 27.0))
    grid = read_grid(tmp_path / "images")
    straight = read_on_grid(seg, grid).array

    def tilt(measures: Any, groups: list[Any]) -> None:
        for group in groups:
            x, y, z = map(float, group.PlanePositionSequence[0].ImagePositionPatient)
            group.PlanePositionSequence[0].ImagePositionPatient = [x, y + 0.2 * (z - 30), z]

    tilted = read_on_grid(edited(seg, tilt), grid).array
    for height in range(0, 26, 5):  # in the planes of the frames: 0.2 x height mm further back, in pixels of 0.5 mm
        shift = -round(0.2 * height / 0.5)
        assert np.array_equal(tilted[:, :, 3 + height], np.roll(straight[:, :, 3 + height], shift, axis=1))

    def jump(measures: Any, groups: list[Any]) -> None:
        groups[1].PlanePositionSequence[0].ImagePositionPatient[0] += 7

    with pytest.raises(SuiteError, match=r"seg\.dcm: .*do not lie one behind the other"):
        read_on_grid(edited(seg, jump), grid)


def test_two_frames_of_a_segment_at_one_position_are_refused(tmp_path: Path, fine: Grid) -> None:
    files = thick(tmp_path)
    own = read_grid(tmp_path / "thick")

    def twice(measures: Any, groups: list[Any]) -> None:
        groups[1].PlanePositionSequence = groups[0].PlanePositionSequence

    for kind, what in (("BINARY", r" of segment 1"), ("LABELMAP", "")):
        seg = edited(write_seg(tmp_path / f"{kind}.dcm", files, drawn(6), LABELS, kind), twice)
        for grid in (own, fine):
            with pytest.raises(SuiteError, match=rf"frames 0 and 1{what} lie at one position: keep one$") as caught:
                read_on_grid(seg, grid)
            assert str(caught.value).startswith(str(seg))

    def drawn_on_one(measures: Any, groups: list[Any]) -> None:
        for group in groups:
            del group.PlanePositionSequence
        groups[1].DerivationImageSequence = groups[0].DerivationImageSequence

    seg = edited(write_seg(tmp_path / "lost.dcm", files, drawn(6), LABELS), drawn_on_one)
    with pytest.raises(SuiteError, match=r"frames 0 and 1 of segment 1 lie at one position"):
        read_on_grid(seg, own)


def test_training_sees_thick_frames_in_every_slice_that_they_cover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    expected = []
    for case in range(2):
        files = write_series(tmp_path / f"thick{case}", blob((4, ROWS, COLUMNS)), step=5.0, uid=f"1.2.5.{case}")
        seg = write_seg(tmp_path / "data" / "labelsTr" / f"c{case}.dcm", files, drawn(4), LABELS)
        images = tmp_path / "data" / "imagesTr" / f"c{case}"
        write_series(images, blob((20, ROWS, COLUMNS), case), step=1.0, uid=f"1.2.3.{case}", PatientID=f"P{case}")
        expected.append(nearest(seg, read_grid(images)))
    data = Volumes(str(tmp_path / "data"), num_workers=0, split="all_test")
    for case in range(2):
        assert np.array_equal(data.true_mask(case), expected[case])
        planes = np.stack([data.read_classes(20 * case + index) for index in range(20)])
        assert np.array_equal(data.to_grid(case, planes), expected[case])


@given(
    kept=st.sets(st.integers(0, 40), min_size=2, max_size=12),
    spacing=st.floats(0.1, 12),
    said=st.sampled_from(["spacing", "thickness", "both"]),
    seed=st.integers(0, 99),
)
def test_the_step_is_found_whatever_frames_are_left_out(kept: set[int], spacing: float, said: str, seed: int) -> None:
    """Where SpacingBetweenSlices, or SliceThickness without gaps, is that of the frames, so is the step."""
    measures = Measures(spacing if said != "spacing" else None, spacing if said != "thickness" else None)
    rng = np.random.default_rng(seed)
    across, down = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
    frames = [
        Frame(number, 1, Place(index * spacing * np.cross(across, down), across, down, (1.0, 1.0)), None, measures,
              np.full((2, 3), index + 1, np.uint8))
        for number, index in enumerate(rng.permutation(sorted(kept)))
    ]  # fmt: skip
    slab = slab_of(frames, frames)
    assert slab.step == pytest.approx(spacing)
    values, affine = stack(frames, slab.step)
    assert values.shape == (2, 3, max(kept) - min(kept) + 1)
    found = [int(one) for one in values[0, 0] if one]
    assert found == [index + 1 for index in sorted(kept, reverse=True)]
    for frame in frames:  # where a frame lies, there is its slice
        assert frame.place is not None
        place = np.linalg.inv(affine) @ [*(np.diag([-1, -1, 1]) @ frame.place.origin), 1]
        assert np.allclose(place[:2], 0, atol=1e-3)
        assert values[0, 0, round(place[2])] == frame.values[0, 0]
