"""Benchmark of large tables: seconds and memory from a table to its first batch, and what loader processes add.

    python -m benchmarks.scale --rows 1000000

Tiny PNGs and their table (CSV and Parquet) are made in a temporary folder, ten images a patient. Each line is a process
of its own: with files that nobody has read before, with files known from an earlier run, from Parquet, and with
``--data.check_files false``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDER = 1000  # images in each folder
SIDE = 8


def make_set(root: Path, rows: int) -> None:
    """Make PNGs of noise below ``root/images``, and ``table.csv`` and ``table.parquet`` that name them."""
    rng = np.random.default_rng(0)
    paths = []
    for first in range(0, rows, FOLDER):
        folder = root / "images" / f"{first // FOLDER:04d}"
        folder.mkdir(parents=True)
        pixels = rng.integers(0, 256, (min(FOLDER, rows - first), SIDE, SIDE), dtype=np.uint8)
        for number, one in enumerate(pixels):
            (folder / f"{number:03d}.png").write_bytes(_png(one))
            paths.append(f"images/{folder.name}/{number:03d}.png")
    row = np.arange(rows)
    table = pd.DataFrame(
        {
            "path": paths,
            "label": np.array(["a", "b"])[row % 2],
            "patient_id": [f"p{number}" for number in row // 10],
            "age": row % 90,
            "site": np.array(["x", "y", "z"])[row % 3],
        }
    )
    table.to_csv(root / "table.csv", index=False)
    table.to_parquet(root / "table.parquet")


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """An 8-bit grey PNG: for so few pixels a library is mostly overhead."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines, 1)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def memory_of(processes: Iterable[int]) -> float:
    """MiB that processes occupy, what they share counted once among those who share it (PSS)."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure(root: Path, table: str, workers: int, *, check_files: bool) -> dict[str, float]:
    """Seconds and MiB from a table to its first batch, in this process.

    Returns:
        ``import`` (MiB resident once everything is imported), ``seconds``, ``peak`` (MiB resident at most), ``before``
        (MiB before loader processes start) and ``worker`` (MiB that each of them adds).
    """
    from datamodules.classification.image_table import ImageTable

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    data = ImageTable(
        str(root),
        table=table,
        patient_column="patient_id",
        cache_dir=str(root / "cache"),
        num_workers=workers,
        check_files=check_files,
        image_size=SIDE,
        augment="none",
    )
    loader = data.train_dataloader()
    before = memory_of([os.getpid()])
    batches = iter(loader)
    next(batches)
    seconds = time.perf_counter() - began
    for _ in range(50):
        next(batches)
    children = [int(text) for text in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    added = memory_of([os.getpid(), *children]) - before
    return {
        "import": imported,
        "seconds": seconds,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before": before,
        "worker": added / max(len(children), 1),
    }


def in_process(root: Path, table: str, workers: int, *, check_files: bool) -> dict[str, float]:
    """:func:`measure` in a process of its own."""
    words = [str(root), table, str(workers), *([] if check_files else ["--unchecked"])]
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", *words]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}  # of fewer cores than loader processes
    output = subprocess.run(command, env=quiet, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each way to begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the files are made; they are removed in the end")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--unchecked", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.measure:
        root, table, workers = flags.measure
        print(json.dumps(measure(Path(root), table, int(workers), check_files=not flags.unchecked)))
        return
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        root, began = Path(folder), time.perf_counter()
        make_set(root, flags.rows)
        print(f"{flags.rows} images made in {time.perf_counter() - began:.0f} s; {flags.workers} loader processes")
        print(f"{'':<28}{'to first batch':>15}{'peak':>11}{'of it imports':>15}{'each loader process adds':>26}")
        ways = {
            "files read for the first time": ("table.csv", True),
            "files known": ("table.csv", True),
            "files known, Parquet": ("table.parquet", True),
            "--data.check_files false": ("table.csv", False),
        }
        for name, (table, checked) in ways.items():
            got = in_process(root, table, flags.workers, check_files=checked)
            share = got["worker"] / got["before"]
            print(
                f"{name:<28}{got['seconds']:>13.1f} s{got['peak']:>7.0f} MiB{got['import']:>11.0f} MiB"
                f"{got['worker']:>14.0f} MiB ({share:.1%})"
            )


if __name__ == "__main__":
    main()
