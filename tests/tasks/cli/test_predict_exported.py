"""``predict`` takes an exported model in the place of a checkpoint; what is none, or of another task, is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.datamodules.dicom_on_disk import write
from tests.datamodules.scans_on_disk import write_scans
from tests.tasks.exported.tiny_model import write_tiny
from tests.tasks.serving.models import SEGMENTER, write_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_scans(tmp_path / "scans", ["a.png", "b/c.png"])
    (tmp_path / "scans" / "broken.png").write_bytes(b"no image")
    return tmp_path / "scans"


def test_files_are_predicted_by_an_exported_model(run: Run, scans: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.onnx")
    status, out, err = run("predict", "--ckpt_path", "tiny.onnx", "--input", scans, "--output", "out")
    assert (status, out.strip()) == (1, "2 cases predicted, 1 files unreadable: out"), err
    assert "input: 3 cases of 3 files" in err
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(table.columns) == [
        *("case_id", "split", "path", "prediction", "score_healthy", "score_lesion <b>", "prediction_op")
    ]
    assert table["case_id"].tolist() == ["a", "b/c"]
    assert pd.read_csv(tmp_path / "out" / "errors.csv")["path"].tolist() == [str(scans / "broken.png")]


def test_the_flags_of_predict_hold(run: Run, scans: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.onnx")
    given = ["--include", "a.png", "--data.batch_size", "1"]
    assert run("predict", "--ckpt_path", "tiny.onnx", "--input", scans, "--output", "out", *given)[0] == 0
    assert pd.read_csv(tmp_path / "out" / "predictions.csv")["case_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ckpt_path", "missing.onnx"], "missing.onnx: there is no such file"),
        (["--ckpt_path", "text.onnx"], "text.onnx: is no ONNX file that onnxruntime can run"),
        (["--ckpt_path", "foreign.onnx"], "foreign.onnx: was not exported by scansuite"),
        (["--ckpt_path", "other.onnx"], "its task is segment: predict with scansuite segment predict"),
        (["--ckpt_path", "tiny.onnx", "--ckpt_paths", "a.ckpt"], "give one of the two flags"),
        (["--ckpt_paths", "tiny.onnx", "tiny.onnx"], "an ensemble takes checkpoints, and this is an exported model"),
        (["--ckpt_path", "a.ckpt", "--trust", "key.pem"], "--trust key.pem: is of model packages"),
    ],
)
def test_what_is_no_model_of_the_task_is_refused(
    words: list[str], said: str, run: Run, scans: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    write_tiny(tmp_path / "tiny.onnx")
    write_model(tmp_path / "other.onnx", SEGMENTER)
    (tmp_path / "text.onnx").write_text("no model")
    foreign = onnx.load(write_tiny(tmp_path / "foreign.onnx"))
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    status, _, err = run("predict", *words, "--input", scans, "--output", "out")
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_become_dicom_too(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_tiny(tmp_path / "tiny.onnx")
    write(tmp_path / "scans" / "a.dcm", np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    words = ["--ckpt_path", "tiny.onnx", "--input", "scans", "--output", "out", "--dicom", "sr"]
    status, _, err = run("predict", *words)
    assert status == 0, err
    assert len(list((tmp_path / "out" / "dicom").rglob("*.dcm"))) == 1


@pytest.mark.parametrize("verb", ["test", "validate"])
@pytest.mark.parametrize("flag", ["--ckpt_path", "--ckpt_paths"])
def test_evaluation_takes_checkpoints(verb: str, flag: str, run: Run) -> None:
    status, _, err = run(verb, flag, "model.onnx")
    assert status == 2
    assert err == (
        f"error: {flag} model.onnx: evaluation takes checkpoints, and this is an exported model: name the one that it "
        "was made of\n"
    )
