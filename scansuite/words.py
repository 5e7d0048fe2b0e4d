"""Counts and exceptions in words, for all lines that people read. Standard library alone."""

from __future__ import annotations

import json
import re
import struct
from decimal import Decimal

DAMAGED = "it is damaged, or not what its name says"
CUT_OFF = "it is cut off"
# What says something of a program, and nothing of a file: Python's own words, numpy's and those of libraries in C.
_OF_PROGRAMS = re.compile(
    r"NoneType|\bcodec\b|\bunpack (requires|expected)|requires a buffer|buffer size|has no attribute|Traceback|KeyError"
    r"|object at 0x|<class|invalid literal|could not convert|subscriptable|not iterable|unhashable|positional arg"
    r"|keyword arg|index out of range|dtype|\[Errno|\bnp\.|__\w+__|\w+Path\(|'(int|str|dict|list|tuple|bytes|float"
    r"|bool)'"
)
_CUT_OFF = re.compile(
    r"image file is truncated|truncated file|too small|premature|unexpected end|not enough (image )?data|wrong size"
    r"|ended before",
    re.IGNORECASE,
)


def number_of(count: int, thing: str, things: str = "") -> str:
    """A count with what is counted, in singular or plural: ``1 case``, ``3 cases``; ``things`` where no s makes it."""
    return f"{count} {thing}" if count == 1 else f"{count} {things or f'{thing}s'}"


def rounded(number: float, digits: int = 3) -> str:
    """A number with the digits that count, and no exponent: ``2.85``, ``0.0046``; whole from 100 on: ``1427``."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{Decimal(f'{number:.{digits}g}'):f}"


def clock(seconds: float) -> str:
    """Seconds as people read them: ``45 s``, ``3:07 min``, ``2:05 h``, ``3 d 4 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole // 60 % 60:02d} h"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def plain_words(error: BaseException, longest: int = 200) -> str:
    """What is wrong with a file, of the exception that reading it has raised.

    What decoders and parsers say of the file stays; what Python says of itself (a codec, a buffer, a type) becomes
    what it means.

    Args:
        error: of Python or a library.
        longest: characters, at most.
    """
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 (byte {error.start + 1}): save it as UTF-8"
    if isinstance(error, json.JSONDecodeError):
        if not error.doc.strip():
            return "it is empty"
        return f"line {error.lineno}, column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}"
    if isinstance(error, RecursionError):
        return "its brackets are nested too deep (recursion)"
    if isinstance(error, (struct.error, EOFError)):
        return CUT_OFF
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem:  # of YAML
        return f"line {mark.line + 1}, column {mark.column + 1}: {_of_yaml(str(problem))}"[:longest]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, (LookupError, TypeError, AttributeError, ArithmeticError)):
        return DAMAGED
    text = " ".join(str(error).split())
    if _CUT_OFF.search(text):
        return CUT_OFF
    return DAMAGED if not text or _OF_PROGRAMS.search(text) else text[:longest]


def _of_yaml(problem: str) -> str:
    if "'\\t'" in problem:
        return "a tab, and YAML is indented by spaces: write spaces"
    if problem.startswith("mapping values are not allowed"):
        return "a second `: ` in a line, or a line that is indented too far: put the value between quotes, or align it"
    if "<stream end>" in problem:
        return "a value is missing, or a bracket is not closed: write it"
    if problem.startswith("found undefined alias"):
        return "`*` refers to what is not there: put the value between quotes"
    if problem.startswith("expected <block end>"):
        return "indented unlike the lines above it: align it with them"
    if problem.startswith("could not determine a constructor"):
        return "a tag (`!`), which is not read here: write a plain value"
    return problem
