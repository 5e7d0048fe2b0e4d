"""What a cache folder holds, by kind, with its size; and its removal. It knows its own names, and follows no link."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from filelock import FileLock, Timeout

from scansuite.files import unused

Kind: TypeAlias = Literal["volumes", "images", "features", "hashes", "downloads"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "volumes": "decoded slices of volumes; made again when they are needed",
    "images": "decoded images of --data.cache disk; made again when they are needed",
    "features": "features of --data.cache features; computed again when they are needed",
    "hashes": "hashes of files, and what a look at images has shown; each file is read once more for them",
    "downloads": "copies of data at URLs, and MedMNIST files; fetched again where --data.download or the URL says so",
}
_DATABASE = "hashes.sqlite"
_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{6}\.tmp")  # of scansuite.files.replacing
# Folder of the cache -> kind, and the names in it that are ours.
_PLACES: dict[str, tuple[Kind, re.Pattern[str]]] = {
    "volumes": ("volumes", re.compile(r"[0-9a-f]{16,}-[0-9a-f]{16}\.npy")),
    "images": ("images", re.compile(r"[0-9a-f]{20}")),
    "features": ("features", re.compile(r"[0-9a-f]{20}")),
    "remote": ("downloads", re.compile(r"[0-9a-f]{16}")),  # not `asked`: which URLs the user has asked for
    "medmnist": ("downloads", re.compile(r"[a-z0-9]+mnist[a-z0-9]*(_\d+)?(\.npz|-\d+-\d+)")),
}


class Kept(NamedTuple):
    """Something in a cache folder.

    Attributes:
        kind: of it.
        path: file or folder.
        size: in bytes.
        files: how many.
        trouble: why it cannot be looked at, or will not be removed; empty where all is well.
    """

    kind: Kind
    path: Path
    size: int
    files: int
    trouble: str = ""


def kept_in(folder: Path) -> Iterator[Kept]:
    """What is in a cache folder; nothing where there is none.

    Args:
        folder: of the caches; it may be a link itself.
    """
    for name, (kind, ours) in _PLACES.items():
        place = folder / name
        if place.is_symlink():
            yield Kept(kind, place, 0, 0, "is a link: look at what it leads to yourself")
            continue
        try:
            with os.scandir(place) as found:
                inside = sorted(found, key=lambda one: one.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Kept(kind, place, 0, 0, f"cannot be read ({error.strerror})")
            continue
        for one in inside:
            if ours.fullmatch(one.name) or _TEMPORARY.fullmatch(one.name):
                path = place / one.name
                yield Kept(kind, path, 0, 0, "is a link") if one.is_symlink() else _measured(kind, path)
    database = folder / _DATABASE
    if database.is_symlink():
        yield Kept("hashes", database, 0, 0, "is a link")
    elif database.is_file():
        yield _measured("hashes", database)


def remove(kept: Kept) -> str:
    """Remove something, unless somebody uses it.

    Returns:
        Why it stays; empty where it is gone.
    """
    if kept.trouble:
        return kept.trouble
    try:
        with _alone(kept) as free:
            if not free:
                return "in use"
            if kept.path.is_symlink():  # has become one since
                return "is a link"
            if kept.path.is_dir():
                shutil.rmtree(kept.path)
            else:
                kept.path.unlink()
                if kept.kind == "hashes":
                    for suffix in ("-wal", "-shm", "-journal"):
                        kept.path.with_name(kept.path.name + suffix).unlink(missing_ok=True)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be removed ({error.strerror or error})"
    return ""


@contextmanager
def _alone(kept: Kept) -> Iterator[bool]:
    """Whether nobody fills or uses it; who comes meanwhile waits."""
    folder = kept.path if kept.path.parent.name in ("images", "features", "remote") else kept.path.parent
    locks = [folder / ".lock"]
    if kept.kind == "hashes":
        locks = sorted(folder.glob(".contents-*.lock"))
    elif kept.path.parent.name == "medmnist":
        locks = sorted(kept.path.parent.glob("*.lock"))
    with ExitStack() as held:
        free = held.enter_context(unused(folder))
        for file in locks:
            if file.is_file() and free:
                lock = FileLock(file, fallback_to_soft=False)
                try:
                    lock.acquire(timeout=0)
                    held.callback(lock.release)
                except Timeout:
                    free = False
                except OSError:  # no locks here
                    continue
        if kept.kind == "hashes" and free:
            free = held.enter_context(_exclusive(kept.path))
        yield free


@contextmanager
def _exclusive(database: Path) -> Iterator[bool]:
    """Whether no other process reads or writes a database at this moment."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
            free = True
        except sqlite3.OperationalError as error:
            free = "locked" not in str(error)
        except sqlite3.DatabaseError:  # damaged
            free = True
        yield free
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _measured(kind: Kind, path: Path) -> Kept:
    size = files = 0
    trouble: list[str] = []

    def failed(error: OSError) -> None:
        trouble.append(f"cannot be read ({error.strerror})")

    try:
        if not path.is_dir():
            return Kept(kind, path, path.lstat().st_size, 1)
        for folder, _, names in os.walk(path, onerror=failed):
            for name in names:
                with suppress(FileNotFoundError):  # gone meanwhile
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - there may be a million
                    files += 1
    except OSError as error:
        failed(error)
    return Kept(kind, path, size, files, trouble[0] if trouble else "")
