"""Benchmark of the command line's start, beside importing torch and Lightning.

    python -m benchmarks.startup

Each command runs in turn with the reference, several times; medians of the pairwise ratios are printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REFERENCE = ["-c", "import torch, pytorch_lightning"]
COMMANDS = {
    "python -m tasks.classify --help": ["-m", "tasks.classify", "--help"],
    "python -m tasks.classify fit --help": ["-m", "tasks.classify", "fit", "--help"],
    "python -m tasks.classify --version": ["-m", "tasks.classify", "--version"],
    "python -m tasks.classify nonsense": ["-m", "tasks.classify", "nonsense"],
}


def seconds(words: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    return time.perf_counter() - start


def main(pairs: int = 5) -> None:
    """Print seconds and ratios."""
    seconds(REFERENCE)  # fills the file cache
    for name, words in COMMANDS.items():
        runs = [(seconds(words), seconds(REFERENCE)) for _ in range(pairs)]
        own = statistics.median(run for run, _ in runs)
        ratio = statistics.median(run / reference for run, reference in runs)
        print(f"{name:<38}{own:6.2f} s   {ratio:5.2f} x import torch, pytorch_lightning")


if __name__ == "__main__":
    main()
