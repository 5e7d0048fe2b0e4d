"""What a training has chosen, said before it begins: classes, images, network, steps, and where it writes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.base import ScanDataModule
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from scansuite.words import number_of
from tasks.base import Task

log = logging.getLogger(__name__)

_SHOWN = 8  # classes


class SayChoices(Callback):
    """Says in a few lines what is trained on what, when the steps are known; the data's own line has been said by then.

    Args:
        data: that is trained on.
        run_dir: that is written to; None: nothing is written.
        compute: precision and the like, in words.
    """

    def __init__(self, data: ScanDataModule, run_dir: Path | None, compute: str) -> None:
        self.data, self.run_dir, self.compute = data, run_dir, compute

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say them."""
        if not trainer.is_global_zero or not log.isEnabledFor(logging.INFO):
            return
        model = cast("Task", pl_module)
        for line in choices(trainer, self.data, model, self.compute):
            log.info("%s", line)
        if self.run_dir is not None:
            log.info("writes to: %s", self.run_dir)


def choices(trainer: Trainer, data: ScanDataModule, model: Task, compute: str) -> list[str]:
    """What a training has chosen: classes, images, model, steps."""
    return [*facts(data, model), f"training: {_steps(trainer, data, model)}; {compute}"]


def facts(data: ScanDataModule, model: Task) -> list[str]:
    """What is trained on what: classes, images, model."""
    return [
        f"classes: {_classes(data, model)}",
        f"images: {_images(data, model)}",
        f"model: {_network(model)}",
    ]


def _classes(data: ScanDataModule, model: Task) -> str:
    train = data.rows("train")
    if isinstance(data, ClassificationData):
        if data.target == "regression":
            return f"none: a number ({', '.join(data.class_names)})"
        counts = [f"{name} {count:.0f}" for name, count in zip(data.class_names, data.class_counts, strict=True)]
        return f"{_some(counts)} of the training cases ({data.target})"
    if isinstance(data, DetectionData):
        found = data.true_boxes(train)["label"].value_counts()
        return f"{_some([f'{name} {found.get(name, 0)}' for name in data.class_names])} training boxes"
    pixels = getattr(data, "class_counts", None)
    if pixels is None or not sum(pixels):
        return _some(model.class_names)
    shares = [
        f"{name} {100 * count / sum(pixels):.2g} %" for name, count in zip(model.class_names, pixels, strict=True)
    ]
    return f"{_some(shares)} of the pixels of training masks"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _images(data: ScanDataModule, model: Task) -> str:
    height, width = data.input_size
    what = "patches of " if data.patch is not None else ""
    seen = f"{what}{height} x {width} pixels, {number_of(model.in_channels, 'channel')}"
    facts = data.image_facts
    if facts.smallest is None or facts.largest is None:
        return seen
    least, most = (f"{high} x {wide}" for high, wide in (facts.smallest, facts.largest))
    stored = f"{least} pixels" if least == most else f"{least} to {most} pixels"
    asked = " (--data.image_size)" if getattr(data, "image_size", None) else ""
    return f"{seen}{asked}; stored are {stored}, {' and '.join(facts.kinds)}"


def _network(model: Task) -> str:
    from backbones.sources import is_source  # brings the hub's client

    count = sum(weight.numel() for weight in model.parameters())
    fixed = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    weights = "from scratch" if model.network.weights is None else f"weights {model.network.weights}"
    if model.weights_licence is not None:
        weights += f" (licence {model.weights_licence})"
    elif is_source(model.network.weights):
        weights += " (no licence is stated: ask whose they are)"
    return (
        f"{model.network.name}, {_short(count)} parameters"
        + (f" ({_short(fixed)} of them fixed)" if fixed else "")
        + f", {weights}"
    )


def _short(count: int) -> str:
    for unit, size in (("billion", 1e9), ("million", 1e6), ("thousand", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def _steps(trainer: Trainer, data: ScanDataModule, model: Task) -> str:
    batch = data.batch_size_on(trainer.world_size) * trainer.world_size * trainer.accumulate_grad_batches
    parts = [f"batches of {batch}"]
    batches = float(trainer.num_training_batches)
    if math.isfinite(batches):
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        epochs = trainer.max_epochs
        parts.append(f"{number_of(steps, 'step')} an epoch")
        if epochs is not None and epochs > 0:
            parts.append(f"{number_of(epochs, 'epoch')} ({number_of(steps * epochs, 'step')})")
    parts.append(f"{model.optimization.name} at {model.optimization.lr:g}")
    return ", ".join(parts)
