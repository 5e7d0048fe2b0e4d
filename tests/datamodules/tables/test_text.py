"""Annotation files in the encodings that people save them in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from datamodules.detection.yolo import Yolo
from datamodules.segmentation.masks import read_palette
from datamodules.segmentation.volume_pairs import read_description
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from tests.datamodules.boxes_on_disk import pictures, write_yolo


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_a_text_is_read_in_its_encoding(encoding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "t.txt").write_bytes("이름: [낭종, 종양]\r\n끝\r\n".encode(encoding))
    assert read_text(tmp_path / "t.txt") == "이름: [낭종, 종양]\n끝\n"
    assert ("read as CP949, such as '이름: [낭종, 종양]'" in caplog.text) == (encoding == "cp949")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("正常".encode("euc_jp"), r"could be cp949 .* or euc_jp \('正常'\): save it as UTF-8$"),
        (
            b"x\xff\xfe\xfd\x81\n",
            r"line 1 is neither UTF-8 nor in an encoding that its letters tell: save it as UTF-8 \(",
        ),
        (b"\xff\xfea", r"is no UTF-16, as it begins: save it as UTF-8$"),
    ],
)
def test_a_text_that_cannot_be_told_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(SuiteError, match=says):
        read_text(tmp_path / "t.txt")
    with pytest.raises(SuiteError, match=r"none\.txt: cannot be read: No such file"):
        read_text(tmp_path / "none.txt")


def test_annotations_in_a_legacy_encoding(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "yolo", pictures())
    text = (root / "data.yaml").read_text().replace("cyst", "낭종").replace("tumour", "종양")
    (root / "data.yaml").write_bytes(text.encode("cp949"))
    assert Yolo(str(root), check_files=False).class_names == ["낭종", "종양"]
    (tmp_path / "p.json").write_bytes('{"배경": [0, 0, 0], "종양": "#ff0000"}'.encode("cp949"))
    assert read_palette(tmp_path / "p.json").names == ("배경", "종양")
    (tmp_path / "dataset.json").write_bytes('{"labels": {"0": "배경", "1": "해마"}}'.encode("utf-8-sig"))
    assert read_description(tmp_path / "dataset.json").classes == {"배경": 0, "해마": 1}
    (tmp_path / "dataset.json").write_text('{"labels": {"a": "b", "c": "d"}}')
    with pytest.raises(SuiteError, match=r"""expected labels as \{"1": "liver"\} or \{"liver": 1\}"""):
        read_description(tmp_path / "dataset.json")
