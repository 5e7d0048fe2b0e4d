"""Benchmark of ``check``: time, and memory for a table of a million rows that points at a few files.

    python -m benchmarks.check            # a million rows; --rows N for fewer

What is printed: seconds, images a second, and the memory that is the process's own (``RssAnon``; the mapped scratch
file is the kernel's to drop) once the table is built, and at the peak.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.checks.run import check
from datamodules.checks.store import FindingStore
from datamodules.classification.image_table import ImageTable
from datamodules.readers.raster import write_png

_FILES = 16


class Peak:
    """Watches this process's own memory from a thread."""

    def __init__(self) -> None:
        self.most, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def now() -> int:
        """Bytes."""
        lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.most = max(self.most, self.now())

    def stop(self) -> int:
        """The peak."""
        self._stop.set()
        self._thread.join()
        return self.most


def measure(rows: int, workers: int) -> dict[str, float]:
    """Check a table of ``rows`` rows.

    Returns:
        ``seconds``, ``table`` (MiB once the table is built), ``peak`` (MiB), ``errors``.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        for number in range(_FILES):
            write_png(root / f"{number}.png", rng.integers(0, 256, (32, 32), dtype=np.uint8))
        numbers = np.arange(rows)
        frame = pd.DataFrame(
            {
                "path": [f"{one % _FILES}.png" for one in numbers],
                "case_id": [f"c{one}" for one in numbers],
                "patient_id": [f"p{one % _FILES}" for one in numbers],
                "label": np.where(numbers % 2 == 0, "benign", "malignant"),
                "split": np.array(["train", "val", "test"])[numbers % _FILES % 3],
            }
        )
        frame.to_csv(root / "labels.csv", index=False)
        del frame, numbers
        data = ImageTable(str(root))
        output = root / "report"
        output.mkdir()
        table = [0]

        def progress(done: int, total: int) -> None:
            table[0] = table[0] or Peak.now()

        peak, start = Peak(), time.perf_counter()
        with FindingStore(output) as store, check(data, store, output, workers, progress) as survey:
            store.write(output / "check.csv", survey.cases())
            errors = store.count("error")
        return {
            "seconds": time.perf_counter() - start,
            "table": table[0] / 2**20,
            "peak": peak.stop() / 2**20,
            "errors": errors,
        }


def main() -> None:
    """Print the metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    found = measure(options.rows, options.workers)
    speed = options.rows / found["seconds"]
    print(f"{options.rows} rows, {options.workers} processes: {found['seconds']:.1f} s, {speed:.0f} images a second")
    print(f"own memory: {found['table']:.0f} MiB with the table built, {found['peak']:.0f} MiB at the peak")


if __name__ == "__main__":
    main()
