"""``run.json`` in a run folder: which code, machine and model its tables were made by, for whoever reads its report."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer

from scansuite.version import __version__
from tasks.cli.bug_report import cpu_name
from tasks.ensemble import Ensemble
from tasks.evaluation.run_file import write_run_file
from tasks.loading import Model

_PACKAGES = ("torch", "pytorch-lightning", "timm", "albumentations", "torchmetrics", "numpy")
_HOME = Path(__file__).resolve().parents[3]


def write_run_facts(run_dir: Path, model: Model, trainer: Trainer) -> None:
    """Write ``run.json``; the tables have just been made.

    Args:
        run_dir: folder of the run.
        model: that made the tables.
        trainer: it was run by.
    """
    write_run_file(
        run_dir,
        {
            "version": __version__,
            "commit": commit(),
            "packages": {name: metadata.version(name) for name in _PACKAGES},
            "python": platform.python_version(),
            "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
            "hardware": _hardware(trainer),
            "precision": str(trainer.precision),
            "model": _model(model),
        },
    )


def commit() -> str | None:
    """The state of the suite's own code in git; None where it is installed from a package."""
    if not (_HOME / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(_HOME), "describe", "--always", "--dirty", "--exclude", "*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip() or None
    return None


def _hardware(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    machine = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    if device.type != "cuda":
        return machine
    return f"{trainer.world_size} x {torch.cuda.get_device_name(device)}; {machine}"


def _model(model: Model) -> Mapping[str, Any]:
    """What the network is, in words and numbers; of an ensemble its first member and how many there are."""
    members: list[Any] = list(model.members) if isinstance(model, Ensemble) else [model]
    first: Any = members[0]
    head = {name: str(value) for name in ("decoder", "detector", "head") if (value := first.hparams.get(name))}
    return {
        "network": first.network.name,
        "weights": first.network.weights,
        "weights_licence": first.weights_licence,
        "parameters": sum(weight.numel() for weight in first.parameters()),
        "members": len(members),
        **head,
    }
