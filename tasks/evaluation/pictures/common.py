"""Parts that the pictures of all tasks share: choice of cases, colours of errors, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.pictures.canvas import Colour, titled
from scansuite.errors import SuiteError
from scansuite.files import replacing, safe_name

Rank = Literal["best", "median", "worst"]

# Of errors: three colours that no class has, which the colour-blind tell apart (see datamodules.pictures.panels).
MISSED: Colour = (213, 94, 0)
FALSE_CALL: Colour = (86, 180, 233)
WRONG_CLASS: Colour = (240, 228, 66)


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
