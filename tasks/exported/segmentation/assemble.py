"""Assembly of a case's mask, at the size as stored, from the probabilities of its tiles and slices.

What is done with the numbers is for a subclass to say: torch's where they lie on a device, numpy's elsewhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.types import Piece, ScanInfo
from tasks.deployment.segmented import AssembledCase
from tasks.exported.segmentation.entropy import mean_entropy

FLOOR = 1e-3  # of the importance map, whose peak is 1
# Probabilities enlarged at once (128 MiB of float32): a batch of small images may belong to large scans.
_VALUES_AT_ONCE = 2**25

Size = tuple[int, int]
Maps = TypeVar("Maps", bound=Any)


class Blend(Protocol[Maps]):
    """The weighted mean of overlapping tiles of one image, in a band of rows that moves down.

    Attributes:
        top: the image's row that the band begins with.
    """

    top: int

    def add(self, probabilities: Maps, weights: Maps, top: int, left: int) -> None:
        """Add a tile (K, h, w) whose first pixel is the image's (top, left); what lies outside is dropped.

        Raises:
            ValueError: the tile begins above the band: tiles did not come in row-major order.
        """

    def advance(self, top: int) -> Maps:
        """Move the band down to begin with row ``top``.

        Returns:
            (K, n, W) mean probabilities of the n rows that the band has left.

        Raises:
            ValueError: tiles left rows out.
        """


class CalledImage(NamedTuple):
    """What is called of an image, and how unsure that is.

    Attributes:
        mask: (H, W) class numbers or (L, H, W) of 0 and 1, as stored.
        entropy: (C, 2) sums, see :func:`~tasks.exported.segmentation.entropy.entropy_sums`.
    """

    mask: NDArray[np.uint8]
    entropy: NDArray[np.float64]


@dataclass
class _OpenImage:
    blend: Blend[Any]
    called: CalledImage  # filled from above


@dataclass
class _OpenCase:
    scan: ScanInfo
    missing: int  # images not finished
    planes: NDArray[np.uint8] | None = None
    entropy: NDArray[np.float64] | None = None  # (C, 2) sums
    images: dict[int, _OpenImage] = field(default_factory=dict)


class Assembly(ABC, Generic[Maps]):
    """Puts the cases of a loader together again, whatever the order in which their pieces mix.

    Tiles of an image are blended by Gaussian weights. What was filled up is cut off. Where the size as stored is
    another one, probabilities are resized, never classes. Then pixels are called, where the probabilities are, and only
    uint8 leaves, and a sum of entropies. Images of several tiles at their own size are called row by row: beside the
    mask they take one band as high as a tile.

    Cases repeated for another rank (``scan["padding"]``) come out too: the caller leaves them out.

    Args:
        overlapping: K are regions by themselves, each called above 0.5; else classes, of which the most probable wins.
    """

    def __init__(self, overlapping: bool) -> None:
        self.overlapping = overlapping
        self._open: dict[int, _OpenCase] = {}

    @abstractmethod
    def call(self, probabilities: Maps) -> list[CalledImage]:
        """(B, K, H, W) as stored -> B images."""

    @abstractmethod
    def resize(self, probabilities: Maps, size: Size) -> Maps:
        """(B, K, h, w) -> (B, K, H, W) by linear interpolation; sides that shrink are averaged (antialiased)."""

    @abstractmethod
    def blend(self, like: Maps, rows: int, width: int) -> Blend[Maps]:
        """A band of ``rows`` of an image of that width, for tiles (K, h, w) that are like this one."""

    @abstractmethod
    def weights(self, like: Maps) -> Maps:
        """(h, w) Gaussian weights of the pixels of a tile (K, h, w)."""

    @property
    def open_cases(self) -> int:
        """Number of cases that have begun and are not complete."""
        return len(self._open)

    def add(self, probabilities: Maps, pieces: Sequence[Piece], scans: Sequence[ScanInfo]) -> list[AssembledCase]:
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

    def _call_whole(self, probabilities: Maps, content: Size, original: Size) -> list[CalledImage]:
        """Images that came whole and have one size."""
        probabilities = probabilities[..., : content[0], : content[1]]
        at_once = max(1, _VALUES_AT_ONCE // (probabilities.shape[1] * math.prod(original)))
        parts = (probabilities[start : start + at_once] for start in range(0, len(probabilities), at_once))
        return [image for part in parts for image in self.call(self.resize(part, original))]

    def _add_tile(self, probabilities: Maps, piece: Piece, scan: ScanInfo) -> CalledImage | None:
        """Blend a tile (K, h, w) into its image; the image if this was the last one."""
        content, original = _content(piece, scan), scan["original_size"]
        resized = content != original
        classes, *tile = probabilities.shape
        case = self._case_of(piece, scan)
        image = case.images.get(piece.image)
        if image is None:
            blend = self.blend(probabilities, content[0] if resized else min(tile[0], content[0]), content[1])
            shape = (classes, *original) if self.overlapping else original
            sums = np.zeros((classes - (not self.overlapping), 2))
            image = case.images[piece.image] = _OpenImage(blend, CalledImage(np.empty(shape, np.uint8), sums))

        if not resized and image.blend.top < piece.top < content[0]:
            self._write_rows(image, piece.top)
        image.blend.add(probabilities, self.weights(probabilities), *piece[3:5])
        if not piece.last:
            return None
        self._write_rows(image, content[0], original if resized else None)
        del case.images[piece.image]
        return image.called

    def _write_rows(self, image: _OpenImage, top: int, size: Size | None = None) -> None:
        """Call the rows above ``top``, which no later tile touches; with ``size`` resized to it, where they are all."""
        first, rows = image.blend.top, image.blend.advance(top)[None]
        (called,) = self.call(rows if size is None else self.resize(rows, size))
        image.called.mask[..., first : first + called.mask.shape[-2], :] = called.mask
        image.called.entropy[:] += called.entropy

    def _finish_image(self, piece: Piece, scan: ScanInfo, image: CalledImage) -> list[AssembledCase]:
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


def _content(piece: Piece, scan: ScanInfo) -> Size:
    """(H, W) of the model's image that show the scan."""
    content = scan.get("content_size", piece.size)
    return min(piece.size[0], content[0]), min(piece.size[1], content[1])


def _sizes_of_whole(piece: Piece, scan: ScanInfo) -> tuple[Size, Size] | None:
    """Content and stored size of an image that came as one tile, else None."""
    # Of several tiles, the last one does not lie at the origin.
    whole = piece.last and piece.top == piece.left == 0
    return (_content(piece, scan), scan["original_size"]) if whole else None
