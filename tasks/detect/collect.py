"""Collection of the boxes of tiles into those of a whole case, in pixels of the image as stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from datamodules.types import Piece, ScanInfo
from tasks.detect.fusion import fuse_boxes
from tasks.detect.interface import Detections
from tasks.detect.nms import suppress
from tasks.evaluation.calibration.calibration import Calibration
from tasks.predictor import StepOutput

_AT_EDGE = 1.0  # px: a box that comes so near to a tile's border is cut off by it


class CaseBoxes(NamedTuple):
    """Boxes found in a case.

    Attributes:
        case: number of the case among those of its loader.
        scan: of the case.
        boxes: (N, 4) xyxy in pixels of the image as stored.
        scores: (N,) in [0, 1], falling.
        labels: (N,) class numbers.
    """

    case: int
    scan: ScanInfo
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass
class _Open:
    """A case of which some tiles have come; of each what each model found in it."""

    scan: ScanInfo
    tiles: list[tuple[Piece, list[Detections]]] = field(default_factory=list)


class BoxCollector(Callback):
    """Hands each case on as soon as its last tile has come; what several models found in it is fused first.

    Args:
        overlap: share of a tile that the next one covers again.
        nms_iou: boxes of one class from two tiles that overlap more than this are one.
        max_detections: boxes a case, the best ones.
    """

    def __init__(self) -> None:
        self._finished: Callable[[CaseBoxes], None] | None = None
        self._open: dict[int, _Open] = {}
        self.overlap, self.nms_iou, self.max_detections = 0.0, 0.5, 100

    def start(
        self, finished: Callable[[CaseBoxes], None], *, overlap: float, nms_iou: float, max_detections: int
    ) -> None:
        """Begin with a new set of cases; ``finished`` is called with each, the rest see the class."""
        self._finished, self._open = finished, {}
        self.overlap, self.nms_iou, self.max_detections = overlap, nms_iou, max_detections

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput[Any], *_: object
    ) -> None:
        """Add the tiles of a batch."""
        batch = outputs["batch"]
        if self._finished is None:
            return
        broken = {path for path, _ in batch["unreadable"]}
        self._open = {case: one for case, one in self._open.items() if one.scan["path"] not in broken}
        if not batch["scan"]:
            return
        tile = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
        for piece, scan, found in zip(batch["pieces"], batch["scan"], outputs["output"], strict=True):
            case = self._open.setdefault(piece.case, _Open(scan))
            by_model = found if isinstance(found, list) else [found]
            case.tiles.append((piece, [Detections(*(part.cpu() for part in one)) for one in by_model]))
            if piece.last:
                del self._open[piece.case]
                self._finished(self._whole(case.tiles, tile, piece, scan))

    def _whole(
        self, tiles: list[tuple[Piece, list[Detections]]], tile: tuple[int, int], piece: Piece, scan: ScanInfo
    ) -> CaseBoxes:
        """The boxes of a case, of which all tiles have come."""
        of_models = []
        for model in range(len(tiles[0][1])):
            own = [(place, found[model]) for place, found in tiles]
            merged = merge_tiles(own, tile, self.overlap, self.nms_iou, self.max_detections)
            of_models.append(_as_stored(piece, scan, merged))
        if len(of_models) == 1:
            return of_models[0]
        boxes, scores, labels = fuse_boxes([(one.boxes, one.scores, one.labels) for one in of_models])
        kept = slice(self.max_detections)
        return CaseBoxes(piece.case, scan, boxes[kept], scores[kept], labels[kept])


def merge_tiles(
    tiles: list[tuple[Piece, Detections]],
    tile: tuple[int, int],
    overlap: float,
    nms_iou: float,
    max_detections: int,
) -> Detections:
    """The boxes of an image from those of its tiles.

    A box that ends at a border between tiles shows a part of something that the next tile shows whole, if it is no
    larger than what two tiles have in common: it is dropped. Of what is left, NMS by class takes away what was found
    twice.

    Args:
        tiles: of one image, with what was found in each, in pixels of the tile.
        tile: (h, w) in pixels.
        overlap: share of a tile that the next one covers again, at least.
        nms_iou: see above.
        max_detections: the best ones are kept.

    Returns:
        In pixels of the model's image, clipped to it, best first; boxes without area are left out.
    """
    height, width = tiles[0][0].size
    parts: list[Detections] = []
    for piece, (boxes, scores, labels) in tiles:
        if len(tiles) > 1:
            whole = ~_cut_off(boxes, piece, tile, overlap)
            boxes, scores, labels = boxes[whole], scores[whole], labels[whole]
        boxes = boxes + boxes.new_tensor([piece.left, piece.top, piece.left, piece.top])
        parts.append(Detections(boxes, scores, labels))
    joined = Detections(*(torch.cat(some) for some in zip(*parts, strict=True)))
    if len(tiles) == 1:
        return within_scan(joined, (height, width), max_detections)
    boxes, scores, labels = within_scan(joined, (height, width), len(joined.scores))
    kept = suppress(boxes, scores, labels, nms_iou)[:max_detections]
    return Detections(boxes[kept], scores[kept], labels[kept])


def calibrated(found: Detections, calibration: Calibration | None, class_names: Sequence[str]) -> Detections:
    """Boxes with calibrated scores, highest first; None leaves them as they are."""
    if calibration is None:
        return found
    scores, labels = found.scores.double().cpu().numpy().copy(), found.labels.cpu().numpy()
    for number, name in enumerate(class_names):
        scores[labels == number] = calibration.apply_to(name, scores[labels == number])
    order = np.argsort(-scores, kind="stable")
    place = torch.from_numpy(order).to(found.labels.device)
    return Detections(found.boxes[place], torch.from_numpy(scores[order]).to(found.scores.device), found.labels[place])


def within_scan(found: Detections, size: tuple[int, int], count: int) -> Detections:
    """Boxes within the part of an image that shows the scan: an image is filled up at the bottom and right.

    Evaluation and the epochs of training go through here, so that both see the same boxes.

    Args:
        found: in pixels of the model's image.
        size: (H, W) of it that show the scan.
        count: the best ones are kept.

    Returns:
        Clipped, best first; boxes without area are left out.
    """
    boxes = clip_boxes_to_image(found.boxes, size)
    there = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[:, 0]
    kept = there[found.scores[there].argsort(descending=True, stable=True)[:count]]
    return Detections(boxes[kept], found.scores[kept], found.labels[kept])


def _cut_off(boxes: Tensor, piece: Piece, tile: tuple[int, int], overlap: float) -> Tensor:
    """(N,) whether a box is cut by a border within the image, and small enough that another tile shows it whole."""
    cut = torch.zeros(len(boxes), dtype=torch.bool)
    for axis, (start, side) in enumerate(((piece.left, tile[1]), (piece.top, tile[0]))):
        low, high, image = boxes[:, axis], boxes[:, axis + 2], piece.size[1 - axis]
        ends = torch.zeros_like(cut)
        if start > 0:
            ends |= low <= _AT_EDGE
        if start + side < image:
            ends |= high >= side - _AT_EDGE
        cut |= ends & (high - low < overlap * side - _AT_EDGE)
    return cut


def _as_stored(piece: Piece, scan: ScanInfo, found: Detections) -> CaseBoxes:
    """Boxes in pixels of the image as stored."""
    height, width = scan.get("original_size", piece.size)
    scale = np.array([width / piece.size[1], height / piece.size[0]] * 2)
    boxes = found.boxes.double().numpy() * scale
    return CaseBoxes(piece.case, scan, boxes, found.scores.double().numpy(), found.labels.numpy())
