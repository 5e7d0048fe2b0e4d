"""Codes of classes: each one is in the dictionaries of the standard, and no name gets another's."""

from __future__ import annotations

import csv
import logging
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.deployment.dicom.codes import COLUMNS, Code, CodeTable, labels_of, private_code

HEAD = ",".join(COLUMNS)


def test_every_code_is_in_the_dictionaries_that_pydicom_ships() -> None:
    from pydicom.sr import _concepts_dict

    concepts: dict[str, Any] = _concepts_dict.concepts

    text = (resources.files("tasks.deployment.dicom") / "codes.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) > 100
    for row in rows:
        for column in ("category", "type", "modifier"):
            if row[column]:
                scheme, _, value = row[column].partition(":")
                meanings = {
                    meaning
                    for some in concepts[scheme].values()
                    for code, (meaning, _) in some.items()
                    if code == value
                }
                assert row[f"{column}_meaning"] in meanings, row


def test_names_are_found_however_they_are_written() -> None:
    table = CodeTable()
    liver = Code("SCT", "10200004", "Liver")
    assert table["Liver"].kind == table["LIVER "].kind == liver
    assert table["lung_nodule"] == table["Lung-Nodule"]
    assert table["left kidney"].kind == table["kidney_left"].kind == table["kidney"].kind
    assert table["left kidney"].modifier == Code("SCT", "7771000", "Left")
    assert table["kidney"].modifier is None
    assert table["left ventricle"].modifier is None  # a structure of its own
    assert table["hippocampus_anterior"].modifier == Code("SCT", "255549009", "Anterior")


def test_a_name_of_no_table_gets_a_private_code_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    table = CodeTable()
    with caplog.at_level(logging.WARNING):
        first, again = table["Gürtel"], table["Gürtel"]
    assert first == again
    assert first.private
    assert first.kind.scheme == "99SCANSUITE"
    assert first.kind.meaning == "Gürtel"
    assert len(caplog.messages) == 1
    assert "--dicom_codes" in caplog.messages[0]
    assert table["left Gürtel"].kind != first.kind


def test_the_users_table_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    file.write_text(
        f"{HEAD}\nliver,SCT:91723000,Anatomical Structure,99HOSPITAL:L1,Our liver,,\n"
        "anterior,SCT:91723000,Anatomical Structure,SCT:5366008,Hippocampus,SCT:255549009,Anterior\n",
        encoding="utf-8",
    )
    table = CodeTable(file)
    assert table["Liver"].kind == Code("99HOSPITAL", "L1", "Our liver")
    assert table["Anterior"].modifier == Code("SCT", "255549009", "Anterior")
    assert table["spleen"].kind.meaning == "Spleen"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,type\nliver,SCT:1\n", "has no column 'category'"),
        (f"{HEAD}\n,SCT:1,x,SCT:2,y,,\n", "row 1 has no name"),
        (f"{HEAD}\nliver,SCT:1,x,,,,\n", "row 1 (liver) has no type"),
        (f"{HEAD}\nliver,SCT:1,x,10200004,Liver,,\n", "type '10200004' is no code: write SCHEME:VALUE"),
        (f"{HEAD}\nliver,SCT:1,x,SCT:10200004,,,\n", "type_meaning is empty"),
        (f"{HEAD}\nliver,SCT:1,x,SCT:12345678901234567,Liver,,\n", "longer than 16 characters"),
        (f"{HEAD}\nliver,SCT:1,x,SCT:1,{'x' * 65},,\n", "longer than 64 characters"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_row(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "codes.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError) as caught:
        CodeTable(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.csv: cannot be read"):
        CodeTable(tmp_path / "none.csv")
    file = tmp_path / "latin.csv"
    file.write_bytes(f"{HEAD}\nGürtel".encode("latin-1"))
    with pytest.raises(SuiteError, match="no text in UTF-8"):
        CodeTable(file)


@given(st.lists(st.text(max_size=90), max_size=12))
def test_labels_fit_and_differ(names: list[str]) -> None:
    labels = labels_of(names)
    assert len(labels) == len(names) == len(set(labels))
    for label in labels:
        assert 0 < len(label) <= 64
        assert "\\" not in label
        assert label.isprintable()


@given(st.text(max_size=90))
def test_private_codes_fit(name: str) -> None:
    code = private_code(name)
    assert len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
