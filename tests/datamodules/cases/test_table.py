"""The case table, and the tables that users bring."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from datamodules.cases.table import (
    SPLIT_WORDS,
    CaseTable,
    case_id_of,
    read_frame,
    split_words,
    table_of_images,
)
from scansuite.errors import SuiteError


def table_of(*paths: str, **columns: list[object]) -> CaseTable:
    return table_of_images(pd.DataFrame({"path": list(paths), **columns}))


# Cases.


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.png", "a/b"),
        ("a.b/c.d.png", "a.b/c.d"),
        ("x/scan.nii.gz", "x/scan"),
        ("x/SCAN.NII.GZ", "x/SCAN"),
        ("plain", "plain"),
        ("a/.png", "a/.png"),
    ],
)
def test_a_case_is_named_by_its_path_without_suffix(path: str, name: str) -> None:
    assert case_id_of(path) == name


def test_what_is_not_given_is_filled_in_and_further_columns_are_kept() -> None:
    table = table_of("a/1.png", "a/2.png", sex=["F", "M"], age=[40, 50])
    assert table.cases.columns.tolist() == ["case_id", "patient_id", "path", "split", "sex", "age"]
    assert table.cases["case_id"].tolist() == ["a/1", "a/2"]
    assert table.cases[["patient_id", "split"]].isna().all(axis=None)
    assert table.cases["age"].tolist() == [40, 50]
    assert table.images.to_dict("list") == {"case": [0, 1], "path": ["a/1.png", "a/2.png"], "frame": [-1, -1]}


def test_given_names_patients_and_frames_are_kept_as_text() -> None:
    frame = pd.DataFrame({"path": ["a.npz"] * 2, "case_id": [7, 8], "patient_id": ["01", None]}, index=[5, 9])
    table = table_of_images(frame, frames=[3, 4], published_split=True)
    assert table.cases["case_id"].tolist() == ["7", "8"]
    assert table.cases["patient_id"][0] == "01"
    assert table.cases["patient_id"].isna().tolist() == [False, True]
    assert table.images["frame"].tolist() == [3, 4]
    assert table.cases.index.tolist() == [0, 1]
    assert table.published_split


def test_two_cases_of_one_name_are_refused_with_their_rows() -> None:
    with pytest.raises(SuiteError, match=r"case_id 'a/1' is duplicated \(a/1\.png and a/1\.jpg, rows 1 and 3\): give "):
        table_of("a/1.png", "a/2.png", "a/1.jpg")


@pytest.mark.parametrize("names", [["x", None, "y"], ["x", None, None]])
def test_a_case_without_a_name_is_refused_with_its_row(names: list[object]) -> None:
    with pytest.raises(SuiteError, match=r"case_id is empty in row 2 \(2\.png\): give"):
        table_of("1.png", "2.png", "3.png", case_id=names)


def test_patients_are_known_only_where_each_case_has_one() -> None:
    assert table_of("1.png", "2.png", patient_id=["a", "a"]).patients_known
    assert not table_of("1.png", "2.png", patient_id=["a", pd.NA]).patients_known
    assert not table_of("1.png", "2.png").patients_known
    assert not table_of("1.png", patient_id=["a"]).select([False]).patients_known


def test_select_keeps_all_images_of_the_cases_and_renumbers_them() -> None:
    cases = table_of("a.png", "b.png", "c.png", sex=["F", "M", "F"]).cases
    images = pd.DataFrame({"case": [0, 1, 1, 2, 2], "path": ["a", "b0", "b1", "c0", "c1"], "frame": [-1, 0, 1, 0, 1]})
    kept = CaseTable(cases, images).select(cases["sex"] == "F")
    assert kept.cases["case_id"].tolist() == ["a", "c"]
    assert kept.cases.index.tolist() == [0, 1]
    assert kept.images.to_dict("list") == {"case": [0, 1, 1], "path": ["a", "c0", "c1"], "frame": [-1, 0, 1]}
    assert len(CaseTable(cases, images).select([False] * 3).images) == 0


def test_with_columns_leaves_the_first_table_alone() -> None:
    table = table_of("a.png")
    assert table.with_columns(split="test").cases["split"].tolist() == ["test"]
    assert table.cases["split"].isna().all()


# Files.

ROWS = "patient_id,label,note\n007,1,NA\n010,0,\n100,1,None\n"


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.txt", "t.csv.gz", "t.tsv.gz", "t.parquet"])
def test_formats_read_alike_and_text_keeps_its_zeros(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    text = ROWS if ".csv" in name.lower() else ROWS.replace(",", "\t")
    if name.endswith(".parquet"):
        values = {"patient_id": ["007", "010", "100"], "label": [1, 0, 1], "note": ["NA", None, "None"]}
        pd.DataFrame(values).to_parquet(file)
    elif name.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)
    frame = read_frame(file, "--data.table", text_columns=["patient_id", "absent"])
    assert frame["patient_id"].tolist() == ["007", "010", "100"]
    assert frame["label"].tolist() == [1, 0, 1]
    assert frame["note"].isna().tolist() == [False, True, False]
    assert frame["note"].dropna().tolist() == ["NA", "None"]  # words, not gaps


def test_a_table_typed_by_hand_or_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b'\xef\xbb\xbfpath, patient_id ,label\r\n"a,b.png", 007,ill\r\nc.png, ,well\r\n')
    frame = read_frame(file, "--data.table", text_columns=["patient_id"])
    assert frame.columns.tolist() == ["path", "patient_id", "label"]
    assert frame["path"].tolist() == ["a,b.png", "c.png"]
    assert frame["label"].tolist() == ["ill", "well"]
    file.write_text("path,label\na.png,1,\nb.png,0,\n")
    assert read_frame(file, "--data.table").to_dict("list") == {"path": ["a.png", "b.png"], "label": [1, 0]}
    file.write_text("path, patient_id\na.png, 007\nb.png, 008\n")
    assert read_frame(file, "--data.table", text_columns=["patient_id"])["patient_id"].tolist() == ["007", "008"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.csv", None, "no such file"),
        ("t.xlsx", b"PK", r"not a table by its name: expected \.csv, \.tsv or \.parquet"),
        ("t.csv", b"", "cannot be read as a table"),
        ("t.csv", b"a,b\n", "the table has no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3,4\n", "cannot be read as a table: .*line 3"),
        ("t.csv", b"a,b\n1,2,7\n3,4,8\n", "cannot be read as a table: Length of header"),
        ("t.csv", b"\xff\xfe\x00\x01", "cannot be read as a table"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as a table"),
        ("t.csv.gz", b"\x1f\x8b\x08a,b\n1,2\n", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_tables_are_refused_in_one_line(
    name: str, content: bytes | None, says: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SuiteError, match=says) as caught:
        read_frame(tmp_path / name, "--data.table")
    assert str(caught.value).startswith(f"--data.table {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


# Split words.


def test_split_words() -> None:
    words = pd.Series([*SPLIT_WORDS, " Train ", "VALID", pd.NA, ""], dtype="str")
    parts = split_words(words, "t.csv")
    assert parts[:-2].tolist() == [*SPLIT_WORDS.values(), "train", "val"]
    assert parts[-2:].isna().all()
    with pytest.raises(SuiteError, match=r"t\.csv: split 'tset' in row 2 is none of train, training, val, valid, "):
        split_words(pd.Series(["train", "tset"], dtype="str"), "t.csv")
