"""What only a GPU can show: a memory that is kept to, norms that are synchronised, weights that are shared out."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.tasks.cli.conftest import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
FLAGS = [
    "--data.num_patients", "60", "--data.image_size", "128", "--data.num_workers", "0", "--data.augment", "none",
    "--trainer.accelerator", "gpu", "--trainer.devices", "1", "--trainer.max_epochs", "1", "--run_dir", "run",
]  # fmt: skip


def test_memory_chooses_batch_and_accumulation(run: Run) -> None:
    free, total = torch.cuda.mem_get_info()
    limit = (total - free) / 2**20 + 1500
    words = ["--model.backbone", "resnet50", "--data.batch_size", "64", "--memory", f"{limit:.0f}MiB"]
    words += ["--data.image_size", "224"]  # 64 of them need some 3 GiB
    status, out, err = run("fit", *FLAGS, *words)
    assert status == 0, err
    print(out.splitlines()[0], torch.cuda.get_device_name())
    found = re.search(r"--data.batch_size (\d+) --trainer.accumulate_grad_batches (\d+)", out)
    assert found is not None
    batch, accumulated = map(int, found.groups())
    assert batch * accumulated == 64
    assert 1 < batch < 64
    config = Path("run/config.yaml").read_text()
    assert f"batch_size: {batch}" in config
    assert f"accumulate_grad_batches: {accumulated}" in config
    status, _, err = run("fit", *FLAGS, "--model.backbone", "resnet50", "--memory", "1MiB", "--run_dir", "small")
    assert status == 2
    assert "--memory 1MiB: a batch of 2 needs" in err


def test_checkpointing_takes_less_memory(run: Run) -> None:
    peaks = []
    for number, more in enumerate(([], ["--model.grad_checkpointing", "true"])):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        # Not a ResNet, whose levels timm computes again from 1.0.31 on alone.
        words = ["--model.backbone", "convnext_nano", "--data.batch_size", "32", "--judge_test", "false", *more]
        status, _, err = run("fit", *FLAGS, *words, "--run_dir", f"run{number}")
        assert status == 0, err
        peaks.append(torch.cuda.max_memory_allocated())
    print("peak memory, MiB:", [peak // 2**20 for peak in peaks], torch.cuda.get_device_name())
    assert peaks[1] < 0.8 * peaks[0]


@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_b0"])
def test_synchronised_norms_on_one_process_train_as_plain_ones(backbone: str, run: Run) -> None:
    """In one step: in later ones rounding grows, and the scores of a few cases change places."""
    losses = []
    for number, more in enumerate(([], ["--trainer.sync_batchnorm", "true"])):
        words = ["--model.backbone", backbone, "--trainer.strategy", "ddp", "--trainer.precision", "32-true", *more]
        words += ["--model.optimizer", "sgd", "--trainer.limit_train_batches", "1", "--judge_test", "false"]
        status, _, err = run("fit", *FLAGS, *words, "--run_dir", f"run{number}")
        assert status == 0, err
        losses.append(pd.read_csv(f"run{number}/metrics.csv")[["train/loss", "val/loss"]])
    assert losses[0].notna().all(axis=None)
    pd.testing.assert_frame_equal(losses[0], losses[1], rtol=0.01)
