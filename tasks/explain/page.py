"""Explanations as one HTML page that needs nothing else; its first lines say whether the maps may be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.html_page import html_page, render
from datamodules.pictures.html_plots import histogram_plot
from datamodules.pictures.page_figures import PageFigures, PagePicture, data_uri
from datamodules.pictures.views import View
from scansuite.words import number_of

if TYPE_CHECKING:
    from markupsafe import Markup

_MOST_BYTES = 24 << 20  # of pictures of maps, some 200 of them
_MOST_GRIDS = 12 << 20  # bytes of the pictures of layers, as they stand in the page
_THUMBNAIL = 232  # px
_PLOTS = 12  # histograms of filters

_STYLE = """.verdicts { padding: 0; list-style: none; }
.verdicts > li { border-left: .3rem solid var(--note); padding: .2rem .8rem; margin: .4rem 0; background: var(--card); }
.verdicts .trusted { border-color: var(--bar); } .verdicts .distrusted { border-color: var(--error); }
.verdicts .unknown { border-color: var(--warning); }
.cases figure.pair { width: auto; max-width: 100%; }
.cases figure.pair .thumbs > div { flex: 0 1 auto; max-width: 14.5rem; }
.layers figure { margin: 1rem 0; } .layers img { max-width: 100%; height: auto; background: #fff; }
td.number { white-space: nowrap; }
.fine { overflow-x: auto; max-width: 100%; }
"""

_BODY = """<main><h1>What the model looks at</h1>
<p class="small">{{ about }}; {{ when }}</p>
{% if verdicts %}<ul class="verdicts lead">
{% for one in verdicts %}<li class="{{ one.kind }}"><b>{{ one.title }}</b>: {{ one.text }}
{% if one.more %}<details><summary>all findings</summary><ul>
{% for line in one.more %}<li>{{ line }}</li>
{% endfor %}</ul></details>{% endif %}</li>
{% endfor %}</ul>{% endif %}
{% for line in warnings %}<p class="warning">{{ line }}</p>
{% endfor %}
<nav aria-label="contents"><ul>
{% for name, place in contents %}<li><a href="#{{ place }}">{{ name }}</a></li>
{% endfor %}</ul></nav>
{% for case in cases %}
<section aria-labelledby="case-{{ loop.index }}">
<h2 id="case-{{ loop.index }}">{{ case.name }}</h2>
{% if case.about %}<p>{{ case.about }}</p>{% endif %}
{% for title, figure in case.figures %}<h3>{{ title }}</h3>
<div class="cases">{{ figure }}</div>
{% endfor %}
{% if case.rows %}<details><summary>numbers</summary>
<div class="wide" tabindex="0" role="region" aria-label="numbers of {{ case.name }}"><table>
<tr>{% for name in head %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in case.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div></details>{% endif %}
</section>
{% endfor %}
{% if methods %}<section aria-labelledby="methods"><h2 id="methods">How to read the maps</h2>
<p>A map is 0 (clear) to 1 (yellow), its highest value in this image: colours say where, not how much, and cannot be
compared between images. The white outline is what is explained, the magenta one what is true. Where the model has not
looked, nothing is drawn.</p>
<div class="wide" tabindex="0" role="region" aria-label="methods"><table>
<tr><th>map</th><th>a bright place</th><th>made of</th><th>source</th></tr>
{% for row in methods %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div></section>{% endif %}
{% for part in parts %}
<section class="layers" aria-labelledby="{{ part.place }}"><h2 id="{{ part.place }}">{{ part.title }}</h2>
{% for line in part.lines %}<p>{{ line }}</p>{% endfor %}
{% if part.rows %}
<div class="wide" tabindex="0" role="region" aria-label="{{ part.title }}, table"><table>
<tr>{% for name in part.head %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in part.rows %}<tr>
{% for cell in row %}<td{% if not loop.first %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
{% for figure in part.figures %}{{ figure }}{% endfor %}
{% if part.plots %}<div class="plots">{% for plot in part.plots %}{{ plot }}{% endfor %}</div>{% endif %}
</section>
{% endfor %}</main>"""
_GRID = """<figure><h3>{{ title }}</h3>{% if uri %}
<div class="fine" tabindex="0" role="region" aria-label="{{ title }}">
<img src="{{ uri }}" width="{{ width }}" height="{{ height }}" loading="lazy" alt="{{ alt }}"></div>
{% else %}<p class="small">no room on this page: see {{ file }}</p>{% endif %}
<figcaption>{{ said }}</figcaption></figure>
"""


Kind = Literal["trusted", "distrusted", "unknown"]


class PageVerdict(NamedTuple):
    """Whether the maps of a method may be trusted.

    Attributes:
        title: of the method.
        text: the answer, then why, in short sentences.
        kind: which of the three answers it is.
        more: all that was found, a sentence each.
    """

    title: str
    text: str
    kind: Kind
    more: Sequence[str] = ()


class DrawnMap(NamedTuple):
    """A map with its words.

    Attributes:
        pixels: (H, W, 3) RGB, as large as the scan's picture.
        barred: the same with its colour bar.
        title: of the method.
        lines: below it.
    """

    pixels: NDArray[np.uint8]
    barred: NDArray[np.uint8]
    title: str
    lines: Sequence[str]


class _Case(NamedTuple):
    name: str
    about: str
    figures: list[tuple[str, Markup]]
    rows: list[Sequence[str]]


class _Part(NamedTuple):
    place: str
    title: str
    lines: Sequence[str]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: list[Markup]
    plots: list[Markup]


@dataclass
class ExplainPage:
    """A page to which cases and layers are added one by one.

    Attributes:
        about: the model, in words.
        verdicts: whether its maps may be trusted, method by method.
        warnings: what else a reader should know.
        methods: a row each: name, what a bright place says, what the map is made of, source.
        head: of the tables of numbers by case.
    """

    about: str
    verdicts: Sequence[PageVerdict] = ()
    warnings: list[str] = field(default_factory=list)
    methods: Sequence[Sequence[str]] = ()
    head: Sequence[str] = ()
    _figures: PageFigures = field(default_factory=lambda: PageFigures(_MOST_BYTES, thumbnail=_THUMBNAIL))
    _cases: list[_Case] = field(default_factory=list)
    _parts: dict[str, _Part] = field(default_factory=dict)
    _grid_bytes: int = 0

    def add_case(self, name: str, about: str) -> None:
        """Begin a case."""
        self._cases.append(_Case(name, about, [], []))

    def add_maps(self, scan: NDArray[np.uint8], title: str, maps: Sequence[DrawnMap]) -> None:
        """Add a scan with maps of it to the last case.

        Args:
            scan: (H, W, 3) RGB.
            title: what is explained, and its score.
            maps: of it.
        """
        case = self._cases[-1]
        name = f"{case.name}, {title}"
        pictures = [PagePicture([View(scan)], f"{case.name}: scan", f"scan of {case.name}", (), ("scan",))]
        pictures += [
            PagePicture(
                [View(one.barred)], f"{name}: {one.title}", f"{one.title} of {name}", one.lines,
                (one.title, *one.lines), small=[View(one.pixels)],
            )
            for one in maps
        ]  # fmt: skip
        case.figures.append((title, self._figures.figure(pictures, "")))

    def add_row(self, row: Sequence[str]) -> None:
        """Add a row of numbers to the last case."""
        self._cases[-1].rows.append(row)

    def add_part(
        self,
        place: str,
        title: str,
        lines: Sequence[str] = (),
        head: Sequence[str] = (),
        rows: Sequence[Sequence[str]] = (),
    ) -> None:
        """Begin a part about layers or kernels, with a table.

        Args:
            place: its name in the page's address.
            title: its heading.
            lines: below it.
            head: of its table.
            rows: of its table.
        """
        self._parts[place] = _Part(place, title, lines, head, rows, [], [])

    def begin_part(self, place: str, title: str, lines: Sequence[str]) -> None:
        """Begin a part that several cases add to, unless it has begun."""
        if place not in self._parts:
            self.add_part(place, title, lines)

    def add_grid(self, place: str, pixels: NDArray[np.uint8], title: str, said: str, file: str) -> None:
        """Add a large picture to a part.

        Args:
            place: of the part.
            pixels: (H, W, 3) RGB.
            title: of it.
            said: below it.
            file: where it stands too, for pages that have no room for it.
        """
        uri = data_uri(pixels, large=True)
        if self._grid_bytes + len(uri) > _MOST_GRIDS:
            uri = ""
        self._grid_bytes += len(uri)
        height, width = pixels.shape[:2]
        self._parts[place].figures.append(
            render(
                _GRID, title=title, uri=uri, width=width, height=height, alt=f"{title}: {said}", said=said, file=file
            )
        )

    def add_histogram(self, place: str, title: str, edges: Sequence[float], counts: Sequence[int], unit: str) -> None:
        """Add a histogram to a part; the first twelve are drawn."""
        part = self._parts[place]
        if len(part.plots) < _PLOTS:
            part.plots.append(histogram_plot(title, [("", edges, counts)], unit))

    @property
    def left_out(self) -> int:
        """Pictures of maps for which there was no room."""
        return self._figures.left_out

    def text(self) -> str:
        """The whole page."""
        warnings = list(self.warnings)
        if self.left_out:
            pictures = number_of(self.left_out, "picture")
            warnings.append(f"{pictures} had no room on this page: all of them are in the folder maps.")
        contents = [(case.name, f"case-{number}") for number, case in enumerate(self._cases, start=1)]
        contents += [("How to read the maps", "methods")] if self.methods else []
        contents += [(part.title, part.place) for part in self._parts.values()]
        body = render(
            _BODY,
            about=self.about,
            when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            verdicts=self.verdicts,
            warnings=warnings,
            contents=contents,
            cases=self._cases,
            head=self.head,
            methods=self.methods,
            parts=list(self._parts.values()),
        )
        return html_page("What the model looks at", body, style=_STYLE)


def table_rows(rows: Sequence[NamedTuple], names: Mapping[str, str]) -> list[list[str]]:
    """Cells of rows as text, of the columns that are named.

    Args:
        rows: of one kind.
        names: column -> heading.
    """
    return [[cell_text(getattr(row, name)) for name in names] for row in rows]


def cell_text(value: Any) -> str:
    """A number at three digits, nothing for what is unknown."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
