"""A page as a reader of HTML has it: elements with their attributes, and texts."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html.parser import HTMLParser

import imagecodecs
import numpy as np
from numpy.typing import NDArray

_VOID = {"meta", "img", "br"}


@dataclass
class Element:
    """An element of a page.

    Attributes:
        tag: its name.
        attributes: of it.
        text: of it and of all that is in it.
    """

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Elements of a page, in their order.

    Attributes:
        source: the text of the page.
        elements: all of them.
    """

    source: str
    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        """End an element, and those in it that may be left open."""
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Give text to all elements that it is in."""
        for element in self._open:
            element.text += data

    def of(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a name that have these attributes (``class_`` for ``class``)."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [one for one in self.elements if one.tag == tag and wanted.items() <= one.attributes.items()]


def pixels(uri: str) -> NDArray[np.uint8]:
    """A picture that stands in a page."""
    head, _, content = uri.partition(";base64,")
    data = base64.b64decode(content, validate=True)
    found = imagecodecs.png_decode(data) if head == "data:image/png" else imagecodecs.jpeg8_decode(data)
    return np.asarray(found)
