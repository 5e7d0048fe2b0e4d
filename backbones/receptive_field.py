"""Receptive fields: pixels of the image that a value of a map depends on, followed through a forward pass.

The arithmetic is that of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks"
(Distill, 2019): a kernel of k with dilation d adds (k - 1) d times the step, in pixels, between neighbours of its
input, and a stride multiplies the step; of branches that meet, the widest counts. By convention gates (squeeze-and-
excitation and the like), norms over a map, and the borders of the image are left out. Where positions are mixed by
other means (attention, a linear layer over positions) there is no such number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

Args: TypeAlias = tuple[Any, ...]  # of an operator, in the order of its schema

WHOLE, UNDEFINED = math.inf, math.nan

KEEP = (
    "clone", "_to_copy", "alias", "detach", "slice", "split", "split_with_sizes", "constant_pad_nd", "reflection_pad2d",
    "replication_pad2d", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "_batch_norm_impl_index", "native_layer_norm", "native_group_norm", "cat", "expand", "native_dropout",
    "hardtanh",  # without its tag in torch 2.10
)  # fmt: skip
POOLED = ("mean", "amax", "sum", "max", "var_mean", "var")


class Field(NamedTuple):
    """Receptive field of a tensor.

    Attributes:
        size: (vertical, horizontal) pixels of the image; infinite: all; NaN: undefined.
        step: (vertical, horizontal) pixels of the image between neighbours.
        channel: which dimension holds channels; in a map the two last or the two before it hold positions.
    """

    size: tuple[float, float]
    step: tuple[float, float]
    channel: int = 1

    def grown(self, extent: Sequence[float], stride: Sequence[float]) -> Field:
        """After a window of ``extent`` positions, minus one, that moves by ``stride``."""
        (height, width), (down, right) = self.size, self.step
        size = (height + extent[0] * down, width + extent[1] * right)
        return self._replace(size=size, step=(down * stride[0], right * stride[1]))

    def everything(self) -> Field:
        """The whole image, unless that cannot be said any more."""
        height, width = (WHOLE if not math.isnan(size) else size for size in self.size)
        return self._replace(size=(height, width))

    def undefined(self) -> Field:
        """Positions are mixed by other means; what saw the whole image still does."""
        height, width = (size if size == WHOLE else UNDEFINED for size in self.size)
        return self._replace(size=(height, width))


class ReceptiveFields(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows a map through all that is computed inside ``with``; real or meta tensors.

    Args:
        image: (B, C, H, W), where it begins.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fields: MutableMapping[Tensor, Field] = WeakIdKeyDictionary()
        self._fields[image] = Field((1, 1), (1, 1))

    def of(self, tensor: Tensor) -> Field | None:
        """The field of a tensor that was computed from the image; None for others."""
        return self._fields.get(tensor)

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Args = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute, and note what the outputs depend on."""
        out = func(*args, **(kwargs or {}))
        inputs = [tensor for tensor in tensors_in(args) if tensor in self._fields]
        if inputs:
            for tensor in tensors_in(out):
                self._fields[tensor] = self._after(func, args, inputs, tensor)
        return out

    def _after(self, func: OpOverload, args: Args, inputs: list[Tensor], out: Tensor) -> Field:
        name = func._schema.name.partition("::")[2].removesuffix("_")
        source = inputs[0]
        field: Field = self._fields[source]
        if field.channel >= source.ndim or all(math.isnan(size) for size in field.size):
            return field.undefined()
        rule = getattr(self, f"_{name.lstrip('_')}", None)
        if rule is not None:
            result: Field = rule(field, source, out, args)
            return result
        if name in POOLED:
            return _pooled(field, source, out, args)
        if name in ("view", "_unsafe_view", "reshape"):
            return _viewed(field, source.shape, out.shape)
        if name in KEEP or torch.Tag.pointwise in func.tags:
            same = [tensor for tensor in inputs if name == "cat" or tensor.numel() == out.numel()]
            return _widest([self._fields[tensor] for tensor in same or inputs])
        return field.undefined()

    def _convolution(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        weight, stride, dilation, transposed = args[1], args[3], args[5], args[6]
        if source.ndim != 4 or source is args[1]:
            return field.undefined()
        kernel = weight.shape[-2:]
        if transposed:
            extent = [math.ceil(side / by) - 1 for side, by in zip(kernel, stride, strict=True)]
            return field.grown(extent, [1 / by for by in stride])
        extent = [(side - 1) * by for side, by in zip(kernel, _two(dilation), strict=True)]
        return field.grown(extent, _two(stride))

    def _max_pool2d_with_indices(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        kernel = _two(args[1])
        return field.grown([side - 1 for side in kernel], _two(args[2]) if len(args) > 2 and args[2] else kernel)

    _avg_pool2d = _max_pool2d_with_indices

    def _adaptive_avg_pool2d(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        if out.shape[-2:].numel() == 1:
            return field.everything() if source.shape[-2:].numel() > 1 else field
        ratio = [before / after for before, after in zip(source.shape[-2:], out.shape[-2:], strict=True)]
        return field.grown([math.ceil(by) - 1 for by in ratio], ratio)

    def _upsample_bilinear2d(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        return field.grown([1, 1], [a / b for a, b in zip(source.shape[-2:], out.shape[-2:], strict=True)])

    def _upsample_nearest2d(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        return field.grown([0, 0], [a / b for a, b in zip(source.shape[-2:], out.shape[-2:], strict=True)])

    def _permute(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        order = [axis % source.ndim for axis in args[1]]
        if order[-2:] == [source.ndim - 2, source.ndim - 1]:  # a shuffle among channels
            return field
        return field._replace(channel=order.index(field.channel))

    def _index(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        chosen = [axis for axis, index in enumerate(args[1]) if index is not None]
        return field if chosen == [field.channel] else field.undefined()

    def _transpose(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        order = list(range(source.ndim))
        one, two = args[1] % source.ndim, args[2] % source.ndim
        order[one], order[two] = two, one
        return self._permute(field, source, out, (source, order))

    def _addmm(self, field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
        return field if field.channel == source.ndim - 1 else field.undefined()

    _mm = _addmm


def tensors_in(value: object) -> Iterator[Tensor]:
    """The tensors of a value: itself, or those in lists and tuples of any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def _two(value: float | Sequence[float]) -> list[float]:
    values = list(value) if isinstance(value, Sequence) else [value]
    return values * 2 if len(values) == 1 else values


def _widest(fields: list[Field]) -> Field:
    size, step = [], []
    for axis in (0, 1):
        sizes = [field.size[axis] for field in fields]
        size.append(UNDEFINED if any(map(math.isnan, sizes)) else max(sizes))
        step.append(max(field.step[axis] for field in fields))
    return fields[0]._replace(size=(size[0], size[1]), step=(step[0], step[1]))


def _pooled(field: Field, source: Tensor, out: Tensor, args: Args) -> Field:
    """A mean or maximum: over channels it changes nothing, over positions it sees the whole image."""
    dims = args[1] if len(args) > 1 else range(source.ndim)
    axes = {axis % source.ndim for axis in (dims if isinstance(dims, Sequence) else [dims])}
    positions = axes - {0, field.channel}
    if not positions or source.numel() == source.shape[0] * source.shape[field.channel]:
        return field
    kept = field.everything()
    return kept if out.ndim == source.ndim else kept._replace(channel=out.ndim - 1)


def _viewed(field: Field, before: Sequence[int], after: Sequence[int]) -> Field:
    """Another shape: fields stay where channels stay apart from positions."""
    last, channel = len(before) - 1, field.channel
    if list(before) == list(after):
        return field
    if math.prod(before) == before[0] * before[channel]:  # one position alone
        return field._replace(channel=min(1, len(after) - 1))
    if channel == 1 and len(before) == 4 and len(after) == 2 and after[0] == before[0]:
        return field.everything()  # flattened: what follows sees every position
    if channel == last and after[-1] == before[-1]:
        return field._replace(channel=len(after) - 1)
    if channel < last - 1 and len(after) > 2 and list(before[-2:]) == list(after[-2:]):
        return field._replace(channel=1)
    if channel == 1 and len(after) == 3 and list(after[:2]) == list(before[:2]):
        return field
    return field.undefined()
