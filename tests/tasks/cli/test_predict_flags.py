"""What stops ``predict`` is mended by flags that ``predict`` has, and what it passes over is listed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tifffile import imwrite

from datamodules.inputs import InputFiles
from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import blob, write_series
from tests.datamodules.seg_on_disk import write_seg
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line

CKPT = ["--ckpt_path", "run/checkpoints/best.ckpt"]


def test_predict_has_the_flags_that_its_errors_advise(run: Run, table_root: Path, tmp_path: Path) -> None:
    _, known, _ = run("predict", "--help")
    data = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"]]
    status, _, err = run("fit", *data, *TINY, "--run_dir", "run")
    assert status == 0, err
    assert f"data: ImageTable, root {table_root}: train " in err
    files = write_series(tmp_path / "ct", blob((2, 24, 24)))
    write_seg(tmp_path / "ct" / "seg.dcm", files, np.ones((2, 24, 24), np.uint8), {1: "liver"})
    cpu = ["--data.num_workers", "0", "--trainer.accelerator", "cpu"]
    status, out, err = run("predict", *CKPT, "--input", "ct", "--output", "out", *cpu)
    assert status == 1
    assert "2 files unreadable" in out  # Hounsfield units have no scale in a model of 8-bit images
    assert "1 passed over as no scans" in err
    assert pd.read_csv("out/passed_over.csv")["path"].tolist() == ["ct/seg.dcm"]
    advised = set(re.findall(r"--[a-z_.]+", " ".join(pd.read_csv("out/errors.csv")["error"])))
    assert advised == {"--data.window"}
    assert all(flag in known for flag in advised)
    status, out, err = run("predict", *CKPT, "--input", "ct", "--output", "seen", "--data.window", "soft", *cpu)
    assert status == 0, err
    assert len(pd.read_csv("seen/predictions.csv")) == 2
    # And so where a checkpoint is evaluated.
    Path("ct/labels.csv").write_text("".join(["path,finding\n", *(f"{file.name},ill\n" for file in files)]))
    other = ["--data", "ImageTable", "--data.root", "ct", *KINDS["binary"], "--data.split", "all_test", *cpu]
    status, _, err = run("test", *CKPT, *other, "--data.window", "soft", "--run_dir", "evaluated")
    assert status == 0, err
    scores = [pd.read_csv(f"{name}/predictions.csv")["score_ill"].to_numpy() for name in ("seen", "evaluated")]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    # A checkpoint of another task: predict takes no backbone from it.
    status, _, err = run("predict", "--ckpt_path", "run/checkpoints/none.ckpt", "--input", "ct", "--output", "no")
    assert status == 2
    assert "--model" not in one_line(err)


def test_a_model_with_a_scale_takes_no_other() -> None:
    spec = Preprocess(size=(8, 8), channels=1, windows=((40.0, 400.0),))
    with pytest.raises(SuiteError, match=r"--data\.window: the model was trained with a scale of its own"):
        InputFiles(window="lung").prepared(spec)
    assert InputFiles().prepared(spec) == spec


def test_values_without_a_scale_get_the_one_that_is_given(tmp_path: Path) -> None:
    spec = Preprocess(size=(8, 8), channels=1)
    imwrite(tmp_path / "a.tif", np.full((8, 8), 500, np.int16))
    inputs = InputFiles(value_range="0,1000", num_workers=0)
    table = inputs.table([str(tmp_path)])
    batch = next(iter(inputs.loader(table, inputs.prepared(spec), 0, 1)))
    assert batch["unreadable"] == []
    assert batch["image"].unique().tolist() == [0.5]
