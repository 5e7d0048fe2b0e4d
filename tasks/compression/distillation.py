"""Knowledge distillation: a student learns from a teacher beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from datamodules.types import Batch
from tasks.compression.compressible import Compressible
from tasks.compression.features import Pair, Projections


class Distillation(Callback):
    """Adds to the loss of each training step how far output and feature maps are from a teacher's.

    The loss is (1 - alpha) x the task's own + alpha x that of the outputs (Hinton, Vinyals and Dean, 2015) + features x
    that of the feature maps (:class:`~tasks.compression.features.Projections`). ``train/loss`` stays the task's own,
    which compares with ``val/loss``; the parts are logged as ``train/distill_output`` and ``train/distill_features``,
    and what is minimised as ``train/objective``.

    The teacher sees the batch that the student sees, mixed images included, through its own normalisation. It stays in
    evaluation mode without gradient, and is no part of the model: neither optimiser nor checkpoint nor DDP know it.

    Args:
        teacher: a trained model of the same task.
        alpha: share of the outputs' loss, 0..1.
        temperature: that softens outputs.
        features: weight of the feature maps' loss.
        pairs: levels of the backbones that are compared; where there are any, ``features`` must be above 0.
    """

    def __init__(
        self, teacher: Compressible, *, alpha: float, temperature: float, features: float, pairs: Sequence[Pair]
    ) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.alpha, self.temperature, self.features, self.pairs = alpha, temperature, features, list(pairs)
        self.projections: Projections | None = None
        self._hooks: list[RemovableHandle] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the model the projections, before its optimiser is made and DDP wraps it."""
        if stage == "fit" and self.pairs:
            pl_module.projections = self.projections = Projections(self.pairs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the teacher beside the model."""
        model = cast("Compressible", pl_module)
        teacher = trainer.precision_plugin.convert_module(self.teacher.to(model.device)).eval()
        self.teacher = cast("Compressible", teacher)
        own: list[Tensor] = []
        wanted: list[Tensor] = []
        if self.pairs:
            self._hooks = [
                keep_levels(model.backbone, own, grad=True), keep_levels(self.teacher.backbone, wanted, grad=False),
            ]  # fmt: skip
        # A plain function: unlike a method, copies of the model (averaged weights) do not copy what it belongs to.
        teacher, alpha, weight, projections = self.teacher, self.alpha, self.features, self.projections
        temperature = self.temperature

        def objective(loss: Tensor, output: Any, batch: Batch) -> Tensor:
            with torch.no_grad():
                says = teacher(batch["image"], *teacher.further_inputs(batch))
            parts: dict[str, Tensor] = {}
            total = loss
            if alpha:
                parts["distill_output"] = model.imitation(output, says, batch, teacher, temperature)
                total = (1 - alpha) * loss + alpha * parts["distill_output"]
            if projections is not None:
                kept = model.kept_images
                levels = own if kept is None else [level[kept] for level in own]
                parts["distill_features"] = projections(levels, wanted)
                total = total + weight * parts["distill_features"]
            for name, part in {**parts, "objective": total}.items():
                how: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True}
                model.log(f"train/{name}", part.detach(), batch_size=model.weight, **how)
            return total

        model.objective = objective

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the model as it was."""
        if stage != "fit":
            return
        model = cast("Compressible", pl_module)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        model.objective = None
        if self.projections is not None:
            del model.projections

    def state_dict(self) -> dict[str, Any]:
        """The projections, for a run that goes on."""
        return {} if self.projections is None else {"projections": self.projections.own_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        if self.projections is not None and "projections" in state_dict:
            self.projections.load_own_state(state_dict["projections"])


def keep_levels(backbone: nn.Module, levels: list[Tensor], *, grad: bool) -> RemovableHandle:
    """Keep what a backbone gave last in a list, of passes with or without gradient alone: validation leaves it alone.

    Args:
        backbone: whose passes are listened to until the handle is removed.
        levels: filled anew at each pass; of several views of an image the last one's stay.
        grad: listen to passes with gradient, or to those without.
    """

    def keep(module: nn.Module, args: tuple[object, ...], output: list[Tensor]) -> None:
        if torch.is_grad_enabled() == grad:
            levels[:] = output

    return backbone.register_forward_hook(keep)
