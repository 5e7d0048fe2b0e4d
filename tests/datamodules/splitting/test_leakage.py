"""No patient and no image in two parts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.image_folder import ImageFolder
from datamodules.classification.image_table import ImageTable
from datamodules.classification.medmnist import MedMNIST
from datamodules.splitting.leakage import grouping, refuse_leakage
from scansuite.errors import SuiteError
from tests.datamodules.scans_on_disk import cohort, write_scans, write_table


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))


def table_of(patients: Sequence[str | None], split: list[str] | None = None, **columns: Any) -> CaseTable:
    frame = pd.DataFrame({"path": [f"{number}.png" for number in range(len(patients))]})
    frame["patient_id"] = pd.Series(list(patients), dtype="str")
    frame["split"] = pd.Series(split if split is not None else [None] * len(patients), dtype="str")
    return table_of_images(frame, **columns)


def together(groups: np.ndarray[Any, Any]) -> list[set[int]]:
    return [set(np.flatnonzero(groups == group)) for group in dict.fromkeys(groups.tolist())]


# Groups.


def test_cases_hang_together_by_patient_and_by_image() -> None:
    table = table_of(["a", "b", "a", None, None, "c", "d"])
    assert together(grouping(table, list("1234567"))) == [{0, 2}, {1}, {3}, {4}, {5}, {6}]
    # 1 and 5 are one picture, so are 2 and 3: a hangs with the unknown, b with c.
    assert together(grouping(table, ["1", "x", "y", "y", "5", "x", "7"])) == [{0, 2, 3}, {1, 5}, {4}, {6}]


def test_a_patient_called_like_a_case_is_not_that_case() -> None:
    assert together(grouping(table_of([None, "0"]), ["x", "y"])) == [{0}, {1}]


def test_each_image_of_a_case_counts() -> None:
    cases = table_of(["a", "b", "c"]).cases
    images = pd.DataFrame({"case": [0, 0, 1, 1, 2], "path": list("vwxyz"), "frame": -1})
    assert together(grouping(CaseTable(cases, images), ["1", "2", "3", "2", "5"])) == [{0, 1}, {2}]
    blank = pd.DataFrame({"case": [0] * 256 + [1, 2], "path": "p", "frame": -1})  # a volume with many empty slices
    assert together(grouping(CaseTable(cases, blank), ["0"] * 257 + ["1"])) == [{0, 1}, {2}]


# Stopping.


def test_a_clean_split_passes() -> None:
    table = table_of(["a", "a", None, None, "b"], ["train", "train", "train", "test", "test"])
    assert refuse_leakage(table, ["1", "1", "2", "3", "4"], allow=False) == 0


def test_patients_in_two_parts_are_named(caplog: pytest.LogCaptureFixture) -> None:
    table = table_of(["a", "b", "a", "b", "c", None, None], ["train", "val", "test", "test", "val", "train", "test"])
    says = r"2 patients stand in more than one part of the split: a \(train and test\), b \(val and test\): give "
    with pytest.raises(SuiteError, match=says) as caught:
        refuse_leakage(table, list("1234567"), allow=False)
    assert "--data.allow_leakage true" in str(caught.value)
    with caplog.at_level(logging.WARNING):
        assert refuse_leakage(table, list("1234567"), allow=True) == 0
    assert "2 patients stand in more than one part" in caplog.text


def test_many_patients_are_counted_and_the_first_five_named() -> None:
    table = table_of(list("abcdefg") * 2, ["train"] * 7 + ["test"] * 7)
    with pytest.raises(SuiteError, match=r"7 patients .*: a \(.*e \(train and test\), \.\.\.: give") as caught:
        refuse_leakage(table, [str(number) for number in range(14)], allow=False)
    assert "f (" not in str(caught.value)


def test_images_in_two_parts_are_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    table = table_of([None] * 6, ["train", "train", "test", "val", "test", "train"])
    hashes = ["x", "y", "x", "y", "x", "z"]
    with pytest.raises(SuiteError, match=r"2 identical images .*: 0 \(train\) = 2 \(test\), 1 \(train\) = 3 \(val\): "):
        refuse_leakage(table, hashes, allow=False)
    with caplog.at_level(logging.WARNING):
        assert refuse_leakage(table, hashes, allow=True) == 2
    assert "0 (train) = 2 (test)" in caplog.text


def test_a_published_split_may_hold_an_image_twice_but_no_patient() -> None:
    parts = ["train", "test", "train"]
    assert refuse_leakage(table_of([None] * 3, parts, published_split=True), ["x", "x", "y"], allow=False) == 1
    with pytest.raises(SuiteError, match=r"1 patients .*: a \(train and test\)"):
        refuse_leakage(table_of(["a", "a", "b"], parts, published_split=True), ["x", "y", "z"], allow=False)


# Through the data classes, on files.


@pytest.fixture
def copies(tmp_path: Path) -> pd.DataFrame:
    """Twenty patients; one picture of patient 003 lies among those of 010 as well, one of 005 among those of 016."""
    frame = cohort()
    write_table(tmp_path, frame)
    shutil.copy(tmp_path / "p003/0.png", tmp_path / "p010/2.png")
    shutil.copy(tmp_path / "p005/1.png", tmp_path / "p016/0.png")
    return frame


def patients_of(data: ScanDataModule) -> dict[str, set[str]]:
    return {str(part): set(rows["patient_id"]) for part, rows in data.table.cases.groupby("split")}


def test_identical_images_of_two_patients_stay_together_in_our_splits(copies: pd.DataFrame, tmp_path: Path) -> None:
    apart = 0
    for fold in range(4):
        for seed in range(3):
            data = ImageTable(str(tmp_path), folds=4, fold=fold, split_seed=seed)
            assert data.images_in_two_parts == 0
            part_of = data.table.cases.drop_duplicates("patient_id").set_index("patient_id")["split"]
            assert part_of["003"] == part_of["010"]
            assert part_of["005"] == part_of["016"]
            apart += part_of["003"] != part_of["011"]
    assert apart  # they could well have been apart


def test_identical_images_in_two_parts_of_a_users_split_are_refused(
    copies: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_test = copies["patient_id"].isin(["010", "005"])
    copies.assign(split=np.where(in_test, "test", "train")).to_csv(tmp_path / "split_table.csv", index=False)
    says = r"2 identical images .*: p003/0 \((train|val)\) = p010/2 \(test\), p005/1 \(test\) = p016/0 \((train|val)\)"
    with pytest.raises(SuiteError, match=says):
        _ = ImageTable(str(tmp_path), table="split_table.csv").table
    with caplog.at_level(logging.WARNING):
        data = ImageTable(str(tmp_path), table="split_table.csv", allow_leakage=True)
        assert len(data.table) == 60
    assert data.images_in_two_parts == 2
    assert "2 identical images" in caplog.text


def test_a_patient_in_two_parts_of_a_split_file_is_refused(copies: pd.DataFrame, tmp_path: Path) -> None:
    split = pd.DataFrame({"case_id": copies["path"].str.removesuffix(".png"), "split": "train"})
    split.loc[split["case_id"].isin(["p000/1", "p001/0", "p001/1", "p001/2"]), "split"] = "test"
    split.to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(SuiteError, match=r"1 patients .*: 000 \(train and test\)|1 patients .*: 000 \(val and test\)"):
        _ = ImageTable(str(tmp_path), split_file=str(tmp_path / "split.csv")).table


def shipped_leaks(shared_data: Path) -> set[str]:
    frame = pd.read_csv(shared_data / "nih_cxr64" / "labels.csv", dtype={"patient_id": "str"})
    parts = frame.groupby("patient_id")["shipped_split"].nunique()
    return {patient.zfill(8) for patient in parts.index[parts > 1]}


def test_the_shipped_chest_folders_are_refused_with_the_patients(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"root": str(shared_data / "nih_cxr64"), "patient_pattern": r"(\d+)_\d+\.png"}
    leaks = shipped_leaks(shared_data)
    assert len(leaks) == 30
    with pytest.raises(SuiteError, match="30 patients stand in more than one part of the split: ") as caught:
        _ = ImageFolder(**settings).table
    named = [word for word in str(caught.value).replace(":", " ").split() if word.isdigit() and len(word) == 8]
    assert len(named) == 5
    assert set(named) <= leaks
    with caplog.at_level(logging.WARNING):
        data = ImageFolder(**settings, allow_leakage=True)
        assert len(data.table) == 1000
    assert "30 patients" in caplog.text
    parts = patients_of(data)
    twice = (parts["train"] & parts["val"]) | (parts["train"] & parts["test"]) | (parts["val"] & parts["test"])
    assert twice == leaks


def test_the_shipped_column_is_refused_and_our_own_split_is_not(shared_data: Path) -> None:
    root = str(shared_data / "nih_cxr64")
    with pytest.raises(SuiteError, match="30 patients"):
        _ = ImageTable(root, label_columns="shipped_class", split_column="shipped_split").table
    parts = patients_of(ImageTable(root, label_columns="shipped_class"))
    assert not parts["train"] & parts["val"]
    assert not parts["train"] & parts["test"]
    assert not parts["val"] & parts["test"]


def test_the_published_split_of_breastmnist_warns_also_as_a_file(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"root": str(shared_data / "medmnist"), "name": "breastmnist"}
    data = MedMNIST(**settings)
    with caplog.at_level(logging.WARNING):
        cases = data.table.cases
    assert data.images_in_two_parts == 1
    assert "1 identical images" in caplog.text
    assert "train/00115 (train) = test/00076 (test)" in caplog.text
    file = tmp_path / "split.csv"
    cases[["case_id", "split"]].to_csv(file, index=False)
    again = MedMNIST(**settings, split_file=str(file))
    assert again.table.cases["split"].tolist() == cases["split"].tolist()
    assert again.images_in_two_parts == 1
    cases[["case_id", "split"]].replace({"split": {"val": "train"}}).to_csv(file, index=False)
    with pytest.raises(SuiteError, match=r"1 identical images .*train/00115 .* = test/00076 \(test\)"):
        _ = MedMNIST(**settings, split_file=str(file)).table


def test_copies_within_one_part_are_no_leak(tmp_path: Path) -> None:
    frame = cohort(6, 2).assign(split=np.repeat(["train", "val", "test"], 4))
    write_scans(tmp_path, frame["path"])
    frame.to_csv(tmp_path / "labels.csv", index=False)
    shutil.copy(tmp_path / "p000/0.png", tmp_path / "p001/1.png")
    data = ImageTable(str(tmp_path))
    assert len(data.table) == 12
    assert data.images_in_two_parts == 0
