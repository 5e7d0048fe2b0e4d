"""Training on several devices: the trainer for them, and what is said of its batch and learning rate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pytorch_lightning import Trainer

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cluster.settings import JobSettings
from tasks.hardware import CUDA, on_cuda
from tasks.training.parallel import SyncNorms, refuse_sync_on_cpu, several_devices
from tasks.training.sharding import FSDP2, Sharding, refuse_without_blocks

log = logging.getLogger(__name__)

LrScaling = Literal["none", "linear", "sqrt"]


def trains_on_cuda(accelerator: object, job: JobSettings | None) -> bool:
    """Whether a training runs on a CUDA GPU: of this machine, or of the job that it is queued as."""
    return on_cuda(accelerator) if job is None else job.gpus > 0 and accelerator in CUDA


def several(config: Mapping[str, Any], *, static: bool) -> Trainer:
    """A trainer from Lightning's arguments, with the suite's settings where it chooses among several devices itself.

    Args:
        config: of the trainer; a strategy of the user's is left alone.
        static: the graph of the loss is the same in every step.

    Raises:
        SuiteError: batch norms cannot be synchronised on these devices.
    """
    wanted = dict(config)
    if wanted["strategy"] == FSDP2:
        wanted["strategy"] = Sharding()
    if wanted["sync_batchnorm"]:
        wanted |= {"sync_batchnorm": False, "plugins": [*(wanted["plugins"] or []), SyncNorms()]}
    trainer = _made(wanted)
    if config["strategy"] == FSDP2:
        refuse_with_sharding(trainer.world_size, config)
    if config["sync_batchnorm"] and trainer.world_size > 1:  # one device has nothing to synchronise
        refuse_sync_on_cpu(trainer.strategy)
    # Where gradients are added up over batches torch's reducer fails on it (an internal assert, torch 2.14).
    static = static and config["accumulate_grad_batches"] == 1
    ours = several_devices(trainer.strategy, static=static) if config["strategy"] == "auto" else None
    if ours is None:
        return trainer
    kind = "static" if static else "changing"
    log.info("%d processes: DDP with gradients as views of its buckets, %s graph", trainer.world_size, kind)
    return _made({**wanted, "strategy": ours})


def _made(config: Mapping[str, Any]) -> Trainer:
    """A trainer that leaves the list of callbacks as it is, to which Lightning adds its own.

    Raises:
        SuiteError: a package of the precision that is asked for is not installed.
    """
    try:
        return Trainer(**{**config, "callbacks": list(config["callbacks"])})
    except ModuleNotFoundError as error:
        said = " ".join(str(error).split())
        raise SuiteError(f"--trainer.precision {config['precision']}: {said}") from None


def refuse_with_sharding(devices: int, config: Mapping[str, Any]) -> None:
    """Refuse flags of the trainer that do not go with ``--trainer.strategy fsdp2``.

    Raises:
        SuiteError: names the flag.
    """
    if devices == 1:
        raise SuiteError(
            f"--trainer.strategy {FSDP2}: shares a model out among devices, and there is one: leave it out"
        )
    if config["sync_batchnorm"]:
        raise SuiteError(f"--trainer.sync_batchnorm: not with --trainer.strategy {FSDP2}: take --trainer.strategy auto")
    if str(config["precision"]) == "16-mixed":
        raise SuiteError(f"--trainer.precision 16-mixed: not with --trainer.strategy {FSDP2}: take bf16-mixed")


def refuse_model_with_sharding(config: Mapping[str, Any], model: Task) -> None:
    """Refuse what a model whose weights lie on several devices cannot do.

    Raises:
        SuiteError: names the flag.
    """
    if config["strategy"] != FSDP2:
        return
    asked = {
        "ema": model.averaging.ema is not None,
        "swa": model.averaging.swa is not None,
        "teacher": model.distillation.teacher is not None,
        "prune": model.pruning.method is not None,
        "unfreeze": model.network.unfreeze is not None,
    }
    for flag, given in asked.items():
        if given:
            raise SuiteError(
                f"--model.{flag}: not with --trainer.strategy {FSDP2}, where no device has the whole weights: leave it "
                "out, or take --trainer.strategy auto"
            )
    refuse_without_blocks(model.network.name, model.backbone.net)


def say_batch(trainer: Trainer, data: ScanDataModule, model: Task, scaling: LrScaling) -> None:
    """Say how many cases a step of the optimiser sees, and at which learning rate."""
    devices, accumulated = trainer.world_size, trainer.accumulate_grad_batches
    if devices * accumulated == 1 and scaling == "none":
        return
    batch = data.batch_size_on(devices)
    scaled = "as given" if scaling == "none" else f"scaled by the batch (--scale_lr {scaling})"
    log.info(
        "%d cases a device x %d device%s x %d batch%s accumulated = %d cases a step; learning rate %g, %s",
        batch, devices, "s" * (devices > 1), accumulated, "es" * (accumulated > 1), batch * devices * accumulated,
        model.optimization.lr, scaled,
    )  # fmt: skip


def scale_lr(trainer: Trainer, model: Task, scaling: LrScaling) -> None:
    """Multiply the learning rate, which is meant for the batch of one device, by devices x accumulated batches.

    ``linear`` as in Goyal et al., "Accurate, Large Minibatch SGD" (2017, arXiv:1706.02677); ``sqrt`` by the root, as
    Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms" (NeurIPS 2022) for Adam and kin.
    """
    factor = float(trainer.world_size * trainer.accumulate_grad_batches)
    if scaling != "none":
        model.set_lr(model.optimization.lr * (factor if scaling == "linear" else factor**0.5))
