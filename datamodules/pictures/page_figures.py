"""Figures of a page: thumbnails that open larger pictures, without a script, and within so many bytes."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.html_page import class_legend, render
from datamodules.pictures.views import View, draw_together

if TYPE_CHECKING:
    from markupsafe import Markup

THUMBNAIL, LARGE = 160, 512  # px of the longer side; of several views side by side so much more:
_THUMBNAILS, _LARGES = 266, 960
_PNG_UP_TO = {False: 12_000, True: 48_000}  # bytes of a thumbnail, of a large picture; larger ones are JPEG
_JPEG_QUALITY = 88

_FIGURE = """<figure{% if kind %} class="{{ kind }}"{% endif %}>
{% if shown %}<div class="thumbs">
{% for one in shown %}
<div><button type="button" class="thumb" popovertarget="{{ one.name }}" aria-label="{{ one.alt }}: larger">
<img src="{{ one.thumbnail }}" width="{{ one.size[1] }}" height="{{ one.size[0] }}" alt="{{ one.alt }}"></button>
{% if shown|length > 1 %}{% for line in one.below %}<p>{{ line }}</p>{% endfor %}{% endif %}</div>
{% endfor %}</div>
{% endif %}
<figcaption>{% if title %}<b>{{ title }}</b>{% endif %}{% for line in lines %}<p>{{ line }}</p>{% endfor %}</figcaption>
{% for one in shown if one.large %}
<div popover id="{{ one.name }}" role="dialog" aria-label="{{ one.alt }}">
<button type="button" class="close" popovertarget="{{ one.name }}" popovertargetaction="hide" autofocus>Close</button>
<p><b>{{ one.title }}</b></p>{% for line in one.lines %}<p class="small">{{ line }}</p>{% endfor %}
<img src="{{ one.large }}" loading="lazy" alt="{{ one.alt }}">{{ one.legend }}</div>
{% endfor %}
</figure>
"""


@dataclass(frozen=True, eq=False)
class PagePicture:
    """A picture for a figure.

    Attributes:
        views: what is drawn, side by side.
        title: of the larger picture.
        alt: what is seen, for who cannot see it.
        lines: stand in the larger picture, below its title.
        below: lines below its thumbnail, where a figure has several pictures.
        key: equal keys, equal pictures, of which a page has the larger one once; None: no other is equal.
        small: what the thumbnail shows instead of ``views``, as many of them; empty: the same.
    """

    views: Sequence[View]
    title: str
    alt: str
    lines: Sequence[str] = ()
    below: Sequence[str] = ()
    key: Hashable = None
    small: Sequence[View] = ()


@dataclass(frozen=True)
class _Shown:
    name: str
    thumbnail: str
    size: tuple[int, int]
    alt: str
    title: str
    lines: Sequence[str]
    below: Sequence[str]
    large: str = ""
    legend: Markup | str = ""


@dataclass
class PageFigures:
    """Figures of one page, whose pictures together take no more than so many bytes.

    Attributes:
        most_bytes: of all pictures, as they stand in the page.
        prefix: of the names that pictures have in the page; a page with several of these gives each its own.
        thumbnail: px of the longer side of one that shows one view.
        bytes: taken so far.
        left_out: pictures for which there was no room.
    """

    most_bytes: int = 12 << 20
    prefix: str = "picture"
    thumbnail: int = THUMBNAIL
    bytes: int = 0
    left_out: int = 0
    _drawn: dict[Hashable, _Shown] = field(default_factory=dict)
    _count: int = 0

    def figure(
        self, pictures: Sequence[PagePicture], title: str, lines: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Markup:
        """A figure with its caption; where there is no room for a picture, the caption alone.

        Args:
            pictures: none, one, or several that belong together.
            title: begins the caption.
            lines: of the caption, behind it.
            names: of the classes that are drawn, in class order.
        """
        shown = [one for one in (self._shown(picture, names) for picture in pictures) if one is not None]
        several = any(len(picture.views) > 1 for picture in pictures)
        kind = "words" if not shown else "several" if several else "pair" if len(pictures) > 1 else ""
        return render(_FIGURE, shown=shown, title=title, lines=lines, kind=kind)

    def _shown(self, picture: PagePicture, names: Sequence[str]) -> _Shown | None:
        known = None if picture.key is None else self._drawn.get(picture.key)
        if known is not None:
            self.bytes += len(known.thumbnail)
            return replace(known, alt=picture.alt, below=picture.below, large="")
        if self.left_out:  # nothing is drawn any more that would hardly fit
            self.left_out += 1
            return None
        several = len(picture.views) > 1
        small = draw_together(picture.small or picture.views, _THUMBNAILS if several else self.thumbnail, names)
        large = draw_together(picture.views, _LARGES if several else LARGE, names)
        uris = data_uri(small, large=False), data_uri(large, large=True)
        if self.bytes + len(uris[0]) + len(uris[1]) > self.most_bytes:
            self.left_out += 1
            return None
        self.bytes += len(uris[0]) + len(uris[1])
        self._count += 1
        classes = sorted({number for view in picture.views for number in view.classes()})
        unknown = any(
            view.unknown is not None or (view.labels is not None and bool((view.labels < 0).any()))
            for view in picture.views
        )
        shown = _Shown(
            f"{self.prefix}-{self._count}",
            uris[0],
            (small.shape[0], small.shape[1]),
            picture.alt,
            picture.title,
            picture.lines,
            picture.below,
            uris[1],
            class_legend(names, classes, unknown=unknown),
        )
        if picture.key is not None:
            self._drawn[picture.key] = shown
        return shown


def data_uri(pixels: NDArray[np.uint8], *, large: bool) -> str:
    """A picture (H, W, 3) as it stands in a page: PNG, and JPEG where that would take too many bytes.

    Args:
        pixels: RGB.
        large: more bytes are allowed.
    """
    import imagecodecs

    content, kind = imagecodecs.png_encode(pixels, level=6), "png"
    if len(content) > _PNG_UP_TO[large]:
        content, kind = imagecodecs.jpeg8_encode(pixels, level=_JPEG_QUALITY, subsampling="444"), "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
