"""Memory of long trainings: what an epoch leaves behind, two hundred of them show."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import TINY, draw_table

# The command line as it is, and a callback that prints the MiB of this process and of its loader processes.
WATCHED = """
import os, sys
from pathlib import Path
from pytorch_lightning import Callback
import tasks.cli.verbs.fit as fit
from tasks.cli.main import main

def mib(process):
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

class Watch(Callback):
    def on_train_epoch_end(self, trainer, model):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        print("EPOCH", sum(map(mib, ["self", *children])), len(children), flush=True)

made = fit.training_callbacks
fit.training_callbacks = lambda *arguments: [*made(*arguments), Watch()]
sys.exit(main("classify", sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read where Linux says it")
@pytest.mark.parametrize("workers", ["0", "2"])
def test_two_hundred_epochs_take_no_more_memory_than_fifty(tmp_path: Path, workers: str) -> None:
    root = draw_table(tmp_path / "data", cases=40)
    flags = ["--data", "ImageTable", "--data.root", str(root), "--data.table", "labels.csv", *TINY]
    flags += ["--data.label_columns", "finding", "--data.num_workers", workers, "--data.augment", "light"]
    words = ["fit", *flags, "--trainer.max_epochs", "200", "--run_dir", str(tmp_path / "run"), "--model.ema", "0.9"]
    environment = {**os.environ, "SCANSUITE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    end = subprocess.run(
        [sys.executable, "-c", WATCHED, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert end.returncode == 0, end.stderr[-2000:]
    epochs = [line.split() for line in end.stdout.splitlines() if "EPOCH" in line]
    used = [float(words[words.index("EPOCH") + 1]) for words in epochs]
    assert len(used) == 200
    # Allocators settle in the first epochs. What leaked 100 KiB an epoch would be at 15 MiB.
    grown = statistics.median(used[150:]) - statistics.median(used[20:50])
    print(
        f"grown by {grown:.1f} MiB from {used[0]:.0f}, {used[20]:.0f}, {used[50]:.0f}, {used[100]:.0f}, {used[199]:.0f}"
    )
    assert grown < 8
