"""NIfTI in and out: values, geometry, anatomical slices, and what is refused."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.readers import volume
from datamodules.readers.volume import (
    Plane,
    check_same_grid,
    from_slices,
    read_grid,
    read_volume,
    same_grid,
    slice_axis,
    slice_spacing,
    to_slices,
    write_volume,
)
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import AFFINES, AXIAL, write_nifti

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")


def numbered(shape: tuple[int, ...] = (5, 6, 7), dtype: Any = np.int16) -> NDArray[Any]:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# Reading.


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int32", "uint16", "float32", ">f4", "float64"])
def test_values_and_types_are_kept(suffix: str, version: int, dtype: str, tmp_path: Path) -> None:
    array = numbered(dtype=dtype)
    path = write_nifti(tmp_path / f"a{suffix}", array, AFFINES["oblique"], version=version)
    read = read_volume(path)
    assert read.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read.array, array)
    np.testing.assert_allclose(read.affine, nibabel.load(path).affine)
    np.testing.assert_allclose(read.spacing, (0.7, 1.1, 2.5), atol=1e-6)
    assert (read.path, read.shape) == (str(path), (5, 6, 7))


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", numbered(), scaling=(2.0, -1024.0))
    read = read_volume(path).array
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, numbered().astype(float) * 2 - 1024)
    np.testing.assert_array_equal(read, nibabel.load(path).get_fdata())
    unscaled = write_nifti(tmp_path / "one.nii", numbered(), scaling=(1.0, 0.0))
    assert read_volume(unscaled).array.dtype == np.int16


def test_frames(tmp_path: Path) -> None:
    array = numbered((5, 6, 7))
    for name, stored, shape in (
        ("one", array[..., None], (5, 6, 7)),
        ("two", np.stack([array, array + 1], axis=-1), (5, 6, 7, 2)),
        ("vectors", np.stack([array, array + 1, array + 2], axis=-1)[:, :, :, None], (5, 6, 7, 3)),
        ("flat", array[:, :, 0], (5, 6, 1)),
    ):
        read = read_volume(write_nifti(tmp_path / f"{name}.nii.gz", stored))
        assert read.array.shape == shape, name
        assert read.shape == shape[:3]
        np.testing.assert_array_equal(read.array.ravel(), stored.ravel())
    many = write_nifti(tmp_path / "many.nii", numbered((2, 2, 2, 3, 4)))
    assert "frames along several axes (shape (2, 2, 2, 3, 4))" in refused(many)


def test_units_become_millimetres_and_are_written_back(tmp_path: Path) -> None:
    affine = np.diag([800.0, 900.0, 3000.0, 1.0])
    path = write_nifti(tmp_path / "a.nii", numbered(), affine, unit="micron")
    read = read_volume(path)
    np.testing.assert_allclose(read.spacing, (0.8, 0.9, 3.0))
    write_volume(tmp_path / "b.nii", read.array, read)
    again = nibabel.load(tmp_path / "b.nii")
    assert again.header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(again.affine, affine)


def test_a_grid_is_read_from_the_header_alone(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.full((40, 50, 60), np.nan, np.float32), AFFINES["oblique"])
    assert read_grid(path).shape == (40, 50, 60)
    with pytest.raises(SuiteError, match="120000 voxels are NaN or infinite"):
        read_volume(path)


# Slices.


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("channels", [(), (2,)])
def test_slices_lie_as_the_affine_says_and_go_back(name: str, plane: Plane, channels: tuple[int, ...]) -> None:
    affine = AFFINES[name]
    array = numbered((5, 6, 7, *channels))
    slices = to_slices(array, affine, plane)
    np.testing.assert_array_equal(from_slices(slices, affine, plane), array)
    assert slices.shape[0] == array.shape[slice_axis(affine, plane)]
    # Where each voxel lies in RAS mm, cut in the same way: along each axis it must run to the side that is promised.
    index = np.stack(np.meshgrid(*(np.arange(size) for size in array.shape[:3]), indexing="ij"), axis=-1)
    places = to_slices(index @ affine[:3, :3].T + affine[:3, 3], affine, plane)
    for axis, direction in enumerate(volume.PLANES[plane]):
        step = np.diff(places, axis=axis).reshape(-1, 3)[0]
        world, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[direction]
        assert np.abs(step).argmax() == world
        assert np.sign(step[world]) == sign
        assert slice_spacing(affine, plane)[axis] == pytest.approx(np.linalg.norm(step))


def test_one_patient_looks_the_same_however_it_was_stored() -> None:
    canonical = nibabel.Nifti1Image(numbered((5, 6, 7)), np.diag([2.0, 3.0, 4.0, 1.0]))
    for codes in ("LPS", "RAI", "SAR", "PIL"):
        start = nibabel.orientations.axcodes2ornt(("R", "A", "S"))
        turn = nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(tuple(codes)))
        stored = canonical.as_reoriented(turn)
        for plane in PLANES:
            np.testing.assert_array_equal(
                to_slices(np.asarray(stored.dataobj), stored.affine, plane),
                to_slices(np.asarray(canonical.dataobj), canonical.affine, plane),
            )


# Writing.


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("frames", [(), (1,)])
@pytest.mark.parametrize("version", [1, 2])
def test_a_mask_goes_round_through_slices_and_writer(
    name: str, plane: Plane, frames: tuple[int, ...], version: int, tmp_path: Path
) -> None:
    source = write_nifti(tmp_path / "image.nii.gz", numbered((5, 6, 7, *frames)), AFFINES[name], version=version)
    true = write_nifti(tmp_path / "mask.nii.gz", numbered((5, 6, 7)).astype(np.uint8) % 3, AFFINES[name])
    image, mask = read_volume(source), read_volume(true)
    check_same_grid(image, mask)
    back = from_slices(np.ascontiguousarray(to_slices(mask.array, image.affine, plane)), image.affine, plane)
    write_volume(tmp_path / "out.nii.gz", back.astype(np.int64), image)
    written, original = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(source)
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask.array)
    np.testing.assert_array_equal(written.affine, original.affine)
    assert written.get_data_dtype() == np.uint8
    assert type(written) is type(original)
    for field in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "xyzt_units"):
        np.testing.assert_array_equal(written.header[field], original.header[field])
    np.testing.assert_array_equal(written.header.get_zooms(), original.header.get_zooms()[:3])
    assert b"Doe" not in gzip.decompress((tmp_path / "out.nii.gz").read_bytes())


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 2), (1, 4)])
def test_form_codes_are_kept(codes: tuple[int, int], tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(numbered(), None)
    image.header["pixdim"][:4] = -1, 2, 3, 4
    image.set_qform(AFFINES["lps"], code=codes[0])
    if codes[1]:
        image.set_sform(AFFINES["lps"], code=codes[1])
    nibabel.save(image, tmp_path / "a.nii")
    read = read_volume(tmp_path / "a.nii")
    write_volume(tmp_path / "b.nii", read.array, read)
    again = nibabel.load(tmp_path / "b.nii")
    assert (int(again.header["qform_code"]), int(again.header["sform_code"])) == codes
    np.testing.assert_array_equal(again.affine, nibabel.load(tmp_path / "a.nii").affine)


def test_types_that_nifti_lacks(tmp_path: Path) -> None:
    like = read_volume(write_nifti(tmp_path / "a.nii", numbered()))
    path = tmp_path / "b.nii"
    for array, dtype in (
        (numbered() > 5, np.uint8),
        (numbered(dtype=np.int64) - 5, np.int16),
        (numbered(dtype=np.uint64) + 2**17, np.int32),
        (numbered(dtype=np.float16), np.float32),
    ):
        write_volume(path, array, like)
        read = read_volume(path).array
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, array)
    with pytest.raises(ValueError, match="do not fit into 32 bits"):
        write_volume(path, numbered(dtype=np.int64) + 2**40, like)
    with pytest.raises(ValueError, match=r"shape \(5, 6\) does not lie on the grid"):
        write_volume(path, numbered((5, 6)), like)
    with pytest.raises(ValueError, match="no NIfTI file by its name"):
        write_volume(tmp_path / "b.png", numbered(), like)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    like = read_volume(write_nifti(tmp_path / "a.nii", numbered()))
    path = tmp_path / "b.nii.gz"
    write_volume(path, like.array, like)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SuiteError, match=r"b\.nii\.gz: cannot be written \(No space left on device\)"):
        write_volume(path, like.array + 1, like)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.nii", "b.nii.gz"]


# Grids.


def test_same_grid(tmp_path: Path) -> None:
    def grid(name: str, shape: tuple[int, ...], affine: NDArray[np.float64]) -> volume.Grid:
        return read_grid(write_nifti(tmp_path / name, np.zeros(shape, np.uint8), affine))

    image = grid("image.nii.gz", (5, 6, 7), AXIAL)
    assert same_grid(image, grid("rounded.nii.gz", (5, 6, 7), AXIAL + 5e-4 * np.eye(4)))
    shifted = AXIAL.copy()
    shifted[0, 3] = 0.25
    moved = grid("moved.nii.gz", (5, 6, 7), shifted)
    small = grid("small.nii.gz", (5, 6, 6), AXIAL)
    for mask, how in ((moved, "affines that differ by up to 0.25"), (small, "5 x 6 x 6 voxels against 5 x 6 x 7")):
        assert not same_grid(image, mask)
        with pytest.raises(SuiteError) as caught:
            check_same_grid(image, mask)
        text = str(caught.value)
        assert mask.path in text
        assert image.path in text
        assert how in text


# What is refused.


def refused(path: Path) -> str:
    with pytest.raises(SuiteError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files_are_refused_wherever_they_end(suffix: str, tmp_path: Path) -> None:
    whole = write_nifti(tmp_path / f"whole{suffix}", np.random.default_rng(0).integers(0, 99, (9, 9, 9), np.uint8))
    data = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in (0, 1, 3, 100, 347, 351, len(data) // 2, len(data) - 9, len(data) - 1):
        path.write_bytes(data[:length])
        assert "no voxels" not in refused(path)


def test_damage_inside_a_compressed_file_is_noticed(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 2**15, (9, 9, 9), np.int16))
    data = bytearray(path.read_bytes())
    data[-20] ^= 0x10
    path.write_bytes(data)
    assert "damaged or truncated" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    array = numbered(dtype=np.float32)
    array[1, 2, 3] = value
    assert "1 voxels are NaN or infinite" in refused(write_nifti(tmp_path / "a.nii.gz", array))


def test_other_things_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.nii.gz")
    (tmp_path / "folder.nii").mkdir()
    assert "Is a directory" in refused(tmp_path / "folder.nii")
    assert "not a volume by its name" in refused(tmp_path / "a.txt")
    (tmp_path / "text.nii").write_text("no volume at all")
    assert "cannot be decoded as NIfTI: it does not begin with" in refused(tmp_path / "text.nii")
    assert "has no voxels (shape (5, 6, 0))" in refused(
        write_nifti(tmp_path / "empty.nii.gz", np.zeros((5, 6, 0), np.uint8))
    )
    assert "complex64 are no plain numbers" in refused(
        write_nifti(tmp_path / "complex.nii", numbered(dtype=np.complex64))
    )
    colours = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "no plain numbers" in refused(write_nifti(tmp_path / "rgb.nii", colours))


def test_an_affine_that_collapses_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", numbered())
    data = bytearray(path.read_bytes())
    data[280:296] = bytes(16)  # srow_x
    path.write_bytes(data)
    assert "its affine cannot be inverted" in refused(path)


def test_real_volumes_read_as_nibabel_reads_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "msd_hippocampus" / "imagesTr").glob("[!.]*.nii.gz"))[:6]:
        read, reference = read_volume(path), nibabel.load(path)
        np.testing.assert_array_equal(read.array, reference.get_fdata())
        np.testing.assert_array_equal(read.affine, reference.affine)
        check_same_grid(read, read_grid(path.parents[1] / "labelsTr" / path.name))
