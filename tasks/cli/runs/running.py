"""Claim of the folder that the running command writes to: a lock, and what messages say where it ends early."""

from __future__ import annotations

import errno
import os
import shlex
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from scansuite.errors import SuiteError
from tasks.registry.specs import spec_of

# In a folder while a command writes to it. A command that was killed leaves it behind; its lock ended with it.
CLAIM = ".in-use"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNLOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_SHOWN = 10


@dataclass
class Begun:
    """A folder that this command writes to.

    Attributes:
        folder: as the user names it.
        mend: what to do where the command ends before its time.
        made: the folder was made for this command.
        lock: on the claim; not held where the file system knows no locks.
    """

    folder: Path
    mend: str
    made: bool
    lock: FileLock

    @property
    def left(self) -> list[str]:
        """Files that are in the folder, relative to it."""
        files = [file for file in self.folder.rglob("*") if file.is_file() and file.name != CLAIM]
        return sorted(file.relative_to(self.folder).as_posix() for file in files)

    def ended_early(self, *, listed: bool) -> str:
        """Line that says that it is not complete, what is in it where that is ``listed``, and what to do."""
        left = self.left
        if not left:
            return "nothing was written: run the command again"
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        held = f" (it holds {', '.join(left[:_SHOWN])}{more})" if listed else ""
        return f"{self.folder} is not complete{held}: {self.mend}"


_begun: list[Begun] = []


def claim(folder: Path, flag: str, mend: str, *, fresh: bool, made: bool = False) -> None:
    """Take a folder for this command alone, until :func:`release`; it is made where it is absent.

    The claim is a lock that ends with the process, however that ends. Where the file system knows no locks, only a
    folder that two commands want to make at the same time is kept apart.

    Args:
        folder: to be written to.
        flag: that names it, for messages.
        mend: what the user does where the command ends before its time.
        fresh: nothing may be in it yet.
        made: it was made for this command just now.

    Raises:
        SuiteError: it cannot be written to, another command writes to it, or it holds something and must not.
    """
    made, file = made or not folder.exists(), folder / CLAIM
    # Not a soft lock (that a file is there), which would outlive a killed command.
    lock = FileLock(file, blocking=False, thread_local=False, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _locked(lock, first=_made(file) or not fresh):
            who = ""
            with suppress(OSError):  # it may just have ended
                who = file.read_text(encoding="utf-8").strip()
            raise SuiteError(
                f"{flag} {folder}: another command{f' ({who})' if who else ''} writes to it: give another folder, or "
                "wait until it has ended"
            )
        if fresh and holds_something(folder):  # another command has begun and ended in between
            file.unlink()
            lock.release()
            raise SuiteError(f"{flag} {folder}: exists already: give a new folder")
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    except OSError as error:
        raise SuiteError(
            f"{flag} {folder}: cannot be written ({error.strerror}): choose a folder you may write to"
        ) from None
    _begun.append(Begun(folder, mend, made, lock))


def release() -> None:
    """Give back all that this command claimed; a folder that was made for it and is still empty goes."""
    while _begun:
        begun = _begun.pop()
        with suppress(OSError):
            (begun.folder / CLAIM).unlink()
            if begun.made:
                begun.folder.rmdir()  # fails where it holds something
        begun.lock.release()


def holds_something(folder: Path) -> bool:
    """Whether there is more in a folder than the claim of a command that was killed."""
    return any(entry.name != CLAIM for entry in folder.iterdir())


def interrupted() -> str:
    """The line for Ctrl-C."""
    return f"interrupted: {_begun[0].ended_early(listed=False) if _begun else 'nothing was written'}"


def stopped(name: str, where: str) -> str:
    """The line for a training that a signal has ended with everything saved.

    Args:
        name: of the signal.
        where: the training stands; empty: before its first step, or behind its last one.
    """
    by = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    ended = _begun[0].ended_early(listed=False) if _begun else "nothing was written"
    return f"{by}{f' {where}' if where else ''}: {ended}"


def go_on() -> str:
    """What to do where a command that writes to a folder ended before its time, after a semicolon; empty: run again."""
    return f"; {_begun[0].mend}" if _begun and _begun[0].left else ""


def full_disk(error: BaseException) -> str | None:
    """A line for an error, or one that it was raised from, that says that there is no room; None for others."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno in _FULL:
            named = str(error).split(": ")[0] if isinstance(error, SuiteError) else inner.filename
            where = f"{named}: " if named else ""
            kept = f"; {_begun[0].ended_early(listed=True)}" if _begun else ""
            return f"{where}{inner.strerror}: make room{kept}"
        inner = inner.__cause__ or inner.__context__
    return None


def command(task: str, verb: str, **flags: object) -> str:
    """A command as it is typed."""
    words = [*spec_of(task).program.split(), verb]
    for name, value in flags.items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)


def _made(file: Path) -> bool:
    """Make the claim's file; whether it was not there."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _locked(lock: FileLock, *, first: bool) -> bool:
    """Whether the lock is ours now; ``first`` decides where there are no locks.

    It is of this process alone, since filelock takes it from those that are forked: a loader process that outlives a
    killed command must not keep the folder from being taken up again.
    """
    try:
        lock.acquire()
    except Timeout:
        return False
    except OSError as error:
        if error.errno in _UNLOCKABLE:
            return first
        raise
    return True
