"""Feature maps of a student beside those of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys


class Pair(NamedTuple):
    """A level of the student and one of the teacher with maps of the same size.

    Attributes:
        own: number of the student's level.
        wanted: number of the teacher's.
        channels: of the student's map, and of the teacher's.
    """

    own: int
    wanted: int
    channels: tuple[int, int]


def equal_levels(own: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Pair]:
    """Levels whose maps (B, c, h, w), made of the same image, have the same height and width: those of equal stride."""
    sizes = [tuple(level.shape[-2:]) for level in wanted]
    return [
        Pair(i, sizes.index(size), (level.shape[1], wanted[sizes.index(size)].shape[1]))
        for i, level in enumerate(own)
        if (size := tuple(level.shape[-2:])) in sizes
    ]


class Projections(nn.ModuleList):
    """Projections of a student's channels to a teacher's, level by level, learnt with it (Romero et al., ICLR 2015).

    They are no part of the model that is trained: they stand in no state dict, and none is asked for them.

    Args:
        pairs: levels that are compared; where both have as many channels nothing is learnt.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__(
            nn.Identity() if own == wanted else nn.Conv2d(own, wanted, 1, bias=False)
            for own, wanted in (pair.channels for pair in pairs)
        )
        self.pairs = list(pairs)
        self.register_load_state_dict_post_hook(_ask_for_nothing)  # type: ignore[no-untyped-call]

    def state_dict(self, *args: Any, destination: Any = None, **options: Any) -> Any:
        """Nothing; :meth:`own_state` has it."""
        return {} if destination is None else destination

    def own_state(self) -> dict[str, Tensor]:
        """Weights by name."""
        return {name: parameter.detach().clone() for name, parameter in self.named_parameters()}

    @torch.no_grad()
    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`own_state` gave."""
        for name, parameter in self.named_parameters():
            parameter.copy_(state[name])

    def forward(self, own: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """() mean over the levels of :func:`correlation_loss`, in float32; 0, with gradients of 0, without images.

        Args:
            own: levels of the student.
            wanted: levels of the teacher.
        """
        if not len(own[0]):
            return torch.stack(
                [project(own[pair.own]).sum() for project, pair in zip(self, self.pairs, strict=True)]
            ).sum()
        losses = [
            correlation_loss(project(own[pair.own]), wanted[pair.wanted])
            for project, pair in zip(self, self.pairs, strict=True)
        ]
        return torch.stack(losses).mean()


def _ask_for_nothing(module: nn.Module, incompatible: _IncompatibleKeys) -> None:
    """Take the projections' parameters off the list of what a state dict lacks."""
    mine = [name for name, _ in module.named_parameters()]
    missing = incompatible.missing_keys
    missing[:] = [key for key in missing if not any(key.endswith(f"projections.{name}") for name in mine)]


def correlation_loss(own: Tensor, wanted: Tensor) -> Tensor:
    """1 - Pearson's correlation of two maps, the mean over channels (Cao et al., PKD, NeurIPS 2022).

    Half the squared distance of maps brought to mean 0 and deviation 1: the scale of a teacher's features, which
    differs from layer to layer and from network to network, does not bear on it. Mean and deviation are those of a
    channel over the batch of one device.

    Args:
        own: (B, C, h, w).
        wanted: (B, C, h, w).

    Returns:
        () float32; a channel that is the same everywhere counts 0.5 and teaches nothing.
    """
    with torch.autocast(own.device.type, enabled=False):
        return (_standardised(own.float()) - _standardised(wanted.detach().float())).square().mean() / 2


def _standardised(level: Tensor) -> Tensor:
    centred = level - level.mean(dim=(0, 2, 3), keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=(0, 2, 3), keepdim=True) + 1e-6)
