"""Every way of training goes on after a cut to what it would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tasks.training.fits import EPOCHS, fit, made

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

WAYS: dict[str, dict[str, Any]] = {
    "ema, mixup, plateau": {
        "ema": 0.9, "mixup": 0.4, "cutmix": 1.0, "schedule": "plateau",
        "schedule_args": {"factor": 0.5, "patience": 0, "threshold": 0.5},
    },
    "unfreezing by stage, onecycle": {
        "freeze": "backbone", "unfreeze": [1, 3], "schedule": "onecycle", "layer_decay": 0.7, "dropout": 0.3,
    },
    "swa, cyclic": {"swa": 0.25, "schedule": "cyclic", "schedule_args": {"step_size_up": 1}, "backbone_lr_factor": 0.5},
    "early stopping, step, rmsprop": {
        "early_stopping": 3, "schedule": "step", "schedule_args": {"step_size": 1}, "optimizer": "rmsprop",
    },
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_run_ends_where_the_whole_one_does(way: str, tmp_path: Path) -> None:
    trainer: dict[str, Any] = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    whole = fit(made(**WAYS[way]), tmp_path / "whole", **trainer)
    fit(made(**WAYS[way]), tmp_path / "cut", epochs=2, **trainer)
    torch.manual_seed(99)  # another process starts anywhere
    again = fit(made(**WAYS[way]), tmp_path / "cut", resume_after=2, **trainer)
    assert whole["epoch"] == again["epoch"] == EPOCHS - 1
    for part in ("state_dict", "current_model_state"):
        assert whole.get(part, {}).keys() == again.get(part, {}).keys()
        for name, tensor in whole.get(part, {}).items():
            assert torch.equal(tensor, again[part][name]), (part, name)
    rates = [[group["lr"] for group in saved["optimizer_states"][0]["param_groups"]] for saved in (whole, again)]
    assert rates[0] == rates[1]
    if "plateau" in way:
        assert rates[0][0] < 0.01  # the plateau came, and in both
