"""What an epoch through the suite costs beside a bare PyTorch loop over tensors already in memory.

    python -m benchmarks.epoch

ResNet-18, 128 px, batch 32, the same precision and memory format on both sides. The suite reads PNG files, augments,
moves the learning rate, and keeps metrics; the bare loop does forward, loss, backward and step. Epochs are measured in
pairs, one after the other in the same process, because machines are noisy: quote the median ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn import functional as F

from datamodules.classification.image_folder import ImageFolder
from datamodules.settings import default_workers
from tasks.classify.task import ClassificationTask
from tasks.cli.hardware import choose_precision, place
from tasks.cli.logs import configure_logs

SIDE, BATCH = 128, 32


def write_images(root: Path, count: int) -> None:
    """Grey PNGs in two classes, train and val."""
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("val", 8)):
        for image in range(number):
            folder = root / split / "ab"[image % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"{split}{image}.png")


class Pairs(Callback):
    """Runs a bare epoch before each epoch of the suite and times both."""

    def __init__(self, batches: int, precision: str, memory: str) -> None:
        self.images = torch.rand(batches, BATCH, 1, SIDE, SIDE)
        self.labels = torch.randint(0, 2, (batches, BATCH))
        self.net = timm.create_model("resnet18", in_chans=1, num_classes=2)
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
        for image, label in zip(self.images, self.labels, strict=True):
            batch = image.contiguous(memory_format=torch.channels_last) if self.channels_last else image
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
                loss = F.cross_entropy(self.net(batch), label)
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
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs, after one that warms up")
    parser.add_argument("--batches", type=int, default=20, help="batches an epoch")
    parser.add_argument("--cache", choices=("none", "memory"), default="none", help="--data.cache of the suite")
    arguments = parser.parse_args()
    configure_logs()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "images", arguments.batches * BATCH)
        data = ImageFolder(str(root / "images"), batch_size=BATCH, cache_dir=folder, cache=arguments.cache)
        facts = {name: getattr(data, name) for name in ClassificationTask.facts if name != "preprocess"}
        model = ClassificationTask("resnet18", preprocess=data.preprocess.to_dict(), **facts)
        precision: Any = choose_precision("cpu")
        memory = place(model, "auto")
        pairs = Pairs(arguments.batches, precision, memory)
        trainer = Trainer(
            accelerator="cpu", precision=precision, max_epochs=arguments.pairs + 1, callbacks=[pairs], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, default_root_dir=folder, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
    ratios = [suite / bare for suite, bare in zip(pairs.suite[1:], pairs.bare[1:], strict=True)]
    for bare, suite, ratio in zip(pairs.bare[1:], pairs.suite[1:], ratios, strict=True):
        print(f"bare {bare:.2f} s   suite {suite:.2f} s   ratio {ratio:.3f}")
    print(f"{precision}, {memory}, cache {arguments.cache}, {default_workers()} loader processes")
    print(f"median ratio {statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f})")


if __name__ == "__main__":
    main()
