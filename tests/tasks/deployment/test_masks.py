from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from datamodules.pictures.panels import CLASS_COLOURS
from datamodules.readers import formats
from datamodules.readers.volume import read_grid, read_volume, same_grid
from datamodules.segmentation.masks import read_label_file
from scansuite.errors import SuiteError
from tasks.deployment.masks import MaskWriter, mask_rows, number_components
from tasks.evaluation.segmentation.lesions import match_lesions
from tests.datamodules.volumes_on_disk import AFFINES, write_nifti
from tests.tasks.evaluation.masks import blobs

CLASSES = ["background", "core", "edema"]


def class_numbers(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, len(CLASSES), shape).astype(np.uint8)


def files_in(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_volume_comes_back_on_the_grid_of_its_source(tmp_path: Path, name: str, version: int) -> None:
    scan = write_nifti(tmp_path / "scan.nii.gz", np.zeros((5, 6, 7), np.int16), AFFINES[name], version=version)
    mask = class_numbers((5, 6, 7))
    (file,) = MaskWriter(tmp_path / "out", CLASSES, False, "auto").write("a/scan", mask, read_grid(scan))
    assert file == tmp_path / "out" / "a" / "scan.nii.gz"

    written, source = nibabel.load(file), nibabel.load(scan)
    assert np.array_equal(np.asarray(written.dataobj), mask)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, source.affine)
    for part in ("srow_x", "srow_y", "srow_z", "sform_code", "qform_code", "quatern_b", "qoffset_x", "xyzt_units"):
        assert np.array_equal(written.header[part], source.header[part])
    assert np.array_equal(written.header.get_zooms(), source.header.get_zooms())
    assert same_grid(read_grid(file), read_grid(scan))


def test_real_labels_come_back(tmp_path: Path, shared_data: Path) -> None:
    labels = sorted((shared_data / "msd_hippocampus" / "labelsTr").glob("*.nii.gz"))[:3]
    writer = MaskWriter(tmp_path, ["background", "anterior", "posterior"])
    for path in labels:
        source = read_volume(path)
        (file,) = writer.write(path.name.removesuffix(".nii.gz"), source.array.astype(np.uint8), source)
        assert np.array_equal(read_volume(file).array, source.array)
        assert np.array_equal(nibabel.load(file).affine, nibabel.load(path).affine)


@pytest.mark.parametrize("mask_format", ["auto", "png"])
def test_a_flat_image_comes_back_from_png(tmp_path: Path, mask_format: str) -> None:
    mask = class_numbers((31, 17))
    writer = MaskWriter(tmp_path, CLASSES, False, mask_format)  # type: ignore[arg-type]
    (file,) = writer.write("slide.7", np.asfortranarray(mask), None)
    with Image.open(file) as image:
        assert (file.name, image.mode) == ("slide.7.png", "P")
        assert np.array_equal(np.asarray(image), mask)
        colours = np.asarray(image.convert("RGB"))
    for value, colour in enumerate([(0, 0, 0), *CLASS_COLOURS[:2]]):  # those of the overlays
        assert (colours[mask == value] == colour).all()
    assert np.array_equal(read_label_file(file), mask)
    assert np.array_equal(formats.read(file, labels=True).array, mask)
    assert json.loads((tmp_path / "classes.json").read_text()) == {
        "classes": {"background": 0, "core": 1, "edema": 2},
        "overlapping": False,
        "instances": False,
    }


@pytest.mark.parametrize("count", [2, 3, 5, 17, 255, 256])
def test_any_number_of_classes_comes_back_from_a_palette(tmp_path: Path, count: int) -> None:
    """Of 2, 4 and 16 colours a PNG may hold fewer bits a pixel, and colours come round again after the eighth class."""
    mask = np.arange(16 * 17).reshape(16, 17) % count
    names = [f"class {number}" for number in range(count)]
    (file,) = MaskWriter(tmp_path, names).write("x", mask.astype(np.uint8), None)
    assert np.array_equal(read_label_file(file), mask)
    with Image.open(file) as image:
        assert np.array_equal(np.asarray(image), mask)
    header = file.read_bytes()[:33]
    assert header[24:26] == bytes([8, 3])  # bits of a sample, and colours by index


def test_a_region_has_the_colour_of_the_overlays(tmp_path: Path) -> None:
    regions = np.random.default_rng(1).integers(0, 2, (3, 8, 9)).astype(np.uint8)
    files = MaskWriter(tmp_path, ["a", "b", "c"], True).write("x", regions, None)
    for file, region, colour in zip(files, regions, CLASS_COLOURS, strict=False):
        assert np.array_equal(read_label_file(file), region)
        with Image.open(file) as image:
            assert (np.asarray(image.convert("RGB"))[region == 1] == colour).all()


def test_instances_have_a_number_each(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[0, 0] = mask[1, 1] = 1  # touch by a corner: one
    mask[0, 4] = 1
    mask[1, 2] = 2  # touches another class, which does not make them one
    mask[3, 5] = 2
    expected = np.zeros((4, 6), np.uint16)
    expected[0, 0] = expected[1, 1] = 1
    expected[0, 4], expected[1, 2], expected[3, 5] = 2, 3, 4
    (file,) = MaskWriter(tmp_path, CLASSES, False, "png16").write("x", mask, None)
    with Image.open(file) as image:
        assert image.mode == "I;16"
        assert np.array_equal(np.asarray(image), expected)
    assert json.loads((tmp_path / "classes.json").read_text())["instances"] is True


def test_sixteen_bits_are_not_exceeded() -> None:
    mask = np.zeros((2, 2 * 65_536), np.uint8)
    mask[0, ::2] = 1
    with pytest.raises(SuiteError, match=r"x: more than 65535 components.*--mask_format png"):
        number_components(mask, "x")
    mask[0, 0] = 0
    assert number_components(mask, "x").max() == 65_535
    mask[0, 0] = 2  # of another class
    with pytest.raises(SuiteError, match="more than 65535"):
        number_components(mask, "x")


def test_regions_have_a_file_each(tmp_path: Path) -> None:
    scan = read_grid(write_nifti(tmp_path / "scan.nii", np.zeros((4, 5, 6), np.int16), AFFINES["oblique"]))
    regions = np.random.default_rng(1).integers(0, 2, (2, 4, 5, 6)).astype(np.uint8)
    writer = MaskWriter(tmp_path / "out", ["whole", "enhancing/core"], True, "auto")
    files = writer.write("p1/scan", regions, scan)
    assert files[0].name == "scan_whole.nii.gz"
    assert files[1].name.startswith("scan_enhancing_core_")
    for file, region in zip(files, regions, strict=True):
        assert file.parent == tmp_path / "out" / "p1"
        assert np.array_equal(read_volume(file).array, region)
    meaning = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert meaning["classes"] == {"whole": 1, "enhancing/core": 1}
    assert meaning["overlapping"] is True


def test_regions_of_two_cases_never_share_a_file(tmp_path: Path) -> None:
    writer = MaskWriter(tmp_path, ["c", "b_c"], True, "png")
    masks = [np.full((2, 3, 3), value, np.uint8) for value in (0, 1)]
    files = [writer.write(case, mask, None) for case, mask in zip(("a_b", "a"), masks, strict=True)]
    assert len({file for some in files for file in some}) == 4
    for some, value in zip(files, (0, 1), strict=True):
        for file in some:
            with Image.open(file) as image:
                assert (np.asarray(image) == value).all()
    assert writer.write("a", masks[0], None) == files[1]  # written again, not beside


@pytest.mark.parametrize(
    ("mask_format", "volume", "advice"),
    [("nifti", False, "png, png16 or auto"), ("png", True, "nifti or auto"), ("png16", True, "nifti or auto")],
)
def test_a_format_that_does_not_suit_the_scan(tmp_path: Path, mask_format: str, volume: bool, advice: str) -> None:
    scan = write_nifti(tmp_path / "scan.nii", np.zeros((4, 5, 6), np.int16))
    writer = MaskWriter(tmp_path / "out", CLASSES, False, mask_format)  # type: ignore[arg-type]
    mask = np.zeros((4, 5, 6) if volume else (4, 5), np.uint8)
    with pytest.raises(SuiteError, match=f"--mask_format {mask_format}: x is a .*: give {advice}"):
        writer.write("x", mask, read_grid(scan) if volume else None)
    assert not (tmp_path / "out").exists()


def test_masks_of_another_form_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 dimensions"):
        MaskWriter(tmp_path, CLASSES).write("x", np.zeros((4, 5, 6), np.uint8), None)
    with pytest.raises(ValueError, match="3 layers of regions, but 2 class names"):
        MaskWriter(tmp_path, ["a", "b"], True).write("x", np.zeros((3, 5, 6), np.uint8), None)


HOSTILE = [
    "../up", "../../etc/passwd", "/absolute/name", "a/../../b", "..", ".", "", "a//b", "C:\\Windows\\x", "C:/x",
    "..\\..\\x", "nul\0byte", "line\nbreak", "a/.hidden", "x" * 300, "é" * 200, "a/" * 20 + "../" * 40 + "b", "\udc80",
    "~/x", "a/b/", " ", "a*?b", "...", "-rf",
]  # fmt: skip


@pytest.mark.parametrize("case_id", HOSTILE)
def test_no_case_leaves_the_folder(tmp_path: Path, case_id: str) -> None:
    out = tmp_path / "in" / "out"
    (file,) = MaskWriter(out, CLASSES).write(case_id, np.ones((3, 3), np.uint8), None)
    assert file.resolve().is_relative_to(out.resolve())
    assert [name for name in files_in(tmp_path) if not name.startswith("in/out/")] == []
    assert len(files_in(out)) == 2
    assert not file.name.startswith(".")
    with Image.open(file) as image:
        assert np.asarray(image).all()


def test_every_case_has_a_file_of_its_own(tmp_path: Path) -> None:
    writer = MaskWriter(tmp_path, CLASSES)
    cases = [*HOSTILE, "up", "b", "x", "a/b", "C__x", "nul_byte", "absolute/name", "etc/passwd", "é" * 60]
    files = [writer.write(case, np.zeros((2, 2), np.uint8), None)[0] for case in cases]
    assert len(set(files)) == len(cases)
    assert files[cases.index("a/b")] == tmp_path / "a" / "b.png"  # a good name stays


def spoil_png(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    """The disk is full after ``good`` pictures, in the middle of the next."""
    save, count = Image.Image.save, iter(range(100))

    def full(self: Image.Image, file: Path, format: str) -> None:
        save(self, file, format)
        if next(count) >= good:
            os.truncate(file, 20)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)


def spoil_nifti(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    write, count = Path.write_bytes, iter(range(100))

    def full(self: Path, data: bytes) -> int:
        if next(count) >= good:
            write(self, data[:20])
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)


@pytest.mark.parametrize("spoil", [spoil_png, spoil_nifti])
def test_a_full_disk_leaves_no_half_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch, int], None]
) -> None:
    volume = spoil is spoil_nifti
    grid = read_grid(write_nifti(tmp_path / "scan.nii", np.zeros((4, 5, 6), np.int16))) if volume else None
    mask = np.ones((2, 4, 5, 6) if volume else (2, 4, 5), np.uint8)
    spoil(monkeypatch, 3)
    writer = MaskWriter(tmp_path / "out", ["a", "b"], True)
    first = writer.write("one", mask, grid)
    with pytest.raises(SuiteError, match=r"two_b\.(png|nii\.gz): cannot be written.*No space left on device"):
        writer.write("two", mask, grid)
    assert files_in(tmp_path / "out") == sorted([*(file.name for file in first), "classes.json"])


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SuiteError, match=r"out: the folder for masks cannot be made.*--output"):
        MaskWriter(tmp_path / "out", CLASSES).write("x", np.zeros((2, 2), np.uint8), None)


@pytest.mark.parametrize(("shape", "spacing"), [((60, 50), (0.5, 0.25)), ((20, 18, 16), (1.0, 2.0, 3.0))])
def test_rows_against_scipy(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    first, second = blobs(shape, 1, 0.2, 1.0), blobs(shape, 2, 0.1, 1.0)
    mask = np.where(second, 2, first).astype(np.uint8)
    rows = mask_rows("a", mask, CLASSES, spacing)
    assert [row["class"] for row in rows] == CLASSES[1:]
    for number, row in enumerate(rows, start=1):
        inside = mask == number
        assert row["case_id"] == "a"
        assert row["pixels"] == inside.sum()
        assert row["size_mm"] == pytest.approx(inside.sum() * np.prod(spacing))
        assert row["components"] == ndimage.label(inside, np.ones((3,) * len(shape)))[1]
        # The same rule as in the evaluation by lesions.
        assert row["components"] == match_lesions(inside, inside, connectivity="full").true
    if len(shape) == 2:
        assert number_components(mask, "a").max() == sum(int(row["components"]) for row in rows)


def test_rows_of_regions_and_of_nothing() -> None:
    regions = np.zeros((2, 4, 4), np.uint8)
    regions[0, :2] = 1
    rows = mask_rows("a", regions, ["whole", "core"], None, overlapping=True)
    assert [(row["class"], row["pixels"], row["components"]) for row in rows] == [("whole", 8, 1), ("core", 0, 0)]
    assert math.isnan(float(rows[0]["size_mm"]))
    assert mask_rows("a", regions, ["whole", "core"], (2.0, 3.0), True)[1]["size_mm"] == 0
    with pytest.raises(ValueError, match="spacing"):
        mask_rows("a", regions, ["whole", "core"], (1.0, 1.0, 1.0), overlapping=True)
    with pytest.raises(ValueError, match="2 layers"):
        mask_rows("a", regions, ["whole"], None, overlapping=True)
