"""What was seen of images is taken again where it holds, and only there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist import MedMNIST
from datamodules.detection.box_table import BoxTable
from datamodules.detection.coco import Coco
from datamodules.detection.instance_masks import InstanceMasks
from datamodules.detection.voc import Voc
from datamodules.detection.yolo import Yolo
from datamodules.fingerprint import measure
from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.look import look_at
from datamodules.fingerprint.measure import measure_fingerprint
from datamodules.fingerprint.plain import NotPlainError, in_plain_words
from datamodules.readers.raster import write_png
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from datamodules.types import Scan
from tests.datamodules.boxes_on_disk import (
    Box,
    Picture,
    pictures,
    write_box_table,
    write_coco,
    write_images,
    write_voc,
    write_yolo,
)
from tests.datamodules.classification.test_medmnist import written
from tests.datamodules.pictures_on_disk import write_masks, write_pairs
from tests.datamodules.scans_on_disk import cohort, write_table
from tests.datamodules.volumes_on_disk import write_nifti


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on a look at images fails the test."""
    return lambda: monkeypatch.setattr(measure, "look_at", lambda *_, **__: pytest.fail("looked at again"))


def anew(data: ScanDataModule, folder: Path) -> Fingerprint:
    """What is measured where nothing is kept."""
    data.cache_dir = folder
    return replace(measure_fingerprint(data), seconds=0.0)


def write_volumes(root: Path, described: dict[str, Any] | None = None) -> Path:
    """Ten volumes of 24 x 20 x 6 with masks of 0, 1 and 2, whose slices are cut along the last axis."""
    for number in range(10):
        array = np.random.default_rng(number).integers(0, 900, (24, 20, 6)).astype(np.int16)
        mask = np.zeros((24, 20, 6), np.uint8)
        mask[4:8, 6:9, 2:4], mask[12:14, 6:16, 2:4] = 1, 2
        affine = np.diag([0.5, 0.75, 3.0, 1.0])
        write_nifti(root / "imagesTr" / f"v{number}.nii.gz", array, affine)
        write_nifti(root / "labelsTr" / f"v{number}.nii.gz", mask, affine)
    describe(root, described or {"labels": {"none": 0, "a": 1, "b": 2}})
    rows = [{"path": f"imagesTr/v{number}.nii.gz", "label": "ab"[number % 2]} for number in range(10)]
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)
    return root


def describe(root: Path, described: dict[str, Any]) -> None:
    (root / "dataset.json").write_text(json.dumps(described))


def write_maps(root: Path) -> None:
    write_images(root / "images", pictures())
    for number, one in enumerate(pictures()):
        mask = np.zeros(one.size, np.uint8)
        mask[2:6, 2 : 6 + number] = 1
        (root / "masks").mkdir(exist_ok=True)
        write_png(root / "masks" / f"{one.name}.png", mask)


KINDS: dict[str, tuple[type[ScanDataModule], Callable[[Path], Any], dict[str, Any]]] = {
    "images of a table": (ImageTable, lambda root: write_table(root, cohort()), {}),
    "volumes of a table": (ImageTable, write_volumes, {}),
    "images of folders": (ImageFolder, write_pairs, {}),
    "medmnist": (MedMNIST, written, {"name": "pathmnist"}),
    "masks": (MaskFolder, write_masks, {}),
    "volumes": (Volumes, write_volumes, {}),
    "coco": (Coco, lambda root: write_coco(root, pictures()), {}),
    "voc": (Voc, lambda root: write_voc(root, pictures()), {}),
    "yolo": (Yolo, lambda root: write_yolo(root, pictures()), {}),
    "boxes of a table": (BoxTable, lambda root: write_box_table(root, pictures()), {"table": "boxes.csv"}),
    "maps": (InstanceMasks, write_maps, {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_was_seen_of_files_is_kept_by_every_data_class(
    name: str, tmp_path: Path, no_look: Callable[[], None]
) -> None:
    cls, write, settings = KINDS[name]
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    first = measure_fingerprint(cls(str(root), num_workers=0, **settings))
    no_look()
    again = cls(str(root), num_workers=0, batch_size=3, image_size=64, augment="strong", **settings)
    _ = again.table, again.preprocess  # what follows from the settings may be there already
    assert measure_fingerprint(again) == first


@pytest.mark.parametrize("cls", [Volumes, ImageTable])
@pytest.mark.parametrize("axis", ["sagittal", "coronal"])
def test_volumes_that_are_cut_along_another_axis_are_looked_at_again(cls: Any, axis: str, tmp_path: Path) -> None:
    root = write_volumes(tmp_path / "data")
    axial = measure_fingerprint(cls(str(root), num_workers=0))
    other = measure_fingerprint(cls(str(root), num_workers=0, axis=axis))
    assert other.slices != axial.slices
    assert (other.height, other.width, other.spacing) != (axial.height, axial.width, axial.spacing)
    assert replace(other, seconds=0.0) == anew(cls(str(root), num_workers=0, axis=axis), tmp_path / "empty")


def test_volumes_whose_values_mean_something_else_are_looked_at_again(tmp_path: Path) -> None:
    root = write_volumes(tmp_path / "data", {"labels": {"none": 0, "a": 1, "b": 2, "c": 3}})
    before = measure_fingerprint(Volumes(str(root), num_workers=0))
    describe(root, {"labels": {"none": 0, "a": -1, "b": 1, "c": 2}})
    after = measure_fingerprint(Volumes(str(root), num_workers=0))
    assert before.classes == after.classes
    a, b, c = before.class_counts
    assert (a > 0, b > 0, c, a != b) == (True, True, 0, True)
    assert after.class_counts == pytest.approx((0, a, b))


class Turned(ImageTable):
    """Reads as its setting says, which may be of any kind."""

    def __init__(self, root: str, *, how: Any, **settings: Any) -> None:
        super().__init__(root, num_workers=0, **settings)
        self.how = how

    def read(self, image: int) -> Any:
        scan = super().read(image)
        return Scan(scan.array[: self.how.rows], scan.info)


@dataclass(frozen=True)
class Rows:
    rows: int


class Opaque:
    def __init__(self, rows: int) -> None:
        self.rows = rows


@pytest.mark.parametrize("kind", [Rows, Opaque])
def test_a_setting_of_the_users_counts_whatever_it_is(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def counted(*args: Any, **more: Any) -> Any:
        looks.append(1)
        return look_at(*args, **more)

    monkeypatch.setattr(measure, "look_at", counted)
    write_table(tmp_path / "data", cohort())
    for rows in (16, 8, 8):
        assert measure_fingerprint(Turned(str(tmp_path / "data"), how=kind(rows))).height.most == rows
    assert len(looks) == (2 if kind is Rows else 3)  # what nothing tells from another one is never taken for it


# What an annotation or a description says of the modality is no part of what was seen.


def test_a_description_that_is_corrected_says_the_modality(tmp_path: Path, no_look: Callable[[], None]) -> None:
    labels = {"none": 0, "a": 1, "b": 2}
    root = write_volumes(tmp_path / "data", {"modality": {"0": "MRI"}, "labels": labels})
    assert measure_fingerprint(Volumes(str(root), num_workers=0)).modality == "mr"
    no_look()
    describe(root, {"modality": {"0": "CT"}, "labels": labels})
    found = measure_fingerprint(Volumes(str(root), num_workers=0))
    assert (found.modality, found.stated_range) == ("ct", True)
    assert "dataset.json calls its images CT" in found.modality_from
    describe(root, {"modality": {"0": "PET"}, "labels": labels})
    found = measure_fingerprint(Volumes(str(root), num_workers=0))
    assert (found.modality, found.stated_range) == ("pet", False)


def test_boxes_that_are_added_say_the_modality(tmp_path: Path, no_look: Callable[[], None]) -> None:
    def cells(count: int) -> list[Picture]:
        corners = [(place % 8 * 4, place // 8 * 4) for place in range(count)]
        boxes = [Box("cell", (x, y, x + 3, y + 3)) for x, y in corners]
        parts = ["train"] * 16 + ["val"] * 4 + ["test"] * 4
        return [Picture(f"scan{number}", part, (32, 32), boxes) for number, part in enumerate(parts)]

    frame = write_box_table(tmp_path / "data", cells(3)) / "boxes.csv"
    first = measure_fingerprint(BoxTable(str(frame.parent), num_workers=0, table="boxes.csv"))
    assert (first.modality, first.upright) == ("unknown", False)
    no_look()
    write_box_table(tmp_path / "more", cells(40))
    frame.write_bytes((tmp_path / "more" / "boxes.csv").read_bytes())
    found = measure_fingerprint(BoxTable(str(frame.parent), num_workers=0, table="boxes.csv"))
    assert found.objects is not None
    assert (found.modality, found.objects.per_image.median) == ("microscopy", 40)


# Words by which values are told from one another.


def test_values_that_differ_have_other_words_and_the_same_have_the_same() -> None:
    def values() -> list[Any]:
        numbers = np.arange(6.0)
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
        return [
            None, True, 1, 1.0, "1", b"1", (1,), [1], {1}, {"1": 1}, {1: "1"}, [[1], 2], [1, [2]], "1, 2", ["1, 2"],
            ["1", "2"], Path("1"), Rows(1), Rows(2), re.compile("1"), re.compile("1", re.IGNORECASE), numbers,
            numbers.reshape(2, 3), numbers.astype(np.float32), numbers + 1, np.float64(1), np.int64(1), frame,
            frame.set_index("a"), frame.assign(a=[1, 3]), list(range(500)), [*range(499), -1],
            {str(number): number for number in range(300)}, {str(number): -number for number in range(300)},
        ]  # fmt: skip

    words = [in_plain_words(value) for value in values()]
    assert words == [in_plain_words(value) for value in values()]
    assert len(set(words)) == len(words)


def test_a_set_has_no_order() -> None:
    assert in_plain_words({"a", "b", "c", "d"}) == in_plain_words({"d", "c", "b", "a"})


def test_objects_of_other_kinds_are_refused_however_deep() -> None:
    class Longer(list[int]):
        """With more to it than its items."""

    longer, ring = Longer([1]), list[Any]()
    longer.more = 2  # type: ignore[attr-defined]
    ring.append(ring)
    spoilt = Rows(1)
    object.__setattr__(spoilt, "more", 2)
    for value in (object(), lambda: 0, Rows, Opaque(1), longer, ring, spoilt, np.array([object()]), np.ma.array([1])):
        for within in (value, [value], {"a": (1, value)}):
            with pytest.raises(NotPlainError):
                in_plain_words(within)
