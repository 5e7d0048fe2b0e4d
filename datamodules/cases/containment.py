"""Containment: tables and annotations name files of their own data set only."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from scansuite.errors import SuiteError


def refuse_outside(root: Path, names: Iterable[str], where: str, *, allow: bool = False) -> None:
    """Refuse paths that leave a folder: by ``..``, as absolute paths, or through links.

    A table from elsewhere could otherwise put any readable file of this machine into a model or a report.

    Args:
        root: the folder.
        names: paths relative to it (absolute ones lead away unless they are below it), in the order of the rows.
        where: the file that has them, for messages.
        allow: the user trusts the file; only what is no path at all is refused.

    Raises:
        SuiteError: names the first path that leaves the folder, or cannot be one.
    """
    top = os.path.realpath(root)
    inside = top if top.endswith(os.sep) else top + os.sep
    folders: dict[str, str] = {}  # what each folder is without links; files of a data set share few
    for row, name in enumerate(names, start=1):
        folder, last = os.path.split(os.path.join(root, name))  # noqa: PTH118 - much faster than Path on many names
        try:
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            end = os.path.join(folders[folder], last)  # noqa: PTH118
            if last in ("", ".", "..") or _is_link(end):
                end = os.path.realpath(end)
        except (ValueError, OSError) as error:  # a NUL, half a character, or more of them than a name may have
            why = error.strerror if isinstance(error, OSError) else "it holds what no name can"
            raise SuiteError(f"{where}: {name[:60]!r} (number {row}) is no path: {why}: correct it") from None
        if not allow and end != top and not end.startswith(inside):
            raise SuiteError(
                f"{where}: {name} (number {row}) is outside of {root}: give paths below it, or, if you trust the file, "
                "--data.allow_outside true"
            )


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return False  # that it is missing is said elsewhere
