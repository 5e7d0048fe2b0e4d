"""What is usually typed for flags whose type is open, for help and for the completion of a shell; nothing heavy."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

from datamodules.transforms.names import PRESETS
from datamodules.windows import WINDOWS


def backbones() -> list[str]:
    """Names of the networks."""
    text = (resources.files("configs") / "networks.csv").read_text(encoding="utf-8")
    return [row["name"] for row in csv.DictReader(text.splitlines())]


def _medmnist() -> list[str]:
    from datamodules.classification.medmnist_sets import MEDMNIST_SETS

    return list(MEDMNIST_SETS)


CHOICES: Mapping[str, Callable[[], Sequence[str]]] = {
    "--model.backbone": backbones,
    "--model.optimizer": lambda: ("adamw", "adam", "sgd", "rmsprop"),
    "--data.augment": lambda: PRESETS,
    "--data.window": lambda: tuple(WINDOWS),
    "--data.name": _medmnist,
    "--trainer.accelerator": lambda: ("auto", "cpu", "gpu", "mps"),
}


def open_choices(flag: str) -> Sequence[str]:
    """What is usually typed for a flag; empty where nobody knows."""
    return CHOICES[flag]() if flag in CHOICES else ()
