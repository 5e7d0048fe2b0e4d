"""Gradient checkpointing: what a network computes is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from backbones.network import Network, Plan, build, intermediates
from scansuite.errors import SuiteError


class CountedOnce:
    """Statistics of the batch norms of a module, which move once a step though the module is computed twice.

    ``torch.utils.checkpoint`` computes a module again in the backward pass, where plain norms would take the same batch
    into their running mean and variance a second time.

    Args:
        module: whose forward pass is always made inside :meth:`forward_pass`.
    """

    def __init__(self, module: nn.Module) -> None:
        self.first = False
        for norm in module.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.register_forward_pre_hook(self._before)
                # torch leaves the second pass by an exception once it has all that it needs.
                norm.register_forward_hook(self._after, always_call=True)

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """The pass whose statistics count."""
        self.first = True
        try:
            yield
        finally:
            self.first = False

    def _before(self, norm: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.first and norm.training:
            norm.__dict__["momentum_kept"] = norm.momentum
            norm.momentum = 0.0  # type: ignore[assignment]

    def _after(self, norm: nn.Module, args: tuple[Any, ...], output: Tensor | None) -> None:
        if "momentum_kept" in norm.__dict__:
            norm.momentum = norm.__dict__.pop("momentum_kept")
            if isinstance(norm.num_batches_tracked, Tensor):
                norm.num_batches_tracked.sub_(1)


def checkpoint_gradients(network: Network, plan: Plan, image_size: tuple[int, int]) -> CountedOnce:
    """Turn timm's gradient checkpointing of a network on.

    Whether it does anything is tried without memory or arithmetic, on the meta device: some families take the switch
    and have no use for it in the levels that are asked for.

    Args:
        network: whose activations are to be computed again.
        plan: that it was built from.
        image_size: (H, W) in pixels.

    Raises:
        SuiteError: the network has no gradient checkpointing, or none that saves something here.
    """
    with torch.device("meta"):
        trial = build(plan)
        image = torch.empty(1, int(plan.args["in_chans"]), *image_size)
    try:
        before = _kept_bytes(trial, plan, image)
        trial.net.set_grad_checkpointing(True)
        after = _kept_bytes(trial, plan, image)
        network.net.set_grad_checkpointing(True)
    except (AssertionError, AttributeError, NotImplementedError, TypeError, ValueError):
        before = after = 0
    if not after < before:
        raise SuiteError(
            f"--model.grad_checkpointing true: {plan.name} has none: leave it out, or take another --model.backbone "
            "(resnet, convnext, vit and swin have it)"
        )
    return CountedOnce(network.net)


def _kept_bytes(network: Network, plan: Plan, image: Tensor) -> int:
    """How much a forward pass keeps for the backward pass."""
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    network.net.eval()
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        if plan.native:
            network.net(image)
        else:
            intermediates(network, image)
    return total
