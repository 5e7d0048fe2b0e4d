"""The two sides of ``benchmarks.gpu``: a bare loop over one batch on the device, and the whole suite."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.profilers import Profiler
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detect import bare_network, boxes_of
from benchmarks.drawn import CLASSES
from datamodules.base import ScanDataModule
from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.detect.task import DetectionTask
from tasks.fitting.callbacks import training_callbacks
from tasks.fitting.compiling import CompileMode, Compiling
from tasks.hardware import choose_precision, place
from tasks.segment.task import SegmentationTask
from tasks.training.seeding import SeedEpochs
from tasks.training.stopping.resuming import Resuming

TaskName = Literal["classify", "segment", "detect"]


@dataclass(frozen=True)
class Network:
    """What is trained, on both sides.

    Attributes:
        label: in the table.
        task: of which.
        backbone: timm's name.
        side: of the images in pixels.
        batch: images a step.
        target: least share of the bare loop's images a second, from cache and from files.
        detector: of detection.
    """

    label: str
    task: TaskName
    backbone: str
    side: int
    batch: int
    target: tuple[float, float] = (0.95, 0.85)
    detector: Literal["retinanet", "fcos"] = "retinanet"


@dataclass
class Measured:
    """A side.

    Attributes:
        images: a second, by window; of the suite in whole epochs, gaps and all.
        within: images a second of the suite within each epoch, from its first step's end to its last one's.
        peak: bytes on the GPU at most; 0 on a CPU.
        waits: share of each window in which the next batch was waited for.
        gaps: seconds between the last step of an epoch and the first of the next.
    """

    images: list[float] = field(default_factory=list)
    peak: int = 0
    waits: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Median images a second."""
        return statistics.median(self.images)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Peak:
    """Memory that a side takes at most, beyond what is there when it begins.

    Args:
        device: whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)

    def bytes(self) -> int:
        """So far; 0 on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) - self.before if self.device.type == "cuda" else 0


class BareLoop:
    """Forward, loss, backward and step of a network over one batch that lies on the device.

    Args:
        network: which one.
        device: where.
        precision: Lightning's name.
        fused: AdamW in one kernel; else as it comes.
    """

    def __init__(self, network: Network, device: torch.device, precision: str, *, fused: bool) -> None:
        torch.manual_seed(0)
        self.network, self.device = network, device
        self._peak = Peak(device)
        self.peak = 0
        net, self.loss, self.targets = _bare(network, device)
        self.net = net.to(device).train()
        shape = (network.batch, 1, network.side, network.side)
        self.image = torch.rand(shape, device=device)
        if place(self.net, "auto", device.type) == "channels_last":
            self.image = self.image.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=fused or None)
        kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
        self.autocast = torch.autocast(device.type, dtype=kind, enabled=precision != "32-true")

    def step(self) -> None:
        """A training step."""
        self.optimizer.zero_grad()
        with self.autocast:
            loss = self.loss(self.net, self.image, self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def measure(self, steps: int, windows: int, warm_up: int) -> Measured:
        """Images a second in some windows of some steps."""
        first = not self.peak
        for _ in range(warm_up if first else 3):
            self.step()
        images = []
        for _ in range(windows):
            synchronize(self.device)
            start = time.perf_counter()
            for _ in range(steps):
                self.step()
            synchronize(self.device)
            images.append(steps * self.network.batch / (time.perf_counter() - start))
        if first:  # later on, what the suite took would be in it
            self.peak = self._peak.bytes()
        return Measured(images, self.peak)


BareLoss = Callable[[Any, Tensor, Any], Tensor]


def _bare(network: Network, device: torch.device) -> tuple[nn.Module, BareLoss, Any]:
    """A network that nothing of the suite is in, its loss, and targets."""
    batch, side, classes = network.batch, network.side, len(CLASSES)
    if network.task == "classify":
        net = timm.create_model(network.backbone, in_chans=1, num_classes=classes, **_image_size(network))
        target = torch.randint(classes, (batch,), device=device)
        return net, lambda net, image, target: F.cross_entropy(net(image), target), target
    if network.task == "segment":
        dice = smp.losses.DiceLoss("multiclass")
        net = smp.Unet(f"tu-{network.backbone}", encoder_weights=None, in_channels=1, classes=classes)
        target = torch.randint(classes, (batch, side, side), device=device)

        def overlap(net: Any, image: Tensor, target: Tensor) -> Tensor:
            logits = net(image)
            both: Tensor = F.cross_entropy(logits, target) + dice(logits, target)
            return both

        return net, overlap, target
    boxes, labels = boxes_of((side, side), batch)
    targets = [
        {"boxes": some.to(device), "labels": named.to(device)} for some, named in zip(boxes, labels, strict=True)
    ]
    net = bare_network(network.detector, 256, network.backbone, in_chans=1)
    return net, lambda net, image, targets: torch.stack(list(net(image, targets).values())).sum(), targets


def _image_size(network: Network) -> dict[str, Any]:
    """Of networks that are made for one size."""
    return {"img_size": network.side} if "vit" in network.backbone else {}


def suite_model(network: Network, data: ScanDataModule, **further: Any) -> Task:
    """The suite's model of a network, as ``fit`` makes it, with further arguments."""
    torch.manual_seed(0)
    if network.task == "classify":
        return ClassificationTask.for_data(data, network.backbone, **further)
    if network.task == "segment":
        return SegmentationTask.for_data(data, network.backbone, **further)
    given = {"detector": network.detector, "anchors": "default", **further}
    return DetectionTask.for_data(data, network.backbone, **given)


class Resident:
    """A loader that hands on one batch of a data class again and again, on the device: what is left is the step.

    Args:
        data: whose first training batch.
        batches: an epoch.
        device: where it lies.
    """

    def __init__(self, data: ScanDataModule, batches: int, device: torch.device) -> None:
        dataset = data.dataset(data.rows("train")[: data.batch_size])
        batch: dict[str, Any] = dict(dataset.collate([dataset[case] for case in range(len(dataset))]))
        self.batch = {name: _moved(value, device) for name, value in batch.items()}
        self.batches = batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.batches):
            yield dict(self.batch)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        return [part.to(device) for part in value]
    return value


class Waiting(Profiler):
    """Time in which the trainer waits for training batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self._start = 0.0

    def start(self, action_name: str) -> None:
        """Begin, where this is the fetching of a batch."""
        if action_name.endswith("train_dataloader_next"):
            self._start = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """End."""
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._start


class Clock(Callback):
    """Times whole epochs of a training after its first ones, gaps between epochs and all, and then ends it.

    Args:
        seconds: after which the training may end, counted from the first epoch that is timed.
        epochs: least number of epochs that are timed.
        warm_up: least number of steps before.
        batch: images a step.
    """

    def __init__(self, seconds: float, epochs: int, warm_up: int, batch: int) -> None:
        self.seconds, self.epochs, self.warm_up, self.batch = seconds, epochs, warm_up, batch
        self.measured = Measured()
        self._began = self._start = self._first = self._end = 0.0
        self.waiting = Waiting()
        self._steps = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The first step of an epoch: the epoch before it is over, with all that lies between."""
        if batch_idx > 0:
            return
        synchronize(pl_module.device)
        now = time.perf_counter()
        if self._steps:
            self.measured.images.append(self._steps * self.batch / (now - self._start))
            self.measured.gaps.append(now - self._end)
            self.measured.waits.append(self.waiting.seconds / (now - self._start))
            if len(self.measured.images) >= self.epochs and now - self._began >= self.seconds:
                trainer.should_stop = True
        if self._steps or trainer.global_step >= self.warm_up:
            self._began = self._began or now
            self._start, self._steps, self.waiting.seconds = now, 0, 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """The first and the last step of an epoch end."""
        if self._began:
            self._steps += 1
        if self._steps == 1:
            synchronize(trainer.strategy.root_device)
            self._first = time.perf_counter()
        if trainer.is_last_batch:
            synchronize(trainer.strategy.root_device)
            self._end = time.perf_counter()
            if self._steps > 1:
                self.measured.within.append((self._steps - 1) * self.batch / (self._end - self._first))


@dataclass(frozen=True)
class Budget:
    """How long each side is measured: ``steps`` a window of the bare loop, ``seconds`` of the suite."""

    steps: int
    windows: int
    warm_up: int
    seconds: float
    epochs: int


def run_suite(
    network: Network,
    data: ScanDataModule,
    device: torch.device,
    budget: Budget,
    *,
    resident: bool = False,
    compiled: CompileMode = "none",
    model_arguments: Mapping[str, Any] | None = None,
) -> Measured:
    """Train as ``fit`` does, without validation and files, and time it.

    Args:
        network: which one.
        data: a data class of its task.
        device: where.
        budget: how long.
        resident: one batch on the device instead of the loader.
        compiled: ``fit --compile``.
        model_arguments: further ones of the task.
    """
    model = suite_model(network, data, **(model_arguments or {}))
    place(model, "auto", device.type)
    model.prepared = True
    clock = Clock(budget.seconds, budget.epochs, budget.warm_up, network.batch)
    peak = Peak(device)
    kind = "gpu" if device.type == "cuda" else "cpu"
    callbacks = [SeedEpochs(0), Resuming(), *training_callbacks(model, 0), Compiling(compiled), clock]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator=kind, devices=1, precision=choose_precision(kind),  # type: ignore[arg-type]
            max_epochs=1000, callbacks=callbacks,
            logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, default_root_dir=folder, num_sanity_val_steps=0, limit_val_batches=0,
            profiler=clock.waiting,
        )  # fmt: skip
        if resident:
            trainer.fit(
                model, train_dataloaders=Resident(data, max(8, len(data.rows("train")) // network.batch), device)
            )
        else:
            trainer.fit(model, datamodule=data)
    clock.measured.peak = peak.bytes()
    data.trainer = None
    return clock.measured
