"""Pieces of cases in batches of equal shape, and what cannot be read in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from datamodules.loading.case_pieces import CutPiece, cut
from datamodules.loading.case_source import CaseSource
from datamodules.preprocess import Preprocess
from datamodules.types import Piece, ScanInfo
from scansuite.errors import SuiteError
from tasks.exported.images import FloatArray, image_batch

_VALUES_AT_ONCE = 2**23  # of the images of a batch: 32 MiB; the network makes much more of them


class Unreadable(NamedTuple):
    """A file, or the folder of a series, that could not be read.

    Attributes:
        path: of it.
        reason: in words.
    """

    path: str
    reason: str


class PieceBatch(NamedTuple):
    """Pieces of one shape.

    Attributes:
        images: (B, C, H, W) float32 in [0, 1].
        scans: of each.
        pieces: place of each in its case.
    """

    images: FloatArray
    scans: list[ScanInfo]
    pieces: list[Piece]


def piece_batches(
    source: CaseSource, preprocess: Preprocess, tile: tuple[int, int] | None, overlap: float, batch_size: int
) -> Iterator[PieceBatch | Unreadable]:
    """The pieces of all cases in their order; of a case that breaks off no piece follows.

    Args:
        source: of the cases.
        preprocess: stored values -> the model's image.
        tile: (h, w) in pixels of the model's image; None: whole images.
        overlap: share of a tile that the next one covers again.
        batch_size: most pieces in a batch; fewer where they are large.
    """
    waiting: list[CutPiece] = []
    for case in range(len(source)):
        try:
            for piece in cut(source, case, preprocess, tile, overlap):
                if waiting and piece.image.shape != waiting[0].image.shape:
                    yield _taken(waiting)
                waiting.append(piece)
                if len(waiting) >= min(batch_size, max(1, _VALUES_AT_ONCE // piece.image.size)):
                    yield _taken(waiting)
        except SuiteError as error:
            waiting = [piece for piece in waiting if piece.piece.case != case]
            yield Unreadable(source.scan_of(case)["path"], str(error))
    if waiting:
        yield _taken(waiting)


def _taken(waiting: list[CutPiece]) -> PieceBatch:
    """A batch of the pieces that wait, and of them none any more."""
    images = image_batch([one.image for one in waiting])
    batch = PieceBatch(images, [one.scan for one in waiting], [one.piece for one in waiting])
    waiting.clear()
    return batch
