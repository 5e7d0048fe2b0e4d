"""Boxes of tiles put together to those of a whole case, in pixels of the image as stored; for torch's models too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datamodules.types import Piece, ScanInfo
from tasks.deployment.detected import CaseBoxes
from tasks.exported.detection.anchors import clip_boxes
from tasks.exported.detection.fusion import fuse_boxes
from tasks.exported.detection.suppression import Found, suppress

_AT_EDGE = 1.0  # px: a box that comes so near to a tile's border is cut off by it


@dataclass
class _Open:
    """A case of which some tiles have come; of each what each model found in it."""

    scan: ScanInfo
    tiles: list[tuple[Piece, Sequence[Found]]] = field(default_factory=list)


class TileBoxes:
    """Hands each case on as soon as its last tile has come; what several models found in it is fused first.

    Args:
        overlap: share of a tile that the next one covers again.
        nms_iou: boxes of one class from two tiles that overlap more than this are one.
        max_detections: boxes a case, the best ones.
    """

    def __init__(self, overlap: float, nms_iou: float, max_detections: int) -> None:
        self.overlap, self.nms_iou, self.max_detections = overlap, nms_iou, max_detections
        self._open: dict[int, _Open] = {}

    def drop(self, path: str) -> None:
        """Forget an open case of which no more tiles will come, because the rest of its file cannot be read."""
        self._open = {case: one for case, one in self._open.items() if one.scan.get("path") != path}

    def add(
        self,
        found: Sequence[Sequence[Found]],
        pieces: Sequence[Piece],
        scans: Sequence[ScanInfo],
        tile: tuple[int, int],
    ) -> Iterator[CaseBoxes]:
        """Take a batch of tiles, and give the cases that it completes.

        Args:
            found: in each tile, by each model, in pixels of the tile.
            pieces: where each tile lies.
            scans: of each.
            tile: (h, w) of all of them.
        """
        for piece, scan, by_model in zip(pieces, scans, found, strict=True):
            case = self._open.setdefault(piece.case, _Open(scan))
            case.tiles.append((piece, by_model))
            if piece.last:
                del self._open[piece.case]
                yield self._whole(case.tiles, tile, piece, scan)

    def _whole(
        self, tiles: list[tuple[Piece, Sequence[Found]]], tile: tuple[int, int], piece: Piece, scan: ScanInfo
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
    tiles: Sequence[tuple[Piece, Found]],
    tile: tuple[int, int],
    overlap: float,
    nms_iou: float,
    max_detections: int,
) -> Found:
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
    parts: list[Found] = []
    for piece, found in tiles:
        if len(tiles) > 1:
            found = found.of(~_cut_off(found.boxes, piece, tile, overlap))
        shift = np.array([piece.left, piece.top, piece.left, piece.top], found.boxes.dtype)
        parts.append(found._replace(boxes=found.boxes + shift))
    joined = Found(*(np.concatenate(some) for some in zip(*parts, strict=True)))
    if len(tiles) == 1:
        return within_scan(joined, (height, width), max_detections)
    whole = within_scan(joined, (height, width), len(joined.scores))
    return whole.of(suppress(whole.boxes, whole.scores, whole.labels, nms_iou)[:max_detections])


def within_scan(found: Found, size: tuple[int, int], count: int) -> Found:
    """Boxes within the part of an image that shows the scan: an image is filled up at the bottom and right.

    Args:
        found: in pixels of the model's image.
        size: (H, W) of it that show the scan.
        count: the best ones are kept.

    Returns:
        Clipped, best first; boxes without area are left out.
    """
    boxes = clip_boxes(found.boxes, size)
    there = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    kept = there[np.argsort(-found.scores[there], kind="stable")[:count]]
    return Found(boxes[kept], found.scores[kept], found.labels[kept])


def _cut_off(boxes: NDArray[np.float32], piece: Piece, tile: tuple[int, int], overlap: float) -> NDArray[np.bool_]:
    """(N,) whether a box is cut by a border within the image, and small enough that another tile shows it whole."""
    cut = np.zeros(len(boxes), np.bool_)
    for axis, (start, side) in enumerate(((piece.left, tile[1]), (piece.top, tile[0]))):
        low, high, image = boxes[:, axis], boxes[:, axis + 2], piece.size[1 - axis]
        ends = np.zeros_like(cut)
        if start > 0:
            ends |= low <= _AT_EDGE
        if start + side < image:
            ends |= high >= side - _AT_EDGE
        cut |= ends & (high - low < overlap * side - _AT_EDGE)
    return cut


def _as_stored(piece: Piece, scan: ScanInfo, found: Found) -> CaseBoxes:
    """Boxes in pixels of the image as stored."""
    height, width = scan.get("original_size", piece.size)
    scale = np.array([width / piece.size[1], height / piece.size[0]] * 2)
    return CaseBoxes(piece.case, scan, found.boxes.astype(np.float64) * scale, found.scores, found.labels)
