"""Trainings behind the tables of the docs: run through the command line, kept, and not repeated."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from tasks.cli.main import main as command_line


class MetricValue(NamedTuple):
    """A value with its 95 % interval over the test cases (patients where they are known)."""

    value: float
    low: float
    high: float


class Run(NamedTuple):
    """A training that has ended.

    Attributes:
        folder: its run folder.
        metrics: metric -> its value on the test part.
        seconds: median of an epoch, validation included; NaN where there are none.
    """

    folder: Path
    metrics: dict[str, MetricValue]
    seconds: float


def finished(task: str, folder: Path, flags: Sequence[str]) -> Run:
    """Train and evaluate, go on with a training that was broken off, or take one that is there.

    Args:
        task: ``classify``, ``segment`` or ``detect``.
        folder: ``--run_dir``; its name stands for the flags.
        flags: of ``fit``.

    Raises:
        RuntimeError: the command line did not end well.
    """
    if not (folder / "metrics.json").is_file():
        begun = (folder / "checkpoints" / "last.ckpt").is_file()
        # Tables of before plans were there, and of settings that they name, are of fixed values.
        fixed = [] if "--plan" in flags else ["--plan", "none"]
        given = ["--ckpt_path", "last"] if begun else [*fixed, *flags]
        if not begun:
            shutil.rmtree(folder, ignore_errors=True)  # broken off before its first epoch ended
        if status := command_line(task, ["fit", *given, "--run_dir", str(folder)]):
            raise RuntimeError(f"{folder}: exit status {status}")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    epochs = folder / "metrics.csv"  # a head that is fitted at once has none
    return Run(
        folder,
        {
            name.removeprefix("test/"): MetricValue(stored["value"], stored["low"], stored["high"])
            for name, stored in metrics.items()
            if name.startswith("test/")
        },
        float(pd.read_csv(epochs)["seconds"].median()) if epochs.is_file() else float("nan"),
    )


def parameters(folder: Path) -> int:
    """Of the trained network in a run folder; statistics of norms are none."""
    state = torch.load(folder / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    no_parameters = ("running_mean", "running_var", "num_batches_tracked")
    return sum(
        tensor.numel()
        for key, tensor in state.items()
        if key.startswith(("backbone.", "head.")) and not key.endswith(no_parameters)
    )


def over_seeds(runs: Sequence[Run], metric: str, *, ends: bool = False) -> str:
    """The mean over seeds, with ``ends`` the lowest and the highest of several, and the 95 % interval of the first."""
    values = [run.metrics[metric].value for run in runs]
    _, low, high = runs[0].metrics[metric]
    between = f" [{min(values):.3f}, {max(values):.3f}]" if ends and len(runs) > 1 else ""
    return f"{statistics.mean(values):.3f}{between} ({low:.3f}-{high:.3f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
