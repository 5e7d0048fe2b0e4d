"""Benchmark of an epoch through the suite beside a bare PyTorch loop over a batch already in memory, on a CPU.

    python -m benchmarks.epoch [--task segment] [--runs 5]

ResNet-18 at 128 px with batches of 32; with the U-Net of segmentation-models-pytorch for ``segment``; with a RetinaNet
at 256 px and batches of 4 for ``detect``. Precision and memory format are the same on both sides. The suite reads PNG
files, augments, moves the learning rate, and keeps metrics; the bare loop does forward, loss, backward and step. Epochs
are measured in pairs, one after the other in the same process, because machines are noisy: quote the median ratio.
Each run is a process of its own. ``data wait`` is the share of the suite's epoch in which a batch was waited for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.gpu import DataOfNetworks
from benchmarks.sides import BareLoop, Network, Waiting, suite_model
from datamodules.settings import default_workers
from tasks.cli.logs import configure_logs
from tasks.hardware import choose_precision, place

NETWORKS = {
    "classify": Network("ResNet-18", "classify", "resnet18", 128, 32),
    "segment": Network("U-Net ResNet-18", "segment", "resnet18", 128, 32),
    "detect": Network("RetinaNet ResNet-18", "detect", "resnet18", 256, 4),
}
RATIO, WAIT = 1.05, 0.03  # at most


class Pair(NamedTuple):
    """An epoch of the bare loop and one of the suite, in seconds, and how long that waited for data."""

    bare: float
    suite: float
    wait: float


class Pairs(Callback):
    """Runs a bare epoch before each epoch of the suite and times both.

    Args:
        bare: the loop.
        batches: steps of its epochs.
        waiting: the profiler of the trainer.
    """

    def __init__(self, bare: BareLoop, batches: int, waiting: Waiting) -> None:
        self.bare, self.batches, self.waiting = bare, batches, waiting
        self.measured: list[Pair] = []
        self._bare = self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A bare epoch; then the clock of the suite's starts."""
        start = time.perf_counter()
        for _ in range(self.batches):
            self.bare.step()
        self._bare = time.perf_counter() - start
        self._start, self.waiting.seconds = time.perf_counter(), 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """The clock stops with the last batch: what follows is validation."""
        if trainer.is_last_batch:
            self.measured.append(Pair(self._bare, time.perf_counter() - self._start, self.waiting.seconds))


def measure(network: Network, batches: int, pairs: int, cache: str) -> list[Pair]:
    """Pairs of epochs, after one that warms up."""
    waiting = Waiting()
    precision: Any = choose_precision("cpu")
    with tempfile.TemporaryDirectory() as folder:
        data = DataOfNetworks(Path(folder), batches, None).of(network, "memory" if cache == "memory" else "png")
        model = suite_model(network, data)
        place(model, "auto")
        callback = Pairs(BareLoop(network, torch.device("cpu"), precision, fused=False), batches, waiting)
        trainer = Trainer(
            accelerator="cpu", precision=precision, max_epochs=pairs + 1, callbacks=[callback], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            use_distributed_sampler=False, default_root_dir=folder, num_sanity_val_steps=0, profiler=waiting,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
    return callback.measured[1:]


def summary(pairs: list[Pair]) -> tuple[float, float]:
    """Median ratio of the suite to the bare loop, and median share of data wait."""
    return statistics.median(p.suite / p.bare for p in pairs), statistics.median(p.wait / p.suite for p in pairs)


def run(task: str, arguments: argparse.Namespace) -> list[Pair]:
    """One run, in a process of its own."""
    words = ["--batches", str(arguments.batches), "--pairs", str(arguments.pairs), "--cache", arguments.cache]
    command = [sys.executable, "-m", "benchmarks.epoch", "--task", task, *words, "--as_json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Pair(*pair) for pair in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Print the pairs, the median ratio of each run, and the median of the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--runs", type=int, default=1, help="processes, one after another")
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs of a run, after one that warms up")
    parser.add_argument("--batches", type=int, default=20, help="batches an epoch")
    parser.add_argument("--cache", choices=("none", "memory"), default="none", help="--data.cache of the suite")
    parser.add_argument("--as_json", action="store_true", help="measure in this process, and print the pairs as JSON")
    arguments = parser.parse_args()
    if arguments.as_json:
        configure_logs()
        print(json.dumps(measure(NETWORKS[arguments.task[0]], arguments.batches, arguments.pairs, arguments.cache)))
        return
    print(f"{choose_precision('cpu')}, cache {arguments.cache}, {default_workers()} loader processes")
    for task in arguments.task:
        found = []
        for number in range(1, arguments.runs + 1):
            pairs = run(task, arguments)
            for pair in pairs:
                print(f"bare {pair.bare:.2f} s   suite {pair.suite:.2f} s   ratio {pair.suite / pair.bare:.3f}")
            found.append(summary(pairs))
            print(f"{task}, run {number}: median ratio {found[-1][0]:.3f}, data wait {found[-1][1]:.1%}", flush=True)
        ratio, wait = (statistics.median(values) for values in zip(*found, strict=True))
        met = "met" if ratio <= RATIO and wait < WAIT else "missed"
        print(
            f"{NETWORKS[task].label}: median of {len(found)} runs {ratio:.3f} (min {min(found)[0]:.3f}, max "
            f"{max(found)[0]:.3f}), data wait {wait:.1%}: at most {RATIO} and {WAIT:.0%}: {met}",
            flush=True,
        )


if __name__ == "__main__":
    main()
