"""Stems for small images: a network that divides by 4 before its first block sees little of 28 x 28 pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

# Where timm's convolutional networks keep the max-pool (or what stands in its place) after the first convolutions.
STEM_POOLS = ("maxpool", "pool0", "stem.pool", "features.pool0", "features.conv1_pool", "maxpool1")


class StemChange(NamedTuple):
    """Whether the stem was changed, and in one phrase how, or why not (for the log)."""

    changed: bool
    description: str


def shrink_stem(net: Any) -> StemChange:
    """Makes the stem of a timm network fit for images under about 64 pixels, in place.

    The first convolution moves by one pixel instead of two, a 7x7 kernel becomes 3x3 (drawn anew), and the pooling
    after it goes: for ResNet this is the stem of the CIFAR experiments in He et al., "Deep Residual Learning for Image
    Recognition" (CVPR 2016, section 4.2); for the MobileNet and EfficientNet kind only the stride changes, as usual on
    CIFAR. ``net.feature_info`` is brought up to date, so that reductions stay true. Parameter names stay the same, and
    so do the shapes of all parameters but a 7x7 kernel.

    Args:
        net: a plain timm network, before pruning, with ``feature_info`` and ``pretrained_cfg``.

    Returns:
        What was done. Patch stems, networks tied to one image size and stems that do not reduce are left as they are.
    """
    if hasattr(net, "shrink_stem"):  # a network of ours that knows better
        return StemChange(True, f"small stem: {net.shrink_stem()}")
    config = net.pretrained_cfg
    if config.get("fixed_input_size"):
        return StemChange(False, "stem unchanged: the network is laid out for one image size")
    names = config.get("first_conv") or ()
    convs = [net.get_submodule(name) for name in ((names,) if isinstance(names, str) else names)]
    if not convs or not all(isinstance(conv, nn.Conv2d) for conv in convs):
        return StemChange(False, "stem unchanged: it does not start with a convolution")
    if all(conv.stride == (1, 1) for conv in convs):
        return StemChange(False, "stem unchanged: its first convolution keeps the full resolution")
    patches = all(conv.kernel_size == conv.stride for conv in convs)
    if patches or any(conv.stride != (2, 2) for conv in convs):
        return StemChange(False, "stem unchanged: it cuts the image into patches")

    done = []
    for conv in convs:
        if conv.kernel_size[0] > 5:
            _redraw_as_3x3(conv)
            done.append("3x3 kernel")
        conv.stride = (1, 1)
    done.append("stride 1")
    pool = _stem_pool(net)
    if pool is not None:
        _remove_pool(net, pool)
        done.append("no pooling")
    for info in net.feature_info:
        # The level before the pool loses one halving, all others lose two.
        info["reduction"] //= 4 if pool is not None and info["reduction"] > 2 else 2
    return StemChange(True, f"small stem: {', '.join(dict.fromkeys(done))}")


def _redraw_as_3x3(conv: nn.Conv2d) -> None:
    """Replaces the kernel in place, so that special classes of convolution (weight-standardised, "same") stay."""
    if any(conv.padding):  # "same" convolutions pad by themselves and keep 0 here
        conv.padding = (1, 1)
    scale: Any = getattr(conv, "scale", None)
    if scale is not None:  # timm's ScaledStdConv2d holds gamma / sqrt(fan-in): the fan-in is now 9 of k * k
        conv.scale = scale * conv.kernel_size[0] / 3
    conv.kernel_size = (3, 3)
    conv.weight = nn.Parameter(conv.weight.new_empty(*conv.weight.shape[:2], 3, 3))
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


def _stem_pool(net: nn.Module) -> str | None:
    modules = dict(net.named_modules())
    for name in STEM_POOLS:
        if name in modules and any(_halves(module) for module in modules[name].modules()):
            return name
    return None


def _halves(module: nn.Module) -> bool:
    return getattr(module, "stride", 1) in (2, (2, 2))


def _remove_pool(net: nn.Module, name: str) -> None:
    parent_name, _, last = name.rpartition(".")
    parent = net.get_submodule(parent_name)
    pool = net.get_submodule(name)
    if not any(True for _ in pool.parameters()):
        setattr(parent, last, nn.Identity())
        if hasattr(parent, "pad"):  # BiT pads by hand before an unpadded max-pool
            parent.pad = nn.Identity()
        return
    for (
        child,
        module,
    ) in pool.named_children():
        # ResNet-RS has a strided convolution in place of the pool: it keeps its weights.
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif _halves(module):
            setattr(pool, child, nn.Identity())
