"""Names of cases and patients: what looks the same is the same."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.base import ScanDataModule
from datamodules.cases.ids import clean_id, clean_ids
from datamodules.cases.table import table_of_images
from datamodules.classification.image_table import ImageTable
from datamodules.detection.coco import Coco
from datamodules.detection.voc import Voc
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.segmentation.volumes import Volumes
from datamodules.splitting.leakage import grouping
from datamodules.splitting.splits import join_split
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import write_scans


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("P00", "P00"),
        ("P00 ", "P00"),
        ("\tP00\r", "P00"),
        ("P00\u00a0", "P00"),  # non-breaking space
        ("\ufeffP00\u200b", "P00"),  # byte order mark, zero-width space
        ("\u202aP00\u202c", "P00"),  # marks of writing direction, as spreadsheets leave them
        ("Anna  M", "Anna M"),
        ("Anna\u00a0M", "Anna M"),
        ("Mu\u0308ller", "M\u00fcller"),  # macOS decomposes names of files
        ("1.0", "1"),
        ("-3.0", "-3"),
        ("1.10", "1.10"),
        ("1.00", "1.00"),
        ("007", "007"),
        ("007.0", "007.0"),
        ("1.2.840.0", "1.2.840.0"),
        ("p00", "p00"),
        ("  ", ""),
    ],
)
def test_a_name_is_what_is_seen_of_it(typed: str, meant: str) -> None:
    assert clean_id(typed) == meant


@given(st.text(max_size=12))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_id(text)
    assert clean_id(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert clean_id(f" {text}\u00a0") == once


def test_whole_numbers_are_one_name_in_every_type_of_column() -> None:
    for values in (
        pd.Series([1, 2]),
        pd.Series([1.0, 2.0]),
        pd.Series(["1", "2.0 "]),
        pd.Series([1, 2], dtype="Int64"),
    ):
        assert clean_ids(values).tolist() == ["1", "2"]
    gaps = clean_ids(pd.Series(["a", " ", None, np.nan], dtype=object))
    assert gaps.isna().tolist() == [False, True, True, True]


def groups_of(data: ScanDataModule) -> list[int]:
    table = data.build_table()
    numbers: list[int] = grouping(table, [str(row) for row in range(len(table.images))]).tolist()
    return numbers


def test_one_patient_spelled_in_three_ways_is_one_patient(tmp_path: Path) -> None:
    write_scans(tmp_path, ["0.png", "1.png", "2.png", "3.png"])
    rows = ["0.png,P00,a", "1.png,P00\u00a0,b", "2.png,\ufeffP00,a", "3.png,P01,b"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,patient_id,label", *rows]), encoding="utf-8")
    assert groups_of(ImageTable(str(tmp_path))) == [0, 0, 0, 1]


def test_numbered_patients_of_a_column_with_gaps_are_those_of_one_without(tmp_path: Path) -> None:
    write_scans(tmp_path, ["0.png", "1.png", "2.png"])
    frame = pd.DataFrame({"path": ["0.png", "1.png", "2.png"], "patient_id": [1, 1, np.nan], "label": list("aba")})
    frame.to_parquet(tmp_path / "labels.parquet")
    frame.to_csv(tmp_path / "labels.csv", index=False)
    for name in ("labels.parquet", "labels.csv"):
        patients = ImageTable(str(tmp_path), table=name).build_table().cases["patient_id"]
        assert patients.tolist()[:2] == ["1", "1"]
        assert patients.isna().tolist() == [False, False, True]


def test_a_split_file_and_a_folder_name_cases_alike(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    file.write_text("case_id,split\nMu\u0308ller 1 ,train\n\u00a0b,val\n", encoding="utf-8")
    table = table_of_images(pd.DataFrame({"path": ["M\u00fcller 1.png", "b.png"]}))
    assert join_split(table, file).cases["split"].tolist() == ["train", "val"]


def test_rows_that_become_one_name_are_the_known_mistake() -> None:
    with pytest.raises(SuiteError, match=r"case_id 'a' is duplicated \(1\.png and 2\.png, rows 1 and 2\)"):
        table_of_images(pd.DataFrame({"path": ["1.png", "2.png"], "case_id": ["a", "a "]}))
    with pytest.raises(SuiteError, match="case_id is empty in row 2"):
        table_of_images(pd.DataFrame({"path": ["1.png", "2.png"], "case_id": ["a", " "]}))


def _masks(root: Path) -> ScanDataModule:
    for name in ("images/a.png", "masks/a.png", "masks/a .png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return MaskFolder(str(root))


def _volumes(root: Path) -> ScanDataModule:
    for name in ("imagesTr/a.nii.gz", "imagesTr/a.nii", "labelsTr/a.nii.gz"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return Volumes(str(root))


def _voc(root: Path) -> ScanDataModule:
    for name in ("images/a.png", "Annotations/a.xml", "Annotations/a .xml"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return Voc(str(root))


@pytest.mark.parametrize("make", [_masks, _volumes, _voc])
def test_of_two_files_of_one_name_none_is_dropped_without_a_word(make: object, tmp_path: Path) -> None:
    assert callable(make)
    with pytest.raises(SuiteError, match=r"/(masks|imagesTr|Annotations): a.*? and a.*? (bear one name|are masks of)"):
        make(tmp_path).build_table()


def test_names_of_coco_are_clean(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_scans(tmp_path / "images", ["Mu\u0308 1.png"])
    (tmp_path / "a.json").write_text(
        '{"images": [{"id": 1, "file_name": "Mu\u0308 1.png", "width": 24, "height": 24}], "annotations": [], '
        '"categories": [{"id": 1, "name": "cell"}]}',
        encoding="utf-8",
    )
    assert Coco(str(tmp_path)).build_table().cases["case_id"].tolist() == ["M\u00fc 1"]
