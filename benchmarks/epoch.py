"""Benchmark of an epoch through the suite beside a bare PyTorch loop over tensors already in memory.

    python -m benchmarks.epoch [--task segment]

ResNet-18 (with the U-Net of segmentation-models-pytorch for ``segment``), 128 px, batch 32, the same precision and
memory format on both sides. The suite reads PNG files, augments, moves the learning rate, and keeps metrics; the bare
loop does forward, loss, backward and step. Epochs are measured in pairs, one after the other in the same process,
because machines are noisy: quote the median ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.segmentation.mask_folder import MaskFolder
from datamodules.settings import default_workers
from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.cli.logs import configure_logs
from tasks.hardware import choose_precision, place
from tasks.segment.task import SegmentationTask

SIDE, BATCH, CLASSES = 128, 32, 2


class Bare(NamedTuple):
    """The bare side: a network, its loss, and targets for a batch."""

    net: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    targets: tuple[int, ...]  # shape


def classify(root: Path, count: int, **settings: Any) -> tuple[ScanDataModule, type[Task], Bare]:
    """Grey PNGs in two classes, train and val."""
    for split, number in (("train", count), ("val", 8)):
        for image in range(number):
            _write_noise(root / split / "ab"[image % 2] / f"{split}{image}.png", 256)
    net = timm.create_model("resnet18", in_chans=1, num_classes=CLASSES)
    return ImageFolder(str(root), **settings), ClassificationTask, Bare(net, F.cross_entropy, (BATCH,))


def segment(root: Path, count: int, **settings: Any) -> tuple[ScanDataModule, type[Task], Bare]:
    """Grey PNGs with masks, train and val."""
    for split, number in (("train", count), ("val", 8)):
        for image in range(number):
            _write_noise(root / "images" / split / f"{split}{image}.png", 256)
            _write_noise(root / "masks" / split / f"{split}{image}.png", CLASSES)
    dice = smp.losses.DiceLoss("multiclass")
    net = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=CLASSES)
    bare = Bare(net, lambda logits, mask: F.cross_entropy(logits, mask) + dice(logits, mask), (BATCH, SIDE, SIDE))
    return MaskFolder(str(root), **settings), SegmentationTask, bare


def _write_noise(file: Path, values: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(file.name.encode()))
    Image.fromarray(rng.integers(0, values, (SIDE, SIDE), dtype=np.uint8)).save(file)


class Pairs(Callback):
    """Runs a bare epoch before each epoch of the suite and times both."""

    def __init__(self, bare: Bare, batches: int, precision: str, memory: str) -> None:
        self.images = torch.rand(batches, BATCH, 1, SIDE, SIDE)
        self.targets = torch.randint(0, CLASSES, (batches, *bare.targets))
        self.net, self.loss = bare.net, bare.loss
        self.channels_last = memory == "channels_last"
        if self.channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.autocast = precision == "bf16-mixed"
        self.bare: list[float] = []
        self.suite: list[float] = []
        self._start = 0.0

    def _bare_epoch(self) -> float:
        start = time.perf_counter()
        for image, target in zip(self.images, self.targets, strict=True):
            batch = image.contiguous(memory_format=torch.channels_last) if self.channels_last else image
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
                loss = self.loss(self.net(batch), target)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return time.perf_counter() - start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A bare epoch; then the clock of the suite's starts."""
        self.bare.append(self._bare_epoch())
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """The clock stops with the last batch: what follows is validation."""
        if trainer.is_last_batch:
            self.suite.append(time.perf_counter() - self._start)


def main() -> None:
    """Print the pairs and their median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classify", "segment"), default="classify")
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs, after one that warms up")
    parser.add_argument("--batches", type=int, default=20, help="batches an epoch")
    parser.add_argument("--cache", choices=("none", "memory"), default="none", help="--data.cache of the suite")
    arguments = parser.parse_args()
    configure_logs()
    with tempfile.TemporaryDirectory() as folder:
        make = {"classify": classify, "segment": segment}[arguments.task]
        settings = {"batch_size": BATCH, "cache_dir": folder, "cache": arguments.cache}
        data, task, bare = make(Path(folder) / "images", arguments.batches * BATCH, **settings)
        facts = {name: getattr(data, name) for name in task.facts if name != "preprocess"}
        arguments_of_model: dict[str, Any] = {"preprocess": data.preprocess.to_dict(), **facts}
        model = task("resnet18", **arguments_of_model)
        precision: Any = choose_precision("cpu")
        memory = place(model, "auto")
        pairs = Pairs(bare, arguments.batches, precision, memory)
        trainer = Trainer(
            accelerator="cpu", precision=precision, max_epochs=arguments.pairs + 1, callbacks=[pairs], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, default_root_dir=folder, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
    ratios = [suite / bare for suite, bare in zip(pairs.suite[1:], pairs.bare[1:], strict=True)]
    for plain, suite, ratio in zip(pairs.bare[1:], pairs.suite[1:], ratios, strict=True):
        print(f"bare {plain:.2f} s   suite {suite:.2f} s   ratio {ratio:.3f}")
    print(f"{precision}, {memory}, cache {arguments.cache}, {default_workers()} loader processes")
    print(f"median ratio {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})")


if __name__ == "__main__":
    main()
