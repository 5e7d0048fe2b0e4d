"""Pruning: smallest weights set to 0, or whole channels taken out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import L1Unstructured
from torch.utils.flop_counter import FlopCounterMode

from scansuite.errors import SuiteError

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
# Of the share of channels, in the search for the multiply-adds asked for: a first look at every 16th step.
STEPS, COARSE = 128, 16


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of convolutions and linear layers by name; biases and norms are left alone."""
    return {
        f"{name}.weight": cast("nn.Parameter", module.weight)
        for name, module in model.named_modules()
        if isinstance(module, LAYERS)
    }


@torch.no_grad()
def prune_magnitude(model: nn.Module, amount: float) -> None:
    """Set the smallest weights of all layers together to 0 (Han et al., NeurIPS 2015).

    Weights that are 0 already count among them.

    Args:
        model: is changed in place.
        amount: share of all weights, 0..1; the nearest whole number of weights becomes 0.
    """
    weights = list(prunable_weights(model).values())
    every = torch.cat([weight.flatten() for weight in weights])
    # The library's criterion without its masks, which would give the weights other names in checkpoints.
    mask = L1Unstructured(amount).compute_mask(every, torch.ones_like(every))  # type: ignore[no-untyped-call]
    for weight, part in zip(weights, mask.split([weight.numel() for weight in weights]), strict=True):
        weight.mul_(part.view_as(weight))


def prune_channels(
    model: nn.Module, inputs: tuple[Any, ...], fixed: Sequence[nn.Module], amount: float
) -> tuple[nn.Module, float]:
    """Take the weakest channels out of all layers, each the same share, until enough multiply-adds are gone.

    Which channels hang together, over residual sums, concatenations and norms, is found by torch-pruning's dependency
    graph, and how strong they are by the L2 norm of all weights of such a group (Fang et al., "DepGraph: Towards Any
    Structural Pruning", CVPR 2023).

    Args:
        model: stays as it is.
        inputs: of its ``forward``.
        fixed: layers whose outputs keep their channels.
        amount: share of the multiply-adds, 0..1; the smallest number of channels is taken with which it is reached.

    Returns:
        A pruned copy, and the share of the multiply-adds that is gone.

    Raises:
        SuiteError: the library cannot prune this network, or not so far.
    """
    name = str(getattr(getattr(model, "backbone", model), "name", type(model).__name__))
    _refuse_attention(model, name)
    before, shapes = multiply_adds(model, inputs), _shapes(model, inputs)
    numbers = {module: position for position, module in enumerate(model.modules())}
    places = [numbers[module] for module in fixed]

    def pruned(step: int) -> tuple[nn.Module, float]:
        smaller = copy.deepcopy(model)
        modules = list(smaller.modules())
        _take_out(smaller, inputs, [modules[place] for place in places], step / STEPS)
        if _shapes(smaller, inputs) != shapes:
            raise RuntimeError("its outputs have other shapes afterwards")
        return smaller, 1 - multiply_adds(smaller, inputs) / before

    try:
        # Multiply-adds fall with the square of the channels, so the search begins a little below where they should be.
        high = min(int(STEPS * (1 - (1 - amount) ** 0.5)) // COARSE * COARSE, STEPS - 2 * COARSE)
        low, found, share = high, model, 0.0
        while share < amount or found is model:
            low, high = high, high + COARSE
            if high == STEPS:  # no layer would have a channel left
                raise SuiteError(
                    f"--model.prune_amount {amount}: of {name} only {share:.2f} of the multiply-adds can go: take less"
                )
            found, share = pruned(high)
        while high - low > 1:  # high is enough, low is not
            middle = (low + high) // 2
            smaller, gone = pruned(middle)
            if gone >= amount:
                found, share, high = smaller, gone, middle
            else:
                low = middle
    except SuiteError:
        raise
    except Exception as error:  # the library raises all there is on what it was not made for
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise SuiteError(
            f"--model.prune channels: {name} cannot be pruned so ({text}): take magnitude, or another network"
        ) from error
    return found, share


def _refuse_attention(model: nn.Module, name: str) -> None:
    """Heads of attention cannot lose single channels, and some networks go on computing nonsense then."""
    if any(hasattr(module, "num_heads") or isinstance(module, nn.MultiheadAttention) for module in model.modules()):
        raise SuiteError(
            f"--model.prune channels: {name} has attention, whose heads cannot lose single channels: take magnitude"
        )


class _Named(nn.Module):
    """A model whose network comes first by its own names: the library finds parameters by attribute.

    Args:
        model: with a backbone, whose own attributes may lie over modules of its network (``stages``).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = getattr(getattr(model, "backbone", None), "net", None)
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        """The model's output."""
        return self.model(*inputs)


def _take_out(model: nn.Module, inputs: tuple[Any, ...], fixed: list[nn.Module], share: float) -> None:
    """Prune this share of the channels of each layer."""
    import torch_pruning

    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    model.requires_grad_(True)  # the graph is traced by gradients
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            _Named(model),
            list(inputs),
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=share,
            ignored_layers=fixed,
            root_module_types=[nn.Conv2d, nn.Linear],
            in_channel_groups={},  # the library's own defaults are shared by all its pruners
            out_channel_groups={},
            forward_fn=lambda network, given: network(*given),
            output_transform=tensors_of,
        )
        pruner.step()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[name])
    for name, module in model.named_modules():
        module.training = modes[name]


def multiply_adds(model: nn.Module, inputs: tuple[Any, ...]) -> int:
    """Multiply-adds of one image: half of what PyTorch's ``FlopCounterMode`` counts, as in the verb ``summary``.

    Args:
        model: its ``forward`` is run once.
        inputs: with the images (N, C, H, W) first.
    """
    counter = FlopCounterMode(display=False)
    with counter:
        _run(model, inputs)
    return int(counter.get_total_flops()) // 2 // len(inputs[0])


def _shapes(model: nn.Module, inputs: tuple[Any, ...]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors_of(_run(model, inputs))]


@torch.no_grad()
def _run(model: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """The output in evaluation mode, computed without memory where that can be."""
    tensors = (*model.parameters(), *model.buffers())
    # A copy in which these have become tensors without memory.
    shadow = copy.deepcopy(model, {id(tensor): _without_memory(tensor) for tensor in tensors}).eval()
    given = tuple(value.to("meta") if isinstance(value, Tensor) else value for value in inputs)
    try:
        return shadow(*given)
    except NotImplementedError:
        return copy.deepcopy(model).eval()(*inputs)


def _without_memory(tensor: Tensor) -> Tensor:
    empty = tensor.detach().to("meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def tensors_of(output: object) -> list[Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, Tensor):
        return [output]
    if is_dataclass(output):
        return [tensor for field in fields(output) for tensor in tensors_of(getattr(output, field.name))]
    if isinstance(output, (list, tuple)):
        return [tensor for part in output for tensor in tensors_of(part)]
    return []
