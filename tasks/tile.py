"""The tiles that large images are evaluated and predicted by."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.preprocess import Preprocess
from datamodules.settings import numbers
from scansuite.errors import SuiteError


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
