"""Listing of the user's files in a folder: one rule for training, prediction and checks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from scansuite.errors import SuiteError, nearest_name

_SHOWN = 4  # suffixes


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
        raise SuiteError(f"{folder}: cannot be read: {error.strerror}: let yourself read it, or name another") from None
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


def passed_over(folder: Path, otherwise: str = "name another") -> str:
    """What the line that says that none was found says of the files that are there, counted by suffix, and the mend.

    Args:
        folder: in which none was found.
        otherwise: what else may be done.
    """
    if not folder.is_dir():
        return ": name the right folder"
    counts = Counter(Path(name).suffix.lower() or "without suffix" for name in files_below(folder, lambda file: True))
    if not counts:
        return f" (it is empty): put some there, or {otherwise}"
    shown = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(_SHOWN))
    more = ", ..." if len(counts) > _SHOWN else ""
    return f" ({shown}{more} passed over): convert them to PNG, TIFF, DICOM or NIfTI, or {otherwise}"


def near_file(path: Path) -> str:
    """What to do about a file or folder that is not there: the nearest name beside it, if there is one."""
    there = next((parent for parent in path.parents if parent.is_dir()), Path())
    missing = path.relative_to(there).parts[:1] if path.is_relative_to(there) else ()
    try:
        names = [entry.name for entry in entries(there)] if missing else []
    except SuiteError:
        names = []
    if missing and missing[0] in names:
        return f"{there / missing[0]} is a file: name the folder that holds it"
    near = nearest_name(missing[0], names) if missing else None
    if near is None:
        return "correct the path, or put it there"
    return f"did you mean {there.joinpath(near, *path.relative_to(there).parts[1:])}?"


def refuse_missing(path: Path, flag: str) -> None:
    """Refuse a file or folder that is not there.

    Args:
        path: of it.
        flag: that names it.

    Raises:
        SuiteError: it is not; with the nearest name beside it.
    """
    if not path.exists():
        raise SuiteError(f"{flag} {path}: no such file or folder: {near_file(path)}")


def no_folder(path: Path) -> str:
    """What is wrong with a path that is no folder."""
    if path.exists():
        return f"is a file, not a folder: give its folder, {path.parent}"
    return f"no such folder: {near_file(path)}"
