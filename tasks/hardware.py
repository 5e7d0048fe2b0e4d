"""Precision, memory format and allocator settings that suit the machine."""

from __future__ import annotations

import ctypes
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

log = logging.getLogger(__name__)

MemoryFormat = Literal["auto", "channels_last", "contiguous"]

# Lightning's names of accelerators that are CUDA GPUs where there are any.
CUDA = ("auto", "gpu", "cuda")

# Of glibc's mallopt, from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD = 128 * 1024  # its default, until freed blocks raise it


def on_cuda(accelerator: object) -> bool:
    """Whether a training with Lightning's ``accelerator`` runs on a CUDA GPU."""
    return accelerator in CUDA and torch.cuda.is_available()


def choose_precision(accelerator: str) -> str:
    """Lightning's name of the precision that this machine computes natively and fast.

    bf16 or fp16 on GPUs; on a CPU bf16 only where the processor multiplies it itself (AVX512-BF16, AMX, Arm BF16):
    elsewhere autocast is 5 to 15 times slower than float32.
    """
    if on_cuda(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator in ("auto", "cpu") and _cpu_has_bf16():
        return "bf16-mixed"
    return "32-true"


def _cpu_has_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(bool(getattr(torch.cpu, name)()) for name in checks if hasattr(torch.cpu, name))


def place(model: nn.Module, asked: MemoryFormat, device: str = "cpu") -> str:
    """Set the memory format of a model's weights: channels-last for convolutional networks unless asked otherwise.

    What a CPU should not compute in bf16 is kept in float32: :func:`keep_in_float32`.

    Args:
        model: is changed in place.
        asked: format.
        device: kind of device that the model is trained on.

    Returns:
        The format chosen, as it is said in the log.
    """
    chosen = asked
    if asked == "auto":
        convolutions = sum(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in model.modules())
        # A vision transformer has one convolution, its patch embedding.
        chosen = "channels_last" if convolutions > 2 else "contiguous"
    if chosen == "channels_last":
        model.to(memory_format=torch.channels_last)
    keep_in_float32(model, device)
    return chosen


def keep_in_float32(model: nn.Module, device: str) -> None:
    """Make two kinds of convolutions stay in float32 where a CPU computes in bf16.

    Depthwise ones with a stride or a kernel above 3, whose backward pass in bf16 is up to ten times slower there; and
    strided ones of images with a side shorter than the stride, such as the last level of RetinaNet at 64 px: oneDNN
    returns memory that nothing was written to as part of the gradient of their weights.

    Args:
        model: is changed in place.
        device: kind of device that the model is trained on; on any other all is as it was.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            placed = getattr(vars(module).get("forward"), "func", None) is _in_float32_on_cpu
            side = _stays_in_float32_below(module)
            if device != "cpu" and placed:  # for another device
                del module.forward
            elif device == "cpu" and side > 1 and "forward" not in vars(module):
                module.forward = partial(_in_float32_on_cpu, module.forward, side)  # type: ignore[method-assign]


def _stays_in_float32_below(convolution: nn.Conv2d) -> float:
    """Of images with a side shorter than this many pixels, a CPU computes it in float32."""
    kernel, stride = max(convolution.kernel_size), max(convolution.stride)
    if convolution.groups == convolution.in_channels > 1 and (kernel > 3 or stride > 1):
        return math.inf
    return stride if kernel > 1 else 1


def _in_float32_on_cpu(forward: Callable[[Tensor], Tensor], below: float, input: Tensor) -> Tensor:
    half = torch.is_autocast_enabled("cpu") or input.dtype is torch.bfloat16
    if input.device.type != "cpu" or not half or min(input.shape[-2:]) >= below:
        return forward(input)
    convolution = cast("nn.Conv2d", cast("MethodType", forward).__self__)
    with torch.autocast("cpu", enabled=False):
        if convolution.weight.dtype is torch.float32:
            return forward(input.float())
        weights = {name: weight.float() for name, weight in convolution.named_parameters()}  # those of ``bf16-true``
        return cast("Tensor", functional_call(convolution, weights, (input.float(),))).to(convolution.weight.dtype)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Let every float32 product keep its 24 bits meanwhile.

    GPUs of NVIDIA round the inputs of float32 convolutions to the 11 bits of TF32 unless told otherwise, and where a
    lower precision was chosen for matrix products, these go through TF32 or bf16, on some CPUs too: metrics would
    depend on the machine. Training keeps what it was given.
    """
    backends: Any = torch.backends  # their modules are untyped
    parts = [
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    ]  # fmt: skip
    before = [part.fp32_precision for part in parts]
    _set_precisions(parts, ["ieee"] * len(parts))
    try:
        yield
    finally:
        _set_precisions(parts, before)


def _set_precisions(parts: list[Any], precisions: list[str]) -> None:
    """Set them, and torch's older switches to what agrees with them: it refuses to read these where they differ."""
    _, convolutions, _, products, *_ = precisions
    torch.backends.cudnn.allow_tf32 = convolutions == "tf32"
    torch.set_float32_matmul_precision({"tf32": "high", "bf16": "medium"}.get(products, "highest"))
    for part, precision in zip(parts, precisions, strict=True):
        part.fp32_precision = precision


def keep_memory_flat() -> None:
    """Make freed memory go back to the system at once, so that the process does not grow with the number of cases.

    Left to itself glibc keeps larger and larger blocks for later, up to 32 MiB each, in a pool for each thread, and
    these pools fill over dozens of volumes. The price is fresh pages for each large array. Nothing changes with another
    C library, nor where the user has tuned the allocator (``MALLOC_...`` variables, ``GLIBC_TUNABLES``).
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)  # fixes it, too
        mallopt(_M_TRIM_THRESHOLD, 0)
