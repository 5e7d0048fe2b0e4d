"""Files that a user's table names: paths without their suffix, and columns that hold paths under another name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from datamodules.cases.containment import refuse_outside
from datamodules.cases.table import case_id_of
from datamodules.faults import report_fault
from datamodules.readers.format_table import by_name
from datamodules.readers.listing import entries
from scansuite.errors import SuiteError, nearest, nearest_name

log = logging.getLogger(__name__)

_LOOKED_AT = 20  # cells of a column

MISSING = "correct the path, drop the row, or name the folder that paths are relative to with --data.root"


def drop_empty(frame: pd.DataFrame, column: str, file: Path, named: str | None = None) -> pd.DataFrame:
    """The rows of a user's table in which a column names a file; an empty cell is refused.

    Args:
        frame: the table, perhaps with columns renamed.
        column: of the frame.
        file: the table's.
        named: the column as the file has it, where that is another name.

    Raises:
        SuiteError: names the first such row, outside a check.
    """
    empty = frame.index[frame[column].isna()]
    if len(empty):
        report_fault(
            "missing_file",
            f"{file}: column {(named or column)!r} is empty in row {empty[0] + 1}: fill it, or drop the row",
        )
    return frame.drop(index=empty)


def drop_missing(
    frame: pd.DataFrame, column: str, root: Path, file: Path, *, allow_outside: bool = False
) -> pd.DataFrame:
    """The rows of a user's table whose files in a column are below the root, paths without suffix with it.

    A file that is not there is refused.

    Args:
        frame: the table.
        column: of the frame; relative paths.
        root: the data's folder.
        file: the table's.
        allow_outside: see :func:`~datamodules.cases.containment.refuse_outside`.

    Raises:
        SuiteError: names the first such file, outside a check; a path leads out of the root.
    """
    frame, gone = find_files(frame, column, root, f"{file}, column {column!r}", allow_outside=allow_outside)
    there = ~frame[column].isin(gone)
    missing = frame[column][~there]
    if not len(missing):
        return frame
    report_fault(
        "missing_file",
        f"{file}: {missing.iloc[0]} in column {column!r} is not below --data.root {root} ({len(missing)} of "
        f"{len(frame)} are missing): {MISSING}",
        missing,
        f"in column {column!r} of {file.name}, but not below --data.root",
    )
    return frame[there]


def find_files(
    frame: pd.DataFrame, column: str, root: Path, where: str, *, allow_outside: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """A table in which paths without suffix have that of the file that is meant, and the paths that are no files.

    Each path is looked for once, however many rows have it.

    Args:
        frame: the table.
        column: of the frame; paths.
        root: folder that they are relative to.
        where: table and column, for messages.
        allow_outside: see :func:`~datamodules.cases.containment.refuse_outside`.

    Raises:
        SuiteError: a path leads out of the root, or two files may be meant by one.
    """
    refuse_outside(root, frame[column], where, allow=allow_outside)
    missing = [name for name in frame[column].drop_duplicates() if not exists(root / name)]
    found = with_suffixes(root, missing, where, allow_outside=allow_outside)
    if found:
        frame = frame.assign(**{column: frame[column].map(lambda name: found.get(name, name)).astype("str")})
    return frame, [name for name in missing if name not in found]


def with_suffixes(root: Path, missing: Iterable[str], where: str, *, allow_outside: bool = False) -> dict[str, str]:
    """The files that are meant by paths without suffix, where there are such: ``IM0001`` -> ``IM0001.dcm``.

    Args:
        root: folder that the paths are relative to.
        missing: paths that are no files.
        where: table and column, for messages.
        allow_outside: see :func:`~datamodules.cases.containment.refuse_outside`.

    Raises:
        SuiteError: two files may be meant, or one that leads out of the root.
    """
    folders: dict[str, dict[str, list[str]]] = {}
    found: dict[str, str] = {}
    for name in missing:
        folder, last = os.path.split(name)
        if not last or by_name(last) is not None:
            continue
        if folder not in folders:
            folders[folder] = _by_stem(root / folder)
        files = folders[folder].get(last, [])
        if len(files) > 1:
            raise SuiteError(
                f"{where}: {name} may be {' or '.join(files[:3])} in {root / folder}: write the suffix, or remove one"
            )
        if files:
            found[name] = os.path.join(folder, files[0])  # noqa: PTH118 - as the user writes it
    if found:
        refuse_outside(root, found.values(), where, allow=allow_outside)
        first = next(iter(found))
        log.info("%s: %d paths have no suffix: %s is %s, for instance", where, len(found), first, found[first])
    return found


def _by_stem(folder: Path) -> dict[str, list[str]]:
    """Files of a folder that are scans by their suffix, by their name without it."""
    try:
        names = [entry.name for entry in entries(folder) if by_name(entry.name) is not None]
    except (SuiteError, ValueError):
        return {}
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(case_id_of(name), []).append(name)
    return found


def holds_files(values: pd.Series[str], root: Path) -> bool:
    """Whether most of the first cells of a column name files below a folder, with or without their suffix."""
    cells = list(values.dropna().head(_LOOKED_AT).astype("str"))
    there = [cell for cell in cells if cell.strip() and exists(root / cell)]
    others = [cell for cell in cells if cell not in there]
    stems = {folder: _by_stem(root / folder) for folder in {os.path.split(cell)[0] for cell in others}}
    there += [cell for cell in others if os.path.split(cell)[1] in stems[os.path.split(cell)[0]]]
    return len(there) * 2 > len(cells)


def no_column(
    file: Path,
    frame: pd.DataFrame,
    column: str,
    flag: str | None,
    root: Path | None = None,
    known: Sequence[str] = (),
) -> SuiteError:
    """The error for a column that a table does not have; where another one holds the files, that is named.

    Args:
        file: the table.
        frame: its rows.
        column: that is asked for.
        flag: that names the column; None: it bears this name always.
        root: folder that paths are relative to, where the column is one of paths.
        known: columns of paths that are another's.
    """
    names = [str(name) for name in frame.columns]
    said = f"{file}: no column {column!r}" + (f" for {flag}" if flag else "")
    if nearest_name(column, names) is not None:
        return SuiteError(f"{said}: {nearest(column, names)}")
    if root is not None:
        if any(_is_file(root / name) for name in names):
            return SuiteError(
                f"{said}: its first line names a file, no columns ({', '.join(names[:4])}): write a line with the "
                "names of the columns above it"
            )
        others = [name for name in names if name not in known and frame[name].dtype == "str"]
        holders = [name for name in others if holds_files(frame[name], root)]
        if holders:
            mend = f"give {flag} {holders[0]}" if flag else f"call it {column!r}"
            return SuiteError(f"{said}: {holders[0]!r} holds paths of files: {mend}")
    if len(names) == 1:
        return SuiteError(
            f"{said}: there is {names[0]!r} alone: if that is several, name what separates them with --data.separator"
        )
    return SuiteError(f"{said}: {nearest(column, names)}")


def swapped(frame: pd.DataFrame, paths: str, others: Sequence[str], root: Path) -> str | None:
    """The column that holds the paths of files, where the one that should does not; None where all is right.

    Args:
        frame: the table.
        paths: column that should hold them.
        others: columns that may.
        root: folder that paths are relative to.
    """
    known = [name for name in others if name in frame and name != paths and frame[name].dtype == "str"]
    if not known or holds_files(frame[paths], root):
        return None
    return next((name for name in known if holds_files(frame[name], root)), None)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name that is too long, or no name, is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
