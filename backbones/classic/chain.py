"""A network that is a chain of modules, with the interface of timm's own: features by index, pruning, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from timm.models._features import feature_take_indices
from torch import Tensor, nn


class Tap(NamedTuple):
    """A module of the chain whose output is a feature.

    Attributes:
        module: its dotted name.
        channels: of the output.
        reduction: side of the image over side of the output.
    """

    module: str
    channels: int
    reduction: int


class Chain(nn.Module):
    """Modules one after the other, then a classifier, so that a network's file holds its layers and nothing else.

    A subclass registers its modules under whatever names its paper's weight files have, and then calls
    :meth:`finish`. ``unpadded`` says that its convolutions cut off borders: ``Backbone`` then fills the levels of a
    pyramid up by repeating their outermost values, so that every value stays where it is in the image.
    """

    unpadded = False
    pretrained_cfg: dict[str, Any]  # set by timm

    def finish(self, chain: Sequence[str], taps: Sequence[Tap], classifier: str, num_classes: int) -> None:
        """Say what the modules are for.

        Args:
            chain: dotted names of the modules of the feature extractor, in order.
            taps: those whose outputs are features, in order; the last is the end of the chain.
            classifier: dotted name of the last linear layer.
            num_classes: outputs of it; 0: none.
        """
        self._chain = list(chain)
        self.feature_info = [
            {"num_chs": tap.channels, "reduction": tap.reduction, "module": tap.module} for tap in taps
        ]
        self._taps = [tap.module for tap in taps]
        self._classifier = classifier
        self.num_classes = num_classes
        self.num_features = taps[-1].channels
        self.grad_checkpointing = False

    def forward_features(self, image: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> the last feature (B, C, h, w)."""
        for name in self._chain:
            image = self.get_submodule(name)(image)
        return image

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last feature -> (B, num_classes) logits, or what comes before the last linear layer."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_classes) logits."""
        return self.forward_head(self.forward_features(image))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The features of the given indices, as timm has it: alone, or after the last feature.

        Args:
            x: (B, in_chans, H, W).
            indices: into ``feature_info``; a number: the last so many; None: all.
            norm: these networks have no final norm.
            stop_early: leave out what comes after the deepest of them.
            output_fmt: ``NCHW`` alone.
            intermediates_only: return the list alone.
        """
        if output_fmt != "NCHW":
            raise ValueError("output shape must be NCHW")
        wanted, deepest = feature_take_indices(len(self._taps), None if indices is None else indices)
        modules = {self._taps[index] for index in wanted}
        found = []
        for name in self._chain:
            x = self.get_submodule(name)(x)
            if name in modules:
                found.append(x)
            if stop_early and name == self._taps[deepest]:
                break
        return found if intermediates_only else (x, found)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what comes after the deepest of the given features, and the classifier; returns the indices."""
        wanted, deepest = feature_take_indices(len(self._taps), indices)
        cut = self._chain.index(self._taps[deepest]) + 1
        for name in self._chain[cut:]:
            self._drop(name)
        del self._chain[cut:]
        if prune_head or deepest < len(self._taps) - 1:
            self.drop_head()
        return list(wanted)

    def drop_head(self) -> None:
        """Take out every module that is not in the chain."""
        kept = {name.partition(".")[0] for name in self._chain}
        for name, _ in list(self.named_children()):
            if name not in kept:
                delattr(self, name)
        self.num_classes = 0

    def _drop(self, name: str) -> None:
        parent, _, last = name.rpartition(".")
        del self.get_submodule(parent)._modules[last]

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.get_submodule(self._classifier)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A last linear layer for another number of classes; 0: none."""
        parent, _, last = self._classifier.rpartition(".")
        features = self.classifier_features()
        layer = nn.Linear(features, num_classes) if num_classes else nn.Identity()
        setattr(self.get_submodule(parent), last, layer)
        self.num_classes = num_classes

    def classifier_features(self) -> int:
        """Inputs of the last linear layer."""
        raise NotImplementedError

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Not supported: these networks are small.

        Raises:
            ValueError: when asked for.
        """
        if enable:
            raise ValueError("gradient checkpointing is not supported")
