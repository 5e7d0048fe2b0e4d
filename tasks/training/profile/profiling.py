"""Where the time of a training goes (``fit --profile true``): Lightning's own actions, added up by parts of a step.

Lightning's ``SimpleProfiler`` lists some eighty actions whose times contain each other, and knows neither the epoch's
gap nor the device; ours divides the whole time among a dozen parts.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.profilers import Profiler

from datamodules.base import ScanDataModule
from scansuite.files import write_text
from tasks.distributed import gather
from tasks.training.profile.device_times import DeviceTimes, KernelTrace
from tasks.training.profile.parts import (
    BACKWARD,
    CALLBACKS,
    CHECKPOINTS,
    FORWARD,
    GAP,
    LOOP,
    LOSS,
    METRICS,
    OPTIMISER,
    PARTS,
    PROFILING,
    TRANSFER,
    VALIDATION,
    WAIT,
)  # fmt: skip
from tasks.training.profile.process_memory import memory_of_processes
from tasks.training.profile.report import Device, Measurement, Report, Settings

_HOOKS = {  # of the model or the strategy
    "batch_to_device": TRANSFER, "transfer_batch_to_device": TRANSFER,
    "on_before_batch_transfer": TRANSFER, "on_after_batch_transfer": TRANSFER,
    "training_step": METRICS, "on_train_epoch_end": METRICS,  # what is neither forward nor loss of it
    "backward": BACKWARD,
    "optimizer_step": OPTIMISER, "optimizer_zero_grad": OPTIMISER, "configure_gradient_clipping": OPTIMISER,
    "lr_scheduler_step": OPTIMISER,
}  # fmt: skip
_VALIDATION_BEGINS = (".on_validation_model_zero_grad", ".on_validation_start")
_VALIDATION_ENDS = ".on_validation_end"  # of the strategy, the last one

WARM_UP = 3  # steps that are left out: the first ones choose kernels, compile, and fill what the loaders read ahead
TRACED = 10  # steps whose kernels are recorded
TRACE_AFTER = 20  # steps
SAMPLED = 10  # every so many steps the device's own clock is read
MEMORY_EVERY = 30.0  # seconds


@lru_cache(maxsize=4096)
def part_of(action: str) -> str:
    """The part of a training that an action of Lightning's belongs to, or of a step of ours (``forward``, ``loss``)."""
    hook = action.rsplit(".", 1)[-1]
    if action in (FORWARD, LOSS):
        return action
    if hook.endswith("train_dataloader_next"):
        return WAIT
    if action == "save_checkpoint" or hook == "on_save_checkpoint":
        return CHECKPOINTS
    if action.startswith("[Callback]"):
        return CALLBACKS
    return _HOOKS.get(hook, LOOP)


class TrainingProfiler(Profiler):
    """Divides the time between ``begin`` and ``end`` among :data:`PARTS`; an action within another counts for itself.

    Attributes:
        seconds: by part.
        on_part: called with each new part, where something is to be noted by it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.on_part: Callable[[str], None] | None = None
        self._stack: list[str] = []
        self._now = GAP
        self._since: float | None = None
        self._validating = self._first_batch = self._set_aside = False

    def begin(self) -> None:
        """Count from here."""
        self._since = time.perf_counter()

    def end(self) -> None:
        """Count no further."""
        self._note()
        self._since = None

    def next_epoch(self) -> None:
        """The wait for the batch that comes next is one for the first batch of an epoch."""
        self._first_batch = True

    def set_aside(self, aside: bool) -> None:
        """Count what happens meanwhile as the profile's own."""
        self._note()
        self._set_aside = aside

    def start(self, action_name: str) -> None:
        """An action begins."""
        part = part_of(action_name)
        if action_name.endswith(_VALIDATION_BEGINS):
            self._validating = True
        elif part is WAIT and self._first_batch:
            part = GAP
        if self._validating and part is not CHECKPOINTS:
            part = VALIDATION
        self._stack.append(part)
        self._change(part)

    def stop(self, action_name: str) -> None:
        """It ends."""
        self._stack.pop()
        if action_name.startswith("[Strategy]") and action_name.endswith(_VALIDATION_ENDS):
            self._validating = False
        elif action_name.endswith("train_dataloader_next"):
            self._first_batch = False
        self._change(self._stack[-1] if self._stack else GAP)

    def _change(self, part: str) -> None:
        if part is not self._now:
            self._note()
            self._now = part
            if self.on_part is not None:
                self.on_part(part)

    def _note(self) -> None:
        if self._since is not None:
            now = time.perf_counter()
            self.seconds[PROFILING if self._set_aside else self._now] += now - self._since
            self._since = now


class ProfileTraining(Callback):
    """Counts steps and images beside a :class:`TrainingProfiler`, looks at device and memory, and reports at the end.

    Args:
        profiler: of the same trainer.
        folder: where ``profile.txt`` and ``profile.json`` go; None: nowhere.
    """

    def __init__(self, profiler: TrainingProfiler, folder: Path | None = None) -> None:
        self.profiler, self.folder = profiler, folder
        self.report: Report | None = None
        self._steps = self._images = self._epochs = 0
        self._step_seconds: deque[float] = deque(maxlen=10_000)
        self._began = self._last_start = self._warm = 0.0
        self._seen = 0
        self._memory = 0
        self._looked = -MEMORY_EVERY
        self._device: DeviceTimes | None = None
        self._trace: KernelTrace | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The clock of what comes before the first steps."""
        self._began = time.perf_counter()
        self.profiler.next_epoch()
        if pl_module.device.type == "cuda":
            self._device, self._trace = DeviceTimes(), KernelTrace(TRACED)
            self.profiler.on_part = self._device.part

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """No step runs over from one epoch to the next."""
        self._last_start = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A step begins: the one before it is over."""
        now = time.perf_counter()
        if self._device is not None:
            self._device.end_step()
        if not self._warm:
            if self._seen < _warm_up(trainer):
                self._seen += 1
                return
            self._warm = now
            self.profiler.begin()
        if self._trace is not None and self._traces(trainer, batch_idx):
            return
        if self._last_start:
            self._step_seconds.append(now - self._last_start)
        self._last_start = now
        self._steps += 1
        self._images += len(batch["image"])
        if self._device is not None and self._steps % SAMPLED == SAMPLED // 2:
            self._device.begin_step()

    def _traces(self, trainer: Trainer, batch_idx: int) -> bool:
        """Record the kernels of some steps in one epoch; whether this step is one of them."""
        trace, left = self._trace, int(trainer.num_training_batches) - batch_idx
        assert trace is not None
        if not trace.running and not trace.over and self._steps >= TRACE_AFTER and left > trace.steps:
            self.profiler.set_aside(True)
            trace.start()
        elif trace.running:
            trace.step()
            if trace.over:
                self.profiler.set_aside(False)
        if trace.running:
            self._last_start = 0.0
        return trace.running

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The epoch's last step has none after it to end it; a look at the memory while the loaders are there."""
        if self._device is not None:
            self._device.drop_step()
        if self._warm:
            self._epochs += 1
        self.profiler.next_epoch()
        if time.perf_counter() - self._looked >= MEMORY_EVERY:
            self._look()

    def _look(self) -> None:
        self._looked = time.perf_counter()
        self._memory = max(self._memory, memory_of_processes())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table, and write it."""
        self._look()
        self._tell(trainer, pl_module, gather(self._measured(pl_module)))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """What is known of a training that is broken off; other ranks may not come to say theirs."""
        if self._warm and self.report is None and trainer.world_size == 1:
            self._tell(trainer, pl_module, [self._measured(pl_module)])

    def _tell(self, trainer: Trainer, pl_module: LightningModule, ranks: list[Measurement]) -> None:
        self.report = Report(ranks, settings_of(trainer))
        if not trainer.is_global_zero:
            return
        print(self.report.text(), end="", flush=True)
        if self.folder is not None:
            write_text(self.folder / "profile.txt", self.report.text())
            write_text(self.folder / "profile.json", self.report.json())

    def _measured(self, pl_module: LightningModule) -> Measurement:
        """What this rank has measured."""
        self.profiler.end()
        self.profiler.on_part = None
        device = None
        if self._device is not None:
            properties = torch.cuda.get_device_properties(pl_module.device)
            kernels = self._trace.milliseconds if self._trace is not None else None
            device = Device(
                name=properties.name,
                capacity=int(properties.total_memory),
                peak=torch.cuda.max_memory_allocated(pl_module.device),
                milliseconds=self._device.milliseconds(),
                kernels=kernels,
                traced=TRACED if kernels is not None else 0,
            )
        return Measurement(
            seconds=dict(self.profiler.seconds),
            before=(self._warm or time.perf_counter()) - self._began,
            steps=self._steps,
            images=self._images,
            epochs=self._epochs,
            step=statistics.median(self._step_seconds) if self._step_seconds else None,
            memory=self._memory,
            device=device,
        )


def _warm_up(trainer: Trainer) -> int:
    """Steps that are left out: fewer in a training of few."""
    batches = trainer.num_training_batches
    return WARM_UP if batches == float("inf") or batches * (trainer.max_epochs or 1) > 4 * WARM_UP else 1


def settings_of(trainer: Trainer) -> Settings:
    """The flags of a run that bear on its speed."""
    data: Any = getattr(trainer, "datamodule", None)
    ours = isinstance(data, ScanDataModule)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Settings(
        batch_size=data.batch_size if ours else 0,
        workers=data.loader_workers if ours else 0,
        cores=cores // max(1, trainer.num_devices),
        cache=data.cache if ours else "none",
        augment_on=data.augment_place if ours else None,
        compiled=getattr(trainer.lightning_module, "compiled", None) is not None,
    )
