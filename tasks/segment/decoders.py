"""Decoders: from the backbone's pyramid to a logit for each class at each pixel.

The decoders are those of segmentation-models-pytorch, fed by our own backbone, whose parameters so keep the names they
have in every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import is_path
from tasks.padding import padded
from tasks.segment.own_decoder import OwnDecoder, asked_strides

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone

DecoderName = Literal[
    "unet", "unetplusplus", "fpn", "deeplabv3plus", "pspnet", "linknet", "manet", "pan", "upernet", "segformer", "dpt"
]

DEEPLY_SUPERVISED = ("unet", "linknet", "manet")
OWN_SIZE = (256, 256)  # of the trial image where the data's size is unknown


class Layout(NamedTuple):
    """What a decoder reads and how its output becomes logits.

    Attributes:
        levels: strides of the maps that it reads, fine to coarse.
        deepest: stride at which it wants the last of them, enlarged if need be.
        dilate: compute the last level at that stride, by dilation, in networks that can.
        kernel: of the convolution that makes the logits.
    """

    levels: tuple[int, ...]
    deepest: int = 32
    dilate: bool = False
    kernel: int = 1


# Levels, strides and kernels are those of the models of segmentation-models-pytorch, but for PSPNet, whose deepest
# level comes at stride 8 as in its paper, where the library reads a shallower one.
LAYOUTS: dict[str, Layout] = {
    "unet": Layout((2, 4, 8, 16, 32), kernel=3),
    "unetplusplus": Layout((2, 4, 8, 16, 32), kernel=3),
    "fpn": Layout((4, 8, 16, 32)),
    "deeplabv3plus": Layout((4, 32), deepest=16, dilate=True),
    "pspnet": Layout((32,), deepest=8, dilate=True, kernel=3),
    "linknet": Layout((2, 4, 8, 16, 32)),
    "manet": Layout((2, 4, 8, 16, 32), kernel=3),
    "pan": Layout((4, 8, 16, 32), deepest=16, kernel=3),  # reads stride 16 too, so the network cannot be dilated to it
    "upernet": Layout((4, 8, 16, 32)),
    "segformer": Layout((4, 8, 16, 32)),
    "dpt": Layout((4, 8, 16, 32), kernel=3),
}


def ask_backbone(name: str | type[nn.Module], backbone: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What a decoder asks of a network.

    Args:
        name: of the decoder.
        backbone: timm's name of the network.

    Returns:
        Strides of the levels, and further arguments of the network. Stride 2 is left out where the network (ConvNeXt,
        Swin, ViT, ...) has no such map.

    Raises:
        SuiteError: no such decoder or network; the nearest name is given.
    """
    from backbones.network import check_name

    if not is_path(name) and name not in LAYOUTS:
        raise SuiteError(f"--model.decoder {name!r} is unknown: {nearest(str(name), get_args(DecoderName))}")
    check_name(backbone)
    layout = Layout(asked_strides(name)) if is_path(name) else LAYOUTS[str(name)]
    args: dict[str, Any] = {}
    reductions = _reductions(backbone)
    if reductions is None:  # the backbone itself will say why it cannot be built
        return layout.levels, args
    *levels, last = (stride for stride in layout.levels if stride > 2 or min(reductions) <= 2)
    if layout.dilate:
        dilated = _reductions(backbone, output_stride=layout.deepest)
        if dilated is not None and max(dilated) == layout.deepest:
            args, reductions = {"output_stride": layout.deepest}, dilated
        last = min(last, max(layout.deepest, *reductions))
    return (*levels, last), args


def _reductions(backbone: str, **args: Any) -> list[int] | None:
    """Strides of a network's features, found without making any weight; None where it cannot be built so."""
    import timm

    try:
        with torch.device("meta"):
            net = timm.create_model(backbone, **args)
    except Exception:  # a thousand networks refuse in all ways there are
        return None
    return [int(info["reduction"]) for info in net.feature_info]


class Trunk(nn.Module):
    """Norms of the levels, and a decoder of segmentation-models-pytorch.

    Networks without batch norm (ConvNeXt, Swin, ViT, ...) give their levels unnormalised; a layer norm over the
    channels of each comes first for them, as where Swin (Liu et al., ICCV 2021) is used for segmentation.

    Args:
        name: of the decoder.
        backbone: whose levels come in, at the strides of :func:`ask_backbone`.
        args: further arguments of the decoder.
    """

    def __init__(self, name: str, backbone: Backbone, args: dict[str, Any]) -> None:
        super().__init__()
        from segmentation_models_pytorch.base.initialization import initialize_decoder
        from timm.layers import LayerNorm2d

        self.name, self.strides, self.deepest = name, backbone.strides, LAYOUTS[name].deepest
        bare = not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())
        self.norms = nn.ModuleList(LayerNorm2d(count) if bare else nn.Identity() for count in backbone.channels)
        skipped = [] if self.strides[0] == 2 else [0]
        self.decoder = _make(name, [backbone.in_channels, *skipped, *backbone.channels], args)
        initialize_decoder(self.decoder)

    def forward(self, image: Tensor, levels: list[Tensor], stages: bool = False) -> list[Tensor]:
        """The last map of the decoder, or with ``stages`` those at strides 1, 2, 4 and 8.

        Args:
            image: (B, C, H, W), H and W multiples of 32.
            levels: (B, c, H / stride, W / stride) for each stride asked of the backbone.
            stages: for a decoder of :data:`DEEPLY_SUPERVISED`.
        """
        height, width = image.shape[-2:]
        levels = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        if self.strides[-1] > self.deepest:
            size = (height // self.deepest, width // self.deepest)
            levels[-1] = F.interpolate(levels[-1], size, mode="bilinear", align_corners=False)
        if self.strides[0] > 2:  # zero channels where the decoders have the map of stride 2
            levels.insert(0, image.new_zeros(len(image), 0, height // 2, width // 2))
        if stages:
            return self._stages(image, levels)
        if self.name == "dpt":
            return [self.decoder(levels[1:], [None] * len(levels[1:]))]
        return [self.decoder([image, *levels])]

    def _stages(self, image: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """What the decoder's own ``forward`` does, keeping the maps on the way."""
        x = self.decoder.center(levels[-1]) if hasattr(self.decoder, "center") else levels[-1]
        maps: list[Tensor] = []
        for block, skip in zip(self.decoder.blocks, [*levels[-2::-1], None], strict=True):
            if self.name == "unet":
                height, width = (image if skip is None else skip).shape[-2:]
                x = block(x, height, width, skip_connection=skip)
            else:
                x = block(x, skip)
            maps.append(x)
        return maps[:0:-1]


class SegmentationDecoder(nn.Module):
    """A trunk, and a convolution that makes logits from each map that it gives.

    Args:
        trunk: from levels to maps.
        widths: channels of each map: of the last one, and for deep supervision of those at strides 2, 4 and 8.
        outputs: number of logits a pixel.
        kernel: of the convolutions.
        dropout: chance of dropping a channel of a map in training.
    """

    def __init__(self, trunk: Trunk, widths: Sequence[int], outputs: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        from segmentation_models_pytorch.base.initialization import initialize_head

        self.trunk = trunk
        self.dropout = nn.Dropout2d(dropout)
        self.heads = nn.ModuleList(nn.Conv2d(width, outputs, kernel, padding=kernel // 2) for width in widths)
        initialize_head(self.heads)

    def forward(self, image: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """Logits of the image, and while training under deep supervision those of coarser maps after them.

        Args:
            image: (B, C, H, W), H and W multiples of 32.
            levels: of the backbone for this image.

        Returns:
            (B, outputs, H, W), then (B, outputs, H / 2, W / 2) and so on to stride 8.
        """
        maps = self.trunk(image, levels, stages=self.training and len(self.heads) > 1)
        logits = [head(self.dropout(map_)) for head, map_ in zip(self.heads, maps, strict=False)]
        if logits[0].shape[-2:] != image.shape[-2:]:
            logits[0] = F.interpolate(logits[0], image.shape[-2:], mode="bilinear", align_corners=False)
        return logits


def build_decoder(
    name: str | type[nn.Module],
    backbone: Backbone,
    num_outputs: int,
    *,
    input_size: Sequence[int] | None = None,
    dropout: float = 0.0,
    deep_supervision: bool = False,
    args: dict[str, Any] | None = None,
) -> SegmentationDecoder | OwnDecoder:
    """A decoder for a backbone, tried once without memory on an image of the data's size.

    U-Net (Ronneberger et al., MICCAI 2015), U-Net++ (Zhou et al., 2018), FPN (Kirillov et al., CVPR 2019), DeepLabV3+
    (Chen et al., ECCV 2018), PSPNet (Zhao et al., CVPR 2017), LinkNet (Chaurasia and Culurciello, VCIP 2017), MA-Net
    (Fan et al., 2020), PAN (Li et al., BMVC 2018), UPerNet (Xiao et al., ECCV 2018), SegFormer (Xie et al., NeurIPS
    2021), DPT (Ranftl et al., ICCV 2021; without readout tokens, on the pyramid that all others read).

    Args:
        name: one of :data:`LAYOUTS`, or the path of one of the user's, or its class.
        backbone: with the strides of :func:`ask_backbone`.
        num_outputs: number of logits a pixel.
        input_size: (H, W) of the images, before padding.
        dropout: chance of dropping a channel of the last map in training.
        deep_supervision: make logits also at strides 2, 4 and 8 while training.
        args: further arguments of the decoder, as segmentation-models-pytorch takes them (``decoder_channels``, ...).

    Raises:
        SuiteError: the decoder does not work with this backbone at this size, takes no such argument, or has no maps
            for deep supervision.
    """
    args = args or {}
    if not 0 <= dropout < 1:
        raise SuiteError(f"--model.dropout {dropout}: must be at least 0 and below 1")
    if deep_supervision and name not in DEEPLY_SUPERVISED:
        raise SuiteError(
            f"--model.deep_supervision: {name} has no maps to supervise; take {', '.join(DEEPLY_SUPERVISED)}"
        )
    if is_path(name):
        return OwnDecoder(name, args, backbone, num_outputs, dropout)
    name = str(name)
    height, width = padded(input_size or OWN_SIZE)
    try:
        with torch.device("meta"):
            image = torch.empty(2, backbone.in_channels, height, width)
            levels = [
                torch.empty(2, channels, height // stride, width // stride)
                for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
            ]
            maps = Trunk(name, backbone, args)(image, levels, stages=deep_supervision)
    except Exception as error:  # the library raises all there is
        text = " ".join(str(error).split()) or type(error).__name__
        for key in args:
            if isinstance(error, TypeError) and f"'{key}'" in text:
                raise SuiteError(f"--model.decoder_args: {name} takes no argument {key!r}") from error
        raise SuiteError(
            f"--model.decoder {name} cannot work on {backbone.name} with images of {height}x{width}: {text[:200]}; "
            "take larger images (--data.image_size) or another decoder"
        ) from error
    return SegmentationDecoder(
        Trunk(name, backbone, args), [map_.shape[1] for map_ in maps], num_outputs, LAYOUTS[name].kernel, dropout
    )


def _make(name: str, channels: list[int], args: dict[str, Any]) -> Any:
    """The library's decoder for these channels: of the image, of stride 2 (0 where there is none), and so on."""
    from segmentation_models_pytorch import decoders

    widths = (256, 128, 64, 32, 16)
    if name == "dpt":
        given = {"encoder_output_strides": (4, 8, 16, 32), "encoder_has_prefix_tokens": False, "readout": "ignore"}
        return decoders.dpt.decoder.DPTDecoder(encoder_out_channels=channels[2:], **{**given, **args})
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "unet": (decoders.unet.decoder.UnetDecoder, {"decoder_channels": widths}),
        "unetplusplus": (decoders.unetplusplus.decoder.UnetPlusPlusDecoder, {"decoder_channels": widths}),
        "fpn": (decoders.fpn.decoder.FPNDecoder, {}),
        "deeplabv3plus": (
            decoders.deeplabv3.decoder.DeepLabV3PlusDecoder,
            {
                "encoder_depth": 4,
                "out_channels": 256,
                "atrous_rates": (12, 24, 36),
                "output_stride": 16,
                "aspp_separable": True,
                "aspp_dropout": 0.5,
            },
        ),
        "pspnet": (decoders.pspnet.decoder.PSPDecoder, {}),
        "linknet": (decoders.linknet.decoder.LinknetDecoder, {}),
        "manet": (decoders.manet.decoder.MAnetDecoder, {"decoder_channels": widths}),
        "pan": (decoders.pan.decoder.PANDecoder, {"encoder_depth": 5, "decoder_channels": 32}),
        "upernet": (decoders.upernet.decoder.UPerNetDecoder, {}),
        "segformer": (decoders.segformer.decoder.SegformerDecoder, {}),
    }
    make, defaults = makers[name]
    decoder = make(encoder_channels=channels, **{**defaults, **args})
    _drop_norm_after_global_pooling(decoder)
    return decoder


def _drop_norm_after_global_pooling(decoder: nn.Module) -> None:
    """Take out the batch norms that see one value a channel and image: on a batch of one image they cannot train."""
    for branch in decoder.modules():
        if not isinstance(branch, nn.Sequential) or not isinstance(branch[0], nn.AdaptiveAvgPool2d):
            continue
        if branch[0].output_size in (1, (1, 1)):
            for parent in list(branch.modules()):
                for child, module in list(parent.named_children()):
                    if isinstance(module, nn.BatchNorm2d):
                        setattr(parent, child, nn.Identity())
