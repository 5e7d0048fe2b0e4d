"""The short help of a verb: the flags a user needs first, and where the rest are."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from docstring_parser import parse

from tasks.cli.help_lines import arguments
from tasks.cli.tables import text_width

if TYPE_CHECKING:
    from tasks.own.parts import OwnPart

_LONG = 22  # names up to this length stand beside their words on any terminal
_DEFAULT = re.compile(r"\bdefault: [^\]]{1,24}\]")  # stands on one line
_KEPT = "\xa0"  # a space at which no line ends
Section: TypeAlias = tuple[str, Sequence[tuple[str, str]]]  # its title, flags and what they mean


def short_help(usage: str, about: str, sections: Iterable[Section], more: Mapping[str, str]) -> str:
    """The help of a verb.

    Args:
        usage: the command.
        about: what the verb does.
        sections: of flags; those that are empty are left out.
        more: where other flags are shown: what they are and the command.
    """
    parts = [f"usage: {usage}\n\n{textwrap.fill(about, text_width())}", *shown(sections)]
    wide = max(map(len, more), default=0) + 1
    parts.append("\n" + "\n".join(f"{what + ':':<{wide}} {how}" for what, how in more.items()))
    return "\n".join(parts)


def shown(sections: Iterable[Section]) -> list[str]:
    """Sections as text, those without flags left out.

    Names longer than a third of the line stand on a line of their own, so that words have room beside the others.
    """
    full = [(title, rows) for title, rows in sections if rows]
    width = text_width()
    fitting = [len(name) for _, rows in full for name, _ in rows if len(name) <= max(width // 3, _LONG)]
    first = max(fitting, default=0) + 4
    parts = []
    for title, rows in full:
        told = "\n".join(_row(name, text, first, width) for name, text in rows)
        parts.append(f"\n{title}:\n{told}" if title else f"\n{told}")
    return parts


def _row(name: str, text: str, first: int, width: int) -> str:
    """A name, and what it means in a column of its own."""
    head = f"  {name}"
    apart = len(head) + 2 > first
    words = textwrap.fill(
        _DEFAULT.sub(lambda found: found[0].replace(" ", _KEPT), text),
        width,
        initial_indent=" " * first if apart else head.ljust(first),
        subsequent_indent=" " * first,
        break_long_words=True,
        break_on_hyphens=False,
    ).replace(_KEPT, " ")
    return f"{head}\n{words}" if apart else words.rstrip()


def arguments_of_part(cls: type, part: OwnPart) -> Section:
    """The arguments of a part of the user's own, with the words of its docstrings and what they are where left out."""
    flag = f"--model.{part.flag}"
    given = dict.fromkeys(part.offered, "the suite gives it")
    rows = [
        (name, text)
        for name, text in arguments(f"{flag}_args.", cls, given)
        if name.removeprefix(f"{flag}_args.") not in part.withheld
    ]
    return f"arguments of {cls.__name__} ({flag})", rows


def first_line(cls: type) -> str:
    """First line of a class's docstring."""
    return (parse(cls.__doc__ or "").short_description or "").replace("``", "")
