"""Pages that need nothing else: one file with its style and its pictures, and no request that leaves it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from datamodules.pictures.canvas import Colour
from datamodules.pictures.panels import UNKNOWN, class_colour

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>{{ title }}</title>
<style>
{{ style }}</style></head>
<body>
{{ body }}
{% for script in scripts %}<script>{{ script }}</script>
{% endfor %}</body></html>
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LEGEND = """<ul class="legend">
{% for name, colour in entries %}
<li><span class="swatch" style="background: {{ colour }}"></span>{{ name }}</li>
{% endfor %}
</ul>"""
UNKNOWN_WORDS = "left out, or of no known class"


def render(template: str, **values: Any) -> Markup:
    """Fill a template of Jinja; values are escaped, unless they are markup that was made here.

    Args:
        template: its text.
        values: by the names that it has for them.
    """
    from markupsafe import Markup

    return Markup(_compiled(template).render(**values))


@cache  # templates are the suite's own, a few dozen; compiling one takes longer than filling it
def _compiled(template: str) -> Template:
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True).from_string(template)


def html_page(title: str, body: Markup, *, style: str = "", scripts: Sequence[str] = ()) -> str:
    """A whole document, to be read on a phone and on a desk, in light and in dark.

    Args:
        title: of the window.
        body: of :func:`render`; the heading is part of it.
        style: CSS of the suite's own, behind that of all pages.
        scripts: of the suite's own, never with anything from data. The page's policy allows each by its SHA-256 and no
            other, so that none that data bring along could run.
    """
    from markupsafe import Markup

    if any("</script" in script.lower() or "<!--" in script for script in scripts):
        raise ValueError("a script of a page must not hold the end of a script or the beginning of a comment")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = "; script-src " + " ".join(f"'sha256-{one}'" for one in hashes) if hashes else ""
    basic = resources.files("datamodules.pictures").joinpath("page.css").read_text(encoding="utf-8")
    return str(
        render(
            _PAGE,
            title=title,
            body=body,
            style=Markup(basic + style),
            policy=Markup(_POLICY + allowed),
            scripts=[Markup(script) for script in scripts],
        )
    )


def class_legend(names: Sequence[str], numbers: Iterable[int] | None = None, *, unknown: bool = False) -> Markup:
    """A legend: colour and name of each class.

    Args:
        names: of the classes, the background of masks not among them.
        numbers: which of them; None: all.
        unknown: whether something is drawn in grey.
    """
    shown = range(len(names)) if numbers is None else numbers
    entries = [(names[one] if one < len(names) else f"class {one + 1}", _hex(class_colour(one))) for one in shown]
    if unknown:
        entries.append((UNKNOWN_WORDS, _hex(UNKNOWN)))
    return render(_LEGEND, entries=entries) if entries else render("")


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
