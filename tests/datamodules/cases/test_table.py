"""The case table."""

from __future__ import annotations

import pandas as pd
import pytest

from datamodules.cases.table import (
    SPLIT_WORDS,
    CaseTable,
    case_id_of,
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


# Split words.


def test_split_words() -> None:
    words = pd.Series([*SPLIT_WORDS, " Train ", "VALID", pd.NA, ""], dtype="str")
    parts = split_words(words, "t.csv")
    assert parts[:-2].tolist() == [*SPLIT_WORDS.values(), "train", "val"]
    assert parts[-2:].isna().all()
    with pytest.raises(SuiteError, match=r"t\.csv: split 'tset' in row 2 is none of train, training, val, valid, "):
        split_words(pd.Series(["train", "tset"], dtype="str"), "t.csv")
