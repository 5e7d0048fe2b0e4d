"""Pieces of cases in batches of equal shape, and what cannot be read in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from datamodules.loading.case_pieces import CutPiece, cut
from datamodules.loading.case_source import CaseSource
from datamodules.preprocess import Preprocess
from datamodules.types import Piece, ScanInfo
from scansuite.errors import SuiteError
from tasks.exported.images import FloatArray, image_batch

Item = TypeVar("Item")
Said = TypeVar("Said")

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


def predicted_batches(
    batches: Iterable[PieceBatch | Unreadable], predict: Callable[[FloatArray], Said]
) -> Iterator[tuple[PieceBatch, Said] | Unreadable]:
    """Batches with what a model says of them; a case whose image the graph does not take is one that cannot be read.

    Args:
        batches: :func:`piece_batches`.
        predict: (B, C, H, W) images -> what is said of them.
    """
    refused: set[int] = set()
    for batch in batches:
        if isinstance(batch, Unreadable):
            yield batch
            continue
        kept = [place for place, piece in enumerate(batch.pieces) if piece.case not in refused]
        if len(kept) < len(batch.pieces):
            batch = PieceBatch(batch.images[kept], [batch.scans[k] for k in kept], [batch.pieces[k] for k in kept])
        if not kept:
            continue
        try:
            said = predict(batch.images)
        except SuiteError as error:
            cases = {piece.case: scan["path"] for piece, scan in zip(batch.pieces, batch.scans, strict=True)}
            refused |= set(cases)
            yield from (Unreadable(path, str(error)) for path in cases.values())
            continue
        yield batch, said


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Items, of which the next one is made in a thread while the one before is used."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _taken(waiting: list[CutPiece]) -> PieceBatch:
    """A batch of the pieces that wait, and of them none any more."""
    images = image_batch([one.image for one in waiting])
    batch = PieceBatch(images, [one.scan for one in waiting], [one.piece for one in waiting])
    waiting.clear()
    return batch
