"""The one door to flat images: which reader, which frame, how large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK
import tifffile
from numpy.typing import NDArray

from datamodules.cases.table import case_id_of
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.inputs import InputFiles
from datamodules.preprocess import Preprocess
from datamodules.readers import formats
from datamodules.readers.limits import Limits
from datamodules.readers.raster import write_png
from datamodules.readers.sizes import image_size
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.tables.file import read_frame
from scansuite.errors import SuiteError
from tests.datamodules.volumes_on_disk import AFFINES, write_nifti


def pattern(shape: tuple[int, ...] = (20, 30), dtype: Any = np.int16) -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 100, shape).astype(dtype)


def flat_files(folder: Path, image: NDArray[Any]) -> dict[str, Path]:
    """One picture in every format, lying in the patient as it is seen."""
    affine = np.diag([-0.5, -0.25, 2.0, 1.0])
    files = {"nii.gz": write_nifti(folder / "a.nii.gz", image.T[..., None], affine)}
    files["nii 2D"] = write_nifti(folder / "b.nii", image.T, affine)
    for suffix in ("nrrd", "mha", "mhd"):
        itk = SimpleITK.GetImageFromArray(image)
        itk.SetSpacing((0.5, 0.25))
        files[suffix] = folder / f"c_{suffix}.{suffix}"
        SimpleITK.WriteImage(itk, str(files[suffix]))
    files["tif"] = folder / "d.tif"
    tifffile.imwrite(files["tif"], image)
    return files


def test_one_picture_is_the_same_in_every_format(tmp_path: Path) -> None:
    image = pattern()
    for name, file in flat_files(tmp_path, image).items():
        scan = formats.read(file)
        np.testing.assert_array_equal(scan.array, image, err_msg=name)
        assert scan.array.dtype == image.dtype
        assert scan.info["original_size"] == (20, 30)
        assert scan.info["path"] == str(file)
        assert image_size(file) == (20, 30)
        assert formats.count_frames(file) == 1
        if name != "tif":
            np.testing.assert_allclose(scan.info["spacing"] or (), (0.25, 0.5))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_seen_in_its_own_plane(axis: int, tmp_path: Path) -> None:
    shape = [20, 30, 40]
    shape[axis] = 1
    array = pattern(tuple(shape))
    scan = formats.read(write_nifti(tmp_path / "a.nii.gz", array, AFFINES["ras"]))
    # ras: sagittal slices are seen as (S down, P right), coronal as (I, L), axial as (P, L).
    want = {0: array[0, ::-1, ::-1].T, 1: array[::-1, 0, ::-1].T, 2: array[::-1, ::-1, 0].T}[axis]
    np.testing.assert_array_equal(scan.array, want)
    rows, columns = {0: (3.0, 0.9), 1: (3.0, 0.8), 2: (0.9, 0.8)}[axis]
    np.testing.assert_allclose(scan.info["spacing"] or (), (rows, columns), rtol=1e-6)


def test_frames_of_volumes_and_tiffs(tmp_path: Path) -> None:
    stack = pattern((5, 20, 30), np.uint16)
    nifti = write_nifti(tmp_path / "a.nii.gz", stack.T, AFFINES["lps"])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    # Without axes tifffile writes the first for channels.
    tifffile.imwrite(tmp_path / "b.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    for file in (nifti, tmp_path / "a.tif", tmp_path / "b.tif"):
        assert formats.count_frames(file) == 5
        for frame in range(5):
            np.testing.assert_array_equal(formats.read(file, frame=frame).array, stack[frame])
        with pytest.raises(SuiteError, match="one image is wanted"):
            formats.read(file)
        for frame in (5, -1):
            with pytest.raises(SuiteError, match=f"{file.name}: .*has no frame {frame}"):
                formats.read(file, frame=frame)
    write_png(tmp_path / "a.png", stack[0])
    np.testing.assert_array_equal(formats.read(tmp_path / "a.png", frame=0).array, stack[0])
    with pytest.raises(SuiteError, match="it has no frame 1"):
        formats.read(tmp_path / "a.png", frame=1)


def test_what_is_an_image_by_name_and_content(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM"
    for name, content, image in (
        ("a.PNG", b"", True), ("a.dcm", b"", True), ("a.nii.gz", b"", True), ("a.txt", dicom, False),
        ("a.csv.gz", b"", False), ("IM0001", dicom, True), ("IM0002", b"text", False), ("DICOMDIR", dicom, False),
        ("1.2.840.113619", dicom, True), ("1.2.840.7", b"no", False), ("a.zip", b"", False),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert formats.is_image(tmp_path / name) is image, name
    assert not formats.is_image(tmp_path)
    assert formats.kind_of(tmp_path / "IM0001") == formats.kind_of(tmp_path / "a.dcm") == "dicom"
    assert formats.kind_of(tmp_path / "a.nii.gz") == "volume"
    assert formats.kind_of(tmp_path / "a.PNG") == "raster"
    for name in ("none.png", "none", "none.dcm", "none.nii"):
        with pytest.raises(SuiteError, match=rf"{name}: no(t a raster image| such file)"):
            formats.read(tmp_path / name)


def test_what_has_slices(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", pattern())
    tifffile.imwrite(tmp_path / "many.tif", pattern((3, 20, 30)), photometric="minisblack")
    (tmp_path / "bad.tif").write_bytes(b"II*")
    (tmp_path / "series").mkdir()
    for name, stack in (
        ("one.tif", False), ("many.tif", True), ("bad.tif", False), ("series", True), ("a.nii.gz", True),
        ("a.png", False), ("a.zip", True),
    ):  # fmt: skip
        assert formats.is_stack(tmp_path / name) is stack, name


def test_names_of_cases() -> None:
    for path, case in (
        ("a/b.nii.gz", "a/b"), ("a/b.NRRD.gz", "a/b"), ("b.nii.zip", "b"), ("b.zip", "b"), ("b.png", "b"),
        ("1.2.840.113619", "1.2.840.113619"), ("1.2.840.dcm", "1.2.840"), ("IM0001", "IM0001"), (".x", ".x"),
        ("b.v2.png", "b.v2"), ("b.7z", "b"),
    ):  # fmt: skip
        assert case_id_of(path) == case


def test_dicom_goes_to_its_reader(shared_data: Path) -> None:
    folder = shared_data / "dicom_syntaxes"
    assert formats.read(folder / "CT_small.dcm").array.shape == (128, 128)
    assert formats.count_frames(folder / "emri_small.dcm") == 10
    assert formats.count_frames(folder / "CT_small.dcm") == 1
    with pytest.raises(SuiteError, match=r"CT_small\.dcm: .*pixels"):
        formats.read(folder / "CT_small.dcm", Limits(max_pixels=100))


# Through the data classes.


def labelled(root: Path) -> None:
    for label in ("x", "y"):
        for file in flat_files(root / label, pattern()).values():
            assert file.exists()


def test_a_folder_of_many_formats(tmp_path: Path) -> None:
    for label in ("x", "y"):
        (tmp_path / label).mkdir()
        flat_files(tmp_path / label, pattern())
    data = ImageFolder(str(tmp_path), split="all_test")
    table = data.table
    assert len(table) == 12
    assert len(set(data.contents)) == 1  # one picture, whatever holds it
    for row in range(12):
        np.testing.assert_array_equal(data.read(row).array, pattern())
    found = InputFiles().table([str(tmp_path)])
    assert len(found) == 12
    assert len(InputFiles().table([str(tmp_path)], volumes=True)) == 12


def test_the_limits_are_flags_of_every_class(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    write_png(images / "a.png", pattern(dtype=np.uint8))
    write_png(masks / "a.png", pattern(dtype=np.uint8) > 50)
    pd.DataFrame({"path": ["images/a.png"], "label": ["x"]}).to_csv(tmp_path / "labels.csv", index=False)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"max_pixels": 599}, "--data.max_pixels"), ({"max_bytes": 599}, "--data.max_bytes")
    )  # fmt: skip
    for flags, why in cases:
        with pytest.raises(SuiteError, match=rf"a\.png: .*{why}"):
            _ = ImageTable(str(tmp_path), split="all_test", **flags).table
        with pytest.raises(SuiteError, match=rf"a\.png: .*{why}"):
            _ = MaskFolder(str(tmp_path), **flags).table
        inputs = InputFiles(num_workers=0, **flags)
        listed = inputs.table([str(images)])
        ((_, reason),) = next(iter(inputs.loader(listed, Preprocess(size=(8, 8)), 0, 1)))["unreadable"]
        assert why in reason
        with pytest.raises(SuiteError, match=why):
            _ = inputs.source(listed, Preprocess(size=(8, 8))).images(0)[0]
    with pytest.raises(SuiteError, match=r"--data\.max_pixels 0: must be at least 1"):
        ImageTable(str(tmp_path), max_pixels=0)


def test_tables_that_swell_are_stopped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a" * 1000] * 5_000})
    for name, write in (("a.csv.gz", frame.to_csv), ("a.parquet", frame.to_parquet), ("a.csv", frame.to_csv)):
        write(tmp_path / name)
        assert len(read_frame(tmp_path / name, "--data.table")) == 5_000
        with pytest.raises(SuiteError, match=rf"--data\.table .*{name}: .*raise --data\.max_bytes"):
            read_frame(tmp_path / name, "--data.table", limits=Limits(max_bytes=2**12))


def test_palette_masks_and_their_bombs(tmp_path: Path) -> None:
    """Pillow's own limit would raise an error of its own."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 1, 3, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"PLTE", bytes(6)) + chunk(b"IEND", b""))
    from datamodules.segmentation.masks import read_label_file

    with pytest.raises(SuiteError, match=r"a\.png: cannot be decoded: 50000 x 50000 pixels are more than"):
        read_label_file(tmp_path / "a.png")


def test_an_image_without_suffix_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for name in ("IM0001", "IM.2"):
        write_png(tmp_path / name, pixels)
        assert np.array_equal(formats.read(tmp_path / name).array, pixels)
    for name, content in (("notes", b"text"), ("BMW", b"BMW is no picture"), ("a.foo", b"\x89PNG\r\n\x1a\n")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SuiteError, match=rf"{name}: .*(not a PNG, JPEG|cannot be decoded|not a raster image by)"):
            formats.read(tmp_path / name)
    assert formats.images_below(tmp_path) == ["IM.2", "IM0001"]
