"""The file of a page that ``--output`` names."""

from __future__ import annotations

from pathlib import Path

from scansuite.errors import SuiteError

_SUFFIXES = (".html", ".htm")


def new_page(asked: str | None, example: str) -> Path:
    """The file that is written to; there is none yet.

    Args:
        asked: value of ``--output``.
        example: a name for the mend.

    Raises:
        SuiteError: none is named, it is no HTML file by its name, or it is there already.
    """
    if asked is None:
        raise SuiteError(f"--output: name a file for the page, such as {example}")
    file = Path(asked)
    if file.is_dir():
        raise SuiteError(f"--output {file}: is a folder: name a file in it, such as {file / example}")
    if file.suffix.lower() not in _SUFFIXES:
        raise SuiteError(f"--output {file}: the page is HTML: give a name such as {file.name}.html")
    if file.exists():
        raise SuiteError(f"--output {file}: exists already: give a new file")
    return file
