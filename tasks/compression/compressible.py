"""Interface of models that can be distilled and pruned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from datamodules.types import Batch
from tasks.compression.pruned_sizes import Sizes
from tasks.training.provenance import Provenance

if TYPE_CHECKING:  # brings timm, which the help of the command line can do without
    from backbones.pyramid import Backbone


class Compressible(LightningModule, ABC):
    """A model that can learn from another of its task, and whose layers can be made smaller.

    Attributes:
        temperature: of distillation, where the flag is left out.
        objective: what a callback makes of the loss, output and batch of a training step; None: the loss itself.
        input_size: (H, W) in pixels that it is trained on; None where that is not known.
        weight: of the last step's loss in the mean of its epoch, in cases.
        kept_images: numbers of the images of the last batch that are no padding; None: all.
        pruned: it has been pruned already, if it was to be: training that goes on leaves its layers as they are.
        pruned_sizes: of the layers whose channels were pruned.
        provenance: the cases that it and its ancestors have seen; None where it does not know.
    """

    temperature: ClassVar[float] = 1.0
    backbone: Backbone
    class_names: list[str]
    input_size: tuple[int, int] | None
    objective: Callable[[Tensor, Any, Batch], Tensor] | None = None
    weight: int = 0
    kept_images: list[int] | None = None
    pruned: bool = False
    pruned_sizes: Sizes = {}
    provenance: Provenance | None = None

    @abstractmethod
    def imitation(self, output: Any, wanted: Any, batch: Batch, teacher: Self, temperature: float) -> Tensor:
        """() float32 distance of an output from a teacher's for the same batch; 0 where they are equal.

        Args:
            output: of this model.
            wanted: of the teacher.
            batch: whose images both have seen.
            teacher: a model of the same task.
            temperature: that softens both.
        """

    def further_inputs(self, batch: Batch) -> tuple[Any, ...]:
        """What ``forward`` takes of a batch beside the images."""
        return ()

    def unlike(self, teacher: Self) -> str:
        """Why outputs cannot be compared with those of another model of the task; empty where they can."""
        mine, its = (model.class_names for model in (self, teacher))
        return "" if mine == its else f"its classes are {', '.join(its)}, those of the data {', '.join(mine)}"

    @abstractmethod
    def output_layers(self) -> list[nn.Module]:
        """Layers whose channels mean something outside of ``forward``, which pruning leaves alone."""

    def trial_inputs(self, images: int = 2) -> tuple[Any, ...]:
        """Inputs of ``forward`` for a trial: (images, C, H, W) of zeros, as large as the data's where that is known."""
        height, width = self.input_size or (64, 64)
        return (torch.zeros(images, self.backbone.in_channels, height, width, device=self.device),)
