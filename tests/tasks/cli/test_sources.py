"""A network that a folder describes, by the command line: whole in its checkpoint, with its licence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from backbones.sources import described
from tests.backbones.test_sources import ARCHITECTURE, TINY, write
from tests.tasks.cli.conftest import KINDS, Run, one_line

CPU = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "1"]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_folder_is_a_backbone_like_any_other(run: Run, table_root: Path, tmp_path: Path, frozen: bool) -> None:
    described.cache_clear()
    name = write(tmp_path / "vit")
    words = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], "--data.image_size", "64", *CPU]
    words += ["--data.num_workers", "0", "--model.backbone", name, "--model.weights", "auto", "--data.cache_dir", "c"]
    words += ["--model.freeze", "backbone", "--data.cache", "features"] if frozen else []
    status, _, err = run("fit", *words, "--run_dir", "run")
    assert status == 0, err
    said = " ".join(err.split())
    assert f"--model.weights auto: {name}: {ARCHITECTURE} as the folder has it" in said
    assert f"weights {name} (licence mit)" in said
    kept = torch.load("run/checkpoints/best.ckpt", weights_only=True)
    assert kept["scansuite"]["weights_licence"] == "mit"
    assert kept["hyper_parameters"]["backbone"] == ARCHITECTURE
    assert kept["hyper_parameters"]["backbone_args"] == TINY
    assert kept["state_dict"]["normalize.mean"].flatten().tolist() == pytest.approx([0.2])  # of its channels
    assert json.loads(Path("run/run.json").read_text())["model"]["weights_licence"] == "mit"

    shutil.rmtree(tmp_path / "vit")  # the checkpoint alone says all
    described.cache_clear()
    status, _, err = run("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again")
    assert status == 0, err
    one, two = (pd.read_csv(f"{place}/predictions.csv").set_index("case_id") for place in ("run", "again"))
    assert two["score_ill"].to_numpy() == pytest.approx(one.loc[two.index, "score_ill"].to_numpy(), abs=1e-4)


def test_imagenet_is_not_what_a_folder_holds(run: Run, tmp_path: Path) -> None:
    described.cache_clear()
    name = write(tmp_path / "vit")
    status, _, err = run("fit", "--model.backbone", name, "--model.weights", "imagenet", "--run_dir", "run")
    assert status == 2
    assert f"--model.weights imagenet: {name} has weights of its own: give --model.weights auto" in one_line(err)
    status, _, err = run("fit", "--model.backbone", "local-dir:nowhere", "--run_dir", "run")
    assert status == 2
    assert "--model.backbone local-dir:nowhere: no such folder" in one_line(err)


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--plan", "auto", "--run_dir", "run"],
        ["fit", "--plan", "none", "--model.weights", "auto", "--run_dir", "run"],
        ["plan"],
    ],
)
def test_weights_that_there_are_not_are_one_line_before_the_data_are_read(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datamodules.prepared.PreparedData.table", property(lambda _: pytest.fail("read")))
    status, _, err = run(*words, "--model.backbone", "resnet18.a1_in1")
    assert status == 2
    said = "unknown weights tag in backbone 'resnet18.a1_in1' (--model.backbone): did you mean 'resnet18.a1_in1k'?"
    assert said in one_line(err)
