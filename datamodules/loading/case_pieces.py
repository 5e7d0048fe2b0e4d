"""Cases cut into pieces, the images and tiles that a network sees one by one. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.loading.case_source import CaseSource
from datamodules.preprocess import Preprocess
from datamodules.samples.tiles import fill_up, plan_tiles
from datamodules.types import Piece, ScanInfo


class CutPiece(NamedTuple):
    """A piece of a case.

    Attributes:
        image: (h, w) or (h, w, C) of the model's image, float32 in [0, 1]; with ``limits`` as stored.
        limits: (2, K) float32, see :attr:`.OpenedImage.limits`; None where the image is as the model sees it.
        scan: of the image that it is a piece of.
        piece: its place in the case.
    """

    image: NDArray[Any]
    limits: NDArray[np.float32] | None
    scan: ScanInfo
    piece: Piece


def cut(
    source: CaseSource,
    case: int,
    preprocess: Preprocess,
    tile: tuple[int, int] | None,
    overlap: float,
    *,
    stored: bool = False,
) -> Iterator[CutPiece]:
    """The pieces of a case, image by image and from the top left of each; nothing of an image is kept after its last.

    Tiles are laid over what shows the scan: what was filled up to one size (``scan["content_size"]``) gets none of
    its own. Where a tile is larger than the image, the last pixels below and on the right are repeated.

    Args:
        source: where the case comes from; what :meth:`CaseSource.scan_of` says goes before what the reader says.
        case: its number.
        preprocess: stored values -> the model's image.
        tile: (h, w) in pixels of the model's image; None hands over images whole.
        overlap: see :func:`~datamodules.samples.tiles.plan_tiles`.
        stored: images are handed over as stored, where that can be.

    Raises:
        SuiteError: the case cannot be read, or an image of it.
    """
    images, identity = source.images(case), source.scan_of(case)
    for number in range(len(images)):
        scan = images[number]
        image = preprocess.opened(scan)
        info = cast("ScanInfo", {**scan.info, **identity})
        if preprocess.fills:
            info["content_size"] = image.content_size
        size = info.get("content_size", image.size)
        whole = tile if tile is not None else image.size
        places = plan_tiles(size, whole, overlap)
        for place, (top, left) in enumerate(places):
            part, limits = image.part(top, left, *whole, stored=stored)
            piece = Piece(case, number, len(images), top, left, size, place == len(places) - 1)
            yield CutPiece(fill_up(part, whole), limits, info, piece)
