"""Assembly of a case's mask, at the size as stored, from the probabilities of its tiles and slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.types import Piece, ScanInfo
from tasks.segment.mask_entropy import entropy_sums, mean_entropy

_FLOOR = 1e-3  # of the importance map, whose peak is 1
# Probabilities enlarged at once (128 MiB of float32): a batch of small images may belong to large scans.
_VALUES_AT_ONCE = 2**25

Size = tuple[int, int]


@dataclass
class AssembledCase:
    """The mask of a whole case.

    Attributes:
        case: number of the case among those of its loader, as in :class:`~datamodules.types.Piece`.
        scan: of the case's first image.
        planes: (S, H, W) class numbers of the S images in their order, or (S, L, H, W) with 0 and 1 for each of L
            overlapping regions; H and W as stored.
        uncertainty: (C,) mean entropy, 0 to 1, of each class but the background, or of each region, over the pixels
            that are called it or nearly so; see :func:`~tasks.segment.mask_entropy.entropy_sums`.
    """

    case: int
    scan: ScanInfo
    planes: NDArray[np.uint8]
    uncertainty: NDArray[np.float64]


def gaussian_weights(tile: Size) -> Tensor:
    """Weights of the pixels of a tile where tiles overlap: a Gaussian, for networks know borders less well.

    Its standard deviation is an eighth of the tile's side, as in F. Isensee et al., nnU-Net: a self-configuring
    method for deep learning-based biomedical image segmentation, Nature Methods 18:203-211, 2021.

    Args:
        tile: (h, w) in pixels.

    Returns:
        (h, w) float32 in [0.001, 1], the same after a flip.
    """
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float64) - (side - 1) / 2) / (side / 8)) ** 2)
        for side in tile
    )
    return torch.outer(rows, columns).clamp_min(_FLOOR).float()


def call_classes(probabilities: Tensor, *, overlapping: bool) -> Tensor:
    """(B, K, H, W) probabilities -> (B, H, W) uint8 class numbers, or (B, K, H, W) uint8 regions: 1 above 0.5."""
    if overlapping:
        return (probabilities > 0.5).to(torch.uint8)
    # On a CPU, max is three times as fast as a transposed argmax and eight times as fast as argmax over dimension 1.
    return probabilities.max(dim=1).indices.to(torch.uint8)


def resize_probabilities(probabilities: Tensor, size: Size) -> Tensor:
    """(B, K, h, w) -> (B, K, H, W) by linear interpolation; sides that shrink are averaged (antialiased)."""
    height, width = probabilities.shape[-2:]
    if (height, width) == size:
        return probabilities
    shrinks = size[0] < height or size[1] < width
    return F.interpolate(probabilities, size, mode="bilinear", align_corners=False, antialias=shrinks)


class TileBlend:
    """The weighted mean of overlapping tiles of one image, in a band of rows that moves down.

    Args:
        classes: K of the probabilities.
        rows: height of the band: of a tile, or of the image where it is wanted whole.
        width: of the image.
        device: of the probabilities.
    """

    def __init__(self, classes: int, rows: int, width: int, device: torch.device) -> None:
        self.top = 0  # the image's row that the band begins with
        self.total = torch.zeros(classes, rows, width, device=device)
        self.weight = torch.zeros(rows, width, device=device)

    def add(self, probabilities: Tensor, weights: Tensor, top: int, left: int) -> None:
        """Add a tile (K, h, w) whose first pixel is the image's (top, left); what lies outside is dropped.

        Raises:
            ValueError: the tile begins above the band: tiles did not come in row-major order.
        """
        if top < self.top:
            raise ValueError(f"a tile begins at row {top}, but those above {self.top} are called: out of order")
        top -= self.top
        rows = max(0, min(weights.shape[0], self.weight.shape[0] - top))
        columns = max(0, min(weights.shape[1], self.weight.shape[1] - left))
        weights = weights[:rows, :columns]
        place = (..., slice(top, top + rows), slice(left, left + columns))
        self.total[place].addcmul_(probabilities[:, :rows, :columns], weights)
        self.weight[place].add_(weights)

    def advance(self, top: int) -> Tensor:
        """Move the band down to begin with row ``top``.

        Returns:
            (K, n, W) mean probabilities of the n rows that the band has left.

        Raises:
            ValueError: tiles left rows out.
        """
        done, rows = top - self.top, self.weight.shape[0]
        if done > rows:
            raise ValueError(f"no tile held rows {self.top + rows} to {top}: out of order")
        mean = self.total[:, :done] / self.weight[:done]
        for band in (self.total, self.weight):
            band[..., : rows - done, :] = band[..., done:, :].clone()  # the two may overlap
            band[..., rows - done :, :] = 0
        self.top = top
        return mean


class _CalledImage(NamedTuple):
    mask: NDArray[np.uint8]  # (H, W) or (L, H, W) as stored
    entropy: NDArray[np.float64]  # (C, 2) sums


@dataclass
class _OpenImage:
    blend: TileBlend
    called: _CalledImage  # filled from above


@dataclass
class _OpenCase:
    scan: ScanInfo
    missing: int  # images not finished
    planes: NDArray[np.uint8] | None = None
    entropy: NDArray[np.float64] | None = None  # (C, 2) sums
    images: dict[int, _OpenImage] = field(default_factory=dict)


class CaseAssembler:
    """Puts the cases of a loader together again, whatever the order in which their pieces mix.

    Tiles of an image are blended by :func:`gaussian_weights`. What was filled up is cut off. Where the size as stored
    is another one, probabilities are resized, never classes. Then pixels are called, on the probabilities' device, and
    only uint8 leaves it, and a sum of entropies. Images of several tiles at their own size are called row by row:
    beside the mask they take one band as high as a tile.

    Cases repeated for another rank (``scan["padding"]``) come out too: the caller leaves them out.

    Args:
        overlapping: K are regions by themselves, each called above 0.5; else classes, of which the most probable wins.
    """

    def __init__(self, overlapping: bool) -> None:
        self.overlapping = overlapping
        self._open: dict[int, _OpenCase] = {}
        self._weights: dict[tuple[Size, torch.device], Tensor] = {}

    @property
    def open_cases(self) -> int:
        """Number of cases that have begun and are not complete."""
        return len(self._open)

    def add(self, probabilities: Tensor, pieces: Sequence[Piece], scans: Sequence[ScanInfo]) -> list[AssembledCase]:
        """Take the next batch of the loader.

        Args:
            probabilities: (b, K, h, w) float32.
            pieces: where each of the b images lies.
            scans: of each of the b images; ``original_size`` is needed.

        Returns:
            The cases that this batch completes.

        Raises:
            ValueError: tiles of an image came out of order or left rows out, or images of a case differ in size.
        """
        complete: list[AssembledCase] = []
        sizes = [_sizes_of_whole(piece, scan) for piece, scan in zip(pieces, scans, strict=True)]
        for whole, group in groupby(range(len(pieces)), key=sizes.__getitem__):
            some = list(group)
            if whole is None:
                for one in some:
                    image = self._add_tile(probabilities[one], pieces[one], scans[one])
                    if image is not None:
                        complete += self._finish_image(pieces[one], scans[one], image)
                continue
            images = self._call_whole(probabilities[some[0] : some[-1] + 1], *whole)
            for one, image in zip(some, images, strict=True):
                complete += self._finish_image(pieces[one], scans[one], image)
        return complete

    def drop(self, path: str) -> None:
        """Forget an open case of which no more pieces will come, because the rest of its file cannot be read."""
        self._open = {case: one for case, one in self._open.items() if one.scan.get("path") != path}

    def _call(self, probabilities: Tensor) -> list[_CalledImage]:
        """(B, K, H, W) as stored -> B images."""
        called = call_classes(probabilities, overlapping=self.overlapping)
        sums = entropy_sums(probabilities, called, overlapping=self.overlapping)
        return [_CalledImage(mask, own) for mask, own in zip(called.cpu().numpy(), sums, strict=True)]

    def _call_whole(self, probabilities: Tensor, content: Size, original: Size) -> list[_CalledImage]:
        """Images that came whole and have one size."""
        probabilities = probabilities[..., : content[0], : content[1]]
        at_once = max(1, _VALUES_AT_ONCE // (probabilities.shape[1] * math.prod(original)))
        parts = torch.split(probabilities, at_once)
        return [image for part in parts for image in self._call(resize_probabilities(part, original))]

    def _add_tile(self, probabilities: Tensor, piece: Piece, scan: ScanInfo) -> _CalledImage | None:
        """Blend a tile (K, h, w) into its image; the image if this was the last one."""
        content, original = _content(piece, scan), scan["original_size"]
        resized = content != original
        classes, *tile = probabilities.shape
        case = self._case_of(piece, scan)
        image = case.images.get(piece.image)
        if image is None:
            blend = TileBlend(
                classes, content[0] if resized else min(tile[0], content[0]), content[1], probabilities.device
            )
            shape = (classes, *original) if self.overlapping else original
            sums = np.zeros((classes - (not self.overlapping), 2))
            image = case.images[piece.image] = _OpenImage(blend, _CalledImage(np.empty(shape, np.uint8), sums))

        if not resized and image.blend.top < piece.top < content[0]:
            self._write_rows(image, piece.top)
        image.blend.add(probabilities, self._weights_of((tile[0], tile[1]), probabilities.device), *piece[3:5])
        if not piece.last:
            return None
        self._write_rows(image, content[0], original if resized else None)
        del case.images[piece.image]
        return image.called

    def _write_rows(self, image: _OpenImage, top: int, size: Size | None = None) -> None:
        """Call the rows above ``top``, which no later tile touches; with ``size`` resized to it, where they are all."""
        first, rows = image.blend.top, image.blend.advance(top)[None]
        (called,) = self._call(rows if size is None else resize_probabilities(rows, size))
        image.called.mask[..., first : first + called.mask.shape[-2], :] = called.mask
        image.called.entropy[:] += called.entropy

    def _finish_image(self, piece: Piece, scan: ScanInfo, image: _CalledImage) -> list[AssembledCase]:
        case, mask = self._case_of(piece, scan), image.mask
        if case.planes is None:
            case.planes = mask[None] if piece.images == 1 else np.empty((piece.images, *mask.shape), np.uint8)
        if case.planes.shape[1:] != mask.shape:
            raise ValueError(f"image {piece.image} of case {piece.case} has another size than those before it")
        if piece.images > 1:
            case.planes[piece.image] = mask
        case.entropy = image.entropy if case.entropy is None else case.entropy + image.entropy
        case.missing -= 1
        if case.missing:
            return []
        del self._open[piece.case]
        return [AssembledCase(piece.case, case.scan, case.planes, mean_entropy(case.entropy))]

    def _case_of(self, piece: Piece, scan: ScanInfo) -> _OpenCase:
        case = self._open.setdefault(piece.case, _OpenCase(scan, piece.images))
        if piece.image == 0:
            case.scan = scan
        return case

    def _weights_of(self, tile: Size, device: torch.device) -> Tensor:
        if (tile, device) not in self._weights:
            self._weights[tile, device] = gaussian_weights(tile).to(device)
        return self._weights[tile, device]


def _content(piece: Piece, scan: ScanInfo) -> Size:
    """(H, W) of the model's image that show the scan."""
    content = scan.get("content_size", piece.size)
    return min(piece.size[0], content[0]), min(piece.size[1], content[1])


def _sizes_of_whole(piece: Piece, scan: ScanInfo) -> tuple[Size, Size] | None:
    """Content and stored size of an image that came as one tile, else None."""
    # Of several tiles, the last one does not lie at the origin.
    whole = piece.last and piece.top == piece.left == 0
    return (_content(piece, scan), scan["original_size"]) if whole else None
