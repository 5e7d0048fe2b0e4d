"""Benchmark of training on a CUDA GPU: the whole suite beside a bare loop, in the same run.

    python -m benchmarks.gpu [--quick] [--networks resnet50 ...] [--sources memory png ...] [--cores 16 8]
        [--compile none reduce-overhead] [--data augment_on=gpu ...] [--model ema=0.999 ...]

The bare loop does forward, loss, backward and step of the same timm network (segmentation: the U-Net of
segmentation-models-pytorch on it; detection: torchvision's detector on it) over one batch that lies on the GPU: bf16
autocast, the suite's memory format, AdamW, no data. The suite reads, augments (``light``), moves the learning rate and
keeps metrics: a data class, its loader, and ``Trainer.fit`` with the task as the command line makes it. ``resident`` is
the suite's task with one batch on the GPU and no loader. Images are drawn into a temporary folder. The bare loop is
measured before and after each run of the suite; the suite in whole epochs after those that warm up, with the gaps
between epochs (``in epochs`` is the ratio without them). Speeds are medians over windows that begin and end with a
synchronisation. Without a GPU nothing is measured, and the reason is printed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from benchmarks.drawn import classification_files, detection_files, segmentation_files
from benchmarks.runs import table
from benchmarks.sides import BareLoop, Budget, Measured, Network, run_suite
from datamodules.base import ScanDataModule
from datamodules.classification.image_folder import ImageFolder
from datamodules.detection.yolo import Yolo
from datamodules.segmentation.mask_folder import MaskFolder
from tasks.fitting.compiling import CompileMode
from tasks.hardware import choose_precision

NETWORKS = {
    "resnet18": Network("ResNet-18", "classify", "resnet18", 224, 128, (0.85, 0.85)),
    "resnet50": Network("ResNet-50", "classify", "resnet50", 224, 128),
    "convnext_tiny": Network("ConvNeXt-T", "classify", "convnext_tiny", 224, 128),
    "vit_small": Network("ViT-S/16", "classify", "vit_small_patch16_224", 224, 128),
    "unet": Network("U-Net ResNet-34", "segment", "resnet34", 224, 64),
    "retinanet": Network("RetinaNet ResNet-50", "detect", "resnet50", 512, 16),
    "fcos": Network("FCOS ResNet-50", "detect", "resnet50", 512, 16, detector="fcos"),
}
# Name -> format of the files, their side in shares of the network's, and ``--data.cache``.
SOURCES = {
    "resident": ("png", 1.0, "none"),
    "memory": ("png", 1.0, "memory"),
    "disk": ("png", 1.0, "disk"),
    "png": ("png", 1.0, "none"),
    "jpeg": ("jpeg", 1.0, "none"),
    "dicom": ("dicom", 1.0, "none"),
    "dicom-jpeg": ("dicom-jpeg", 1.0, "none"),
    "png-resized": ("png", 256 / 224, "none"),
}
CACHED = ("resident", "memory", "disk")
COMPILED = 1.0  # of the bare loop that is not compiled, at least
PEAK = 1.1  # times the bare loop's memory, at most


@dataclass
class Row:
    """A line of the table.

    Attributes:
        network: label.
        source: of :data:`SOURCES`.
        cores: that the process and its loaders may use.
        compiled: ``fit --compile`` of the suite; the bare loop is never compiled.
        bare: images a second of the bare loop, before and after.
        suite: images a second of the suite.
        ratio: of the two.
        within: the same of the suite within its epochs, without the gaps between them.
        target: least ratio.
        wait: share of the time in which a batch was waited for.
        gap: ms between two epochs.
        epoch: steps in each.
        memory: peak memory of the suite as a multiple of the bare loop's; None on a CPU.
        memory_gib: the suite's.
        windows: images a second of each epoch.
    """

    network: str
    source: str
    cores: int
    compiled: CompileMode
    bare: float
    suite: float
    ratio: float
    within: float
    target: float
    wait: float
    gap: float
    epoch: int
    memory: float | None
    memory_gib: float
    windows: list[float]

    @property
    def met(self) -> bool:
        """Whether speed and memory are within their targets."""
        return self.ratio >= self.target and (self.memory is None or self.memory <= PEAK)


HEAD = ("network", "source", "cores", "compile", "bare images/s", "suite images/s", "ratio", "in epochs", "target",
        "memory", "data wait", "gap ms", "")  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row in the table."""
    memory = "" if row.memory is None else f"{row.memory:.2f} ({row.memory_gib:.1f} GiB)"
    return (
        row.network, row.source, str(row.cores), row.compiled, f"{row.bare:.0f}", f"{row.suite:.0f}",
        f"{row.ratio:.3f}", f"{row.within:.3f}", f"{row.target:.2f}", memory, f"{row.wait:.1%}",
        f"{1000 * row.gap:.0f}", "met" if row.met else "missed",
    )  # fmt: skip


def use_cores(count: int) -> int:
    """Let every thread of this process, and what it starts, run on so many cores of those that there are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    chosen = set(sorted(_ALL_CORES)[:count])
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), chosen)
    return len(chosen)


_ALL_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


class DataOfNetworks:
    """Data classes of drawn files, each made and read once.

    Args:
        root: folder for all of it.
        steps: of an epoch, roughly.
        workers: loader processes; None: as the suite chooses.
        further: arguments of the data classes.
    """

    def __init__(self, root: Path, steps: int, workers: int | None, further: Mapping[str, Any] | None = None) -> None:
        self.root, self.steps, self.workers, self.further = root, steps, workers, further or {}
        self._made: dict[tuple[str, int, int, str], ScanDataModule] = {}

    def of(self, network: Network, source: str) -> ScanDataModule:
        """The data of a network from a source."""
        kind, scale, cache = SOURCES[source]
        side, count = round(network.side * scale), self.steps * network.batch
        folder = self.root / f"{network.task}-{kind}-{side}-{count}"
        if not folder.is_dir():
            _WRITERS[network.task](folder, count, side, kind)
        key = (folder.name, network.side, network.batch, cache)
        if key not in self._made:
            kind_of_data = {"classify": ImageFolder, "segment": MaskFolder, "detect": Yolo}[network.task]
            settings: dict[str, Any] = {"cache": cache, **self.further}
            self._made[key] = kind_of_data(
                str(folder), image_size=network.side, batch_size=network.batch, num_workers=self.workers,
                cache_dir=str(self.root / "cache"), **settings,
            )  # fmt: skip
        return self._made[key]


_WRITERS: dict[str, Callable[[Path, int, int, str], None]] = {
    "classify": classification_files,
    "segment": segmentation_files,
    "detect": detection_files,
}


class Comparison:
    """The suite beside the bare loop, row by row.

    Args:
        device: where.
        data: of the networks.
        budget: how long each side is measured.
        fused: the bare loop's optimiser is one kernel.
        model_arguments: further ones of the tasks.
    """

    def __init__(
        self,
        device: torch.device,
        data: DataOfNetworks,
        budget: Budget,
        *,
        fused: bool = False,
        model_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.device, self.data, self.budget, self.fused = device, data, budget, fused
        self.model_arguments = model_arguments
        self.precision: str = choose_precision(device.type)
        self._bare: tuple[Network, BareLoop] | None = None
        self._before: tuple[int, Measured] | None = None  # cores, and what followed the row before

    def row(self, network: Network, source: str, cores: int, compiled: CompileMode = "none") -> Row:
        """Measure one row; rows of a network should follow one another, as the bare loop is kept."""
        cores = use_cores(cores)
        if self._bare is None or self._bare[0] != network:
            self._bare = self._before = None
            self._bare = network, BareLoop(network, self.device, self.precision, fused=self.fused)
        bare = self._bare[1]
        data = self.data.of(network, source)
        before = self._measure(bare) if self._before is None or self._before[0] != cores else self._before[1]
        suite = run_suite(
            network,
            data,
            self.device,
            self.budget,
            resident=source == "resident",
            compiled=compiled,
            model_arguments=self.model_arguments,
        )
        gc.collect()
        after = self._measure(bare)
        self._before = cores, after
        speed = statistics.median([*before.images, *after.images])
        steps = len(data.rows("train")) // network.batch
        return Row(
            network.label, source, cores, compiled, speed, suite.speed, suite.speed / speed,
            statistics.median(suite.within) / speed if suite.within else 0.0,
            COMPILED if compiled != "none" else network.target[0 if source in CACHED else 1],
            statistics.median(suite.waits), statistics.median(suite.gaps),
            steps, suite.peak / before.peak if before.peak else None, suite.peak / 2**30, suite.images,
        )  # fmt: skip

    def _measure(self, bare: BareLoop) -> Measured:
        return bare.measure(self.budget.steps, self.budget.windows, self.budget.warm_up)


Chosen = tuple[Network, str, int, CompileMode]


def chosen_rows(arguments: argparse.Namespace) -> list[Chosen]:
    """What is measured: without flags a choice that tells most in a few minutes."""
    cores = arguments.cores or [len(_ALL_CORES)]
    names = arguments.networks or [name for name in NETWORKS if NETWORKS[name].task in arguments.tasks]
    if arguments.quick and not arguments.networks:
        names = [name for name in ("resnet50", "resnet18", "unet", "retinanet") if name in names]
    rows = []
    for name in names:
        network = NETWORKS[name]
        sources = arguments.sources or _usual_sources(name, quick=arguments.quick)
        few = sorted({min(8, len(_ALL_CORES)), len(_ALL_CORES)}, reverse=True)
        for source in sources:
            several = arguments.cores or (few if name == "resnet50" and not arguments.quick else cores)
            rows += [(network, source, count, mode) for count in several for mode in arguments.compile]
    return rows


def _usual_sources(name: str, *, quick: bool) -> list[str]:
    if quick:
        return {"resnet50": ["resident", "memory", "png"], "resnet18": ["resident", "memory", "png"]}.get(
            name, ["memory"]
        )
    if name == "resnet50":
        return list(SOURCES)
    return ["resident", "memory", "png"] if NETWORKS[name].task == "classify" else ["memory", "png", "dicom"]


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return {
        "card": card, "cores": len(_ALL_CORES), "torch": torch.__version__, "cuda": torch.version.cuda,
        "precision": choose_precision(device.type), "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }  # fmt: skip


def compare(comparison: Comparison, rows: Sequence[Chosen], end: float) -> tuple[list[Row], list[str]]:
    """Measure rows until the time is over; what cannot be measured is said and left out."""
    measured: list[Row] = []
    left_out: list[str] = []
    for network, source, cores, compiled in rows:
        name = f"{network.label}, {source}, {cores} cores, compile {compiled}"
        if time.monotonic() > end:
            left_out.append(f"{name}: the time was over")
            continue
        try:
            measured.append(comparison.row(network, source, cores, compiled))
        except (torch.OutOfMemoryError, RuntimeError, ValueError, ImportError) as error:
            left_out.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            print(left_out[-1], flush=True)
            continue
        print(" | ".join(cells(measured[-1])), flush=True)
    return measured, left_out


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=("classify", "segment", "detect"),
                        default=["classify", "segment", "detect"])  # fmt: skip
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS))
    parser.add_argument("--sources", nargs="+", choices=list(SOURCES))
    parser.add_argument("--cores", nargs="+", type=int, help="left out: all, and for ResNet-50 eight of them too")
    parser.add_argument("--compile", nargs="+", choices=get_args(CompileMode), default=["none"], help="of the suite")
    parser.add_argument("--workers", type=int, help="loader processes; left out: as the suite chooses")
    parser.add_argument("--data", nargs="+", type=_setting, default=[], metavar="NAME=VALUE", help="flags of the data")
    parser.add_argument(
        "--model", nargs="+", type=_setting, default=[], metavar="NAME=VALUE", help="flags of the model"
    )
    parser.add_argument("--steps", type=int, default=100, help="of an epoch, on new images each")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run of the suite, once it is warm")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no further row is begun")
    parser.add_argument("--fused", action="store_true", help="the bare loop's AdamW is one kernel")
    parser.add_argument("--quick", action="store_true", help="a few rows, in about 90 seconds")
    parser.add_argument("--output", type=Path, help="JSON file for all that was measured")
    return parser.parse_args(argv)


def _setting(text: str) -> tuple[str, Any]:
    """A flag of the data or the model: its name and value."""
    name, given, value = text.partition("=")
    if not given:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=VALUE")
    return name, yaml.safe_load(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 where there is no GPU too."""
    arguments = parse(argv)
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA GPU on this machine", flush=True)
        return 0
    start = time.monotonic()
    device = torch.device("cuda", 0)
    if arguments.quick:
        arguments.steps, arguments.seconds = min(arguments.steps, 50), min(arguments.seconds, 2.0)
        arguments.minutes = min(arguments.minutes, 1.5)
    budget = Budget(steps=20, windows=2, warm_up=12, seconds=arguments.seconds, epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        data = DataOfNetworks(Path(folder), arguments.steps, arguments.workers, dict(arguments.data))
        comparison = Comparison(device, data, budget, fused=arguments.fused, model_arguments=dict(arguments.model))
        rows, left_out = compare(comparison, chosen_rows(arguments), start + 60 * arguments.minutes)
    facts = machine(device) | {f"data.{name}": value for name, value in arguments.data}
    facts |= {f"model.{name}": value for name, value in arguments.model}
    print(f"\n{', '.join(f'{name} {value}' for name, value in facts.items())}; {time.monotonic() - start:.0f} s\n")
    print(table(HEAD, [cells(row) for row in rows]))
    for line in left_out:
        print(f"left out: {line}")
    if arguments.output is not None:
        said = {**facts, "rows": [asdict(row) | {"met": row.met} for row in rows], "left_out": left_out}
        arguments.output.write_text(json.dumps(said, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
