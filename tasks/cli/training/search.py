"""``fit --find_lr true`` and ``fit --find_batch_size true``: Lightning's searches, and their outcome used."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.tuner import lr_finder
from pytorch_lightning.tuner.tuning import Tuner

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.progress import Tell, progress
from tasks.base import Task
from tasks.cli.parser import TaskParser
from tasks.hardware import place
from tasks.training.optimizers import scaled_rates

log = logging.getLogger(__name__)

# A CPU has no memory that is full with a clean error: the search ends at this size there.
LARGEST_ON_CPU = 256
LARGEST = 8192
ENDLESS = 10_000  # epochs


def search(cli: TaskParser, data: ScanDataModule, model: Task) -> None:
    """Look for batch size and learning rate where the flags ask for it, and set them in data, model and configuration.

    - The learning rate is that of the steepest fall of the loss while the rate rises over 100 steps, or over two epochs
      where these are fewer (Smith, WACV 2017).
    - The batch size is doubled from 2 until the memory is full or the batch holds the whole training part.

    The model's weights are as they were afterwards.

    Raises:
        SuiteError: a flag is neither true nor false, there is more than one device, or the loss shows no such place.
    """
    wanted = {name: bool(cli.config[name]) for name in ("find_batch_size", "find_lr")}
    if not any(wanted.values()) or cli.config["trainer"]["fast_dev_run"]:
        return
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        # As many epochs as the steps of the search need, and no validation between them.
        settings |= {"max_epochs": ENDLESS, "check_val_every_n_epoch": ENDLESS}
        trainer = cli.build_trainer(
            [], default_root_dir=folder, enable_model_summary=False, num_sanity_val_steps=0, **settings
        )
        if trainer.world_size > 1:
            flag = next(name for name, asked in wanted.items() if asked)
            raise SuiteError(f"--{flag}: search on one device (--trainer.devices 1), and give what is found as a flag")
        device = trainer.strategy.root_device
        place(model, cli.config["memory_format"], device.type)  # searched as it will train
        tuner = Tuner(trainer)
        if wanted["find_batch_size"]:
            _find_batch_size(tuner, cli, data, model, LARGEST_ON_CPU if device.type == "cpu" else LARGEST)
        if wanted["find_lr"]:
            _find_lr(tuner, cli, data, model)
    data.trainer = None


def _find_batch_size(tuner: Tuner, cli: TaskParser, data: ScanDataModule, model: Task, largest: int) -> None:
    before = data.batch_size
    trials = max(1, (min(largest, len(data.rows("train"))) // 2).bit_length())  # 2, 4, ... up to the largest
    log.info("looking for the largest batch: 2, 4, ... up to %d cases", 2**trials)
    data.batch_size = tuner.scale_batch_size(model, datamodule=data, init_val=2, max_trials=trials) or before
    print(f"batch size {data.batch_size} found (instead of {before}): --data.batch_size {data.batch_size}")
    cli.config["data"]["init_args"]["batch_size"] = data.batch_size
    cli.config["data"]["init_args"]["total_batch_size"] = None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _find_lr(tuner: Tuner, cli: TaskParser, data: ScanDataModule, model: Task) -> None:
    before = model.optimization.lr
    steps = min(100, max(20, 2 * (len(data.rows("train")) // data.batch_size)))
    # What is found is --model.lr, of which parts of the backbone may have a share.
    with scaled_rates(), _shown("looking for a learning rate", steps):
        found = tuner.lr_find(model, datamodule=data, min_lr=1e-6, max_lr=1.0, num_training=steps, update_attr=False)
    suggestion = None if found is None else found.suggestion()
    if suggestion is None:
        raise SuiteError("--find_lr: the loss falls nowhere while the learning rate rises: give --model.lr")
    lr = float(f"{suggestion:.3g}")
    print(f"learning rate {lr:g} found (instead of {before:g}): --model.lr {lr:g}")
    model.set_lr(lr)
    cli.config["model"]["lr"] = lr


class _Steps:
    """Takes the steps that Lightning would show with a bar of its own, in log files too."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._done = tell, 0

    def update(self) -> None:
        """Count one."""
        self._done += 1
        self._tell(self._done)

    def close(self) -> None:
        """Nothing is left to close."""


@contextmanager
def _shown(doing: str, steps: int) -> Iterator[None]:
    """Show Lightning's search as everything else is shown."""
    module: Any = lr_finder
    before = module.tqdm
    with progress(doing, "steps", steps) as tell:
        module.tqdm = lambda **_: _Steps(tell)
        try:
            yield
        finally:
            module.tqdm = before
