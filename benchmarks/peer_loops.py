"""An epoch of classification as the suite and its peers train it, each the way its own documentation does.

The same PNG files, three channels, ResNet-18, AdamW, float32, horizontal flips, batches and loader processes. What
differs is what each brings: the suite and torchgeo keep training metrics, Ultralytics keeps an average of the weights,
the suite lays images out channels-last and fuses AdamW.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import timm
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.drawn import CLASSES
from datamodules.transforms.names import AugmentArgs


@dataclass(frozen=True)
class Setting:
    """What all of them train.

    Attributes:
        root: ``train/`` and ``val/`` with a folder a class.
        side: of the images in pixels.
        batch: images a step.
        workers: loader processes.
        epochs: the first of which warms up.
        threads: of torch in the training process.
        cache: images are decoded once, where the peer can do that.
    """

    root: Path
    side: int
    batch: int
    workers: int
    epochs: int
    threads: int
    cache: bool = False


class Epochs(Callback):
    """Seconds of each epoch, from its start to the end of its last step. For any of the Lightnings."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """The clock starts."""
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """It stops with the last step."""
        if trainer.is_last_batch:
            self.seconds.append(time.perf_counter() - self._start)


def _quiet(setting: Setting, clock: Any) -> dict[str, Any]:
    return {
        "accelerator": "cpu", "precision": "32-true", "max_epochs": setting.epochs, "callbacks": [clock],
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
        "num_sanity_val_steps": 0, "limit_val_batches": 0,
    }  # fmt: skip


def suite(setting: Setting) -> list[float]:
    """This suite."""
    from datamodules.classification.image_folder import ImageFolder
    from tasks.classify.task import ClassificationTask
    from tasks.hardware import place

    data = ImageFolder(
        str(setting.root), image_size=setting.side, batch_size=setting.batch, num_workers=setting.workers, channels=3,
        augment="none", augment_args=AugmentArgs(horizontal_flip=True), cache="memory" if setting.cache else "none",
        cache_dir=str(setting.root.parent / "cache"),
    )  # fmt: skip
    model = ClassificationTask.for_data(data, "resnet18")
    place(model, "auto")
    clock = Epochs()
    Trainer(**_quiet(setting, clock)).fit(model, datamodule=data)
    return clock.seconds


class Folder(Dataset[Any]):
    """Torchvision's ``ImageFolder`` as most people write it; ``as_dict`` for torchgeo."""

    def __init__(self, setting: Setting, *, as_dict: bool) -> None:
        from torchvision import transforms
        from torchvision.datasets import ImageFolder

        steps = [transforms.Resize((setting.side, setting.side)), transforms.RandomHorizontalFlip()]
        self.images = ImageFolder(str(setting.root / "train"), transforms.Compose([*steps, transforms.ToTensor()]))
        self.as_dict = as_dict

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Any:
        image, label = self.images[number]
        return {"image": image, "label": label} if self.as_dict else (image, label)


def _loader(setting: Setting, *, as_dict: bool) -> DataLoader[Any]:
    return DataLoader(
        Folder(setting, as_dict=as_dict), setting.batch, shuffle=True, num_workers=setting.workers,
        persistent_workers=setting.workers > 0, drop_last=True,
    )  # fmt: skip


class PlainModule(LightningModule):
    """The classifier of Lightning's own tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("resnet18", num_classes=len(CLASSES))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy, logged."""
        image, label = batch
        loss = F.cross_entropy(self.net(image), label)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def plain_lightning(setting: Setting) -> list[float]:
    """Lightning with torchvision's data set."""
    clock = Epochs()
    Trainer(**_quiet(setting, clock)).fit(PlainModule(), _loader(setting, as_dict=False))
    return clock.seconds


def torchgeo(setting: Setting) -> list[float]:
    """Torchgeo's trainer for classification; it brings the package ``lightning``."""
    lightning = import_module("lightning.pytorch")
    base = import_module("torchgeo.trainers").ClassificationTask

    def configure_optimizers(self: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)  # without its schedule, which waits for a validation

    task = type("WithoutSchedule", (base,), {"configure_optimizers": configure_optimizers})(
        model="resnet18", weights=None, in_channels=3, task="multiclass", num_classes=len(CLASSES), lr=1e-3
    )
    clock = type("Clock", (lightning.Callback,), dict(vars(Epochs)))()
    lightning.Trainer(**_quiet(setting, clock)).fit(task, _loader(setting, as_dict=True))
    seconds: list[float] = clock.seconds
    return seconds


def monai(setting: Setting) -> list[float]:
    """MONAI's ``CacheDataset`` in the loop of its tutorials; without the cache its ``Dataset``."""
    data, transforms = import_module("monai.data"), import_module("monai.transforms")
    found = sorted((setting.root / "train").glob("*/*"))
    cases = [{"image": str(file), "label": CLASSES.index(file.parent.name)} for file in found]
    steps = transforms.Compose(
        [
            transforms.LoadImaged(keys="image", image_only=True),
            transforms.EnsureChannelFirstd(keys="image"),
            transforms.ScaleIntensityRanged(keys="image", a_min=0, a_max=255, b_min=0, b_max=1),
            transforms.Resized(keys="image", spatial_size=(setting.side, setting.side)),
            transforms.RepeatChanneld(keys="image", repeats=3),
            transforms.RandFlipd(keys="image", prob=0.5, spatial_axis=1),
        ]
    )
    if setting.cache:
        cases = data.CacheDataset(cases, steps, progress=False, num_workers=max(1, setting.workers))
    else:
        cases = data.Dataset(cases, steps)
    loader = data.DataLoader(
        cases, batch_size=setting.batch, shuffle=True, num_workers=setting.workers, drop_last=True,
        persistent_workers=setting.workers > 0,
    )  # fmt: skip
    net = timm.create_model("resnet18", num_classes=len(CLASSES)).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    seconds = []
    for _ in range(setting.epochs):
        start = time.perf_counter()
        for batch in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(batch["image"]), batch["label"])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return seconds


class ForUltralytics(nn.Module):
    """The same ResNet-18 as Ultralytics' trainer calls a model: a batch in, its loss out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = timm.create_model("resnet18", num_classes=len(CLASSES))
        self.criterion = None  # the trainer looks whether it changes by the epoch

    def forward(self, batch: Any, **_: Any) -> Any:
        """The loss of a batch, and what is shown of it; or what the network says of images."""
        return self.net(batch) if isinstance(batch, Tensor) else self.loss(batch, self.net(batch["img"]))

    def loss(self, batch: dict[str, Tensor], output: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy."""
        loss = F.cross_entropy(output, batch["cls"])
        return loss, {"loss": loss.detach()}


def ultralytics(setting: Setting) -> list[float]:
    """Ultralytics' classification trainer."""
    base = import_module("ultralytics.models.yolo.classify").ClassificationTrainer

    def setup_model(self: Any) -> None:
        self.model = ForUltralytics()

    trainer = type("OurNetwork", (base,), {"setup_model": setup_model})(
        overrides={
            "model": "resnet18.yaml", "pretrained": False, "data": str(setting.root), "epochs": setting.epochs,
            "imgsz": setting.side, "batch": setting.batch, "nbs": setting.batch, "workers": setting.workers,
            "device": "cpu", "optimizer": "AdamW", "lr0": 1e-3, "amp": False, "val": False, "plots": False,
            "save": False, "verbose": False, "project": str(setting.root.parent / "ultralytics"), "fliplr": 0.5,
            "flipud": 0.0, "auto_augment": None, "erasing": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "scale": 0.0,
            "cache": "ram" if setting.cache else False,
        }
    )  # fmt: skip
    seconds: list[float] = []
    starts: list[float] = []
    trainer.add_callback("on_train_start", lambda _: torch.set_num_threads(setting.threads))  # it takes fewer
    trainer.add_callback("on_train_epoch_start", lambda _: starts.append(time.perf_counter()))
    trainer.add_callback("on_train_epoch_end", lambda _: seconds.append(time.perf_counter() - starts[-1]))
    trainer.train()
    return seconds


@dataclass(frozen=True)
class Peer:
    """Somebody who trains.

    Attributes:
        label: in the table.
        train: seconds of each epoch.
        needs: package that must be importable.
        caches: whether it can keep decoded images in memory.
    """

    label: str
    train: Callable[[Setting], list[float]]
    needs: str = ""
    caches: bool = False


PEERS = {
    "suite": Peer("scansuite", suite, caches=True),
    "lightning": Peer("plain Lightning", plain_lightning),
    "torchgeo": Peer("torchgeo", torchgeo, "torchgeo"),
    "monai": Peer("MONAI", monai, "monai", caches=True),
    "ultralytics": Peer("Ultralytics", ultralytics, "ultralytics", caches=True),
}
