"""The tables that users bring."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.readers.limits import Limits
from datamodules.tables.file import is_table, read_frame
from datamodules.tables.form import TableForm, table_form
from scansuite.errors import SuiteError
from tests.datamodules.tables.workbooks import write_xlsx

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
        ("t.json", b"{}", r"not a table by its name: expected \.csv, \.tsv, \.parquet or a workbook"),
        ("t.csv", b"", "cannot be read as a table: the file is empty"),
        ("t.csv", b"a,b\n", "the table has no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3,4\n", "cannot be read as a table: .*line 3"),
        ("t.csv", b"a,b\n1,2,7\n3,4,8\n", "cannot be read as a table: its rows have more cells than the first line"),
        ("t.csv", b"\xff\xfe\x00\x01", "the table has no rows"),
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


# Separators and encodings.

FINDINGS = "경로;판독;크기\na.png;정상;3,5\nb.png;결절;4\n"
READ = {"경로": ["a.png", "b.png"], "판독": ["정상", "결절"], "크기": [3.5, 4.0]}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.mark.parametrize("first", ["", "sep=;\n", "SEP=;\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp949", "CP949"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE"),
     ("utf-8", ""), ("utf-8-sig", "")],
)  # fmt: skip
def test_encoding_and_separator_are_found_and_said(
    encoding: str, name: str, end: str, first: str, tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes((first + FINDINGS).replace("\n", end).encode(encoding))
    assert read_frame(file, "--data.table").to_dict("list") == READ
    (line,) = [record.getMessage() for record in said.records]
    assert line.startswith(f"{file}: ")
    assert "cells are separated by ';' (--data.separator); numbers have decimal commas ('크기')" in line
    assert (f"read as {name}" in line) == bool(name)
    assert ("such as '정상' in row 1 (--data.encoding if it is another)" in line) == (encoding == "cp949")


def test_a_plain_table_is_read_without_a_word(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    for name, text in {"t.csv": "path,label\na;b.png,정상\n", "t.tsv": "path\tlabel\na.png\tx;y;z\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_frame(tmp_path / name, "--data.table").columns.tolist() == ["path", "label"]
    assert not said.records


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("t.csv", "path\tlabel\na.png\t1\n", ["path", "label"]),
        ("t.tsv", "path,label\na.png,1\n", ["path", "label"]),
        ("t.csv", "path|label\na.png|1\n", ["path", "label"]),
        ("t.csv", 'path;"a,b"\na.png;1\n', ["path", "a,b"]),
        ("t.csv", "path,codes(a;b;c)\na.png,1;2;3\n", ["path", "codes(a;b;c)"]),  # what was read before stays
        ("t.csv", "path\na;b.png\n", ["path"]),  # a column of its own
        ("t.csv", "path;a\nb.png;1\n\n", ["path", "a"]),
    ],
)
def test_the_separator_is_that_of_the_first_line(name: str, text: str, columns: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_frame(tmp_path / name, "--data.table").columns.tolist() == columns


def test_flags_go_before_what_is_found(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("p,l\na,正常\n".encode("euc_jp"))
    with pytest.raises(SuiteError, match=r"could be cp949 \('윳억'\), .* or euc_jp \('正常'\): say which with"):
        read_frame(file, "--data.table")
    assert read_frame(file, "--data.table", form=table_form(None, "euc-jp"))["l"].tolist() == ["正常"]
    file.write_text("a,b;c,d\n1,2;3,4\n")
    assert read_frame(file, "--data.table").shape == (1, 3)
    assert read_frame(file, "--data.table", form=table_form("semicolon", None)).columns.tolist() == ["a,b", "c,d"]
    file.write_bytes("é,b\n1,2\n".encode("cp1252"))
    with pytest.raises(SuiteError, match=r"line 1 is not CP949: correct it, save the table as UTF-8, or name"):
        read_frame(file, "--data.table", form=table_form(",", "korean"))


def test_the_flag_reads_what_is_valid_as_utf_8_too(tmp_path: Path) -> None:
    """The one syllable whose bytes are a letter in UTF-8: no look at the bytes could tell."""
    (tmp_path / "t.csv").write_bytes("l\n체\n".encode("cp949"))
    assert read_frame(tmp_path / "t.csv", "--data.table")["l"].tolist() == ["ü"]
    assert read_frame(tmp_path / "t.csv", "--data.table", form=table_form(None, "cp949"))["l"].tolist() == ["체"]


def test_a_joined_table_may_be_of_another_form(tmp_path: Path) -> None:
    """As the split.csv that the suite writes beside a table in CP949."""
    form = table_form(";", "cp949").of_joined()
    assert form == TableForm(";", "cp949", joined=True)
    for text, encoding in (("case_id,split\n폐,train\n", "utf-8"), ("case_id;split\n폐;train\n", "cp949")):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        frame = read_frame(tmp_path / "t.csv", "--data.split_file", form=form)
        assert frame.to_dict("list") == {"case_id": ["폐"], "split": ["train"]}


@pytest.mark.parametrize("flags", [(";;", None), ("a", None), ('"', None), (None, "klingon"), (None, "base64")])
def test_flags_that_name_nothing_are_refused(flags: tuple[str | None, str | None]) -> None:
    with pytest.raises(SuiteError, match=r"--data\.(separator|encoding) "):
        table_form(*flags)


_CELL = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8).map(str.strip)


@given(
    rows=st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=5),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_whatever_is_written_comes_back(rows: list[tuple[str, str]], separator: str, encoding: str) -> None:
    filled = [(f"x{first}", f"y{second}") for first, second in rows]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([("path", "label"), *filled])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.csv"
        file.write_bytes(text.getvalue().encode(encoding))
        frame = read_frame(file, "--data.table", text_columns=("path", "label"))
    assert list(frame.itertuples(index=False, name=None)) == filled


# What spreadsheets leave.


def test_empty_columns_and_rows_are_left_out_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"path,label,,,\r\na.png,1,,,\r\n,,,,\r\nb.png,0,,,\r\n,,,,\r\n,,,,\r\n")
    frame = read_frame(file, "--data.table", text_columns=("path",))
    assert frame.to_dict("list") == {"path": ["a.png", "b.png"], "label": [1, 0]}
    assert frame.index.tolist() == [0, 2]
    file.write_bytes(b"path,label,\na.png,1,seen\n")  # a column with cells stays
    assert read_frame(file, "--data.table").iloc[0].tolist() == ["a.png", 1, "seen"]


def test_decimal_commas_are_numbers_only_where_they_can_be(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("path;size;code;text;point\na.png;3,5;1,2;1,2,3;1.5\nb.png;;3;4;2.5\n")
    frame = read_frame(file, "--data.table", text_columns=("path", "code"))
    assert frame["size"].tolist()[:1] == [3.5]
    assert frame["size"].isna().tolist() == [False, True]
    assert frame["code"].tolist() == ["1,2", "3"]
    assert frame["text"].tolist() == ["1,2,3", "4"]
    assert frame["point"].tolist() == [1.5, 2.5]
    file.write_text('path,size\na.png,"3,5"\n')
    assert read_frame(file, "--data.table")["size"].tolist() == ["3,5"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'path,label\na.png,"x\n', r'a quote \("\) is opened and never closed'),
        (b"path,label\na,\xc3\xa9\nb,\xc3\xa8\nc,\xe9t\xe9\n", r"line 4 is not UTF-8, as the other lines are: save it"),
        (b"path,label\na.png,\xff\xfe\xfd\x81\n", r"line 2 is neither UTF-8 nor in an encoding that its letters tell"),
        ("path,라벨\n".encode("utf-16")[:-1] + b"\xd8", "line 1 is not UTF-16"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_words_of_python(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(SuiteError, match=says) as caught:
        read_frame(file, "--data.table")
    assert not any(word in str(caught.value) for word in ("codec", "decode", "tokeniz", "C error", "utf-8-sig"))


# Workbooks.


def test_a_workbook_is_read_as_its_first_sheet(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("python_calamine")
    rows: list[list[str | float | None]] = [
        ["path", "patient_id", "판독", "size"],
        ["a.png", "007", "정상", 3.5],
        ["b.png", "8", None, 4],
    ]
    for name in ("t.xlsx", "t.csv"):  # which may be called otherwise
        write_xlsx(tmp_path / name, rows, [["other"]])
        frame = read_frame(tmp_path / name, "--data.table", text_columns=("path", "patient_id"))
        assert frame["patient_id"].tolist() == ["007", "8"]
        assert frame["size"].tolist() == [3.5, 4.0]
        assert frame["판독"].isna().tolist() == [False, True]
        assert f"{tmp_path / name}: its first sheet 'S1' is read, of 2" in said.text
    with pytest.raises(SuiteError, match=r"unpacks to .*--data\.max_bytes"):
        read_frame(tmp_path / "t.xlsx", "--data.table", limits=Limits(max_bytes=500))
    (tmp_path / "t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and no more")
    with pytest.raises(SuiteError, match="no workbook, or a damaged or encrypted one: save its sheet as 'CSV UTF-8'"):
        read_frame(tmp_path / "t.xls", "--data.table")


def test_a_workbook_without_the_extra_is_named_with_two_mends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    write_xlsx(tmp_path / "t.xlsx", [["path"], ["a.png"]])
    with pytest.raises(SuiteError, match=r"an Excel workbook: save its sheet as 'CSV UTF-8', or pip install 'scans"):
        read_frame(tmp_path / "t.xlsx", "--data.table")


@pytest.mark.parametrize(
    ("name", "table"), [("a.csv", True), ("a.CSV.GZ", True), ("a.xlsx", True), ("a.txt", False), ("a.png", False)]
)
def test_tables_are_told_from_other_inputs_by_their_names(name: str, table: bool) -> None:
    assert is_table(name) == table
