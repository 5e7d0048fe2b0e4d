"""Pictures put together from panels, with words: captions, a legend, a title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Colour = tuple[int, int, int]
_WHITE, _INK = (255, 255, 255), (20, 20, 20)
_GAP = 8  # px around panels
_TEXT, _LINE = 15, 24  # px: size of letters, height of a line


def grid(panels: Sequence[tuple[str, NDArray[np.uint8]]], columns: int = 2) -> NDArray[np.uint8]:
    """Put panels of one size side by side and below one another, each with its caption above it.

    Args:
        panels: caption, and (H, W, 3) pixels.
        columns: panels in a row.

    Returns:
        (H', W', 3) on white ground.
    """
    height, width = panels[0][1].shape[:2]
    rows = -(-len(panels) // columns)
    step_y, step_x = _LINE + height + _GAP, width + _GAP
    canvas = np.full((rows * step_y, _GAP + columns * step_x, 3), _WHITE, np.uint8)
    places = [(_LINE + number // columns * step_y, _GAP + number % columns * step_x) for number in range(len(panels))]
    for (top, left), (_, pixels) in zip(places, panels, strict=True):
        canvas[top : top + height, left : left + width] = pixels
    words = [(left, top - _LINE, caption) for (top, left), (caption, _) in zip(places, panels, strict=True)]
    return written(canvas, words)


def legend(picture: NDArray[np.uint8], entries: Iterable[tuple[str, Colour]]) -> NDArray[np.uint8]:
    """Put a legend under a picture: a patch of each colour and what it means, in as many lines as it takes."""
    patch, space = 14, 24
    x, y, right = _GAP, 0, picture.shape[1] - _GAP
    words: list[tuple[int, int, str]] = []
    patches: list[tuple[int, int, Colour]] = []
    for text, colour in entries:
        shown = _fitted(text, right - _GAP - patch - 6)
        end = x + patch + 6 + _length(shown)
        if end > right and x > _GAP:
            x, y, end = _GAP, y + _LINE, _GAP + end - x
        patches.append((x, y + (_LINE - patch) // 2, colour))
        words.append((x + patch + 6, y, shown))
        x = end + space
    strip = np.full((y + _LINE if words else 0, picture.shape[1], 3), _WHITE, np.uint8)
    for left, top, colour in patches:
        strip[top : top + patch, left : left + patch] = colour
    return np.concatenate([picture, written(strip, words)]) if words else picture


def titled(picture: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """Put one line above a picture; a title too long for it loses its middle."""
    strip = np.full((_LINE + _GAP, picture.shape[1], 3), _WHITE, np.uint8)
    shown = _fitted(title, picture.shape[1] - 2 * _GAP)
    return np.concatenate([written(strip, [(_GAP, _GAP // 2, shown)]), picture])


def written(
    canvas: NDArray[np.uint8],
    words: Iterable[tuple[int, int, str]],
    ink: Colour = _INK,
    edge: Colour | None = None,
) -> NDArray[np.uint8]:
    """Write texts, each in the line of 24 px whose left and top are given.

    Args:
        canvas: (H, W, 3) RGB; not changed.
        words: left, top and text of each.
        ink: of the letters.
        edge: around them, where the ground may have any colour; None: none.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(canvas)
    pen: ImageDraw.ImageDraw = ImageDraw.Draw(image)
    width = 0 if edge is None else 2
    for left, top, text in words:
        place = (left, top + _LINE // 2)
        pen.text(place, text, fill=ink, font=_font(), anchor="lm", stroke_width=width, stroke_fill=edge)
    return np.array(image)


def _fitted(text: str, width: int) -> str:
    """The text in one line, without its middle where it is wider than ``width`` pixels."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    kept = min(len(text), width)  # no letter is narrower than a pixel
    shown = text
    while _length(shown) > width and kept > 2:
        kept -= 1
        shown = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
    return shown


def _length(text: str) -> int:
    return int(np.ceil(_font().getlength(text)))


@cache
def _font() -> FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: the same letters on every machine, beyond Latin too.

    Where there is no matplotlib (beside an exported model) it is the system's, or else Pillow's own font.
    """
    from importlib.util import find_spec

    from PIL import ImageFont

    found = find_spec("matplotlib")  # not imported: its file alone is wanted
    if found is not None and found.origin is not None:
        return ImageFont.truetype(
            str(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), _TEXT
        )
    with suppress(OSError):
        return ImageFont.truetype("DejaVuSans.ttf", _TEXT)
    return cast("FreeTypeFont", ImageFont.load_default(_TEXT))
