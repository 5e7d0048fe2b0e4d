"""Errors of decoders, of any kind, as one line that names the file."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb

from scansuite.errors import SuiteError
from scansuite.words import DAMAGED, plain_words

_LONGEST = 200  # characters of a decoder of the user's
_MAY = "let yourself read it (chmod u+r), or leave it out"
_MEND = "copy or fetch it again, or leave it out"


def decoder_words(error: Exception) -> str:
    """What a decoder says, in plain words; text that it cannot read is no text of the user's."""
    return DAMAGED if isinstance(error, UnicodeError) else plain_words(error)


@dataclass
class Attempt:
    """Attempt that is made with a file; may be set while it goes on, once more is known.

    Attributes:
        failing: how its failure is put, e.g. ``cannot be decoded``.
        words: what is said of an exception.
    """

    failing: str
    words: Callable[[Exception], str] = decoder_words


@contextmanager
def named_errors(path: Path, failing: str, words: Callable[[Exception], str] | None = None) -> Iterator[Attempt]:
    """Turn what goes wrong with a file into a :class:`~scansuite.errors.SuiteError`; one that is raised passes.

    Args:
        path: the file.
        failing: see :class:`Attempt`.
        words: see :class:`Attempt`.

    Raises:
        SuiteError: no such file, not readable, damaged or truncated, or larger than the memory.
    """
    attempt = Attempt(failing, words or decoder_words)
    try:
        yield attempt
    except SuiteError:
        raise
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file: put it there, or correct its name") from None
    except IsADirectoryError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}: name a file in it") from None
    except PermissionError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}: {_MAY}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise SuiteError(f"{path}: damaged or truncated ({plain_words(error)}): {_MEND}") from None
    except MemoryError:
        raise SuiteError(f"{path}: does not fit into memory: make it smaller, or leave it out") from None
    except Exception as error:  # decoders raise whatever their parts raise: struct.error, SyntaxError, KeyError, ...
        reason = attempt.words(error)
        known = attempt.words is own_words or (_is_ours(error) and _says_mend(reason))
        mend = "" if known else f": {_MEND}"
        raise SuiteError(f"{path}: {attempt.failing}: {reason}{mend}") from None


def own_words(error: Exception) -> str:
    """What a decoder of the user's says, who is to mend it: as it stands."""
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__


def _is_ours(error: Exception) -> bool:
    """Whether an error was raised by a reader of the suite, in words of ours."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("datamodules.")


def _says_mend(reason: str) -> bool:
    """Whether a reader says what to do: behind a colon or semicolon, as all lines do."""
    return ": " in reason or "; " in reason
