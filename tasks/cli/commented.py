"""``--print_config`` with the help of each flag above its value.

jsonargparse's own comments want ruamel.yaml, which is not installed here, and say the types of Python.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

_FLAG = "--print_config"
_KEY = re.compile(r"( *)([A-Za-z_][\w+]*):(?: |$)")
_WIDTH = 100  # characters of a line of a comment


def asked(argv: Sequence[str]) -> bool:
    """Whether the configuration is to be printed."""
    return any(word.split("=", 1)[0] == _FLAG for word in argv)


def without_comments(argv: Sequence[str]) -> list[str]:
    """The words for jsonargparse, which takes no ``comments`` without ruamel.yaml: there are comments anyway."""
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag == _FLAG and equals:
            kept = ",".join(one for one in value.split(",") if one != "comments")
            word = f"{flag}={kept}" if kept else flag
        words.append(word)
    return words


def commented(text: str, lines: Mapping[str, str], head: str) -> str:
    """YAML with what each key means above it.

    Args:
        text: as ``dump`` writes it, block style.
        lines: what is said of a flag, by its full name (``--model.lr``); arguments of a data class without
            ``init_args``.
        head: what stands above all.
    """
    found = [f"# {head}"]
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _KEY.match(line)
        if match is not None:
            indent = len(match[1])
            path = [*(one for one in path if one[0] < indent), (indent, match[2])]
            if not indent:
                found.append("")
            name = ".".join(key for _, key in path).replace("data.init_args.", "data.")
            found += _comment(lines.get(f"--{name}", ""), indent)
        found.append(line)
    return "\n".join(found) + "\n"


def _comment(text: str, indent: int) -> list[str]:
    begin = " " * indent + "# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=begin, subsequent_indent=begin, break_long_words=False, break_on_hyphens=False
    )
