"""Training in half precision throughout (``16-true``, ``bf16-true``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from torch import nn
from torch.optim import Optimizer

from scansuite.errors import SuiteError


class HalfImages(HalfPrecision):
    """Weights and images in half precision; what is compared with them keeps its own.

    Lightning's own converts boxes and numbers to predict too (bf16 has 8 bits: a box at 200 px would move by one), and
    makes half precision the default type of every new tensor, anchors and sums of losses among them.
    """

    def connect(
        self, model: nn.Module, optimizers: list[Optimizer], lr_schedulers: list[Any]
    ) -> tuple[nn.Module, list[Optimizer], list[Any]]:
        """Refuse an optimiser that divides by what half precision rounds to 0.

        Raises:
            SuiteError: its ``eps`` does so.
        """
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            eps = group.get("eps")
            if eps and not torch.tensor(eps, dtype=self._desired_input_dtype):
                raise SuiteError(
                    f"--trainer.precision {self.precision}: the optimiser's eps {eps:g} is 0 in half precision: give "
                    "--model.optimizer_args.eps 0.0001, or train in bf16-true"
                )
        return super().connect(model, optimizers, lr_schedulers)

    def convert_input(self, data: Any) -> Any:
        """A batch with its images in half precision."""
        if isinstance(data, dict) and "image" in data:
            return {**data, "image": super().convert_input(data["image"])}
        return super().convert_input(data)

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """Nothing: tensors that a step makes are float32."""
        yield


def keep_targets(trainer: Trainer) -> None:
    """Let a trainer that computes in half precision keep targets as they are."""
    plugin = trainer.precision_plugin
    if type(plugin) is HalfPrecision:
        trainer.strategy.precision_plugin = HalfImages(plugin.precision)


def evaluate_exactly(trainer: Trainer) -> None:
    """Let a trainer that has trained with rounded weights evaluate in float32: metrics must not depend on it."""
    if not isinstance(trainer.precision_plugin, (MixedPrecision, DoublePrecision)):
        trainer.strategy.precision_plugin = Precision()
