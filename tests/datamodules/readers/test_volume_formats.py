"""One volume in every format: the same array on the same grid; and what is refused."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from numpy.typing import NDArray

from datamodules.readers.limits import Limits
from datamodules.readers.volume import read_grid, read_volume, to_slices, write_volume
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import AFFINES, itk_image, write_nifti

# Files that lie on a grid of any kind; TIFF has none.
FORMS = (
    ".nii", ".nii.gz", ".nrrd", "raw.nrrd", ".nhdr", ".mha", "zlib.mha", ".mhd", "zlib.mhd", "nii.zip", "niigz.zip",
    "nrrd.zip", "mha.zip", ".nrrd.gz", ".mha.gz",
)  # fmt: skip
TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "int64")


def pattern(dtype: Any = np.int16, shape: tuple[int, ...] = (5, 6, 7)) -> NDArray[Any]:
    values = np.random.default_rng(3).integers(0, 127, shape)
    return np.asarray(values.astype(dtype))


def write(folder: Path, form: str, array: NDArray[Any], affine: NDArray[np.float64]) -> Path:
    path = folder / (f"a{form}" if form.startswith(".") else f"a.{form}")
    if form in (".nii", ".nii.gz"):
        return write_nifti(path, array, affine)
    if form.endswith(".zip"):
        inner = {"nii": ".nii", "niigz": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha"}[form.removesuffix(".zip")]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._a.nii", b"junk")
            archive.write(write(folder, inner, array, affine), f"scans/b{inner}")
        return path
    if form.endswith(".gz"):
        plain = write(folder, form.removesuffix(".gz"), array, affine)
        path.write_bytes(gzip.compress(plain.read_bytes()))
        return path
    SimpleITK.WriteImage(itk_image(array, affine), str(path), useCompression=form in (".nrrd", "zlib.mha", "zlib.mhd"))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", AFFINES)
def test_one_volume_is_the_same_in_every_format(form: str, name: str, tmp_path: Path) -> None:
    array, affine = pattern(), AFFINES[name]
    path = write(tmp_path, form, array, affine)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, array)
    assert read.array.dtype == array.dtype
    np.testing.assert_allclose(read.affine, affine, atol=1e-5)
    grid = read_grid(path)
    assert (grid.shape, grid.path) == ((5, 6, 7), str(path))
    np.testing.assert_allclose(grid.affine, affine, atol=1e-5)


@pytest.mark.parametrize("form", [".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", TYPES)
def test_types_are_kept(form: str, dtype: str, tmp_path: Path) -> None:
    if form == ".nii.gz" and dtype == "int64":
        pytest.skip("nibabel does not write it")
    read = read_volume(write(tmp_path, form, pattern(dtype), AFFINES["oblique"])).array
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, pattern(dtype))


@pytest.mark.parametrize("form", [".nrrd", ".mha", "zlib.mha"])
def test_samples_and_time_are_frames(form: str, tmp_path: Path) -> None:
    array = pattern(shape=(5, 6, 7, 3))
    path = tmp_path / f"a{form if form.startswith('.') else '.' + form}"
    vector = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0, 3)), isVector=True)
    SimpleITK.WriteImage(vector, str(path))
    np.testing.assert_array_equal(read_volume(path).array, array)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T), isVector=False), str(path))
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, array)
    assert read.shape == (5, 6, 7)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("kinds", ["domain domain domain vector", "vector domain domain domain"])
def test_samples_of_equal_sides_stand_where_the_kinds_say(encoding: str, kinds: str, tmp_path: Path) -> None:
    array = pattern(np.uint8, (3, 3, 3, 3))
    data = array.tobytes("F")
    head = f"NRRD0004\ntype: uchar\ndimension: 4\nsizes: 3 3 3 3\nkinds: {kinds}\nencoding: {encoding}\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + (gzip.compress(data) if encoding == "gzip" else data))
    want = array if kinds.endswith("vector") else np.moveaxis(array, 0, -1)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").array, want)


@pytest.mark.parametrize("form", [".nrrd", ".mha"])
def test_a_flat_image_has_one_slice(form: str, tmp_path: Path) -> None:
    array = pattern(shape=(5, 6))
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing((0.5, 0.25))
    SimpleITK.WriteImage(image, str(tmp_path / f"a{form}"))
    read = read_volume(tmp_path / f"a{form}")
    np.testing.assert_array_equal(read.array, array[..., None])
    np.testing.assert_allclose(read.spacing, (0.5, 0.25, 1.0))


def test_the_spaces_of_nrrd_are_the_same_place(tmp_path: Path) -> None:
    """Written by hand: SimpleITK writes left-posterior-superior alone."""
    array = pattern(np.uint8)
    grids = []
    for space, first in (("left-posterior-superior", -1), ("right-anterior-superior", 1), ("RAS", 1)):
        head = (
            f"NRRD0004\n# a comment\ntype: unsigned char\ndimension: 3\nspace: {space}\nsizes: 5 6 7\n"
            f"space directions: ({first * 2},0,0) (0,{first * 3},0) (0,0,4)\nkinds: domain domain domain\n"
            f"encoding: raw\nspace origin: ({first * 10},{first * 20},30)\nkey:=a value: with a colon\n\n"
        )
        path = tmp_path / "a.nrrd"
        path.write_bytes(head.encode() + array.tobytes("F"))
        read = read_volume(path)
        np.testing.assert_array_equal(read.array, array)
        grids.append(read.affine)
    want = np.diag([2.0, 3.0, 4.0, 1.0])
    want[:3, 3] = 10, 20, 30
    for affine in grids:
        np.testing.assert_allclose(affine, want)
    path.write_bytes(head.replace("kinds:", 'space units: "um" "um" "um"\nkinds:').encode() + array.tobytes("F"))
    np.testing.assert_allclose(read_grid(path).spacing, (0.002, 0.003, 0.004))


def test_masks_of_other_formats_are_written_as_nifti_on_their_grid(tmp_path: Path) -> None:
    for form in (".nrrd", ".mha", ".nii.gz"):
        source = read_volume(write(tmp_path, form, pattern(), AFFINES["oblique"]))
        write_volume(tmp_path / "mask.nii.gz", (source.array > 60).astype(np.uint8), source)
        written = nibabel.load(tmp_path / "mask.nii.gz")
        np.testing.assert_allclose(written.affine, AFFINES["oblique"], atol=1e-5)
        np.testing.assert_allclose(written.get_qform(), AFFINES["oblique"], atol=1e-5)
        np.testing.assert_array_equal(np.asarray(written.dataobj), pattern() > 60)
        assert written.header.get_xyzt_units()[0] == "mm"


# TIFF.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("kind", ["pages", "imagej", "shaped", "ome", "volume", "lzw"])
def test_pages_are_slices(kind: str, dtype: str, tmp_path: Path) -> None:
    if kind == "imagej" and dtype in ("int16", "uint32"):
        pytest.skip("ImageJ has no such type")
    stack = pattern(dtype, (16, 40, 56))
    kinds: dict[str, dict[str, Any]] = {
        "pages": {},
        "imagej": {
            "imagej": True, "resolution": (2.0, 4.0), "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "mm"},
        },
        "shaped": {"truncate": True, "metadata": {"axes": "ZYX"}},
        "ome": {
            "metadata": {
                "axes": "ZYX", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250.0,
                "PhysicalSizeZ": 3.0, "PhysicalSizeZUnit": "mm",
            },
        },
        "volume": {"volumetric": True, "tile": (16, 16, 16)},
        "lzw": {"compression": "lzw"},
    }  # fmt: skip
    options = kinds[kind]
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    read = read_volume(path)
    np.testing.assert_array_equal(read.array, stack.transpose(2, 1, 0))
    assert read.array.dtype == np.dtype(dtype)
    assert read_grid(path).shape == read.shape == (56, 40, 16)
    np.testing.assert_array_equal(to_slices(read.array, read.affine, "axial"), stack)
    known = kind in ("imagej", "ome")
    np.testing.assert_allclose(read.spacing, (0.5, 0.25, 3.0) if known else (1.0, 1.0, 1.0), rtol=1e-6)


def test_a_tiff_stack_lies_as_its_nifti_does(tmp_path: Path) -> None:
    stack = pattern(np.uint16, (7, 6, 5))
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(1 / 0.8, 1 / 0.9),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "mm"},
    )  # fmt: skip
    nifti = read_volume(write_nifti(tmp_path / "a.nii.gz", stack.T, AFFINES["lps"]))
    tiff = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(tiff.array, nifti.array)
    np.testing.assert_allclose(tiff.affine, nifti.affine, atol=1e-5)


def test_colour_pages_and_pages_of_unlike_size(tmp_path: Path) -> None:
    stack = pattern(np.uint8, (4, 6, 5, 3))
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array, stack.transpose(2, 1, 0, 3))
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
        writer.write(stack[0], photometric="rgb")
        writer.write(stack[0, :4], photometric="rgb")
    assert "pages differ in size" in refused(tmp_path / "b.tif")


# What is refused.


def refused(path: Path, limits: Limits | None = None, read: Callable[..., object] = read_volume) -> str:
    with pytest.raises(SuiteError) as caught:
        read(path, limits or Limits())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", FORMS)
def test_truncated_files_are_refused(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    array = np.random.default_rng(0).integers(0, 2**15, (9, 9, 9)).astype(np.int16)
    path = write(tmp_path, form, array, AFFINES["ras"])
    data = path.read_bytes()
    for length in (0, 1, 3, 20, 100, len(data) // 2, len(data) - 9, len(data) - 1):
        path.write_bytes(data[:length])
        if form in ("zlib.mhd", ".mhd", ".nhdr") and length >= len(data) - 1:
            continue  # a line without its end
        refused(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("form", [*FORMS, ".tif"])
def test_limits_are_checked_in_the_header(form: str, tmp_path: Path) -> None:
    array = pattern(np.int16, (9, 8, 7))
    if form == ".tif":
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, array.T)
    else:
        path = write(tmp_path, form, array, AFFINES["ras"])
    assert read_volume(path, Limits(72, 9 * 8 * 7 * 2 + 2**12)).shape == (9, 8, 7)
    for read in (read_volume, read_grid):
        assert "72 pixels" not in refused(path, Limits(max_pixels=71), read)
        assert "more than the 71 allowed" in refused(path, Limits(max_pixels=71), read)
        assert "raise --data.max_bytes" in refused(path, Limits(max_bytes=1007), read)


@pytest.mark.parametrize("form", [".nii.gz", ".nrrd.gz", "nii.zip"])
def test_a_bomb_is_stopped_while_it_unpacks(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is honest about a small volume, and 64 MiB of zeros follow it."""
    inner = ".nii" if "nii" in form else ".nrrd"
    data = write(tmp_path, inner, pattern(), AFFINES["ras"]).read_bytes() + bytes(64 << 20)
    path = tmp_path / (f"b{form}" if form.startswith(".") else f"b.{form}")
    if form.endswith(".gz"):
        path.write_bytes(gzip.compress(data, 1))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.nii", data)
    assert path.stat().st_size < 2**20
    message = refused(path, Limits(max_bytes=2**22))
    assert "allowed; if you trust the file, raise --data.max_bytes" in message


def test_a_header_may_not_point_anywhere_else(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(8))
    (inside / "link.raw").symlink_to(secret)
    meta = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = {}\n"
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\ndata file: {}\n"
    for name in ("../secret.raw", str(secret), "LIST", "slice%d.raw 1 2 1", "link.raw", "missing.raw", ".hidden"):
        for suffix, text in ((".mhd", meta), (".nhdr", nrrd)):
            path = inside / f"a{suffix}"
            path.write_text(text.format(name))
            assert "its voxels are" in refused(path), name
            assert "its voxels are" in refused(path, None, read_grid), name


def test_hostile_text_headers(tmp_path: Path) -> None:
    good = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n"
    path = tmp_path / "a.nrrd"
    for change, why in (
        (("encoding: raw", "encoding: hex"), "'hex' is not read; save it as raw or gzip"),
        (("sizes: 2 2 2", "sizes: 99999999 99999999 2"), "pixels are more than"),
        (("sizes: 2 2 2", "sizes: 2 2 999999999999"), "pixels are more than"),
        (("sizes: 2 2 2", "sizes: 4 2 2"), "fewer voxels than its header says"),
        (("sizes: 2 2 2", "sizes: 2 2 0"), "none of a volume"),
        (("sizes: 2 2 2", "sizes: 2 -2 2"), "sizes '2 -2 2'"),
        (("dimension: 3", "dimension: 2"), "do not agree"),
        (("type: uchar", "type: block"), "type 'block'"),
        (("encoding: raw", "encoding: raw\nencoding: raw"), "there twice"),
        (("encoding: raw", "encoding: " + "r" * 2**15), "header is too long"),
        (("encoding: raw", "encoding: magic"), "'magic' is not read"),
        (("NRRD0004", "NRRD0009"), "unknown version"),
    ):
        path.write_bytes(good.replace(*change).encode() + bytes(8))
        assert why in refused(path)
    path.write_bytes(good.encode() + bytes(8))
    assert read_volume(path).array.sum() == 0
    path = tmp_path / "a.mha"
    path.write_bytes(io.BytesIO(b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n" + bytes(8)).getvalue())
    assert "its header is no text" in refused(path)


def test_voxels_as_text(tmp_path: Path) -> None:
    """Found by the fuzzer (cases 3170 and 8049 of seed 0): teem has no room for long words."""
    head = "NRRD0004\ntype: {}\ndimension: 3\nsizes: 2 3 4\nencoding: ascii\n\n"
    meta = "NDims = 3\nDimSize = 2 3 4\nElementType = {}\nBinaryData = False\nElementDataFile = LOCAL\n"
    array = np.arange(24).reshape(4, 3, 2).T
    for name, text, kinds in (
        ("a.nrrd", head, {"short": np.int16, "float": np.float32}),
        ("a.mha", meta, {"MET_SHORT": np.int16, "MET_FLOAT": np.float32}),
    ):
        path = tmp_path / name
        for kind, dtype in kinds.items():
            numbers = [str(number) for number in range(24)]
            path.write_text(text.format(kind) + " ".join(numbers) + "\n")  # without an end of line ITK reads no text
            read = read_volume(path).array
            assert read.dtype == dtype
            np.testing.assert_array_equal(read, array)
            np.testing.assert_array_equal(read, SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T)
            for junk in ("{" * 3000, "1" * 400, "x", "nan", "1 2"):
                path.write_text(text.format(kind) + " ".join([*numbers[:-1], junk]))
                refused(path)


@pytest.mark.parametrize("junk", ["[" * 3000, "{" * 3000, "x" * 5000, "1" * 400])
@pytest.mark.parametrize("field", ["space directions: (1,0,0) (0,{}", "space origin: ({},0,0)", "spacings: {} 1 1"])
def test_numbers_that_crashed_the_library_are_refused_before_it(field: str, junk: str, tmp_path: Path) -> None:
    """Found by the fuzzer (cases 331, 1776 and 1810 of seed 0): teem copies them into a buffer without looking."""
    space = "" if field.startswith("spacings") else "space: RAS\n"
    path = tmp_path / "a.nrrd"
    path.write_text(
        f"NRRD0004\ntype: uchar\ndimension: 3\n{space}sizes: 2 2 2\n{field.format(junk)}\nencoding: raw\n\n" + "\0" * 8
    )
    refused(path)


def test_a_zip_has_one_volume(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for names, why in (((), "but this one has none"), (("a.nii", "b/c.mha"), "has 2 (a.nii, b/c.mha, ...)")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "x")
            for name in names:
                archive.writestr(name, b"x")
        assert why in refused(path)
    path.write_bytes(b"PK\3\4 no zip at all")
    refused(path)


@pytest.mark.parametrize("form", [".nrrd", "zlib.mha", ".nii.gz", "nii.zip", ".mha.gz"])
def test_damage_inside_compressed_voxels_is_noticed(form: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 2**15, (9, 9, 9)).astype(np.int16)
    path = write(tmp_path, form, array, AFFINES["ras"])
    whole = path.read_bytes()
    for place in range(len(whole) // 2, len(whole) // 2 + 40):
        data = bytearray(whole)
        data[place] ^= 0x10
        path.write_bytes(data)
        refused(path)


def test_big_endian_and_compressed_numbers_of_other_writers(tmp_path: Path) -> None:
    """Written by hand; gzip as teem writes it, zlib as MetaIO does."""
    array = pattern(np.int16)
    data = array.astype(">i2").tobytes("F")
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 5 6 7\nendian: big\nencoding: gzip\n\n" + gzip.compress(data)
    )
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 5 6 7\nElementType = MET_SHORT\nBinaryDataByteOrderMSB = True\nCompressedData = True\n"
        b"ElementDataFile = LOCAL\n" + zlib.compress(data)
    )
    for name in ("a.nrrd", "a.mha"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, array)


def test_a_tiff_that_is_cut_off_has_no_fewer_pages(tmp_path: Path) -> None:
    kinds: tuple[dict[str, Any], ...] = (
        {}, {"compression": "lzw"}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"bigtiff": True},
        {"photometric": "minisblack"},
    )  # fmt: skip
    for options in kinds:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pattern(np.uint16, (5, 9, 9)), **options)
        data = path.read_bytes()
        for length in range(0, len(data), 7):
            path.write_bytes(data[:length])
            try:
                whole = read_volume(path).array
            except SuiteError:
                continue
            # What is missing is the name of the software, say.
            np.testing.assert_array_equal(whole, pattern(np.uint16, (5, 9, 9)).T)
