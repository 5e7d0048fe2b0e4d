"""docs/tables.md names what the code knows, and its examples are read as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.box_columns import _NAMED, LABELS, PATHS, plain
from datamodules.detection.box_table import BoxTable
from datamodules.segmentation.volumes import Volumes
from datamodules.tables.encodings import _OTHERS, spoken
from datamodules.tables.workbook import WORKBOOKS
from tests.datamodules.scans_on_disk import write_scans
from tests.datamodules.volumes_on_disk import write_nifti

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
ROWS = {
    row.split("|")[1].strip(): re.findall(r"`([^`]+)`", row.split("|")[2])
    for row in TEXT.splitlines()
    if row[:2] == "| "
}


def test_names_of_columns_are_those_that_are_found() -> None:
    assert tuple(name.replace("_", "") for name in ROWS["path"]) == PATHS
    assert tuple(name.replace("_", "") for name in ROWS["label"]) == LABELS
    for row, kind in (
        ("corners (`xyxy`)", "xyxy"),
        ("centre (`cxcywh`)", "cxcywh"),
        ("corner and size (`xywh`)", "xywh"),
    ):
        assert [" ".join(plain(one)[0] for one in names.split()) for names in ROWS[row]] == [
            names for known, names in _NAMED if known == kind
        ]


def test_encodings_and_workbooks_are_those_that_are_read() -> None:
    for name, _ in _OTHERS:
        assert spoken(name) in TEXT
    assert f"`{' '.join(WORKBOOKS)}`" in TEXT


def test_the_examples_are_read_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    masks, boxes = re.findall(r"(?:^    \S+,\S*\n)+", TEXT, re.MULTILINE)
    (tmp_path / "cases.csv").write_text(masks.replace("    ", ""))
    drawn = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 2
    for folder, array in (("ct/a", drawn * 50), ("drawn/a-seg", drawn)):
        write_nifti(tmp_path / f"{folder}.nii.gz", array)
    volumes = Volumes(str(tmp_path), table="cases.csv", mask_column="seg", split="all_test")
    np.testing.assert_array_equal(volumes.true_mask(0), drawn)
    write_scans(tmp_path, ["a.png", "b.png"], (100, 100))
    (tmp_path / "boxes.csv").write_text(boxes.replace("    ", ""))
    data = BoxTable(str(tmp_path), split="all_test")
    assert data.table.cases["case_id"].tolist() == ["a", "b"]
    assert data.true_boxes(np.arange(2))["label"].tolist() == ["nodule", "mass"]
    assert data.boxes_of(0)[0].tolist() == [[10, 20, 60, 90], [70, 15, 95, 40]]
