"""Numbers from the command line: a target of a large unit is learnt, kept, predicted, exported, and gone on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table

UNIT = 100.0  # sizes are 2000 in the mean, with a spread of some 750
BEST = "run/checkpoints/best.ckpt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "table"
    draw_table(folder, cases=48)
    table = pd.read_csv(folder / "labels.csv")
    table.assign(size=table["size"] * UNIT).to_csv(folder / "labels.csv", index=False)
    return folder


def test_a_number_of_any_unit(run: Run, root: Path) -> None:
    flags = ["--data", "ImageTable", "--data.root", root, *KINDS["regression"], *TINY]
    status, _, err = run("fit", *flags, "--trainer.max_epochs", 4, "--model.schedule", "constant", "--run_dir", "run")
    assert status == 0, err
    sizes = pd.read_csv(root / "labels.csv")["size"]
    predictions = pd.read_csv("run/predictions.csv")
    assert abs(predictions["prediction"].mean() - sizes.mean()) < 2 * sizes.std()
    mean, spread = torch.load(BEST, weights_only=True)["hyper_parameters"]["target_statistics"]
    table, split = pd.read_csv(root / "labels.csv"), pd.read_csv("run/split.csv")
    training = table["size"][split["split"] == "train"]
    assert (mean, spread) == pytest.approx((training.mean(), training.std(ddof=0)), rel=1e-5)
    # Losses are in spreads, errors in the unit.
    epochs = pd.read_csv("run/metrics.csv")
    assert epochs["val/loss"].dropna().max() < 100
    assert epochs["val/mae"].dropna().min() > 10

    status, _, err = run("predict", "--ckpt_path", BEST, "--input", root / "images", "--output", "torch")
    assert status == 0, err
    status, _, err = run("export", "--ckpt_path", BEST, "--output", "model.onnx")
    assert status == 0, err
    status, _, err = run("predict", "--ckpt_path", "model.onnx", "--input", root / "images", "--output", "onnx")
    assert status == 0, err
    one, other = (pd.read_csv(f"{name}/predictions.csv")["prediction"] for name in ("torch", "onnx"))
    np.testing.assert_allclose(one, other, rtol=1e-4)
    assert abs(one.mean() - sizes.mean()) < 2 * sizes.std()

    # A run of before this was kept goes on as it was.
    last = Path("run/checkpoints/last.ckpt")
    checkpoint = torch.load(last, weights_only=True)
    del checkpoint["hyper_parameters"]["target_statistics"]
    torch.save(checkpoint, last)
    status, _, err = run("fit", "--ckpt_path", "run", "--trainer.max_epochs", 5)
    assert status == 0, err
    assert torch.load(last, weights_only=True)["hyper_parameters"]["target_statistics"] is None
