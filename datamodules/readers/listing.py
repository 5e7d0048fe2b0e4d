"""Listing of the user's files in a folder: one rule for training, prediction and checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from scansuite.errors import SuiteError


def is_clutter(name: str) -> bool:
    """Whether a file or folder is none of the user's by its name.

    Hidden ones are (``.ipynb_checkpoints``, and ``._x.png``, which macOS leaves beside ``x.png``), and so is
    ``__MACOSX``, which it leaves in archives.
    """
    return name.startswith(".") or name == "__MACOSX"


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, by name, without clutter.

    Raises:
        SuiteError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as scan:
            found = [entry for entry in scan if not is_clutter(entry.name)]
    except OSError as error:
        raise SuiteError(f"{folder}: cannot be read: {error.strerror}") from None
    return sorted(found, key=lambda entry: entry.name)


def files_below(folder: Path, wanted: Callable[[Path], bool]) -> list[str]:
    """Files in a folder and its sub-folders that are wanted, relative to it (POSIX), sorted, without clutter."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    shown = [path for path in found if not any(map(is_clutter, path.parts))]
    return sorted(path.as_posix() for path in shown if wanted(folder / path))


def path_below(folder: str, name: str) -> str:
    """A path in a folder, which may be empty: the one that paths are relative to."""
    return f"{folder}/{name}" if folder not in ("", ".") else name


def paths_below(folder: Path) -> Iterator[Path]:
    """Paths of :func:`files_below`, with the folder in front."""
    return (folder / name for name in files_below(folder, lambda file: True))
