"""A model that learns nothing and keeps what it is shown."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule


class Looking(LightningModule):
    """Keeps what it is shown."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: dict[str, list[Any]] = {"train": [], "val": []}
        self.stop_after = stop_after

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.shown["train"].append(batch)
        if len(self.shown["train"]) == self.stop_after:
            raise KeyboardInterrupt
        loss: torch.Tensor = self.weight * batch["image"].mean()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.shown["val"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)
