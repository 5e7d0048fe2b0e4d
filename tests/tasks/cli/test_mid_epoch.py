"""A run that a signal ends within an epoch goes on to what it would have been, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tasks.cli.cuts import assert_equal, fit, fit_stopped, signalled
from tests.tasks.cli.test_bags import volume_root  # noqa: F401 - a fixture
from tests.tasks.cli.test_resume import PATCHES, TINY, WAYS, Way

DATA = [
    "--data", "Phantoms", "--data.num_patients", "10", "--data.image_size", "32", "--data.batch_size", "2",
    "--data.augment", "light",
]  # fmt: skip
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "2"]


class Stop(NamedTuple):
    """A moment: behind so many calls of a hook since the process began."""

    hook: str
    calls: int


STEP, VALIDATION, BATCH = "on_train_batch_end", "on_validation_epoch_start", "on_validation_start"


def compare(task: str, folder: Path, stops: list[Stop], *flags: object) -> None:
    """Fit through, and with a stop at each of the moments; the last process goes to the end."""
    words = [*(DATA if "--data" not in flags else DATA[4:]), *TRAINER, *TINY[task], *flags]
    fit(task, folder / "whole", *words)
    for number, stop in enumerate(stops):
        goes_on = ["--ckpt_path", "last"] if number else []
        with signalled(*stop):
            fit_stopped(task, folder / "cut", *words, *goes_on)
    fit(task, folder / "cut", *words, "--ckpt_path", "last")
    assert_equal(folder / "whole", folder / "cut")


def test_stopped_in_an_accumulation_window_twice_in_one_epoch_and_in_validation(tmp_path: Path) -> None:
    """8 batches an epoch: the signals come in the 1st window, which ends first, in the 3rd, and in validation."""
    flags = ["--model.dropout", "0.3", "--model.ema", "0.9", "--model.mixup", "0.4", "--data.num_workers", "1"]
    flags += [
        "--trainer.accumulate_grad_batches",
        "2",
        "--model.schedule",
        "plateau",
        "--model.schedule_args.patience",
        "0",
    ]
    stops = [Stop(STEP, 1), Stop(STEP, 3), Stop(VALIDATION, 1), Stop(STEP, 1)]
    compare("classify", tmp_path, stops, *flags)


def test_stopped_before_and_in_validations_within_an_epoch(tmp_path: Path) -> None:
    flags = [*PATCHES, "--trainer.val_check_interval", "0.5", "--data.num_workers", "0"]
    compare("segment", tmp_path, [Stop(BATCH, 2), Stop(VALIDATION, 1), Stop(STEP, 2)], *flags)


def test_stopped_where_weights_are_averaged_by_epochs(tmp_path: Path) -> None:
    flags = ["--data.mosaic", "0.7", "--model.swa", "0.3", "--model.schedule", "constant", "--data.num_workers", "0"]
    compare("detect", tmp_path, [Stop(STEP, 5), Stop(VALIDATION, 1), Stop(STEP, 3)], *flags)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "way"), [pytest.param(task, way, id=f"{task}-{way.name}") for way in WAYS for task in way.tasks]
)
def test_every_way_of_training_goes_on_within_an_epoch(
    task: str,
    way: Way,
    tmp_path: Path,
    volume_root: Path,  # noqa: F811
) -> None:
    """Stopped in a first, a second and a last epoch and before a validation, with 0 and 2 loader processes."""
    flags = [*way.flags, "--model.drop_path", "0.2", "--trainer.max_epochs", "3"]
    if way.name == "bagged":
        flags += ["--data", "ImageTable", "--data.root", str(volume_root), "--data.bag_size", "3"]
        flags += ["--data.bag_limit", "5", "--data.folds", "3"]
    stops = [Stop(STEP, 3), Stop(STEP, 2), Stop(BATCH, 1), Stop(STEP, 1)]
    for workers in (0, 2):
        compare(task, tmp_path / str(workers), stops, *flags, "--data.num_workers", workers)
        shutil.rmtree(tmp_path / str(workers))
