"""Layers whose channels were pruned: their sizes as plain data, by which a checkpoint's network is built again."""

from __future__ import annotations

from typing import Any

from torch import nn

# Name of a module -> {"attributes": {name: numbers}, "tensors": {name: shape}}.
Sizes = dict[str, dict[str, dict[str, Any]]]


def sizes_of(model: nn.Module) -> Sizes:
    """Sizes of a layer: attributes made of whole numbers, and the shapes of parameters and buffers."""
    return {
        name: {
            "attributes": {key: value for key, value in vars(module).items() if key[0] != "_" and _is_size(value)},
            "tensors": {key: list(tensor.shape) for key, tensor in _tensors(module).items()},
        }
        for name, module in model.named_modules()
    }


def changed_sizes(before: Sizes, after: Sizes) -> Sizes:
    """The part of ``after`` that differs from ``before``, both of the same modules."""
    changes: Sizes = {}
    for name, parts in after.items():
        differing = {
            part: {key: value for key, value in values.items() if before[name][part].get(key) != value}
            for part, values in parts.items()
        }
        if any(differing.values()):
            changes[name] = differing
    return changes


def resize(model: nn.Module, sizes: Sizes) -> None:
    """Give layers the sizes that :func:`changed_sizes` noted; tensors that change are empty afterwards.

    Raises:
        AttributeError: the model has no such layer, attribute or tensor.
    """
    modules = dict(model.named_modules())  # not by attribute: a backbone's own may lie over a network's module
    for name, parts in sizes.items():
        if name not in modules:
            raise AttributeError(f"there is no layer {name}")
        module = modules[name]
        for key, value in parts["attributes"].items():
            if not _is_size(getattr(module, key)) or not _is_size(value):
                raise AttributeError(f"{name}.{key} is no size")
            setattr(module, key, value)
        for key, shape in parts["tensors"].items():
            old = _tensors(module)[key] if key in _tensors(module) else getattr(module, key)
            if list(old.shape) == list(shape):
                continue
            new = old.detach().new_empty(shape)
            setattr(module, key, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)


def _tensors(module: nn.Module) -> dict[str, Any]:
    owned = {**module._parameters, **module._buffers}
    return {key: tensor for key, tensor in owned.items() if tensor is not None}


def _is_size(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_is_size(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool)
