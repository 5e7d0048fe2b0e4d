"""Data-parallel training: the strategy where none is asked for, and batch norms that count over all devices."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.plugins import LayerSync
from pytorch_lightning.strategies import DDPStrategy, Strategy
from torch import nn

from scansuite.errors import SuiteError


def several_devices(strategy: Strategy, *, static: bool) -> DDPStrategy | None:
    """The strategy in the place of Lightning's own choice for several devices; None where it chose another kind.

    Gradients lie where they are averaged (``gradient_as_bucket_view``), which saves their copy. No parameter is looked
    for that takes no part in the loss: there is none in any task, which would cost a walk over the graph each step.

    Args:
        strategy: that Lightning chose for ``--trainer.strategy auto``.
        static: the graph of the loss is the same in every step, so that the order in which gradients come is found
            once.
    """
    if type(strategy) is not DDPStrategy:
        return None
    return DDPStrategy(gradient_as_bucket_view=True, static_graph=static)


class SyncNorms(LayerSync):
    """Batch norms whose mean and deviation are those of the batches of all devices, while training.

    Lightning's own way (``torch.nn.SyncBatchNorm.convert_sync_batchnorm``) puts a plain norm in the place of timm's
    norms with an activation, which is then gone: timm's converter knows them.
    """

    def __init__(self) -> None:
        self._before: dict[str, nn.Module] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Put synchronised norms into a model, under the same names."""
        from timm.layers import convert_sync_batchnorm

        norms = nn.modules.batchnorm._BatchNorm
        self._before = {name: module for name, module in model.named_modules() if isinstance(module, norms)}
        convert_sync_batchnorm(model)
        for name, before in self._before.items():
            after = model.get_submodule(name)
            for hooks in ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called"):
                setattr(after, hooks, getattr(before, hooks))
            after.training = before.training
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the norms back, with what they have learnt."""
        for name, norm in self._before.items():
            after = model.get_submodule(name)
            norm._parameters, norm._buffers, norm.training = after._parameters, after._buffers, after.training
            parent, _, last = name.rpartition(".")
            model.get_submodule(parent)._modules[last] = norm
        self._before = {}
        return model


def refuse_sync_on_cpu(strategy: Any) -> None:
    """Refuse synchronised batch norms where torch has none.

    Raises:
        SuiteError: the devices are no GPUs.
    """
    kind = strategy.root_device.type
    if kind != "cuda":
        raise SuiteError(
            f"--trainer.sync_batchnorm true: batch norms are synchronised on CUDA alone, and this trains on {kind}: "
            "leave it out, or take a network without them (--model.backbone convnext_tiny)"
        )
