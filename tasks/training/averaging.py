"""Averages of the weights (EMA, SWA), evaluated and kept beside the weights that train."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from datamodules.types import Batch


class Averaging(WeightAveraging):
    """Lightning's averaging, for a trainer that evaluates other models afterwards.

    A checkpoint holds the average under ``state_dict`` and the weights that train under ``current_model_state``, so
    ``best.ckpt`` is what was evaluated, and a resumed run has both. Before the first update there is no average, and
    everything is as without the callback.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average, which was made before the model was moved, on the model's device."""
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    @property
    def _begun(self) -> bool:
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the average, while fitting."""
        if self._begun and trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the weights that train."""
        if self._begun and trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model."""
        if self._begun:
            super().on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """State to resume from: when the average was updated."""
        return {**super().state_dict(), "latest_update_epoch": self._latest_update_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore that state."""
        super().load_state_dict(state_dict)
        self._latest_update_epoch = state_dict["latest_update_epoch"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the average and the weights that train."""
        if self._begun and trainer.state.fn == TrainerFn.FITTING:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take both back."""
        if "averaging_state" in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class Ema(Averaging):
    """Exponential moving average of the weights after each step (Polyak and Juditsky, 1992), norm statistics too.

    The decay grows to its value as (1 + n) / (10 + n) with the updates n, as in timm and TensorFlow: with the plain
    0.999 the first weights would bear on a short training to its end.

    ``AveragedModel.update_parameters`` does the same tensor by tensor, and asks the device for the number of updates
    before each: here all tensors are averaged in one call, and the number is counted on the host too.

    Args:
        decay: share of the old average in the new one, 0..1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._updates = 0
        self._moving: tuple[list[Tensor], list[Tensor]] = [], []  # of the average, and of the model
        self._copied: tuple[list[Tensor], list[Tensor]] = [], []  # likewise: whole numbers

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See :meth:`Averaging.on_train_start`; and note which tensors belong together, which takes a millisecond."""
        super().on_train_start(trainer, pl_module)
        assert self._average_model is not None
        self._updates = int(self._average_model.n_averaged)
        self._moving, self._copied = ([], []), ([], [])
        for old, new in zip(_tensors(self._average_model.module), _tensors(pl_module), strict=True):
            pairs = self._moving if old.is_floating_point() else self._copied
            pairs[0].append(old)
            pairs[1].append(new)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int
    ) -> None:
        """Average after a step of the optimiser."""
        if trainer.global_step <= self._latest_update_step:  # gradients are being accumulated
            return
        assert self._average_model is not None
        average(*self._moving, self._updates, self.decay)
        average(*self._copied, 0, self.decay)
        self._average_model.n_averaged += 1
        self._updates += 1
        self._latest_update_step = trainer.global_step


def _tensors(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a model, outside of the graph."""
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]


def average(old: list[Tensor], new: list[Tensor], count: int, decay: float) -> None:
    """Bring averages to update ``count``, in place; update 0 copies. What never changes stays exactly the same."""
    if not old:
        return
    if count == 0:
        torch._foreach_copy_(old, new)
    else:
        torch._foreach_lerp_(old, new, 1 - min(decay, (1 + count) / (10 + count)))


class Swa(Averaging):
    """The mean of the weights at the end of each epoch from one on (Izmailov et al., UAI 2018).

    The statistics of batch norms, which belong to no weights that were trained, are found anew in a pass over the
    training batches before the average is evaluated; those of frozen modules are left alone.

    Args:
        start: share of the epochs after which averaging begins, 0..1.
    """

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start = start

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Never by itself: an update at the end of the epoch would come after its validation."""
        return False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int
    ) -> None:
        """After the last step of an epoch, before its validation."""
        epoch = trainer.current_epoch
        late = epoch >= int(self.start * _epochs(trainer)) and epoch > self._latest_update_epoch
        if not late or batch_idx + 1 < trainer.num_training_batches:
            return
        assert self._average_model is not None
        self._average_model.update_parameters(pl_module)
        self._latest_update_epoch = epoch
        renew_norms(self._average_model.module, pl_module, trainer)


def _epochs(trainer: Trainer) -> int:
    """How many epochs the training has, whether it is counted in epochs or in steps."""
    steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return math.ceil(trainer.estimated_stepping_batches / steps)


@torch.no_grad()
def renew_norms(averaged: nn.Module, pl_module: LightningModule, trainer: Trainer) -> None:
    """Find the statistics of batch norms anew over the training batches of the epoch, on all ranks together.

    Args:
        averaged: a copy of the model, with other weights.
        pl_module: the model; which of its modules train says which norms to renew.
        trainer: with the batches.
    """
    norms: list[nn.modules.batchnorm._BatchNorm] = []
    for module, trains in zip(averaged.modules(), pl_module.modules(), strict=True):
        module.training = trains.training
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.track_running_stats:
            norms.append(module)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    loader = cast("Iterable[Batch]", trainer.train_dataloader)
    for batch in islice(loader, int(trainer.num_training_batches)):
        image = trainer.strategy.batch_to_device(batch)["image"]
        with trainer.precision_plugin.forward_context():
            averaged(image)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None
            statistic.copy_(trainer.strategy.reduce(statistic.clone(), reduce_op="mean"))
