"""The verb ``export``, whole, with an untrained classifier: what is printed and written, and what is refused."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.classify.task import ClassificationTask
from tasks.export import tally, verify
from tasks.export.torch_archive import DESCRIPTION
from tasks.exported.description import Description
from tasks.exported.model_file import open_model
from tests.tasks.cli.conftest import Run, one_line
from tests.tasks.cli.test_explain import saved


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    facts: dict[str, Any] = {"preprocess": {"size": [40, 56], "channels": 1}, "in_channels": 1, "input_size": (40, 56)}
    task = ClassificationTask("test_resnet", class_names=["healthy", "ill"], **facts)
    return saved(task, tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scans of unequal sides; times are taken once."""
    monkeypatch.setattr(verify, "latencies", partial(verify.latencies, seconds=0.0))
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for name in ("one.png", "two.png", "three.png"):
        Image.fromarray(rng.integers(0, 255, (40, 60), dtype=np.uint8)).save(tmp_path / "scans" / name)
    return tmp_path / "scans"


def test_onnx(run: Run, model: Path, scans: Path) -> None:
    words = ("export", "--ckpt_path", model, "--input", scans)
    status, out, err = run(*words, "--output", "new/m.onnx", "--name", "mine")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["compared", "difference", "at", "most"]
    assert lines[1].split()[0] == "logits"
    assert float(lines[1].split()[1]) <= 1e-4
    assert "ms PyTorch" in out
    assert lines[-1] == "written to new/m.onnx"
    ready = open_model(Path("new/m.onnx"))
    said = ready.description
    assert (said.name, said.class_names, said.precision, said.opset) == ("mine", ("healthy", "ill"), "fp32", 20)
    assert [(check.name, check.scans) for check in said.checks] == [("logits", 6)]  # three, and as often resized
    status, _, err = run(*words, "--output", "new/m.onnx")
    assert status == 2
    assert "new/m.onnx is there already" in one_line(err)


def test_an_archive(run: Run, model: Path, scans: Path) -> None:
    status, out, err = run("export", "--ckpt_path", model, "--input", scans, "--output", "m.pt2")
    assert status == 0, err
    assert out.splitlines()[-1] == "written to m.pt2"
    extra = {DESCRIPTION: ""}
    torch.export.load(io.BytesIO(Path("m.pt2").read_bytes()), extra_files=extra)
    assert Description.from_json(extra[DESCRIPTION], "m").checks[0].name == "logits"


def test_what_differs_is_refused(
    run: Run, model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "TOLERANCES", {"fp32": {"logits": -1.0}})
    status, out, err = run("export", "--ckpt_path", model, "--input", scans, "--output", "m.pt2")
    assert (status, out) == (2, "")
    assert "the export differs from PyTorch on 3 scans of --input: logits by" in one_line(err)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scans"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--output", "m.onnx", "--format", "keras"), "--format"),
        (("--output", "m.tflite"), "--output m.tflite: give a name that ends in one of .onnx (onnx)"),
        (("--output", "m.onnx", "--ckpt_path", "nowhere"), "nowhere"),
        (("--output", "m.onnx", "--input", "nowhere"), "nowhere"),
        (("--output", "scans/one.png/m.onnx"), "cannot be made"),
        ((), "--output: name the file to write"),
    ],
)
def test_mistakes(run: Run, model: Path, scans: Path, tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    rest = [word for pair in (("--ckpt_path", model), ("--input", scans)) if pair[0] not in words for word in pair]
    status, out, err = run("export", *rest, *words)
    assert (status, out) == (2, "")
    assert line in one_line(err)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scans"]
