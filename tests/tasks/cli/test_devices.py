"""Flags of several devices and of less memory: what is said, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.tasks.cli.conftest import Run, one_line

QUICK = [
    "--data.num_patients", "12", "--data.image_size", "32", "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    "--trainer.max_epochs", "1", "--trainer.precision", "32-true", "--model.backbone", "small_cnn",
]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--data.total_batch_size", "8", "--data.batch_size", "4"], "--data.batch_size 4: no use to Phantoms"),
        (["--data.total_batch_size", "0"], "--data.total_batch_size 0: must be at least 1"),
        (["--scale_lr", "cubic"], "--scale_lr cubic: expected one of none, linear, sqrt"),
        (
            ["--trainer.sync_batchnorm", "true", "--trainer.devices", "2"],
            "--trainer.sync_batchnorm true: batch norms are synchronised on CUDA",
        ),
        (
            ["--trainer.strategy", "fsdp2", "--model.backbone", "test_vit"],
            "--trainer.strategy fsdp2: shares a model out",
        ),
        (
            ["--trainer.strategy", "fsdp2", "--model.backbone", "test_resnet"],
            "--trainer.strategy fsdp2: test_resnet has no blocks",
        ),
        (
            ["--trainer.strategy", "fsdp2", "--model.backbone", "test_vit", "--model.ema", "0.9"],
            "--model.ema: not with --trainer.strategy fsdp2",
        ),
        (["--model.grad_checkpointing", "true"], "--model.grad_checkpointing true: small_cnn has none"),
        (["--trainer.strategy", "fsdp"], "--trainer: The strategy `fsdp` requires a GPU accelerator"),
        (["--memory", "much"], "--memory much: a size such as 20GiB or 800MiB"),
        (["--memory", "1GiB", "--find_batch_size", "true"], "both look for the batch"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(flags: list[str], line: str, run: Run) -> None:
    status, _, err = run("fit", *QUICK, *flags)
    assert status == 2
    assert line in one_line(err)
    assert not list(Path("runs").rglob("config.yaml"))


def test_one_device_has_no_norms_to_synchronise(run: Run) -> None:
    flags = ["--trainer.sync_batchnorm", "true", "--trainer.fast_dev_run", "true"]
    assert run("fit", *QUICK, *flags)[0] == 0


def test_accumulation_and_a_scaled_learning_rate_are_said(run: Run) -> None:
    words = ["--data.total_batch_size", "4", "--trainer.accumulate_grad_batches", "2", "--model.lr", "0.001"]
    status, _, err = run("fit", *QUICK, *words, "--scale_lr", "linear", "--run_dir", "run", "--judge_test", "false")
    assert status == 0, err
    said = "4 cases a device x 1 device x 2 batches accumulated = 8 cases a step; learning rate 0.002, scaled"
    assert said in err
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["model"]["lr"] == 0.002
    assert "scale_lr" not in config  # whoever starts the same run again does not scale twice
    assert config["data"]["init_args"]["total_batch_size"] == 4
    for checkpoint in Path("run/checkpoints").iterdir():  # killed before the first one was written
        checkpoint.unlink()
    again = ["--run_dir", "run", "--ckpt_path", "last", "--scale_lr", "linear"]
    status, _, err = run("fit", *again)
    assert status == 0, err
    assert yaml.safe_load(Path("run/config.yaml").read_text())["model"]["lr"] == 0.002
