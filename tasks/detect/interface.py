"""Interface of detectors: what each takes and gives, so that the task knows none of them by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from torch import Tensor, nn

# Detectors of users import both from here.
from tasks.exported.detection.suppression import DecodeSettings as DecodeSettings
from tasks.exported.detection.suppression import Nms as Nms

if TYPE_CHECKING:
    from tasks.detect.anchors import AnchorTable, Shapes


class Detections(NamedTuple):
    """What was found in one image, highest score first.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of the image given, inside it, every side above 0.
        scores: (N,) float64 in [0, 1], so that surer boxes than a float32 can tell from 1 keep their order.
        labels: (N,) int64, 0..C-1.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Raw:
    """Output of the heads for a batch; every tensor has the batch first.

    Attributes:
        size: (H, W) of the images.
        grids: (h, w) of each level, fine to coarse.
    """

    size: tuple[int, int]
    grids: tuple[tuple[int, int], ...]

    def apply(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same output with every tensor changed."""
        changed: dict[str, object] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = change(value)
            elif isinstance(value, list):
                changed[name] = [change(part) for part in value]
        return replace(self, **changed)  # type: ignore[arg-type]

    def __getitem__(self, images: list[int]) -> Self:
        """The output for some images of the batch; there may be none."""
        return self.apply(lambda tensor: tensor[images])

    def detach(self) -> Self:
        """Without gradient."""
        return self.apply(lambda tensor: tensor.detach())

    def float(self) -> Self:
        """In float32."""
        return self.apply(lambda tensor: tensor.float())


class Detector(nn.Module, ABC):
    """Neck and heads between the backbone's levels and boxes.

    Images of a batch have one size, a multiple of 32 on each side. Classes are 0..C-1: a detector that needs a class
    for background adds it inside.

    Attributes:
        reads: strides of the levels that a detector of the user's asks of the backbone, fine to coarse.
        num_classes: without background.
        strides: of the levels that the heads see, fine to coarse.
        table: the anchors; None where there are none to choose.
    """

    reads: ClassVar[tuple[int, ...]] = (8, 16, 32)
    num_classes: int
    strides: list[int]
    table: AnchorTable | None = None

    @property
    def anchors(self) -> Shapes | None:
        """The table's shapes, from which the same detector can be built again."""
        return None if self.table is None else self.table.shapes

    @abstractmethod
    def forward(self, image: Tensor, levels: list[Tensor]) -> Raw:
        """The heads' output.

        Args:
            image: (B, C, H, W); only its size is used.
            levels: (B, c, H / stride, W / stride) for each stride asked of the backbone.
        """

    @abstractmethod
    def loss(self, raw: Raw, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
        """The parts of the loss, to be added up; in training and in evaluation mode.

        Every part is computed in float32 and divided by a count of all ranks' images. Without any box, and even without
        any image, each is finite and gives every parameter a gradient.

        Args:
            raw: of these images.
            boxes: B x (N, 4) xyxy pixels of the image.
            labels: B x (N,) int64, 0..C-1.

        Returns:
            () float32 by name.
        """

    @abstractmethod
    def output_layers(self) -> list[nn.Module]:
        """Layers whose channels mean something outside of ``forward``, which pruning leaves alone."""

    @abstractmethod
    def decode(
        self, raw: Raw, settings: DecodeSettings, sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Detections]:
        """The boxes of each image, in float32 and their scores in float64, whatever the precision of training.

        Args:
            raw: of these images.
            settings: how to choose among overlapping boxes.
            sizes: (H, W) of the part of each image that boxes may lie in (images are filled up at the bottom and
                right); None: all of it.
        """
