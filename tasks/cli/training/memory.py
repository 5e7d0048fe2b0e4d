"""``fit --memory 20GiB``: the largest batch within so much memory of a GPU, the cases of a step staying as they are."""

from __future__ import annotations

import copy
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.memory import garbage_collection_cuda, is_oom_error

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.logs import quiet
from tasks.cli.parser import TaskParser
from tasks.cli.runs.checkpoints import find_checkpoint
from tasks.fitting.callbacks import training_callbacks
from tasks.hardware import place

log = logging.getLogger(__name__)

_UNITS = {"MIB": 2**20, "GIB": 2**30, "MB": 10**6, "GB": 10**9}
_STEPS = 3  # of a trial: the optimiser's state is there from the first on, and cuDNN has chosen its kernels
_MEND = "give --model.grad_checkpointing true, a smaller --data.image_size or another --model.backbone"


def refuse_memory(cli: TaskParser) -> None:
    """Refuse a ``--memory`` that is no size, or that another flag contradicts, before the data is read.

    Raises:
        SuiteError: names the flag.
    """
    asked = cli.config["memory"]
    if asked is None:
        return
    size_of(asked)
    if cli.config["find_batch_size"]:
        raise SuiteError(f"--memory {asked} with --find_batch_size: both look for the batch: leave one out")


def keep_within(cli: TaskParser, data: ScanDataModule, model: Task) -> None:
    """Choose batch size and accumulation where ``--memory`` is given, and set them in data and configuration.

    The cases of a step of the optimiser, ``--data.batch_size`` x ``--trainer.accumulate_grad_batches``, stay as given:
    its divisors are tried from the largest down, each in a few steps of training, and the first that stays within the
    memory is taken. The model's weights are as they were afterwards.

    Args:
        cli: the flags.
        data: its batch size is set.
        model: that trains.

    Raises:
        SuiteError: no GPU, several devices, or not even the smallest batch stays within the memory.
    """
    asked = cli.config["memory"]
    if asked is None or cli.config["trainer"]["fast_dev_run"]:
        return
    limit = size_of(asked)
    with tempfile.TemporaryDirectory() as folder:
        trial = MemoryTrial(cli, data, model, folder)
        devices, device = trial.trainer().world_size, trial.trainer().strategy.root_device
        if devices > 1:
            raise SuiteError(f"--memory {asked}: try it on one device (--trainer.devices 1), and give what is found")
        if device.type != "cuda":
            raise SuiteError(
                f"--memory {asked}: it is of a GPU, and this trains on {device.type}, whose memory is that of all "
                "programs: give --data.batch_size"
            )
        wanted = data.batch_size * int(cli.config["trainer"]["accumulate_grad_batches"])
        sizes = divisors(wanted)
        batch, peak = largest_within(limit, sizes, trial.peak)
    if batch is None:
        raise SuiteError(f"--memory {asked}: a batch of {sizes[-1]} needs {peak / 2**30:.2f} GiB: {_MEND}")
    data.batch_size = batch
    accumulated = wanted // batch
    cli.config["data"]["init_args"]["batch_size"] = batch
    cli.config["data"]["init_args"]["total_batch_size"] = None
    for config in (cli.config, cli.config_init):
        config["trainer"]["accumulate_grad_batches"] = accumulated
    print(
        f"{peak / 2**30:.2f} of {limit / 2**30:.2f} GiB with batches of {batch}, {accumulated} of them added up to "
        f"{wanted} cases a step: --data.batch_size {batch} --trainer.accumulate_grad_batches {accumulated}"
    )


def size_of(text: str) -> int:
    """Bytes of ``20GiB``, ``800MiB``, ``20GB`` or ``800MB``.

    Raises:
        SuiteError: it is none of these.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]i?B)", text.strip(), re.IGNORECASE)
    if found is None or found[2].upper() not in _UNITS or not float(found[1]):
        raise SuiteError(f"--memory {text}: a size such as 20GiB or 800MiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def divisors(wanted: int) -> list[int]:
    """The batches that add up to ``wanted`` cases, the largest first; two cases at least, which a batch norm needs."""
    return [size for size in range(wanted, min(2, wanted) - 1, -1) if wanted % size == 0]


def largest_within(limit: int, sizes: Sequence[int], peak: Callable[[int], int | None]) -> tuple[int | None, int]:
    """The first of some batches, the largest first, whose peak stays within the limit, and that peak.

    Args:
        limit: in bytes.
        sizes: cases of a batch.
        peak: from a batch size to the bytes in use at their highest; None: it did not fit on the device.

    Returns:
        None where not even the last stays within, and the peak of the last (0 where it did not fit).
    """
    used: int | None = 0
    for batch in sizes:
        used = peak(batch)
        log.info("batch of %d: %s", batch, "out of memory" if used is None else f"{used / 2**30:.2f} GiB")
        if used is not None and used <= limit:
            return batch, used
    return None, used or 0


def lacks_memory(error: RuntimeError) -> bool:
    """Whether a GPU had too little memory, in the words of torch or of a library that it calls."""
    words = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
    if isinstance(error, torch.OutOfMemoryError) or is_oom_error(error):
        return True
    return any(some.lower() in str(error).lower() for some in words)


class MemoryTrial:
    """A few steps of the training that is to come, with all that it will keep on the device.

    Args:
        cli: the flags.
        data: whose batch size is set anew for each trial.
        model: that trains; each trial takes a copy of it.
        folder: for what Lightning writes.
        **settings: of the trainer, that count before the flags and the trial's own.
    """

    def __init__(self, cli: TaskParser, data: ScanDataModule, model: Task, folder: str, **settings: Any) -> None:
        self.cli, self.data, self.model, self.folder, self._settings = cli, data, model, folder, settings

    def trainer(self, *callbacks: Any) -> Trainer:
        """As the flags have it, for a few steps."""
        settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        settings |= {"max_steps": _STEPS, "max_epochs": 1000, "limit_val_batches": 0, "num_sanity_val_steps": 0}
        settings |= {"accumulate_grad_batches": 1, "enable_model_summary": False, "default_root_dir": self.folder}
        return self.cli.build_trainer(list(callbacks), **{**settings, **self._settings})

    def peak(self, batch: int) -> int | None:
        """Bytes that the process holds on the GPU at its highest, its CUDA context included."""
        model = copy.deepcopy(self.model)
        teacher = model.distillation.teacher
        path: Path | None = None
        if teacher is not None:
            path = find_checkpoint(self.cli.task, teacher, flag="--model.teacher")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        free, total = torch.cuda.mem_get_info()
        others = total - free - torch.cuda.memory_reserved()  # of other programs, and of this one's context
        self.data.batch_size = batch
        with quiet():
            callbacks = training_callbacks(model, 0, path)
            model.prepared = True
            trainer = self.trainer(*callbacks)
            place(model, self.cli.config["memory_format"], trainer.strategy.root_device.type)
            try:
                trainer.fit(model, datamodule=self.data)
            except RuntimeError as error:
                if not lacks_memory(error):
                    raise
                return None
            finally:
                model.to("cpu")
                del trainer
                self.data.trainer = None
                garbage_collection_cuda()
        return int(torch.cuda.max_memory_reserved() + max(0, others))
