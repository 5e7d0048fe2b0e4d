"""Measuring: what is looked at, within which time, what is kept, what is refused; on small sets written for it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.image_table import ImageTable
from datamodules.detection.coco import Coco
from datamodules.detection.yolo import Yolo
from datamodules.fingerprint import look
from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.measure import UNKEPT, measure_fingerprint
from datamodules.phantoms.boxes import Phantoms as PhantomBoxes
from datamodules.phantoms.labels import Phantoms as PhantomLabels
from datamodules.phantoms.masks import Phantoms as PhantomMasks
from datamodules.readers.raster import write_png
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Scan
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import pictures, write_coco, write_yolo
from tests.datamodules.dicom_on_disk import write as write_dicom
from tests.datamodules.scans_on_disk import cohort, data_of, write_table
from tests.datamodules.volumes_on_disk import write_nifti

TIFF: Any = {"photometric": "minisblack", "planarconfig": "contig"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    write_table(folder, cohort())
    return folder


def pairs(root: Path, images: list[np.ndarray], masks: list[np.ndarray], **settings: Any) -> MaskFolder:
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        for folder, array in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            write_png(root / folder / f"{number:03d}.png", array)
    return MaskFolder(str(root), num_workers=0, **settings)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# What is counted.


def test_cases_patients_and_classes_are_counted_by_part(root: Path) -> None:
    data = data_of(root)
    found = measure_fingerprint(data)
    cases = data.table.cases
    for part in ("train", "val", "test"):
        rows = cases[cases["split"] == part]
        assert found.cases[part] == len(rows)
        assert found.patients[part] == rows["patient_id"].nunique()
    train = cases[cases["split"] == "train"]
    assert found.classes == ("benign", "malignant")
    assert list(found.class_counts) == [int((train["label"] == name).sum()) for name in found.classes]
    assert (found.height.most, found.width.most, found.complete, found.looked_at) == (16, 16, True, len(train))


def test_identical_images_are_counted_once_each_too_many(root: Path) -> None:
    frame = cohort()
    for scan in (1, 2):  # of one patient, so that they are in one part
        (root / f"p000/{scan}.png").write_bytes((root / "p000/0.png").read_bytes())
    data = data_of(root)
    in_train = "p000/0" in set(data.table.cases["case_id"].iloc[data.rows("train")])
    assert measure_fingerprint(data).duplicates == (2 if in_train else 0)
    assert frame["patient_id"].nunique() == 20


def test_images_of_a_case_are_counted(root: Path) -> None:
    frame = cohort().assign(case_id=[f"case{number // 3}" for number in range(60)])
    frame.to_csv(root / "labels.csv", index=False)
    data = data_of(root)
    data.bags = True
    found = measure_fingerprint(data)
    assert tuple(found.images_a_case) == (3, 3, 3, 3, 3)
    assert found.images == 3 * found.cases["train"]
    assert found.samples == found.cases["train"]


def test_unknown_labels_and_numbers_to_predict(root: Path) -> None:
    frame = cohort()
    frame["mass"] = [1, 0, None] * 20
    frame["edema"] = [0, 1, 1] * 20
    frame["size"] = np.arange(60.0)
    frame.to_csv(root / "labels.csv", index=False)
    many = data_of(root, label_columns=["mass", "edema"])
    found = measure_fingerprint(many)
    train = many.table.cases.iloc[many.rows("train")]
    assert list(found.class_known) == [train["mass"].notna().sum(), len(train)]
    assert list(found.class_counts) == [(train["mass"].astype(float) == 1).sum(), train["edema"].astype(float).sum()]
    number = data_of(root, label_columns="size", target="regression")
    found = measure_fingerprint(number)
    sizes = number.table.cases["size"].iloc[number.rows("train")].astype(float)
    assert list(found.class_counts) == []
    assert found.target_values is not None
    assert (found.target_values.least, found.target_values.most) == (sizes.min(), sizes.max())


def test_patches_that_the_user_asks_for_are_the_samples_of_an_epoch(tmp_path: Path) -> None:
    images, masks = [noise(n, 40, 60) for n in range(12)], [noise(n, 40, 60) // 128 for n in range(12)]
    whole = measure_fingerprint(pairs(tmp_path / "a", images, masks))
    assert whole.samples == whole.images == whole.cases["train"]
    patched = MaskFolder(str(tmp_path / "a"), num_workers=0, patch_size=20, patches=3)
    assert measure_fingerprint(patched).samples == 3 * whole.samples


@pytest.mark.parametrize("write", [write_coco, write_yolo])
def test_boxes_are_those_of_the_training_part_whatever_the_format(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "boxes", pictures())
    data = (Coco if write is write_coco else Yolo)(str(tmp_path / "boxes"), num_workers=0)
    found = measure_fingerprint(data)
    train = [one for one in pictures() if one.part == "train"]
    labels = [box.label for one in train for box in one.boxes]
    assert found.task == "detect"
    assert dict(zip(found.classes, found.class_counts, strict=True)) == {
        name: labels.count(name) for name in found.classes
    }
    sides = [(x2 - x1, y2 - y1) for one in train for x1, y1, x2, y2 in (box.corners for box in one.boxes)]
    assert found.objects is not None
    assert found.objects.short_side.least == pytest.approx(min(map(min, sides)))
    assert found.objects.long_side.most == pytest.approx(max(map(max, sides)))
    assert found.objects.empty == pytest.approx(np.mean([not one.boxes for one in train]))
    assert (found.height.least, found.height.most) == (
        min(one.size[0] for one in train),
        max(one.size[0] for one in train),
    )


# Values, geometry, modality.


def test_headers_of_dicom_files_say_modality_and_spacing(tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        path = f"{number:02d}.dcm"
        array = noise(number, 20, 20).astype(np.uint16)
        write_dicom(tmp_path / "d" / path, array, Modality="MG", PatientID=f"p{number}", PixelSpacing=[0.1, 0.2])
        rows.append({"path": path, "label": "ab"[number % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "d" / "labels.csv", index=False)
    found = measure_fingerprint(ImageTable(str(tmp_path / "d"), num_workers=0))
    assert found.modality == "xray"
    assert "MG" in found.modality_from
    assert found.spacing == pytest.approx((0.1, 0.2))
    assert found.types == ("uint16",)


def volumes(root: Path, low: int, high: int, kind: Any = np.int16) -> Volumes:
    for number in range(10):
        rng = np.random.default_rng(number)
        array = rng.integers(low, high, (24, 20, 6)).astype(kind)
        mask = np.zeros((24, 20, 6), np.uint8)
        mask[4:8, 6:9, 2:4] = 1
        affine = np.diag([0.5, 0.75, 3.0, 1.0])
        write_nifti(root / "imagesTr" / f"v{number}.nii.gz", array, affine)
        write_nifti(root / "labelsTr" / f"v{number}.nii.gz", mask, affine)
    return Volumes(str(root), num_workers=0)


def test_volumes_are_measured_by_slices_in_pixels_and_mm(tmp_path: Path) -> None:
    found = measure_fingerprint(volumes(tmp_path, -1000, 1500))
    assert found.volumes
    assert found.slices is not None
    assert (found.slices.median, found.samples) == (6, 6 * found.cases["train"])
    assert found.spacing == pytest.approx((0.75, 0.5, 3.0))
    assert (found.height.median, found.width.median) == (20, 24)
    assert (found.modality, found.stated_range) == ("ct", True)
    assert found.objects is not None
    assert (found.objects.short_side.median, found.objects.long_side.median) == (3, 4)
    assert found.objects.side_mm is not None
    assert found.objects.side_mm.median == pytest.approx(np.sqrt(3 * 0.75 * 4 * 0.5))
    assert found.objects.empty == pytest.approx(4 / 6)
    assert list(found.class_counts) == pytest.approx([4 * 3 * 2 / (24 * 20 * 6)])


@pytest.mark.parametrize("bags", [False, True])
def test_a_volume_is_looked_at_once_though_its_slices_are_cases(bags: bool, tmp_path: Path) -> None:
    made = volumes(tmp_path, 0, 900)
    rows = [{"path": f"imagesTr/v{number}.nii.gz", "label": "ab"[number % 2]} for number in range(10)]
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    data = ImageTable(str(made.root), num_workers=0)
    data.bags = bags
    found = measure_fingerprint(data)
    of_training = data.table.cases["path"].iloc[data.rows("train")].nunique()
    assert (found.looked_at, found.duplicates, found.complete) == (of_training, 0, True)
    assert found.images == 6 * of_training
    assert found.samples == found.cases["train"] == (of_training if bags else 6 * of_training)


def test_volumes_without_hounsfield_units_are_of_magnetic_resonance(tmp_path: Path) -> None:
    assert measure_fingerprint(volumes(tmp_path, 0, 900)).modality == "mr"


def test_sequences_that_a_description_names_say_the_modality(tmp_path: Path) -> None:
    made = volumes(tmp_path, 0, 255, np.uint8)
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "Ultrasound"}, "labels": {"0": "no", "1": "yes"}}')
    found = measure_fingerprint(Volumes(str(made.root), num_workers=0))
    assert (found.modality, "Ultrasound" in found.modality_from) == ("ultrasound", True)


def test_a_side_that_is_up_is_found_and_one_by_chance_is_not(tmp_path: Path) -> None:
    shade = np.linspace(0, 200, 32)[:, None] * np.ones((1, 32))
    masks = [np.full((32, 32), number % 2, np.uint8) for number in range(40)]
    lit = [np.clip(shade + noise(n, 32, 32) / 8, 0, 255).astype(np.uint8) for n in range(40)]
    turned = [np.ascontiguousarray(np.rot90(image, number)) for number, image in enumerate(lit)]
    up, none = (
        measure_fingerprint(pairs(tmp_path / "a", lit, masks)),
        measure_fingerprint(pairs(tmp_path / "b", turned, masks)),
    )
    assert up.upright
    assert up.up_down > 0.5
    assert (none.upright, none.up_down < 0.2, none.left_right < 0.2) == (False, True, True)


def test_of_a_handful_of_images_nobody_knows_whether_they_are_upright(tmp_path: Path) -> None:
    made = pairs(tmp_path, [noise(n, 16, 16) for n in range(9)], [noise(n, 16, 16) // 128 for n in range(9)])
    found = measure_fingerprint(made)
    assert found.cases["train"] < 8
    assert (found.upright, found.up_down) == (True, 0)


def test_twelve_channels_and_lesions_of_one_pixel(tmp_path: Path) -> None:
    import tifffile

    masks = []
    for number in range(10):
        mask = np.zeros((20, 24), np.uint8)
        mask[number, number + 3] = 1
        masks.append(mask)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "images" / f"{number}.tif", noise(number, 20, 24, 12), **TIFF)
        write_png(tmp_path / "masks" / f"{number}.png", mask)
    found = measure_fingerprint(MaskFolder(str(tmp_path), num_workers=0))
    assert (found.channels, found.colour) == (12, 0)
    assert found.objects is not None
    assert (found.objects.area.median, found.objects.short_side.median) == (1, 1)
    assert list(found.class_counts) == pytest.approx([1 / 480])


# Time, cache, faults.


def test_the_time_is_kept_and_eight_images_are_looked_at_whatever_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure_fingerprint(data_of(root), seconds=0.0)
    assert (found.looked_at, found.complete) == (look.LEAST, False)


def test_a_second_look_reads_no_image_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure_fingerprint(data_of(root))
    data = data_of(root)
    _ = data.table, data.preprocess
    monkeypatch.setattr(ImageTable, "read", lambda *_: pytest.fail("read again"))
    assert measure_fingerprint(data) == first
    monkeypatch.undo()
    monkeypatch.setenv("SCANSUITE_CACHE", str(root.parent / "cache"))
    write_png(root / "p000/0.png", noise(1, 40, 40))
    write_png(root / "p001/0.png", noise(2, 40, 40))
    write_png(root / "p002/0.png", noise(3, 40, 40))
    write_png(root / "p003/0.png", noise(4, 40, 40))
    assert measure_fingerprint(data_of(root)).height.most == 40


def test_what_is_kept_goes_by_what_masks_mean(tmp_path: Path) -> None:
    images, masks = [noise(n, 16, 16) for n in range(10)], [noise(n, 16, 16) % 3 for n in range(10)]
    two = measure_fingerprint(pairs(tmp_path, images, masks, classes=["none", "a", "b"]))
    one = measure_fingerprint(MaskFolder(str(tmp_path), num_workers=0, classes={"none": [0, 1], "b": 2}))
    assert len(two.class_counts) == 2
    assert one.class_counts == pytest.approx(two.class_counts[1:])


def test_a_damaged_image_that_training_leaves_out_is_left_out(root: Path) -> None:
    (root / "p000/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = measure_fingerprint(data_of(root, skip_unreadable=True))
    assert sum(found.cases.values()) == 59
    with pytest.raises(SuiteError, match="p000/0"):
        measure_fingerprint(data_of(root))


def test_where_files_are_not_checked_what_is_damaged_is_passed_over(root: Path) -> None:
    data = data_of(root, check_files=False, image_size=16, channels=1)
    damaged = data.table.cases["path"].iloc[data.rows("train")[5]]
    (root / damaged).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert measure_fingerprint(data).looked_at == len(data.rows("train")) - 1


def large_png(file: Path, side: int) -> None:
    """A black image whose pixels nobody should decode."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_a_very_large_image_is_measured_by_its_header(root: Path) -> None:
    data = data_of(root, check_files=False, image_size=16, channels=1, max_pixels=2**40, max_bytes=2**40)
    large_png(root / data.table.cases["path"].iloc[data.rows("train")[0]], 50_000)
    found = measure_fingerprint(data)
    assert (found.height.most, found.width.most) == (50_000, 50_000)
    assert found.looked_at == len(data.rows("train")) - 1


def test_one_that_is_not_allowed_is_one_line(root: Path) -> None:
    large_png(root / "p000/0.png", 50_000)
    with pytest.raises(SuiteError, match=r"50000 x 50000 pixels are more than .* --data\.max_pixels"):
        measure_fingerprint(data_of(root))


def test_data_that_nothing_can_be_learnt_from_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"no train part: leave --data\.split all_test out"):
        measure_fingerprint(data_of(root, split="all_test"))
    black = [np.zeros((16, 16), np.uint8)] * 10
    empty = pairs(tmp_path / "pairs", [noise(n, 16, 16) for n in range(10)], black, mask_kind="binary")
    with pytest.raises(SuiteError, match=r"none of the \d+ training masks shows a class"):
        measure_fingerprint(empty)
    write_coco(tmp_path / "boxes", [one._replace(boxes=()) for one in pictures()])
    with pytest.raises(SuiteError, match=r"none of the \d+ training images has a box"):
        measure_fingerprint(Coco(str(tmp_path / "boxes"), num_workers=0))


# Data without files.


@pytest.mark.parametrize("kind", [PhantomLabels, PhantomMasks, PhantomBoxes])
def test_phantoms_are_looked_at_for_less_than_their_number(kind: type[ScanDataModule]) -> None:
    found = measure_fingerprint(kind(num_patients=60))  # type: ignore[call-arg]
    assert found.looked_at == UNKEPT
    assert (found.types, found.height.median, len(found.spacing)) == (("uint16",), 96, 2)
    assert (found.objects is None) == (kind is PhantomLabels)


class Bare(ScanDataModule):
    """A data class of the user's own, of none of the three tasks."""

    def build_table(self) -> CaseTable:
        return table_of_images(pd.DataFrame({"path": [f"{number}.x" for number in range(20)]}))

    def read(self, image: int) -> Scan:
        return Scan(noise(image, 12, 14))

    def hashes(self, table: CaseTable) -> list[str]:
        return list(table.images["path"])


def test_a_data_class_of_the_users_own_is_measured_as_far_as_it_goes() -> None:
    found = measure_fingerprint(Bare())
    assert (found.task, found.classes, found.objects) == ("other", (), None)
    assert (found.height.median, found.width.median, found.samples) == (12, 14, found.cases["train"])
    assert Fingerprint.from_json(found.to_json()) == found
