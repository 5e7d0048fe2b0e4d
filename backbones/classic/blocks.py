"""Blocks of the small CNN: one convolution, two of them, or two with a shortcut, of any kind of convolution."""

from __future__ import annotations

from timm.layers import create_attn
from torch import Tensor, nn

from backbones.classic.options import Activation, Options

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def convolution(inputs: int, outputs: int, stride: int, options: Options, *, first: bool = False) -> nn.Module:
    """One convolution of the kind asked for; ``first`` reads the image, whose few channels cannot be split."""
    kernel = options.kernel
    margin = kernel // 2 if options.padding == "same" else 0
    kind = "standard" if first else options.convolution
    if kind == "pointwise":
        return nn.Conv2d(inputs, outputs, 1, stride)
    if kind == "depthwise":
        return nn.Conv2d(inputs, outputs, kernel, stride, margin, groups=inputs)
    if kind == "separable":  # Howard et al., "MobileNets" (2017)
        depthwise = nn.Conv2d(inputs, inputs, kernel, stride, margin, groups=inputs)
        return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))
    groups = options.groups if kind == "grouped" else 1
    return nn.Conv2d(inputs, outputs, kernel, stride, margin, groups=groups)


def _norm(channels: int, options: Options) -> nn.Module:
    return nn.BatchNorm2d(channels) if options.batch_norm else nn.Identity()


class Block(nn.Module):
    """Convolutions of one width, before the pooling.

    Args:
        inputs: channels that come in.
        outputs: filters.
        options: of the network.
        first: the block reads the image.
    """

    def __init__(self, inputs: int, outputs: int, options: Options, *, first: bool) -> None:
        super().__init__()
        act = ACTIVATIONS[options.activation]
        self.conv1 = convolution(inputs, outputs, options.stride, options, first=first)
        self.norm1, self.act1 = _norm(outputs, options), act()
        two = options.block != "plain"
        self.conv2 = convolution(outputs, outputs, 1, options) if two else nn.Identity()
        self.norm2 = _norm(outputs, options) if two else nn.Identity()
        # Norm, attention, sum, activation: the order of SE-ResNet and of CBAM in a ResNet.
        attention = None if options.attention == "none" else create_attn(options.attention, outputs)
        self.attention = attention if attention is not None else nn.Identity()
        self.act2 = act() if two else nn.Identity()
        self.shortcut: nn.Module | None = None
        if options.block == "residual":
            same = inputs == outputs and options.stride == 1
            project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, options.stride), _norm(outputs, options))
            self.shortcut = nn.Identity() if same else project

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, h, w)."""
        out: Tensor = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        out = self.attention(out)
        if self.shortcut is not None:
            out = out + _middle(self.shortcut(x), out.shape[-2], out.shape[-1])
        activated: Tensor = self.act2(out)
        return activated


def _middle(x: Tensor, height: int, width: int) -> Tensor:
    """The middle of a map: what convolutions without padding leave of it."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]
