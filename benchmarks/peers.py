"""Benchmark of an epoch of classification side by side with other projects: torchgeo, MONAI, Lightning, Ultralytics.

    pip install --no-deps --target PEERS torchgeo monai ultralytics ...   # see below
    PYTHONPATH=$PWD:PEERS python -m benchmarks.peers [--side 224] [--images 640] [--rounds 3]

Each trains in a process of its own, one after another, round by round; what differs between them says
``benchmarks/peer_loops.py``. The peers are no dependencies of the suite: whoever cannot be imported is left out, and
how to get it is said. ``pip install --target`` into a folder of their own, without dependencies, leaves this
environment's torch as it is.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.drawn import classification_files
from benchmarks.peer_loops import PEERS, Setting
from benchmarks.runs import table
from datamodules.settings import default_workers

# What they need beside what the suite brings.
INSTALL = (
    "pip install --no-deps --target PEERS torchgeo monai ultralytics ultralytics-thop einops geopandas kornia "
    "kornia_rs lightly lightly_utils lightning pyproj rasterio shapely pyogrio polars polars-runtime-32 psutil "
    "nvidia-ml-py requests urllib3 charset_normalizer idna certifi aenum affine cligj click attrs tqdm pyparsing "
    "pydantic pydantic-core annotated-types typing-inspection"
)
_SAYS = "seconds of epochs: "


def one(name: str, setting: Setting) -> list[float]:
    """Seconds of the epochs of a peer after the first, in a process of its own.

    Raises:
        RuntimeError: it did not end well; with the last line that it said.
    """
    words = [
        "--root", str(setting.root), "--side", str(setting.side), "--batch", str(setting.batch), "--workers",
        str(setting.workers), "--epochs", str(setting.epochs), "--threads", str(setting.threads),
    ]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.peers", "--train", name, *words, *["--cached"] * setting.cache]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.startswith(_SAYS)]
    if done.returncode or not said:
        raise RuntimeError(f"{name}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    seconds: list[float] = json.loads(said[-1].removeprefix(_SAYS))
    return seconds[1:]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--side", type=int, default=128, help="of the images in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=default_workers(), help="loader processes")
    parser.add_argument("--epochs", type=int, default=4, help="the first of which warms up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch in the training process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def compare(arguments: argparse.Namespace, root: Path) -> tuple[list[list[str]], list[str]]:
    """Rows of the table, the suite's first, and what was left out."""
    rows, left_out = [], []
    found: dict[tuple[str, bool], list[float]] = {}
    for _ in range(arguments.rounds):
        for name in arguments.peers:
            peer = PEERS[name]
            if peer.needs and importlib.util.find_spec(peer.needs) is None:
                left_out.append(f"{peer.label} cannot be imported: {INSTALL}; then PYTHONPATH=$PWD:PEERS")
                continue
            for cached in (False, True)[: 1 + peer.caches]:
                setting = Setting(
                    root,
                    arguments.side,
                    arguments.batch,
                    arguments.workers,
                    arguments.epochs,
                    arguments.threads,
                    cached,
                )
                try:
                    found.setdefault((name, cached), []).extend(one(name, setting))
                except RuntimeError as error:
                    left_out.append(str(error))
    ours = {
        cached: statistics.median(found["suite", cached]) for cached in (False, True) if found.get(("suite", cached))
    }
    for (name, cached), seconds in found.items():
        if not seconds:
            continue
        peer, median = PEERS[name], statistics.median(seconds)
        release = version(peer.needs or ("pytorch-lightning" if name == "lightning" else "scansuite"))
        beside = f"{median / ours[cached]:.2f}" if cached in ours else ""
        rows.append(
            [peer.label, release, "memory" if cached else "none", f"{arguments.images / median:.1f}", f"{median:.2f}",
             f"{min(seconds):.2f} to {max(seconds):.2f}", beside]
        )  # fmt: skip
    return rows, list(dict.fromkeys(left_out))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    arguments = parse(argv)
    if arguments.train:
        torch.set_num_threads(arguments.threads)
        setting = Setting(
            arguments.root, arguments.side, arguments.batch, arguments.workers, arguments.epochs, arguments.threads,
            arguments.cached,
        )  # fmt: skip
        print(f"{_SAYS}{json.dumps(PEERS[arguments.train].train(setting))}", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        classification_files(root, arguments.images, arguments.side, "png")
        rows, left_out = compare(arguments, root)
    print(
        f"ResNet-18, {arguments.images} PNG files of {arguments.side} px, batch {arguments.batch}, float32 on a CPU, "
        f"{os.cpu_count()} cores, {arguments.threads} threads, {arguments.workers} loader processes, "
        f"{arguments.rounds} rounds of {arguments.epochs - 1} epochs after one that warms up\n"
    )
    print(table(["", "version", "cache", "images/s", "s an epoch", "from to", "times the suite's"], rows))
    for line in left_out:
        print(f"left out: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
