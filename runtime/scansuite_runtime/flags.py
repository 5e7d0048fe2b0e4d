"""The flags of the command: read, checked and explained. Nothing heavy is imported for it."""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from scansuite.errors import SuiteError, nearest
from tasks.registry.flag import Flag

Flags = Mapping[str, Flag]

_KIND = re.compile(r"^(int|float|bool)(?: \| None)?$")
_LONG = 24  # names up to this length stand beside their words


def parse(argv: Sequence[str], flags: Flags) -> dict[str, Any]:
    """Values by name of the flag, defaults where it is left out.

    Args:
        argv: as typed.
        flags: by name.

    Raises:
        SuiteError: an unknown flag (the nearest is named), a value of the wrong kind, or a needed flag left out.
    """
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name, flag in flags.items():
        convert = _converter(f"--{name}", flag.kind)
        if flag.several:
            parser.add_argument(f"--{name}", nargs="+", type=str, dest=name)
        elif flag.kind is bool:
            parser.add_argument(f"--{name}", nargs="?", const=True, type=convert, dest=name)
        else:
            parser.add_argument(f"--{name}", type=convert, dest=name)
    found, others = parser.parse_known_args(list(argv))
    if others:
        word = others[0].split("=", 1)[0]
        if word.startswith("-"):
            raise SuiteError(f"{word}: no such flag: {nearest(word, [f'--{name}' for name in flags])}")
        raise SuiteError(f"{word}: belongs to no flag: name inputs behind --input")
    values = vars(found)
    for name, flag in flags.items():
        if flag.needed and name not in values:
            raise SuiteError(f"--{name} is missing: {flag.help}")
    return {name: values.get(name, flag.default) for name, flag in flags.items()}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        found = re.match(r"argument (\S+): (.*)", message)
        raise SuiteError(f"{found[1]}: {found[2]}" if found is not None else message)


def _converter(name: str, kind: Any) -> Any:
    def convert(text: str) -> Any:
        if kind is bool:
            if text.lower() not in ("true", "false"):
                raise SuiteError(f"{name} {text}: true or false")
            return text.lower() == "true"
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise SuiteError(f"{name} {text}: expected {what}") from None

    return convert if kind in (bool, int, float) else str


@cache
def reading_flags() -> dict[str, Flag]:
    """Flags of how files are read, from the source of the class that reads them: help need not wait for its import.

    They are the ``--data`` flags of the suite's ``predict``. Those of loader processes mean nothing here.
    """
    import datamodules

    file = Path(next(iter(datamodules.__path__))) / "input_cases.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "InputCases")
    made = next(node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    told = _told(ast.get_docstring(cls) or "")
    arguments = made.args.args[1:]
    flags = {}
    for argument, default in zip(arguments, made.args.defaults, strict=True):
        if argument.arg == "num_workers":
            continue
        annotation = ast.unparse(argument.annotation) if argument.annotation is not None else "str"
        kind = _KIND.match(annotation)
        of = {"int": int, "float": float, "bool": bool}[kind[1]] if kind is not None else str
        value = (
            default.value if isinstance(default, ast.Constant) else None
        )  # others are constants of the class's module
        flags[f"data.{argument.arg}"] = Flag(told[argument.arg], of, value)
    return flags


def _told(docstring: str) -> dict[str, str]:
    """Words of each argument in a docstring of Google's style."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Args:\n")[2].splitlines():
        if not line.strip():
            break
        head = re.match(r" {4}(\w+): (.*)", line)
        if head is not None:
            name, found[head[1]] = head[1], head[2]
        else:
            found[name] += f" {line.strip()}"
    return {name: text.replace("``", "").removesuffix(".") for name, text in found.items()}


def help_text(usage: str, about: str, sections: Mapping[str, Flags]) -> str:
    """The help of a verb.

    Args:
        usage: how it is called.
        about: what it does.
        sections: flags by the title above them; that of the first may be empty.
    """
    width = min(120, max(60, shutil.get_terminal_size().columns))
    parts = [f"usage: {usage}", "", textwrap.fill(about, width)]
    for title, flags in sections.items():
        parts += ["", *([f"{title}:"] if title else [])]
        for name, flag in flags.items():
            default = "needed" if flag.needed else _default(flag)
            words = f"{flag.help} [{default}]" if default else flag.help
            head = f"  --{name}"
            if len(head) > _LONG + 2:
                parts.append(head)
                head = ""
            parts.append(
                textwrap.fill(
                    words,
                    width,
                    initial_indent=head.ljust(_LONG + 4),
                    subsequent_indent=" " * (_LONG + 4),
                    break_on_hyphens=False,
                )
            )
    return "\n".join(parts)


def _default(flag: Flag) -> str:
    value = flag.default if flag.stands_for is None else flag.stands_for
    if value is None or value == []:
        return ""
    return f"default: {str(value).lower() if isinstance(value, bool) else value}"
