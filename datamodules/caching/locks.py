"""One process at a time, where several share a cache folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def one_process(lock: Path) -> Iterator[None]:
    """Let the processes of a machine (ranks of one training) do a thing one after the other.

    Where the file system knows no locks all go at once, which is slower and nothing worse.
    """
    handle = None
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("w")
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            handle.close()
