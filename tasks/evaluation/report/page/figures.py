"""A plot in the page: its title, the picture, its legend, and the same numbers as a folded table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datamodules.pictures.html_page import render
from tasks.evaluation.report.page.assets import own_text

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 400  # units of a plot, a pixel each on a phone
LETTER = 6.1  # units, of a letter in the middle


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        name: as it is shown.
        group: what is chosen by it.
        style: CSS classes of colour and dashes.
        dots: shown as a dot.
        bar: shown as a bar.
    """

    name: str
    group: str
    style: str
    dots: bool = False
    bar: bool = False


def figure(
    name: str,
    title: str,
    picture: Markup,
    head: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    *,
    keys: Sequence[Key] = (),
    note: str = "",
    left_out: str = "",
    kind: str = "",
) -> Markup:
    """A plot with all that stands around it.

    Args:
        name: in the page's address, unique in it.
        title: above it.
        picture: the plot.
        head: of the folded table.
        rows: of it; empty = the picture has all numbers as text.
        keys: of the legend; one alone says nothing.
        note: below it.
        left_out: above the table: which points are not in it.
        kind: CSS class.
    """
    return render(
        own_text("templates/figure.html"),
        name=name,
        title=title,
        picture=picture,
        head=head,
        rows=rows,
        note=note,
        left_out=left_out,
        kind=kind,
        keys=keys if len(keys) > 1 or any(key.name != title for key in keys) else (),
    )


def two_lines(text: str, letters: int) -> list[str]:
    """A label in one line, or in two where it is longer; what is longer still is shortened.

    Args:
        text: of the label.
        letters: of a line.
    """
    text = " ".join(str(text).split())
    if len(text) <= letters:
        return [text]
    first, *rest = textwrap.wrap(text, letters)
    return [first, shortened(" ".join(rest), letters)] if len(first) <= letters else [shortened(text, letters)]


def shortened(text: str, letters: int) -> str:
    """A name for a label: in one line, without its middle where it is longer."""
    text = " ".join(str(text).split())
    letters = max(letters, 3)
    if len(text) <= letters:
        return text
    return text[: letters // 2].rstrip() + "…" + text[len(text) - (letters - letters // 2 - 1) :].lstrip()
