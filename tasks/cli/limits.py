"""Values of ``--trainer`` that no verb can use, refused in words of ours before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from scansuite.errors import SuiteError, nearest, nearest_name
from tasks.training.sharding import FSDP2

Part = Literal["train", "val", "test", "predict"]

_VERBS: dict[Part, str] = {"train": "train on", "val": "validate on", "test": "test on", "predict": "predict"}
_MENDS: dict[Part, str] = {
    "train": "leave it out",
    "val": "leave it out; --trainer.check_val_every_n_epoch N validates less often",
    "test": "leave it out; fit --judge_test false leaves the test part alone",
    "predict": "leave it out",
}


def refuse_no_batches(trainer: Mapping[str, Any], *parts: Part) -> None:
    """Stop before any work where no batch of a part would be looked at, or the trainer could not be made.

    Args:
        trainer: the flags of the trainer.
        parts: those that the verb needs.

    Raises:
        SuiteError: names the flag.
    """
    _refuse_devices(trainer)
    for part in parts:
        name, share = f"limit_{part}_batches", trainer[f"limit_{part}_batches"]
        if share == 0:
            raise SuiteError(f"--trainer.{name} 0: nothing is left to {_VERBS[part]}: {_MENDS[part]}")
        if share is not None and (share < 0 or (isinstance(share, float) and share > 1)):
            raise SuiteError(f"--trainer.{name} {share}: give a number of batches, or a share of them from 0 to 1")


def refuse_no_epochs(epochs: int | None, *, pruned: bool) -> None:
    """Stop where no epoch would be trained; a pruned network may be evaluated as it is.

    Args:
        epochs: ``--trainer.max_epochs``.
        pruned: a network is pruned first.

    Raises:
        SuiteError: names the flag.
    """
    if epochs is not None and epochs < 1 and epochs != -1 and not (pruned and epochs == 0):
        raise SuiteError(f"--trainer.max_epochs {epochs}: must be at least 1")


def _refuse_devices(trainer: Mapping[str, Any]) -> None:
    """Refuse accelerators, strategies and devices that are not there, or not named so."""
    from lightning_fabric.accelerators import ACCELERATOR_REGISTRY
    from pytorch_lightning.strategies import StrategyRegistry

    accelerator, strategy, devices = trainer["accelerator"], trainer["strategy"], trainer["devices"]
    there = ["auto", "cpu", "gpu", *ACCELERATOR_REGISTRY.available_accelerators()]
    if isinstance(accelerator, str) and accelerator.lower() not in there:
        raise SuiteError(f"--trainer.accelerator {accelerator}: {nearest(accelerator, dict.fromkeys(there))}")
    if isinstance(accelerator, str) and accelerator.lower() in ("gpu", "cuda", "mps") and not _has_gpu():
        raise SuiteError(f"--trainer.accelerator {accelerator}: torch finds no GPU here: leave it out, or give cpu")
    if isinstance(strategy, str):
        named = [*StrategyRegistry.available_strategies(), "auto", FSDP2]
        if strategy not in named and nearest_name(strategy, named) is not None:
            raise SuiteError(f"--trainer.strategy {strategy}: {nearest(strategy, named)}")
    if isinstance(devices, str) and re.fullmatch(r"auto|-1|[1-9]\d*|\d+(,\d+)*,?", devices.replace(" ", "")) is None:
        raise SuiteError(f"--trainer.devices {devices}: how many (2), which (0,1), or auto")
    if isinstance(devices, int) and devices < 1 and devices != -1:
        raise SuiteError(f"--trainer.devices {devices}: must be at least 1, or auto")


def _has_gpu() -> bool:
    from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator

    return CUDAAccelerator.is_available() or MPSAccelerator.is_available()
