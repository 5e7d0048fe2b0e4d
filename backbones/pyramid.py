"""Feature pyramid of any timm network, under timm's own parameter names."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from backbones.checkpointing import CountedOnce, checkpoint_gradients
from backbones.network import Strides, build, intermediates, own_size, plan
from backbones.stages import resting_modules, stages


class Backbone(nn.Module):
    """A timm network that returns feature maps at the strides asked for.

    Levels are chosen by stride: the last feature that the network has at that stride. Where it has none, the nearest
    one (in octaves) is resized without parameters, bilinearly, so every level asked for has ``ceil(size / stride)``
    pixels a side. A plain vision transformer, with its one stride, thus gives resized copies of its last layer; a
    learned pyramid (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022) is a
    neck after it.

    The state dict has exactly the names of the plain timm network, less what timm prunes because no chosen level needs
    it (final norm, classifier, deeper stages). The few parameters that cannot be pruned and yet do not bear on the
    output (in hrnet, crossvit, coat, efficientvim) are kept without gradient, so that plain data-parallel training does
    not stop on them.

    Args:
        name: timm's name of the network, with or without the tag of its weights.
        in_channels: channels of the image.
        strides: strides of the levels, ascending; ``own`` gives one level at each stride that the network has,
            unresized: the last feature there; None gives the deepest alone, unresized, as classification needs it.
        classes: keep the network's own pooling and classifier for this many classes (``forward_native``); None: none.
        image_size: ``(height, width)`` in pixels of the images to come. Networks laid out for one size are built for
            it, and a network that cannot take it is refused now, not in the first batch. None: the size timm states.
        small_stem: see ``backbones.stem.shrink_stem``.
        dropout: rate of timm's ``drop_rate``, before the classifier; only of use together with ``classes``.
        grad_checkpointing: compute activations again in the backward pass instead of keeping them, as timm does it.
        **args: further arguments of the timm network, such as ``drop_path_rate`` or ``output_stride``.

    Attributes:
        name: as given.
        in_channels: as given.
        strides: one for each level, fine to coarse.
        channels: one for each level.
        stem_note: what became of the stem, for the log.
        unused: names of the parameters kept without gradient.

    Raises:
        SuiteError: no such network (the nearest name is given), no such argument, or images that it cannot take.
        ValueError: strides that do not ascend.
    """

    def __init__(
        self,
        name: str,
        in_channels: int = 3,
        strides: Strides = None,
        *,
        classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        small_stem: bool = False,
        dropout: float = 0.0,
        grad_checkpointing: bool = False,
        **args: Any,
    ) -> None:
        super().__init__()
        chosen = None if strides is None or isinstance(strides, str) else list(strides)
        if chosen is not None and (not chosen or min(chosen) < 1 or sorted(set(chosen)) != chosen):
            raise ValueError(f"strides must be positive and ascend, not {chosen}")
        made = plan(
            name, in_channels, strides, classes=classes, image_size=image_size, small_stem=small_stem, args=args
        )
        if dropout:
            made.args["drop_rate"] = dropout
        network = build(made)
        # The network itself stays out of registration and lends its dictionaries: the same names, without a level more.
        self.__dict__["_network"] = network
        for registry in ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules"):
            self.__dict__[registry] = self.net.__dict__[registry]
        self.name = name
        self.in_channels = in_channels
        self.classes = classes
        self.strides = network.reductions if chosen is None else chosen
        self.channels = list(made.channels)
        self.stem_note = network.stem.description
        self.unused = made.unused
        self._resize = chosen is not None
        self._closed: set[str] = set()
        self._require_grad()
        self._once: CountedOnce | None = None
        if grad_checkpointing:
            self._once = checkpoint_gradients(network, made, image_size or own_size(name))

    @property
    def net(self) -> Any:
        """The plain timm network, which shares all parameters, buffers and submodules with this module."""
        return self.__dict__["_network"].net

    def forward(self, image: Tensor) -> list[Tensor]:
        """Computes the pyramid.

        Args:
            image: ``(B, in_channels, H, W)``, normalised as the network wants it.

        Returns:
            One ``(B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))`` for each stride asked for; with
            ``strides`` None or ``own`` maps as large as the network makes them.
        """
        self.net.training = self.training  # Lightning sets this flag on registered modules without calling train()
        with nullcontext() if self._once is None else self._once.forward_pass():
            levels = intermediates(self.__dict__["_network"], image)
        if not self._resize:
            return levels
        height, width = image.shape[-2:]
        sizes = [(-(-height // stride), -(-width // stride)) for stride in self.strides]
        if getattr(self.net, "unpadded", False):
            own = self.__dict__["_network"].reductions
            levels = [
                _fill_up(level, -(-height // reduction), -(-width // reduction))
                for level, reduction in zip(levels, own, strict=True)
            ]
        return [
            level if level.shape[-2:] == size else F.interpolate(level, size, mode="bilinear", align_corners=False)
            for level, size in zip(levels, sizes, strict=True)
        ]

    def forward_native(self, image: Tensor) -> Tensor:
        """Class scores ``(B, classes)`` (logits) from the network's own pooling and classifier.

        Raises:
            RuntimeError: the backbone was built without ``classes``.
        """
        if self.classes is None:
            raise RuntimeError("forward_native needs a Backbone built with classes=N")
        self.net.training = self.training
        with nullcontext() if self._once is None else self._once.forward_pass():
            logits: Tensor = self.net(image)
        return logits

    @property
    def stages(self) -> dict[str, list[str]]:
        """Names of the parameters of each stage, from the stem to the deepest."""
        return stages(self.net)

    @property
    def waiting(self) -> set[str]:
        """Names of the frozen parameters that ``unfreeze`` would train."""
        return self._closed - self.unused

    @property
    def frozen(self) -> bool:
        """Whether ``freeze`` holds for the whole backbone."""
        return bool(self._closed) and len(self._closed) == len(list(self.parameters()))

    def freeze(self) -> Self:
        """Stops all learning here: gradients off, and norm statistics, dropout and drop-path as in evaluation.

        It holds through later calls of ``train``.
        """
        return self._close({name for name, _ in self.named_parameters()}).train(False)

    def unfreeze(self, deepest: int | None = None) -> Self:
        """Ends ``freeze`` and puts the backbone into training mode.

        Args:
            deepest: the number of stages that shall learn, counted from the deepest; those before them stay frozen in
                all that ``freeze`` says. None: all.
        """
        kept = [] if deepest is None else list(self.stages.values())[: len(self.stages) - deepest]
        return self._close({name for stage in kept for name in stage}).train()

    def _close(self, names: set[str]) -> Self:
        self._closed = names
        self._require_grad()
        return self

    def train(self, mode: bool = True) -> Self:
        """Sets training or evaluation mode; what is frozen stays in evaluation."""
        super().train(mode and not self.frozen)
        if self.training and self._closed:
            for module in resting_modules(self.net, self._closed):
                module.training = False
        self.net.training = self.training
        return self

    def _require_grad(self) -> None:
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in self._closed and name not in self.unused)


def _fill_up(level: Tensor, height: int, width: int) -> Tensor:
    """Gives a map back the borders that convolutions without padding cut off, by repeating its outermost values."""
    rows, columns = max(height - level.shape[-2], 0), max(width - level.shape[-1], 0)
    return F.pad(level, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), mode="replicate")
