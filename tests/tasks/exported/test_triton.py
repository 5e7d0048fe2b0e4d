"""A model repository for Triton: its layout, its configuration, and what cannot be one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from scansuite.errors import SuiteError
from tasks.exported.description import Boxes, Description, Member
from tasks.exported.triton import write_triton
from tests.tasks.exported.tiny_model import DESCRIPTION, write_tiny


def written(tmp_path: Path, description: Description) -> str:
    write_triton(tmp_path / "repository", write_tiny(tmp_path / "m.onnx", description), description)
    (own,) = (tmp_path / "repository").iterdir()
    assert sorted(path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()) == [
        "1/model.onnx",
        "config.pbtxt",
        "description.json",
    ]
    assert Description.from_json((own / "description.json").read_text(), "x") == description
    assert (own / "1/model.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    return (own / "config.pbtxt").read_text()


def test_images_of_a_batch(tmp_path: Path) -> None:
    text = written(tmp_path, DESCRIPTION)
    assert 'name: "tiny"\nbackend: "onnxruntime"\nmax_batch_size: 16\n' in text
    assert re.search(r'input \[\n +\{ name: "image", data_type: TYPE_FP32, dims: \[ 1, -1, -1 \] \}\n\]', text)
    assert re.search(r'output \[\n +\{ name: "logits", data_type: TYPE_FP32, dims: \[ 2 \] \}\n\]', text)
    assert "dynamic_batching { max_queue_delay_microseconds: 4000 }" in text


def test_images_of_a_case_are_no_batch(tmp_path: Path) -> None:
    text = written(tmp_path, replace(DESCRIPTION, aggregate="attention", name='a/"b"'))
    assert 'name: "a__b"' in text
    assert "max_batch_size: 0" in text
    assert "dims: [ -1, 1, -1, -1 ]" in text
    assert "dynamic_batching" not in text


def test_what_cannot_be_one_leaves_nothing(tmp_path: Path) -> None:
    file = write_tiny(tmp_path / "m.onnx")
    two = replace(DESCRIPTION, members=(Member(boxes=Boxes("faster_rcnn", (8,), (((8.0, 8.0),),))),))
    with pytest.raises(SuiteError, match="second stage"):
        write_triton(tmp_path / "repository", file, two)
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(SuiteError, match="is no ONNX file"):
        write_triton(tmp_path / "repository", tmp_path / "x.onnx", DESCRIPTION)
    assert not (tmp_path / "repository").exists()
    write_triton(tmp_path / "repository", file, DESCRIPTION)
    with pytest.raises(SuiteError, match="is there already"):
        write_triton(tmp_path / "repository", file, DESCRIPTION)
