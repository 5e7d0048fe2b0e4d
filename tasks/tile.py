"""The tiles that large images are evaluated and predicted by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.base import ScanDataModule
from datamodules.evenly import evenly
from datamodules.preprocess import Preprocess
from datamodules.samples.tiles import patches_seen
from datamodules.settings import numbers
from scansuite.errors import SuiteError

_LOOKED_AT = 16  # images whose sizes say how much evaluation sees


def evaluation_tile(
    asked: int | list[int] | str | None, patch: Sequence[int] | None, preprocess: Preprocess
) -> tuple[int, int] | None:
    """Size (h, w) of the tiles for evaluating and predicting; None where images go through whole.

    Args:
        asked: ``--model.window``; left out: the size of the patches.
        patch: (h, w) that the model is trained on: of patches, or of whole images.
        preprocess: of the model; its size is None where images keep their own.

    Raises:
        SuiteError: tiles are asked for where images are resized, or are no numbers.
    """
    if patch is None or (preprocess.size is not None and list(preprocess.size) == list(patch)):
        if asked not in (None, "whole"):
            raise SuiteError(
                f"--model.window {asked}: images are resized to --data.image_size and go through whole: leave it out, "
                "or train on patches with --data.patch_size"
            )
        return None
    if asked == "whole":
        return None
    sides = numbers(asked, "--model.window")
    if sides is None:
        return int(patch[0]), int(patch[1])
    if len(sides) > 2 or min(sides) < 1:
        raise SuiteError(f"--model.window {asked}: one side or H,W in pixels, or whole")
    return int(sides[0]), int(sides[-1])


def evaluated_patches(
    asked: int | list[int] | str | None, overlap: float, data: ScanDataModule, splits: Sequence[str]
) -> float:
    """How much of an image evaluation sees, in patches of its training; validation while it trains sees one.

    Args:
        asked: ``--model.window``.
        overlap: ``--model.overlap``.
        data: prepared.
        splits: parts that are evaluated.

    Returns:
        The mean of some of their images: the area of all their tiles, or of the whole image, by that of a patch; 1
        where images are resized and go through whole.
    """
    if data.patch is None:
        return 1.0
    tile = evaluation_tile(asked, data.patch.size, data.preprocess)
    if tile is None and data.preprocess.size is not None:
        return 1.0
    images = np.concatenate([np.zeros(0, np.int64), *(data.samples(data.rows(split)).images for split in splits)])
    sizes = [data.stored_size(int(images[number])) for number in evenly(len(images), _LOOKED_AT)]
    seen = [patches_seen(data.preprocess.content_size(size), data.patch.size, tile, overlap) for size in sizes]
    return float(np.mean(seen)) if seen else 1.0
