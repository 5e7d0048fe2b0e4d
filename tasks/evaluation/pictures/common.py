"""Parts that the pictures of all tasks share: choice of cases, panel of the scan, colours, files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.resampling import resize_image
from scansuite.errors import SuiteError
from scansuite.files import replacing, safe_name
from tasks.evaluation.pictures.canvas import Colour, titled

Rank = Literal["best", "median", "worst"]

# Colours that the colour-blind tell apart: M. Okabe and K. Ito, Color universal design, 2008, and from the fifth class
# on those of P. Tol, Colour schemes, SRON technical note, 2021. Errors have three of their own.
MISSED: Colour = (213, 94, 0)
FALSE_CALL: Colour = (86, 180, 233)
WRONG_CLASS: Colour = (240, 228, 66)
UNKNOWN: Colour = (128, 128, 128)
CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 158, 115), (204, 121, 167), (230, 159, 0), (0, 114, 178), (221, 204, 119), (136, 34, 85), (153, 153, 51),
    (51, 34, 136),
)  # fmt: skip
_SHORT_SIDE, _LONG_SIDE = 384, 768  # px of a panel


class Overlay(NamedTuple):
    """A picture that was written."""

    rank: Rank
    case_id: str
    title: str
    picture: NDArray[np.uint8]  # (H, W, 3) RGB, with the title
    file: Path


def rank_cases(values: pd.Series) -> dict[Rank, str]:
    """The best, the median and the worst case.

    Args:
        values: value of each case, by case id; the higher the better, NaN = undefined and left out.

    Returns:
        Case ids. The median of an even number is the lower of the two in the middle, equal cases are in the order of
        the table, and no case is duplicated: of two there is no median, of one only the best, of none nothing.
    """
    ordered = [str(case) for case in values.dropna().sort_values(ascending=False, kind="stable").index]
    if not ordered:
        return {}
    picks: dict[Rank, str] = {"best": ordered[0]}
    if len(ordered) > 2:
        picks["median"] = ordered[len(ordered) // 2]
    if len(ordered) > 1:
        picks["worst"] = ordered[-1]
    return picks


def write_pictures(
    folder: Path, split: str, picks: Mapping[Rank, str], draw: Callable[[Rank, str], tuple[str, NDArray[np.uint8]]]
) -> list[Overlay]:
    """Write pictures of cases as ``<split>_<rank>_<case id>.png``.

    Pictures of the same split that an earlier evaluation left in the folder are removed.

    Args:
        folder: where to; made if need be.
        split: ``val`` or ``test``.
        picks: the cases.
        draw: rank and case id -> title and (H, W, 3) RGB; called once for each.

    Returns:
        The pictures with their titles, best first.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    from PIL import Image

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"{folder}: the folder for pictures cannot be made: {error.strerror}") from None
    for rank in get_args(Rank):
        for old in folder.glob(f"{split}_{rank}_*.png"):
            old.unlink()
    drawn: list[Overlay] = []
    for rank, case_id in picks.items():
        title, panels = draw(rank, case_id)
        picture = titled(panels, title)
        file = folder / f"{split}_{rank}_{safe_name(case_id.replace('/', '_'))}.png"
        with replacing(file, durable=False) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
        drawn.append(Overlay(rank, case_id, title, picture, file))
    return drawn


def panel_size(shape: tuple[int, ...], spacing: tuple[float, float] | None) -> tuple[tuple[int, int], int]:
    """(H, W) of a panel for an image of (H, W) pixels of a spacing in mm, and by how much a pixel is enlarged.

    The shorter side of a panel has at least 384 px, unless the longer one would exceed 768.
    """
    row, column = spacing if spacing is not None else (1.0, 1.0)
    finest = min(row, column)
    height, width = shape[0] * row / finest, shape[1] * column / finest
    whole = max(1, min(math.ceil(_SHORT_SIDE / min(height, width)), int(_LONG_SIDE / max(height, width))))
    factor = whole * min(1.0, _LONG_SIDE / (whole * max(height, width)))
    return (max(1, round(height * factor)), max(1, round(width * factor))), whole


def scan_panel(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a scan (H, W, C) in [0, 1] at the size of a panel.

    Of channel counts other than 1 and 3 the middle channel is shown. Dim scans are brightened until their brightest
    thousandth is white.
    """
    channels = image.shape[2]
    values = image if channels == 3 else image[:, :, 0 if channels == 1 else channels // 2]
    values = np.clip(resize_image(values, size, "cubic"), 0, 1)
    values = values / max(float(np.percentile(values, 99.9)), 0.02)
    panel = np.round(np.minimum(values, 1) * 255).astype(np.uint8)
    return panel if panel.ndim == 3 else np.stack([panel] * 3, axis=-1)
