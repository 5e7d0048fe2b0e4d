"""A killed run goes on to what it would have been: each task with loader processes, and a wide matrix (slow)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tasks.cli.cuts import assert_alike, fit, fit_cut_and_resumed
from tests.tasks.cli.test_bags import volume_root  # noqa: F401 - a fixture

# On 20 scans or so, drawn anew for each run.
PHANTOMS = ["--data", "Phantoms", "--data.num_patients", "10", "--data.image_size", "32", "--data.batch_size", "4"]
ALL = [
    "--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "3",
    "--data.augment", "light",
]  # fmt: skip
TINY = {
    "classify": ["--model.backbone", "test_resnet"],
    "segment": ["--model.backbone", "test_resnet", "--model.decoder_args", '{"decoder_channels": [16, 16, 8, 8, 8]}'],
    "detect": ["--model.backbone", "test_resnet", "--model.channels", "16"],
}
PATCHES = ["--data.patch_size", "16"]


@pytest.mark.parametrize("task", [pytest.param("segment", marks=pytest.mark.slow), "detect"])
def test_a_killed_run_goes_on_with_loader_processes(task: str, tmp_path: Path) -> None:
    """The first epoch after a resume was drawn as epoch 0; classification: test_processes.py, with a real kill."""
    flags = [*PHANTOMS, *ALL, *TINY[task], *PATCHES]
    fit(task, tmp_path / "whole", *flags, "--data.num_workers", 0)
    fit_cut_and_resumed(task, tmp_path / "cut", *flags, "--data.num_workers", 1)
    assert_alike(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_a_killed_run_that_is_counted_in_steps_goes_on(tmp_path: Path) -> None:
    """The epoch behind it was counted twice, and its row of metrics.csv became empty."""
    flags = [*PHANTOMS, *ALL, *TINY["classify"], "--trainer.max_epochs", "-1", "--trainer.max_steps", "13"]
    fit("classify", tmp_path / "whole", *flags, "--data.num_workers", 0)
    fit_cut_and_resumed("classify", tmp_path / "cut", *flags, "--data.num_workers", 0)
    assert_alike(tmp_path / "whole", tmp_path / "cut")


class Way(NamedTuple):
    """A way of training."""

    name: str
    flags: list[str]
    tasks: tuple[str, ...] = ("classify", "segment", "detect")


WAYS = [
    Way("plain", []),
    Way("accumulated", ["--trainer.accumulate_grad_batches", "2"]),
    Way("ema", ["--model.ema", "0.9"]),
    Way("swa", ["--model.swa", "0.3", "--model.schedule", "constant"]),
    Way("mixed", ["--model.mixup", "0.4", "--model.cutmix", "1"], ("classify",)),
    Way("bagged", ["--model.aggregate", "attention"], ("classify",)),
    Way("patches", PATCHES, ("segment", "detect")),
    Way("mosaic", ["--data.mosaic", "0.7"], ("detect",)),
    Way("balanced", ["--data.sampler", "balanced"], ("classify",)),
    Way("plateau", ["--model.schedule", "plateau", "--model.schedule_args.patience", "0"], ("classify",)),
    Way("seldom validated", ["--trainer.check_val_every_n_epoch", "2", "--model.early_stopping", "5"], ("segment",)),
    Way("reloaded", ["--trainer.reload_dataloaders_every_n_epochs", "1"], ("segment",)),
]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "default"])
@pytest.mark.parametrize(
    ("task", "way"), [pytest.param(task, way, id=f"{task}-{way.name}") for way in WAYS for task in way.tasks]
)
def test_every_way_of_training_goes_on(
    task: str,
    way: Way,
    network: str,
    tmp_path: Path,
    volume_root: Path,  # noqa: F811
) -> None:
    """Killed after two of three epochs, with 0, 1 and 3 loader processes."""
    data = PHANTOMS
    if way.name == "bagged":
        data = ["--data", "ImageTable", "--data.root", str(volume_root), "--data.batch_size", "8"]
        data += ["--data.bag_size", "3", "--data.bag_limit", "5", "--data.folds", "3"]
    flags = [*data, *ALL, *(TINY[task] if network == "tiny" else []), *way.flags]
    fit(task, tmp_path / "whole", *flags, "--data.num_workers", 0)
    for workers in (0, 1, 3):
        fit_cut_and_resumed(task, tmp_path / f"cut_{workers}", *flags, "--data.num_workers", workers)
        assert_alike(tmp_path / "whole", tmp_path / f"cut_{workers}")
        shutil.rmtree(tmp_path / f"cut_{workers}")  # checkpoints of the default network fill a disk
    shutil.rmtree(tmp_path / "whole")
