"""A page of ``show`` as a browser would read it: its cases with their figures, and their pictures decoded."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass
class Figure:
    """A figure: title and lines of its caption, titles and sources of its pictures."""

    title: str = ""
    lines: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    large: dict[str, str] = field(default_factory=dict)

    def picture(self, number: int = 0) -> NDArray[np.uint8]:
        """A larger picture, (H, W, 3)."""
        return decoded(list(self.large.values())[number])


@dataclass
class Section:
    """A case: its name, what stands below it, its figures."""

    name: str = ""
    about: str = ""
    figures: list[Figure] = field(default_factory=list)

    def figure(self, title: str) -> Figure:
        """The figure whose title begins so."""
        (found,) = [one for one in self.figures if one.title.startswith(title)]
        return found


class ShownPage(HTMLParser):
    """Reads a page.

    Args:
        file: of the page.

    Attributes:
        text: everything that is to be read.
        tags: names of all elements.
        sections: of the cases.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.text, self.tags = "", set[str]()
        self.sections: list[Section] = []
        self._open: list[str] = []
        self._popover: str | None = None
        self.feed(self.source)
        self.close()

    @property
    def names(self) -> list[str]:
        """Of the cases, in order."""
        return [section.name for section in self.sections]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known: dict[str, Any] = dict(attrs)
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)
        if tag == "section":
            self.sections.append(Section())
        elif tag == "figure":
            self.sections[-1].figures.append(Figure())
        elif tag == "div" and "popover" in known:
            self._popover = ""
        elif tag == "img" and self._popover is None:
            self.sections[-1].figures[-1].small.append(known["src"])
        elif tag == "img":
            self.sections[-1].figures[-1].large[self._popover or ""] = known["src"]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag == "div" and self._popover is not None:
            self._popover = None

    def handle_data(self, data: str) -> None:
        if "style" in self._open or not data.strip():
            return
        self.text += f"{data.strip()}\n"
        if not self.sections:
            return
        section = self.sections[-1]
        if self._popover is not None:
            if self._open[-1] == "b":
                self._popover = data
        elif "figcaption" in self._open:
            figure = section.figures[-1]
            if self._open[-1] == "b":
                figure.title += data
            else:
                figure.lines.append(data.strip())
        elif self._open[-1] == "h2":
            section.name += data
        elif not section.figures:
            section.about = f"{section.about} {data.strip()}".strip()


def decoded(source: str) -> NDArray[np.uint8]:
    """The pixels of a picture that stands in the page, (H, W, 3)."""
    head, _, content = source.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.array(Image.open(BytesIO(base64.b64decode(content))).convert("RGB"))
