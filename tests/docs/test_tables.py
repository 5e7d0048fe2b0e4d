"""docs/tables.md names what the code knows, and its example is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.box_columns import _NAMED, LABELS, PATHS, plain
from datamodules.detection.box_table import BoxTable
from datamodules.tables.encodings import _OTHERS, spoken
from datamodules.tables.workbook import WORKBOOKS
from tests.datamodules.scans_on_disk import write_scans

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


def test_the_example_is_read_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    (lines,) = re.findall(r"(?:^    \S+,\S*\n)+", TEXT, re.MULTILINE)
    write_scans(tmp_path, ["a.png", "b.png"], (100, 100))
    (tmp_path / "boxes.csv").write_text(lines.replace("    ", ""))
    data = BoxTable(str(tmp_path), split="all_test")
    assert data.table.cases["case_id"].tolist() == ["a", "b"]
    assert data.true_boxes(np.arange(2))["label"].tolist() == ["nodule", "mass"]
    assert data.boxes_of(0)[0].tolist() == [[10, 20, 60, 90], [70, 15, 95, 40]]
