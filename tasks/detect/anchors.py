"""Anchors: the boxes that a detector starts from, chosen to suit the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from datamodules.settings import numbers
from scansuite.errors import SuiteError

RATIOS = (0.5, 1.0, 2.0)  # height / width, of RetinaNet and Faster R-CNN
DENSITY = 4  # a level takes the boxes of at least so many strides: the nearest anchor then overlaps by 0.6 or more
SEED = 0

Shapes = list[list[list[float]]]  # for each level, for each anchor: [width, height] in pixels of the model's image


@dataclass(frozen=True)
class AnchorTable:
    """Widths and heights of the anchors of each level; printable.

    Attributes:
        strides: of the levels.
        shapes: as plain lists, for a checkpoint's hyperparameters; :func:`choose_anchors` takes them back.
        source: where they come from.
        counts: training boxes that belong to each level.
        fit: mean over training boxes of the IoU with the best anchor, both about one centre.
    """

    strides: tuple[int, ...]
    shapes: Shapes
    source: str
    counts: tuple[int, ...] | None = None
    fit: float | None = None

    def __str__(self) -> str:
        lines = [f"anchors (width x height in pixels), {self.source}"]
        for level, (stride, shapes) in enumerate(zip(self.strides, self.shapes, strict=True)):
            boxes = "" if self.counts is None else f"{self.counts[level]:7d} boxes "
            lines.append(f"  stride {stride:3d} {boxes} " + "  ".join(f"{w:.0f}x{h:.0f}" for w, h in shapes))
        if self.fit is not None:
            lines.append(f"  mean IoU of a training box with its best anchor: {self.fit:.3f}")
        return "\n".join(lines)


def shrink(largest: float, input_size: Sequence[int] | None) -> float:
    """Factor for sizes that were laid out for images of 800 px and more.

    The largest shall not exceed the longer side of the image; but none becomes less than half, since it would then lie
    between the places of its level.

    Args:
        largest: published size of the coarsest level.
        input_size: (H, W); None: large.
    """
    return 1.0 if input_size is None else min(1.0, max(0.5, max(input_size) / largest))


def choose_anchors(
    asked: str | Sequence[Any],
    strides: Sequence[int],
    *,
    octaves: int,
    density: int,
    box_sizes: Sequence[Sequence[float]] | None = None,
    input_size: Sequence[int] | None = None,
) -> AnchorTable:
    """Anchors for each level, three shapes an octave step.

    Args:
        asked: ``auto``: from the training boxes; ``default``: the published ones, made smaller for small images;
            numbers: sizes (square roots of areas) in pixels, one for each level, or one alone, which is that of the
            finest level and doubles from level to level; or the ``shapes`` of a table.
        strides: of the levels.
        octaves: sizes a level, as fractions of an octave (3 in RetinaNet, 1 in Faster R-CNN).
        density: published size of an anchor in strides (4 in RetinaNet, 8 in Faster R-CNN).
        box_sizes: (N, 2) width and height of the training boxes in pixels of the model's image.
        input_size: (H, W) of the model's image.

    Raises:
        SuiteError: neither a word nor numbers, or not as many as there are levels.
    """
    steps = tuple(strides)
    count = len(RATIOS) * octaves
    if not isinstance(asked, str) and len(asked) and not isinstance(asked[0], (int, float, str)):
        return AnchorTable(steps, _given(asked, steps, count), "as the model was built")
    factor = shrink(density * steps[-1], input_size)
    default = [_published(density * stride * factor, octaves) for stride in steps]
    if asked == "default":
        return AnchorTable(steps, default, "published ones" + (f", times {factor:.2f}" if factor < 1 else ""))
    if asked == "auto":
        boxes = np.asarray(box_sizes if box_sizes is not None else [], dtype=np.float64).reshape(-1, 2)
        boxes = boxes[(boxes > 0).all(axis=1)]
        if not len(boxes):
            return AnchorTable(steps, default, "published ones: there are no training boxes")
        return _from_boxes(boxes, steps, default)
    if isinstance(asked, str) and not any(character.isdigit() for character in asked):
        raise SuiteError(f"--model.anchors {asked}: expected auto, default, or sizes in pixels")
    sizes = numbers(asked if isinstance(asked, str) else list(asked), "--model.anchors") or []
    if len(sizes) == 1:
        sizes = [sizes[0] * 2.0**level for level in range(len(steps))]
    if len(sizes) != len(steps) or min(sizes) <= 0:
        raise SuiteError(
            f"--model.anchors {','.join(f'{size:g}' for size in sizes)}: expected {len(steps)} sizes above 0, one for "
            f"each level (strides {', '.join(map(str, steps))}), or one alone"
        )
    return AnchorTable(steps, [_published(size, octaves) for size in sizes], "as given")


def _published(size: float, octaves: int) -> list[list[float]]:
    """Sizes by fractions of an octave times the three ratios, in torchvision's order, unrounded."""
    sizes = [size * 2 ** (step / octaves) for step in range(octaves)]
    return [[step / ratio**0.5, step * ratio**0.5] for ratio in RATIOS for step in sizes]


def _given(asked: Sequence[Any], strides: tuple[int, ...], count: int) -> Shapes:
    shapes = [[[float(side) for side in shape] for shape in level] for level in asked]
    if len(shapes) != len(strides) or any(len(level) != count or len(level[0]) != 2 for level in shapes):
        raise SuiteError(
            f"--model.anchors: expected {count} pairs of width and height for each of {len(strides)} levels"
        )
    return shapes


def _from_boxes(boxes: NDArray[np.float64], strides: tuple[int, ...], default: Shapes) -> AnchorTable:
    """Each level's own clusters: a box belongs to the coarsest level whose places are near enough to each other."""
    size = np.sqrt(boxes.prod(axis=1))
    level = np.searchsorted(DENSITY * np.array(strides[1:]), size, side="right")
    shapes: Shapes = []
    for number, published in enumerate(default):
        found = _clusters(boxes[level == number], len(published))
        # Where the boxes of a level have fewer shapes than it has anchors, the published ones stay beside them.
        spare = sorted(published, key=lambda shape: -abs(np.log(shape[0] / shape[1])))
        shapes.append(sorted([*found, *spare[len(found) :]], key=lambda shape: shape[0] * shape[1]))
    best = _shape_iou(boxes, np.array([shape for row in shapes for shape in row])).max(axis=1)
    return AnchorTable(
        strides,
        shapes,
        f"from {len(boxes)} training boxes",
        tuple(int((level == number).sum()) for number in range(len(strides))),
        float(best.mean()),
    )


def _clusters(boxes: NDArray[np.float64], count: int) -> list[list[float]]:
    """Centres of at most ``count`` clusters of widths and heights.

    Redmon and Farhadi ("YOLO9000", CVPR 2017) cluster by 1 - IoU of boxes about one centre. For a box inside another,
    -log IoU is the sum of the differences of log width and log height, so k-means runs on the logarithms.
    """
    from sklearn.cluster import KMeans

    logs = np.log(boxes)
    distinct = np.unique(logs.round(2), axis=0)
    if len(distinct) > count:
        means = KMeans(count, n_init=4, random_state=SEED).fit(logs)
        distinct = means.cluster_centers_
    return [[float(side) for side in shape] for shape in np.exp(distinct)]


def _shape_iou(boxes: NDArray[np.float64], anchors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) IoU of boxes and anchors about one centre."""
    # Boxes that share a corner overlap as those that share the centre.
    first, second = (torch.from_numpy(np.concatenate([0 * sizes, sizes], axis=1)) for sizes in (boxes, anchors))
    iou: NDArray[np.float64] = box_iou(first, second).numpy()
    return iou


class AnchorGrid(nn.Module):
    """The anchors of every place of every level, laid out as torchvision does: the first place is the image's corner.

    They lie at multiples of the level's stride; torchvision's own generator divides image by grid, which comes out
    smaller where a coarse level does not divide the image.

    Args:
        strides: of the levels.
        shapes: as in :class:`AnchorTable`; kept in the state dict, so that a checkpoint brings its anchors.
    """

    shapes: Tensor

    def __init__(self, strides: Sequence[int], shapes: Shapes) -> None:
        super().__init__()
        self.strides = list(strides)
        self.register_buffer("shapes", torch.tensor(shapes, dtype=torch.float32))
        places = ((1,),) * len(self.strides)
        self.generator = AnchorGenerator(places, places)

    @property
    def count(self) -> int:
        """Anchors a place."""
        return self.shapes.shape[1]

    def forward(self, grids: Sequence[tuple[int, int]]) -> list[Tensor]:
        """(h, w) of each level -> (h * w * count, 4) xyxy pixels for each."""
        half = self.shapes.float() / 2
        self.generator.cell_anchors = list(torch.cat([-half, half], dim=2))
        anchors: list[Tensor] = self.generator.grid_anchors(grids, [(stride, stride) for stride in self.strides])
        return anchors
