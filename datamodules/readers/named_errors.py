"""Errors of decoders, of any kind, as one line that names the file."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scansuite.errors import SuiteError

_LONGEST = 200  # characters of a decoder's own words


@dataclass
class Attempt:
    """Attempt that is made with a file; may be set while it goes on, once more is known.

    Attributes:
        failing: how its failure is put, e.g. ``cannot be decoded``.
    """

    failing: str


@contextmanager
def named_errors(path: Path, failing: str, words: Callable[[Exception], str] = str) -> Iterator[Attempt]:
    """Turn what goes wrong with a file into a :class:`~scansuite.errors.SuiteError`; one that is raised passes.

    Args:
        path: the file.
        failing: see :class:`Attempt`.
        words: an exception's own words.

    Raises:
        SuiteError: no such file, not readable, damaged or truncated, or larger than the memory.
    """
    attempt = Attempt(failing)
    try:
        yield attempt
    except SuiteError:
        raise
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise SuiteError(f"{path}: damaged or truncated ({error}): copy or fetch it again") from None
    except MemoryError:
        raise SuiteError(f"{path}: does not fit into memory") from None
    except Exception as error:  # decoders raise whatever their parts raise: struct.error, SyntaxError, KeyError, ...
        reason = " ".join(words(error).split())[:_LONGEST] or type(error).__name__
        raise SuiteError(f"{path}: {attempt.failing}: {reason}") from None
