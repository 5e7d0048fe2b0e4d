"""Data classes of the user's own, in a module that the suite does not know, are checked as those that ship."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.datamodules.checks.checking import errors, findings, pairs
from tests.datamodules.volumes_on_disk import write_nifti

COUNT, SIDE = 30, 32

# Nothing of it is a file of images: all lie in one archive of NumPy's.
MODULE = '''
import numpy as np
import pandas as pd

from datamodules.base import ScanDataModule
from datamodules.cases.table import table_of_images
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import Annotated, DetectionData
from datamodules.detection.boxes import RawBoxes
from datamodules.faults import report_fault
from datamodules.segmentation.base import SegmentationData
from datamodules.stored import Stored, StoredVolume
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

FILE = "cohort.npz"


class Archive:
    def array(self, name):
        with np.load(self.root / FILE, allow_pickle=False) as file:
            return file[name]

    def names(self):
        return [f"case{number:02d}" for number in range(len(self.array("images")))]

    def frame(self):
        cases = pd.DataFrame({"case_id": self.names(), "path": FILE, "patient_id": self.names()})
        cases["split"] = ["train"] * 20 + ["val"] * 5 + ["test"] * 5
        return cases

    def read(self, image):
        array = self.array("images")[image]
        if image == 2:
            raise SuiteError(f"{FILE}: image {image} is damaged: export it again")
        if image == 4:
            report_fault("scanner_off", f"{FILE}: the scanner was off", [FILE])
        return Scan(array, ScanInfo(path=f"{FILE}/{image}"))


class Grades(Archive, ClassificationData):
    def build_table(self):
        cases = self.frame().assign(label=self.array("labels"))
        return table_of_images(cases, frames=range(len(cases)))


class Vessels(Archive, SegmentationData):
    def build_table(self):
        self.stored_classes = ("background", "artery", "vein")
        cases = self.frame()
        return table_of_images(cases, frames=range(len(cases)))

    def mask_name(self, image):
        return f"{FILE}/mask{image}"

    def read_classes(self, image):
        mask = self.array("masks")[image]
        if image == 6:
            return mask[:-1]
        if image == 7:
            raise SuiteError(f"{FILE}: mask 7: unknown value 9", kind="unknown_value")
        if image == 8:
            raise SuiteError(f"{FILE}: mask 8 is damaged")
        return mask


class Cells(Archive, DetectionData):
    def read_annotations(self):
        boxes, names = RawBoxes(), self.names()
        for case, (x1, y1, x2, y2) in enumerate(self.array("boxes")):
            label = "cel" if case == 5 else "cell"
            boxes.add(case, label, (x1, y1, x2, y2), names[case])
        sizes = [array.shape[:2] for array in self.array("images")]
        return Annotated(self.frame(), sizes, boxes, names, classes=["cell"])


class Phantoms(Archive, ScanDataModule):
    """Neither labels, nor masks, nor boxes."""

    def build_table(self):
        return table_of_images(self.frame().assign(path="nowhere.dcm"), frames=range(len(self.names())))


class Brains(SegmentationData):
    """Whole volumes, which it would cut by itself."""

    def build_table(self):
        self.stored_classes = ("background", "tumour")
        self.files = sorted(self.root.glob("*_t1.nii.gz"))
        cases = pd.DataFrame({"path": [file.name for file in self.files]})
        return table_of_images(cases.assign(case_id=[file.name[:2] for file in self.files]))

    def stored(self, table):
        return Stored(masks=super().stored(table).masks, volume=self.volume)

    def volume(self, image):
        file = self.files[image]
        return StoredVolume([file], file.with_name(file.name.replace("t1", "seg")), None)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, and its archive in ``tmp_path``."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, SIDE, SIDE)).astype(np.float32)
    images[0] = 90
    images[1, 3, 3] = np.nan
    images[22] = images[3]  # train and val
    labels = np.array(["mild", "severe"] * (COUNT // 2))
    labels[5], labels[6] = "", "milld"
    masks = np.zeros((COUNT, SIDE, SIDE), np.uint8)
    masks[:, 4:12, 4:12], masks[:, 20:25, 20:25] = 1, 2
    masks[9] = 0
    boxes = np.tile([4.0, 4.0, 20.0, 20.0], (COUNT, 1))
    boxes[6], boxes[7], boxes[8] = [50, 50, 60, 60], [4, 4, 6, 20], [4, 4, np.nan, 20]
    np.savez(tmp_path / "cohort.npz", images=images, labels=labels, masks=masks, boxes=boxes)
    (tmp_path / "own_data_classes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("own_data_classes")
    sys.modules.pop("own_data_classes")


# What is wrong with the images themselves, in each of the classes.
IMAGES = {
    ("not_finite", "case01"), ("unreadable", "case02"), ("duplicate_leak", "case03"), ("scanner_off", "case04"),
}  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_own_classification(own: ModuleType, tmp_path: Path, workers: int) -> None:
    data = own.Grades(str(tmp_path), class_names=["mild", "severe"], value_range=[0, 255])
    found = findings(data, tmp_path / "report", workers)
    assert errors(found) == {*IMAGES, ("empty_label", "case05"), ("unknown_label", "case06")}
    assert ("constant", "case00") in pairs(found)
    assert ("label_conflict", "case03") in pairs(found)
    assert data.table.cases["split"].value_counts().to_dict() == {"train": 20, "val": 5, "test": 5}
    assert "class_rare" in set(found["kind"])


def test_own_segmentation(own: ModuleType, tmp_path: Path) -> None:
    found = findings(own.Vessels(str(tmp_path), value_range=[0, 255]), tmp_path / "report")
    assert errors(found) == {
        *IMAGES, ("grid_mismatch", "case06"), ("unknown_value", "case07"), ("mask_unreadable", "case08"),
    }  # fmt: skip
    assert {("mask_empty", "case09"), ("constant", "case00")} <= pairs(found)
    report = (tmp_path / "report" / "check.html").read_text()
    assert "Masks in train" in report
    assert "artery" in report


def test_own_detection(own: ModuleType, tmp_path: Path) -> None:
    found = findings(own.Cells(str(tmp_path), value_range=[0, 255]), tmp_path / "report")
    assert errors(found) == {*IMAGES, ("unknown_label", "case05"), ("bad_box", "case08")}
    assert {("box_outside", "case06"), ("box_tiny", "case07")} <= pairs(found)
    assert "Boxes in train" in (tmp_path / "report" / "check.html").read_text()


def test_a_class_with_images_alone(own: ModuleType, tmp_path: Path) -> None:
    found = findings(own.Phantoms(str(tmp_path), value_range=[0, 255]), tmp_path / "report")
    assert errors(found) == IMAGES


def test_own_whole_volumes(own: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        scan = rng.integers(0, 900, (12, 10, 8)).astype(np.float32)
        if number == 2:
            scan[0, 0, 0] = np.inf
        write_nifti(tmp_path / f"b{number}_t1.nii.gz", scan)
        mask = np.zeros((12, 10, 7 if number == 4 else 8), np.uint8)
        mask[2:6, 2:6, 2:4] = 1
        write_nifti(tmp_path / f"b{number}_seg.nii.gz", mask)
    found = findings(own.Brains(str(tmp_path), folds=2), tmp_path / "report")
    assert errors(found) == {("not_finite", "b2"), ("grid_mismatch", "b4")}
    assert "Voxels" in (tmp_path / "report" / "check.html").read_text()
