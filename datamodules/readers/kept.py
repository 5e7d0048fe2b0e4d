"""Small texts by name in an SQLite file, each good for one state of what it was made from.

diskcache, which is such a store, pickles what it keeps: a file in a shared folder could run code.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

_SCHEMA = "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, stamp TEXT, value TEXT) WITHOUT ROWID"
_SQLITE_VARIABLES = 500  # below the limit of every build of SQLite (999 in old ones)


class Kept:
    """Keeps values. Several processes may use one file at the same time.

    A file that cannot be used costs one warning and nothing else.

    Args:
        file: SQLite file, made where it is missing (with its folder); None keeps nothing.
        what: a word for the values, for the warning.
    """

    def __init__(self, file: Path | None, what: str) -> None:
        self.file, self.what = file, what

    def look_up(self, stamps: Mapping[str, str]) -> dict[str, str]:
        """The values that still hold.

        Args:
            stamps: the present stamp of each name.
        """
        if self.file is None or not self.file.is_file():
            return {}
        try:
            with closing(sqlite3.connect(self.file, timeout=30)) as database:
                if not database.execute("SELECT name FROM sqlite_master WHERE name = 'kept'").fetchall():
                    return {}  # another process is just making it
                rows = [row for part in _parts(list(stamps)) for row in _select(database, part)]
        except (sqlite3.Error, ValueError) as error:
            log.warning("%s: kept %s cannot be used (%s); delete the file if this stays", self.file, self.what, error)
            self.file = None
            return {}
        return {name: value for name, stamp, value in rows if stamps[name] == stamp}

    def keep(self, fresh: Sequence[tuple[str, str, str]]) -> None:
        """Keep values: name, stamp and value of each."""
        if self.file is None or not fresh:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
                database.execute(_SCHEMA)
                database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", fresh)
        except (sqlite3.Error, OSError, ValueError) as error:
            text = "%s: %s cannot be kept (%s): the next run reads every file again"
            log.warning(text, self.file, self.what, error)
            self.file = None


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _SQLITE_VARIABLES):
        yield names[start : start + _SQLITE_VARIABLES]


def _select(database: sqlite3.Connection, names: Sequence[str]) -> list[tuple[str, str, str]]:
    places = ",".join("?" * len(names))
    return database.execute(f"SELECT name, stamp, value FROM kept WHERE name IN ({places})", names).fetchall()
