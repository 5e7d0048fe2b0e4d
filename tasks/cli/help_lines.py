"""A flag's line of help: the words of its docstring, and what code knows of it: what may be typed, and the default.

``what it is; left out: what happens [choices; default: x]``. Choices come from the type, defaults from the signature;
neither is written in a docstring. A choice that the words explain (in double backticks) is not listed again, and a
default of None is explained by the words behind "left out:".
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args, get_origin

from docstring_parser import ParseError, parse

from scansuite.own_parts import parameters_of
from tasks.cli.choices import open_choices
from tasks.registry.flag import Flag

_LISTED = 16  # so many choices at most are listed
# Arguments whose names are in docstrings those of columns, folders or choices.
_WORDS = ("split", "images", "channels")
_KIB = 1024
EMPTY = inspect.Parameter.empty


class Known(NamedTuple):
    """What code knows of a flag.

    Attributes:
        kind: its type; Any where that cannot be told.
        default: its value where it is left out; :data:`EMPTY`: it must be given.
    """

    kind: Any = Any
    default: Any = None


def line(name: str, text: str, known: Known, note: str = "") -> str:
    """The line of a flag.

    Args:
        name: the flag (``--model.lr``).
        text: of its docstring.
        known: its type and default.
        note: what stands in the place of the default, where that is not what counts.
    """
    words = plain(text)
    choices = [*choices_of(known.kind), *open_choices(name)]
    named = set(re.findall(r"``([^`]+)``", text)) | set(re.findall(r"[\w.-]+", words))
    if set(choices) == {"true", "false"} and isinstance(known.default, bool):
        choices = []
    listed = choices if 0 < len(choices) <= _LISTED and not set(choices) <= named else []
    behind = [", ".join(listed), note or default_of(known)]
    told = "; ".join(filter(None, behind))
    return f"{words} [{told}]".strip() if told else words


def plain(text: str) -> str:
    """A docstring's words on one line, without its marks and the point at its end."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return " ".join(text.replace("``", "").split()).removesuffix(".")


def default_of(known: Known) -> str:
    """What is said of a default; nothing of None, which the words explain."""
    if known.default is EMPTY:
        return "needed"
    if known.default is None or known.default in ([], ()):
        return ""
    return f"default: {shown(known.default)}"


def shown(value: Any) -> str:
    """A value as it is typed."""
    match value:
        case bool():
            return str(value).lower()
        case int() if value >= _KIB and value % (_KIB * _KIB) == 0:
            return f"{value}, {_in_binary(value)}"
        case float():
            return f"{value!r}".removesuffix(".0")
        case list() | tuple():
            return ",".join(map(shown, value))
        case ".":
            return "., the working folder"
        case _:
            return str(value)


def _in_binary(value: int) -> str:
    size = value // (_KIB * _KIB)
    return f"{size // _KIB} Gi" if size % _KIB == 0 else f"{size} Mi"


def choices_of(kind: Any) -> list[str]:
    """What may be typed for a value of a type, as far as that says."""
    return list(dict.fromkeys(_choices(kind)))


def _choices(kind: Any) -> Iterable[str]:
    if kind is bool:
        yield from ("true", "false")
    elif get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for part in get_args(kind) if get_origin(kind) not in (dict, type) else ():
            yield from _choices(part)


def known_of(cls: type) -> dict[str, Known]:
    """What is known of the arguments of a class's constructor, those of the parents it hands ``kwargs`` to included."""
    hints: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            hints = {**_hints(base), **hints}
    return {name: Known(hints.get(name, Any), one.default) for name, one in parameters_of(cls).items()}


def _hints(base: type) -> dict[str, Any]:
    """Types of a constructor's own arguments; those whose names are there for type checkers alone are left out."""
    written = getattr(base.__init__, "__annotations__", {})  # type: ignore[misc]
    names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
    found = {}
    for name, kind in written.items():
        with suppress(NameError, TypeError, AttributeError, SyntaxError):
            found[name] = typing.get_type_hints(SimpleNamespace(__annotations__={name: kind}), names)[name]
    return found


def documented(
    prefix: str, classes: Sequence[type], of: type, kept: Callable[[str], bool] = lambda name: True
) -> dict[str, str]:
    """Flags that the docstrings of classes tell of, each once, in the order of the classes.

    Args:
        prefix: of the flags (``--data.``).
        classes: whose ``Args`` are read; where two tell of an argument the more special one counts.
        of: the class that is made, whose defaults count.
        kept: which arguments are shown.
    """
    known = known_of(of)
    told: dict[str, str] = {}
    for cls in [*classes, *sorted(classes, key=lambda cls: len(cls.__mro__))]:
        for name, text in _told(cls).items():
            if name in known and kept(name):
                told[name] = text
    found: dict[str, str] = {}
    for name, text in told.items():
        found[f"{prefix}{name}"] = line(f"{prefix}{name}", _with_flags(text, prefix, name, known), known[name])
        found |= _below(f"{prefix}{name}", known[name].kind)
    return found


def _with_flags(text: str, prefix: str, name: str, known: Mapping[str, Known]) -> str:
    """The words of an argument, in which other arguments of the class are the flags that they are typed as."""
    others = set(known) - {name, *_WORDS, *choices_of(known[name].kind)}

    def flag(match: re.Match[str]) -> str:
        return f"``{prefix}{match[1]}``" if match[1].split(".")[0] in others else match[0]

    return re.sub(r"``([\w.]+)``", flag, text)


def arguments(prefix: str, cls: type, noted: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """All arguments of a class of anybody's, with the words of its docstrings where there are some.

    Args:
        prefix: of the flags.
        cls: the class.
        noted: what stands in the place of a default, by argument.
    """
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for text in (vars(base).get("__doc__"), getattr(vars(base).get("__init__"), "__doc__", None)):
            with suppress(ParseError):
                told |= {one.arg_name: _first_part(one.description or "") for one in parse(text or "").params}
    rows = []
    for name, known in known_of(cls).items():
        row = line(f"{prefix}{name}", told.get(name, ""), known, (noted or {}).get(name, ""))
        rows.append((f"{prefix}{name}", row))
    return rows


def own_line(name: str, flag: Flag) -> str:
    """The line of a verb's own flag."""
    default = EMPTY if flag.needed else flag.default if flag.stands_for is None else flag.stands_for
    return line(f"--{name}", flag.help, Known(flag.kind, default))


def _told(cls: type) -> dict[str, str]:
    """Arguments that a class's own docstring tells of."""
    params = parse(cls.__doc__ or "").params
    return {one.arg_name: one.description or "" for one in params if one.args[0] == "param"}


def _below(name: str, kind: Any) -> dict[str, str]:
    """Flags below one whose value is a set of named values (``--data.augment_args.rotation``)."""
    part = next((one for one in (kind, *get_args(kind)) if isinstance(one, type) and is_dataclass(one)), None)
    if part is None:
        return {}
    told = {one.arg_name: one.description or "" for one in parse(part.__doc__ or "").params}
    hints = typing.get_type_hints(part)
    found = {}
    for field in fields(part):
        default = EMPTY if field.default is MISSING else field.default
        found[f"{name}.{field.name}"] = line(name, told.get(field.name, ""), Known(hints[field.name], default))
    return found


def _first_part(text: str) -> str:
    """A library's docstring without its notes, and without the default that the line says itself."""
    text = re.split(r"\n\s*\n|\.\. \w+::", text)[0]
    return re.sub(r"\s*\(?[Dd]efaults?(?: to|:| is)? ?`*[^\s`]+`*\)?\.?\s*$", "", text.strip())


def takes_none(kind: Any) -> bool:
    """Whether None may be a value of a type."""
    return kind is NoneType or any(takes_none(part) for part in get_args(kind))
