"""Reasons why a table cannot be read, in words that say what to mend."""

from __future__ import annotations

import gzip
import re
import zlib

import pandas as pd

from scansuite.words import plain_words

_ELSE = "name what separates cells with --data.separator, if it is another character"


def reason_of(error: Exception, mend: str = _ELSE) -> str:
    """What is wrong with a file.

    Args:
        error: of pandas, pyarrow or gzip.
        mend: what to do, where it may be that cells are separated by another character than was thought.
    """
    text = " ".join(str(error).split())
    if isinstance(error, UnicodeError):
        return "it is not UTF-8: save it as UTF-8"
    if isinstance(error, pd.errors.EmptyDataError):
        return "the file is empty: write the names of columns, and rows below them"
    cells = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text)
    if cells is not None:
        return (
            f"line {cells[2]} has {cells[3]} cells, but the first line names {cells[1]} columns: put text that holds "
            f"the separator between quotes, or {mend}"
        )
    if isinstance(error, pd.errors.ParserWarning):
        return f"its rows have more cells than the first line names columns: name them all, or {mend}"
    if "EOF inside string" in text:
        return 'a quote (") is opened and never closed: close or remove it'
    if isinstance(error, (EOFError, gzip.BadGzipFile, zlib.error)):
        return "it is gzip and cannot be unpacked: is it damaged or cut off?"
    if "Parquet" in text or type(error).__module__.startswith("pyarrow"):
        return "it is no Parquet file, or a damaged one: write it again, or save it as CSV"
    return plain_words(error, 160)
