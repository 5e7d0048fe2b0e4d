"""Who is who: patients from paths and from a second table."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from datamodules.cases.patients import join_patients
from datamodules.cases.table import CaseTable, table_of_images
from scansuite.errors import SuiteError


def table_of(*paths: str, **columns: list[object]) -> CaseTable:
    return table_of_images(pd.DataFrame({"path": list(paths), **columns}))


@pytest.mark.parametrize("pattern", [r"p(\d+)", r"\d+(?=_)", r"p(?P<patient>\d+)_(\d)"])
def test_patients_by_pattern(pattern: str) -> None:
    table = join_patients(table_of("x/p07_1.png", "x/p07_2.png", "y/p12_1.png"), pattern, None)
    assert table.cases["patient_id"].tolist() == ["07", "07", "12"]


@pytest.mark.parametrize("pattern", [r"p(\d+)_", r"(p12)|x", r"(\d*)"])
def test_a_path_without_a_patient_is_named(pattern: str) -> None:
    with pytest.raises(SuiteError, match=r"finds no patient in x/scan\.png \(1 of 2 paths\)") as caught:
        join_patients(table_of("p12_1.png" if "*" not in pattern else "12.png", "x/scan.png"), pattern, None)
    assert f"--data.patient_pattern {pattern!r}" in str(caught.value)


def test_a_wrong_pattern_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"--data\.patient_pattern 'p\(' is no regular expression: "):
        join_patients(table_of("p1.png"), "p(", None)


def test_patients_and_subgroups_by_a_second_table_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,patient_id,site,path\nb,007,Bern,elsewhere\nc,,Basel,elsewhere\na,001,Bern,elsewhere\n")
    table = join_patients(table_of("a.png", "b.png"), None, file)
    assert table.cases["patient_id"].tolist() == ["001", "007"]
    assert table.cases["site"].tolist() == ["Bern", "Bern"]
    assert table.cases["path"].tolist() == ["a.png", "b.png"]
    assert table.patients_known
    gap = join_patients(table_of("a.png", "c.png"), None, file)
    assert gap.cases["patient_id"].isna().tolist() == [False, True]
    assert not gap.patients_known


def test_a_split_in_the_second_table_is_understood_and_no_longer_the_published_one(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,split\na,Validation\nb,training\n")
    table = table_of_images(pd.DataFrame({"path": ["a.png", "b.png"], "split": "test"}), published_split=True)
    joined = join_patients(table, None, file)
    assert joined.cases["split"].tolist() == ["val", "train"]
    assert not joined.published_split
    file.write_text("case_id,split\na,val\nb,holdout\n")
    with pytest.raises(SuiteError, match=r"--data\.cases .*cases\.csv: split 'holdout' in row 2"):
        join_patients(table, None, file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("patient_id,case\n1,a\n", r"no column case_id \(found: patient_id, case\)"),
        ("case_id,patient_id\na,1\na,2\n", "case_id 'a' is duplicated"),
        ("case_id,patient_id\na,1\n", r"no row for case_id 'b' \(1 of 2 cases are missing\)"),
    ],
)
def test_a_second_table_that_does_not_fit_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text(text)
    with pytest.raises(SuiteError, match=says) as caught:
        join_patients(table_of("a.png", "b.png"), None, file)
    assert str(file) in str(caught.value)


# What a second table must not take away.


def test_an_empty_cell_leaves_a_known_patient(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,patient_id,site\na,,Bern\nb, ,Bern\nc,p3,\n")
    joined = join_patients(table_of("a.png", "b.png", "c.png", patient_id=["p1", "p1", None]), None, file)
    assert joined.cases["patient_id"].tolist() == ["p1", "p1", "p3"]
    assert joined.cases["site"].tolist()[:2] == ["Bern", "Bern"]


def test_patients_that_would_bear_two_kinds_of_names_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,patient_id\na,Smith\nb,\nc,Jones\n")
    table = table_of("a.png", "b.png", "c.png", patient_id=["p1", "p1", "p3"])
    with pytest.raises(SuiteError, match=r"cases\.csv: patient_id is empty for case_id 'b', whose patient is 'p1'"):
        join_patients(table, None, file)
    file.write_text("case_id,patient_id\na,Smith\nb,Smith\nc,Jones\n")
    assert join_patients(table, None, file).cases["patient_id"].tolist() == ["Smith", "Smith", "Jones"]


def test_labels_and_columns_of_the_data_stay_and_what_differs_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,label,age,empty\na,ill,40,1\nb,,51,2\n")
    table = table_of("a.png", "b.png", label=["well", "ill"], age=[40, 50], empty=[None, None])
    with caplog.at_level(logging.WARNING):
        cases = join_patients(table, None, file).cases
    assert cases["label"].tolist() == ["well", "ill"]
    assert cases["age"].tolist() == [40, 50]
    assert cases["empty"].tolist() == [1, 2]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "'label' is the data's own, which stays: 1 cells that differ are not used" in said[0]


def test_an_empty_cell_leaves_a_given_split(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,split\na,\nb,val\n")
    table = table_of_images(pd.DataFrame({"path": ["a.png", "b.png"], "split": ["test", "val"]}), published_split=True)
    joined = join_patients(table, None, file)
    assert joined.cases["split"].tolist() == ["test", "val"]
    assert joined.published_split  # it says what is published


def test_a_row_without_a_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,patient_id\na,1\n ,2\n")
    with pytest.raises(SuiteError, match=r"cases\.csv: case_id is empty in row 2"):
        join_patients(table_of("a.png"), None, file)


# Names that look the same are the same.


def test_patients_of_a_second_table_and_of_a_pattern_are_clean(tmp_path: Path) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("case_id,patient_id\n a ,P00\n\u00a0b,P00 \nc,P 00\n", encoding="utf-8")
    joined = join_patients(table_of("a.png", "b.png", "c.png"), None, file)
    assert joined.cases["patient_id"].tolist() == ["P00", "P00", "P 00"]
    by_folder = join_patients(table_of("P00/1.png", "P00 /2.png"), "^[^/]+", None)
    assert by_folder.cases["patient_id"].tolist() == ["P00", "P00"]
