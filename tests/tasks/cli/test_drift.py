"""A profile of training in run folder and checkpoint; `test` and `predict` say in a line where cases differ from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tasks.evaluation.drift.profile import read_profile
from tests.tasks.cli.conftest import KINDS, TINY, Run

pytestmark = pytest.mark.usefixtures("drift")


def test_cases_unlike_those_of_training_are_named_and_others_are_not(
    run: Run, table_root: Path, tmp_path: Path
) -> None:
    status, _, err = run(
        "fit", "--data", "ImageTable", "--data.root", table_root, "--run_dir", "run", *KINDS["binary"], *TINY
    )
    assert status == 0, err
    assert "differ from those of training" not in err
    profile = read_profile(Path("run"))
    assert profile is not None
    assert "sex" in profile.by_name
    scans = pd.read_csv("run/cases.csv")
    seen = pd.read_csv("run/intensities.csv")
    assert list(seen.columns) == ["case_id", "split", "mean", "sd", "p5", "p95"]
    assert set(seen["case_id"]) <= set(scans["case_id"])
    one = seen.iloc[0]
    path = scans.set_index("case_id").loc[one["case_id"], "path"]
    assert one["mean"] == pytest.approx(np.asarray(Image.open(table_root / path)).mean() / 255, abs=0.01)

    best = "run/checkpoints/best.ckpt"
    kept = json.loads(torch.load(best, weights_only=True)["scansuite"]["training_profile"])
    assert "sex" not in kept["training"]
    assert "mean intensity" in kept["training"]
    ids = pd.read_csv("run/split.csv", dtype=str)
    assert not any(f'"{name}"' in json.dumps(kept) for name in [*ids["case_id"], *ids["patient_id"].dropna()])

    dark = tmp_path / "dark"
    dark.mkdir()
    for file in sorted((table_root / "images").iterdir()):
        Image.fromarray((np.asarray(Image.open(file)) * 0.5).astype(np.uint8)).save(dark / file.name)
    flags = ["--ckpt_path", best, "--data.num_workers", "0"]
    status, _, err = run("predict", *flags, "--input", dark, "--output", "of_dark")
    assert status == 0, err
    line = next(line for line in err.splitlines() if "differ from those of training" in line)
    assert "intensit" in line
    status, _, err = run("predict", *flags, "--input", table_root / "images", "--output", "of_same")
    assert status == 0, err
    assert "differ from those of training" not in err

    status, _, err = run("test", *flags, "--run_dir", "tested")
    assert status == 0, err
    assert "differ from those of training" not in err
    assert read_profile(Path("tested")) is not None
    assert set(pd.read_csv("tested/intensities.csv")["split"]) == {"test"}
