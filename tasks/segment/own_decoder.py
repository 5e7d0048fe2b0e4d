"""A decoder of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scansuite.errors import SuiteError
from scansuite.own_parts import arguments_of, load_part, make_part, named_by, path_of
from tasks.own.trial import layers_of, try_part

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone

FLAG = "--model.decoder"
_SIDE = 64  # pixels of the trial image


class OwnDecoder(nn.Module):
    """A module made from ``channels`` and ``strides`` of the levels, fine to coarse, and ``outputs``.

    Its class says in ``reads`` which strides it asks of the backbone; (4, 8, 16, 32) where it does not. Its
    ``forward(image, levels)`` takes (B, C, H, W), whose sides are multiples of 32, and (B, c, H / stride, W / stride)
    of each level, and gives (B, outputs, h, w) logits, which are enlarged to H and W.

    Args:
        path: of the class, or the class.
        args: of its constructor, from the user.
        backbone: whose levels it reads.
        outputs: number of logits a pixel.
        dropout: ``--model.dropout``, for a constructor that names it.

    Raises:
        SuiteError: see :func:`~scansuite.own_parts.load_part`; or it fails on a trial, or gives another shape.
    """

    def __init__(
        self,
        path: str | type[nn.Module],
        args: Mapping[str, Any] | None,
        backbone: Backbone,
        outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        cls = load_part(path, nn.Module, FLAG)
        if dropout and "dropout" not in arguments_of(cls):
            raise SuiteError(f"--model.dropout {dropout}: {path_of(cls)} takes none: leave it out")
        strides, channels = list(backbone.strides), list(backbone.channels)
        offers = {"channels": channels, "strides": strides, "outputs": outputs, "dropout": dropout}
        self.module = make_part(cls, args, FLAG, named_by(cls, offers, args))
        image = torch.zeros(2, backbone.in_channels, _SIDE, _SIDE)
        levels = [torch.zeros(2, c, _SIDE // s, _SIDE // s) for c, s in zip(channels, strides, strict=True)]
        try_part(self.module, image, levels, shape=(2, outputs, -1, -1), where=f"{FLAG} {path_of(cls)}")

    @property
    def heads(self) -> list[nn.Module]:
        """All of its layers: which of them gives the logits is not known."""
        return layers_of(self.module)

    def forward(self, image: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """The (B, outputs, H, W) logits of (B, C, H, W) images."""
        logits: Tensor = self.module(image, levels)
        if logits.shape[-2:] != image.shape[-2:]:
            logits = F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)
        return [logits]


def asked_strides(path: str | type[nn.Module]) -> tuple[int, ...]:
    """The strides of the levels that a decoder of the user's reads.

    Raises:
        SuiteError: ``reads`` has other numbers; or see :func:`~scansuite.own_parts.load_part`.
    """
    cls = load_part(path, nn.Module, FLAG)
    reads = getattr(cls, "reads", (4, 8, 16, 32))
    if not reads or sorted(set(reads)) != list(reads) or set(reads) - {2, 4, 8, 16, 32}:
        raise SuiteError(f"{FLAG} {path_of(cls)}: reads {reads}: give some of 2, 4, 8, 16 and 32, in this order")
    return tuple(reads)
