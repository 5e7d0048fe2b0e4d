"""``--model.mc_dropout`` through the command line."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.tasks.cli.conftest import Run, one_line

FLAGS = [
    "--data", "Phantoms", "--data.num_patients", "30", "--data.image_size", "32", "--data.num_workers", "0",
    "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--model.backbone", "test_resnet",
]  # fmt: skip


@pytest.mark.slow
def test_tables_of_a_run_have_the_spread_and_test_repeats_them(run: Run) -> None:
    status, _, err = run("fit", *FLAGS, "--model.dropout", "0.5", "--model.mc_dropout", "4", "--run_dir", "run")
    assert status == 0, err
    table = pd.read_csv("run/predictions.csv")
    assert (table["uncertainty"] > 0).all()
    status, _, err = run("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again")
    assert status == 0, err
    mine = table[table["split"] == "test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv("again/predictions.csv"), mine)


def test_a_network_without_dropout_is_refused_in_one_line(run: Run) -> None:
    status, _, err = run("fit", *FLAGS, "--model.mc_dropout", "4", "--run_dir", "run")
    assert status == 2
    assert "--model.mc_dropout 4: the network has no dropout" in one_line(err)
