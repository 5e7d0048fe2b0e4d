"""Caches copied from a shared file system to a folder of the machine itself (``--data.scratch``)."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scansuite.files import lock_if_possible, replacing

log = logging.getLogger(__name__)

_RESERVE = 2**28  # bytes that are left free: others write there too
_SAY_AFTER = 5.0  # seconds: what is done sooner needs no words


class _CopyError(Exception):
    """A copy that cannot be made, with the reason."""


class Scratch:
    """Copies of cache files on a disk of this machine, made once for all its ranks.

    Copies bear the names of their originals, which stand for their content, appear whole or not at all, and are removed
    when the process that made them ends. (A process that is killed leaves them; the next finds and uses them.) Where
    one cannot be made it is said once, and the original is read.

    Args:
        folder: on a fast disk of this machine; variables of the environment are filled in (``$SLURM_TMPDIR``).
        shared: folder of the caches.
        keep: leave the copies where they are.
    """

    def __init__(self, folder: str, shared: Path, *, keep: bool = False) -> None:
        self.given, self.shared, self.keep = folder, shared, keep
        self._folder: Path | None = None
        self._refused = False

    def copies(self, files: Sequence[Path]) -> list[Path]:
        """For each file below the shared folder its copy, or the file itself."""
        files = list(files)
        folder = self._open_folder()
        if folder is None or not files:
            return files
        copies = [folder / file.relative_to(self.shared) for file in files]
        if multiprocessing.parent_process() is None and not all(map(_is_copy, files, copies)):
            self._make(files, copies, folder)
        return [copy if _is_copy(file, copy) else file for file, copy in zip(files, copies, strict=True)]

    def _make(self, files: Sequence[Path], copies: Sequence[Path], folder: Path) -> None:
        """Copy what is missing; not in processes of loaders, which end without removing anything."""
        began, copied = time.monotonic(), 0
        with lock_if_possible(folder / ".lock"):
            for file, copy in zip(files, copies, strict=True):
                try:
                    copied += self._copy(file, copy)
                except _CopyError as error:
                    self._refuse(str(error))
                    break
        if (seconds := time.monotonic() - began) > _SAY_AFTER:
            log.info("%.1f GiB of caches copied to %s in %.0f seconds", copied / 2**30, folder, seconds)

    def copy(self, file: Path) -> Path:
        """The copy of one file, or the file itself."""
        return self.copies([file])[0]

    def _open_folder(self) -> Path | None:
        """The folder of this user's copies, made; None where there is none."""
        if self._refused:
            return None
        if self._folder is None:
            given = os.path.expandvars(self.given)
            missing = re.search(r"\$\w+|\$\{\w+\}", given)
            if missing is not None:
                self._refuse(f"{missing[0]} is not set here")
                return None
            user = os.getuid()
            folder = Path(given).expanduser() / f"scansuite-{user}"
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                owner = folder.stat().st_uid
            except OSError as error:
                self._refuse(f"it cannot be made ({error.strerror})")
                return None
            if owner != user:  # a name that anyone can guess, in a folder that all may write to
                self._refuse(f"{folder} belongs to another user")
                return None
            self._folder = folder
        return self._folder

    def _refuse(self, why: str) -> None:
        self._refused = True
        log.warning("--data.scratch %s: %s: caches are read from %s", self.given, why, self.shared)

    def _copy(self, file: Path, copy: Path) -> int:
        """Copy a file, if it has not been already; the bytes that were copied."""

        def failed(error: OSError) -> _CopyError:
            return _CopyError(f"{file.name} cannot be copied there ({error.strerror or error})")

        try:
            size = file.stat().st_size
            if _is_copy(file, copy):  # another rank may just have made it
                return 0
            free = shutil.disk_usage(self._folder or copy.parent).free
            copy.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed(error) from None
        if size + _RESERVE > free:
            raise _CopyError(f"too small: {file.name} needs {size / 2**20:.0f} MiB, {free / 2**20:.0f} are free")
        with replacing(copy, failed=failed, durable=False) as temporary:
            shutil.copyfile(file, temporary)
            if temporary.stat().st_size != size:
                raise OSError(None, "it changed while it was copied")
        if not self.keep:
            atexit.register(_remove, copy, os.getpid())
        return size


def _is_copy(file: Path, copy: Path) -> bool:
    """Whether a file has been copied: names stand for contents, and copies appear whole."""
    try:
        return copy.stat().st_size == file.stat().st_size
    except OSError:
        return False


def _remove(copy: Path, process: int) -> None:
    """Remove a copy and what it leaves empty, in the process that made it alone; those who have mapped it keep it."""
    if os.getpid() == process:
        with suppress(OSError):
            copy.unlink()
            copy.parent.rmdir()
