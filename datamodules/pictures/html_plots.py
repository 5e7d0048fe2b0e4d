"""Small plots of counts for pages: SVG that stands in the page, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from datamodules.pictures.html_page import render

if TYPE_CHECKING:
    from markupsafe import Markup

# In units of the plot, about a pixel each.
_WIDTH, _ROW, _LABELS, _COUNTS = 360, 20, 120, 48
_LETTERS = 19  # of a label that has its place
_LEFT, _RIGHT, _HEIGHT, _FOOT = 48, 10, 170, 34
_PANEL, _OWN_AXIS = 64, 18
_NARROWEST = 0.05  # of a shared axis that each histogram takes
_TICKS = 4
_LEAST = 1e-300  # width of a range of which a quarter is still a number
_DOT = 3.0, 13.0  # radius of a place where one is, and of the one where most are

_PLOT = """<figure>
<h3>{{ title }}</h3>
<svg class="plot" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-label="{{ title }}: {{ alt }}">
{{ marks }}</svg>
{% if note %}<p class="small">{{ note }}</p>
{% endif %}
<details><summary>as a table</summary>
<div class="wide" tabindex="0" role="region" aria-label="{{ title }}, table"><table>
<tr>{% for name in head %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div></details>
</figure>
"""
_BARS = """{% for bar in bars %}
<g><title>{{ bar.name }}: {{ bar.count }}</title>
<text x="{{ bar.left }}" y="{{ bar.base }}" text-anchor="end">{{ bar.label }}</text>
<rect class="mark" x="{{ bar.start }}" y="{{ bar.top }}" width="{{ bar.length }}" height="13"/>
<text class="soft" x="{{ bar.end }}" y="{{ bar.base }}">{{ bar.count }}</text></g>
{% endfor %}"""
_HISTOGRAMS = """{% for panel in panels %}
<text x="{{ left }}" y="{{ panel.top - 4 }}">{{ panel.name }}</text>
<text class="soft" x="{{ left - 4 }}" y="{{ panel.top + 9 }}" text-anchor="end">{{ panel.most }}</text>
{% for bar in panel.bars %}
<rect class="mark" x="{{ bar.x }}" y="{{ bar.y }}" width="{{ bar.width }}" height="{{ bar.height }}">
<title>{{ bar.title }}</title></rect>
{% endfor %}<path class="line" d="M{{ left }} {{ panel.floor }}H{{ right }}"/>
{% endfor %}
{% for axis in axes %}{{ axis }}{% endfor %}"""
_POINTS = """<path class="line" d="M{{ left }} {{ top }}V{{ floor }}H{{ right }}"/>
{% for at, text in rows %}<text class="soft" x="{{ left - 4 }}" y="{{ at + 4 }}" text-anchor="end">{{ text }}</text>
<path class="line" d="M{{ left - 3 }} {{ at }}h3"/>
{% endfor %}
{% for one in points %}
<circle class="point" cx="{{ one.x }}" cy="{{ one.y }}" r="{{ one.r }}"><title>{{ one.title }}</title></circle>
{% endfor %}
{{ axis }}<text class="soft" x="{{ left - 40 }}" y="11">{{ y_name }}</text>"""
_AXIS = """{% for at, text, anchor in ticks %}
<text class="soft" x="{{ at }}" y="{{ floor + 15 }}" text-anchor="{{ anchor }}">{{ text }}</text>
<path class="line" d="M{{ at }} {{ floor }}v3"/>
{% endfor %}
<text class="soft" x="{{ middle }}" y="{{ floor + 29 }}" text-anchor="middle">{{ name }}</text>"""


def bar_plot(title: str, bars: Sequence[tuple[str, int]], what: str, note: str = "") -> Markup:
    """How often each of some things is there, as bars.

    Args:
        title: of what.
        bars: name and count of each, from top to bottom; at least one.
        what: heads the column of names in the table.
        note: below the plot.
    """
    most = max(count for _, count in bars) or 1
    room = _WIDTH - _LABELS - _COUNTS
    drawn = []
    for number, (name, count) in enumerate(bars):
        length = round(room * count / most, 1)
        start, top = _LABELS + 6, number * _ROW + 3
        drawn.append(
            {
                "name": name,
                "label": _short(name),
                "count": count,
                "left": _LABELS,
                "start": start,
                "top": top,
                "base": top + 11,
                "length": max(length, 0.5),
                "end": round(start + length + 4, 1),
            }
        )
    return _plot(title, render(_BARS, bars=drawn), len(bars) * _ROW + 4, (what, "count"), bars, note)


def histogram_plot(
    title: str, panels: Sequence[tuple[str, Sequence[float], Sequence[int]]], unit: str, note: str = ""
) -> Markup:
    """How often numbers are met, as histograms above one another.

    They share their axis, unless one would be too narrow on it to be seen.

    Args:
        title: of what.
        panels: name of each, the K + 1 edges of its bins, the K counts.
        unit: of the numbers, below the axis.
        note: below the plot.
    """
    ends = [(edges[0], edges[-1]) for _, edges, _ in panels]
    whole = min(low for low, _ in ends), max(high for _, high in ends)
    shared = min(high / 2 - low / 2 for low, high in ends) >= _NARROWEST * (whole[1] / 2 - whole[0] / 2)
    right, step = _WIDTH - _RIGHT, _PANEL + (22 if shared else 22 + _OWN_AXIS)
    drawn, axes = [], []
    floor = 0
    for number, ((name, edges, counts), own) in enumerate(zip(panels, ends, strict=True)):
        top, most = number * step + 18, max(counts) or 1
        floor = top + _PANEL
        low, high = whole if shared else own
        bars = []
        for first, last, count in zip(edges[:-1], edges[1:], counts, strict=True):
            x, end = (_place(value, low, high, _LEFT, right) for value in (first, last))
            height = round(_PANEL * count / most, 1)
            said = f"{_number(first)} to {_number(last)}: {count}"
            bars.append(
                {"x": x, "y": round(floor - height, 1), "width": round(max(end - x - 0.5, 1), 1), "height": height,
                 "title": said}
            )  # fmt: skip
        drawn.append({"name": name, "top": top, "floor": floor, "most": most, "bars": bars})
        last_one = number == len(panels) - 1
        if last_one or not shared:
            axes.append(_axis(low, high, unit if last_one else "", floor))
    marks = render(_HISTOGRAMS, panels=drawn, left=_LEFT, right=right, axes=axes)
    rows = [
        (name, f"{_number(first)} to {_number(last)}", count)
        for name, edges, counts in panels
        for first, last, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    return _plot(title, marks, floor + _FOOT, ("of", unit, "count"), rows, note)


def point_plot(
    title: str, points: Sequence[tuple[float, float, int]], names: tuple[str, str], note: str = ""
) -> Markup:
    """Pairs of numbers as dots, the larger the more often a pair is met.

    Args:
        title: of what.
        points: x, y and count of each; at least one.
        names: of both axes, with their unit.
        note: below the plot.
    """
    # Both from 0: what is twice as wide is seen to be.
    ends = [max(point[axis] for point in points) * 1.08 or 1.0 for axis in (0, 1)]
    top, floor, right = 22, _HEIGHT - _FOOT, _WIDTH - _RIGHT
    most = max(count for _, _, count in points)
    drawn = [
        {
            "x": _place(x, 0, ends[0], _LEFT, right),
            "y": _place(y, 0, ends[1], floor, top),
            "r": round(_DOT[0] + (_DOT[1] - _DOT[0]) * math.sqrt((count - 1) / most), 1),
            "title": f"{_number(x)} x {_number(y)}: {count}",
        }
        for x, y, count in sorted(points, key=lambda point: -point[2])  # small ones lie above large ones
    ]
    rows = [(_place(value, 0, ends[1], floor, top), _number(value)) for value in _ticks(0, ends[1])]
    marks = render(
        _POINTS, points=drawn, left=_LEFT, right=right, top=top, floor=floor, rows=rows, y_name=names[1],
        axis=_axis(0, ends[0], names[0], floor),
    )  # fmt: skip
    table = [(_number(x), _number(y), count) for x, y, count in points]
    return _plot(title, marks, _HEIGHT, (*names, "count"), table, note)


def _plot(
    title: str, marks: Markup, height: float, head: Sequence[str], rows: Sequence[Sequence[object]], note: str
) -> Markup:
    said = [" ".join(map(str, row[:-1])) + f": {row[-1]}" for row in rows]
    alt = ", ".join(said[:12]) + (f" and {len(said) - 12} more, see the table" if len(said) > 12 else "")
    return render(
        _PLOT, title=title, marks=marks, width=_WIDTH, height=height, alt=alt, head=head, rows=rows, note=note
    )


def _axis(low: float, high: float, name: str, floor: float) -> Markup:
    right = _WIDTH - _RIGHT
    ticks = []
    for value in _ticks(low, high):
        at = _place(value, low, high, _LEFT, right)
        ticks.append((at, _number(value), "end" if at > right - 12 else "middle"))
    return render(_AXIS, ticks=ticks, floor=floor, middle=(_LEFT + right) / 2, name=name)


def _ticks(low: float, high: float) -> Iterable[float]:
    """Round numbers within a range, some four of them."""
    width = high - low
    if not _LEAST < width < math.inf:
        return [low]
    step = 10.0 ** math.floor(math.log10(width / _TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if width / (step * factor) <= _TICKS + 1)
    first = math.ceil(low / step)
    return [(first + number) * step for number in range(_TICKS + 2) if (first + number) * step <= high]


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    """Where a value stands between two ends; by halves, which no float is too large for."""
    width = high / 2 - low / 2
    return round(start + (end - start) * ((value / 2 - low / 2) / width if width > 0 else 0.5), 1)


def _number(value: float) -> str:
    """At most four digits, and whole numbers below a million whole."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.4g}"


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
