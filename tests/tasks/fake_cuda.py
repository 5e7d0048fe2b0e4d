"""A GPU without its arithmetic: what would make the host wait for one shows on any machine.

Tensors of torch's ``FakeTensorMode`` have a device and a shape and no values, so that all code for a GPU runs, and what
needs a value (``item``, ``nonzero``, an index of bool) fails. Copies between host and device are refused on top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode


class WaitsForGpuError(AssertionError):
    """The host would wait for the device, or the device for the host."""


class _RefuseCopies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_", "index_put_", "index_put", "index"):
            _refuse(name, args, kwargs)
        if name in ("prod", "cumprod") and args[0].is_cuda and args[0].requires_grad:
            raise WaitsForGpuError(f"the gradient of {name} asks whether there is a 0")
        return func(*args, **kwargs)


def _refuse(name: str, args: Any, kwargs: Any) -> None:
    first: Tensor = args[0]
    if name.startswith("index"):
        indices = [index for index in args[1] if index is not None]
        if first.is_cuda and any(index.dtype == torch.bool or not index.is_cuda for index in indices):
            value = args[2] if len(args) > 2 else first
            if value.is_cuda or value.numel() != 1:  # else it is filled in by mask
                raise WaitsForGpuError(f"{name} by what the host has to know or to copy")
        return
    other = kwargs.get("device") if name == "_to_copy" else args[1].device
    blocking = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
    if other is not None and torch.device(other).type != first.device.type and blocking:
        raise WaitsForGpuError(f"{name} between {first.device} and {other}")


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Let tensors be made on a GPU that is not there; see the module."""
    with FakeTensorMode(allow_non_fake_inputs=True), _RefuseCopies():  # type: ignore[no-untyped-call]
        yield


def on_fake_cuda(value: Any) -> Any:
    """Tensors, or the tensors in lists and dictionaries, as tensors of the same shapes on the GPU."""
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")
    if isinstance(value, dict):
        return {key: on_fake_cuda(part) for key, part in value.items()}
    if isinstance(value, list):
        return [on_fake_cuda(part) for part in value]
    return value


def move(model: nn.Module) -> None:
    """Put a model on the GPU, in place: ``to`` cannot."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty_like(parameter, device="cuda")
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty_like(buffer, device="cuda")
