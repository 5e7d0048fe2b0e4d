"""Files that appear whole or not at all, locks between processes, safe file names: standard library and filelock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock

from scansuite.errors import SuiteError

# Control characters, both separators, and what Windows and shells keep for themselves.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\]')
IN_USE = ".in_use"  # file of a folder that processes lock while they use it
_MOST_USED = 64  # folders that a process says it uses: each takes a descriptor, and the first are forgotten
_used: dict[Path, int] = {}  # what this process has locked so
_LONGEST = 120  # bytes of a name; file systems take 255, and suffixes and temporary names are added


@contextmanager
def replacing(
    file: Path, *, failed: Callable[[OSError], Exception] | None = None, durable: bool = True
) -> Iterator[Path]:
    """Give a temporary path beside ``file`` that takes its place when the block ends well.

    A reader sees the old file or the whole new one, never a part, even when the process is killed while it writes.
    Where the block fails, the temporary file is removed and ``file`` stays as it was.

    Ours, because atomicwrites is no longer maintained, and because writers of tables, tensors and pictures want a path
    where others hand out an open file.

    Args:
        file: to be written; its folder exists.
        failed: from an ``OSError`` of the block to the error that is raised instead; left out: a line that names the
            file.
        durable: the contents are on the disk before they get the name, so that a power cut leaves no empty file. It
            waits for the disk: not for what is written many times a second, or can be made again.

    Raises:
        SuiteError: it cannot be written, or whatever ``failed`` makes of that.
    """
    # The number of the process alone is not enough: two machines may share the folder.
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(file)
    except OSError as error:
        raise (_cannot_be_written(file, error) if failed is None else failed(error)) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Raises:
        SuiteError: it cannot be written.
    """
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def lock_if_possible(file: Path) -> Iterator[None]:
    """Let the processes of a machine (ranks of one training) go through the block one after the other.

    The lock ends with the process, however that ends, and processes that it forks do not hold it. Where there can be no
    lock (read-only folder, file system without locks) all go at once: for work that is done twice then, and no worse.

    Args:
        file: the lock; made with its folder where it is absent, and it stays.
    """
    # A soft lock (that a file is there) would outlive a killed process.
    lock = FileLock(file, fallback_to_soft=False)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def note_use(folder: Path) -> None:
    """Let others see, until this process and those that it forks have ended, that it uses what lies in a folder.

    Whoever wants to remove the folder asks :func:`unused`. Several may use it. Where there can be no lock nothing is
    noted.

    Args:
        folder: made where it is missing.
    """
    file = Path(os.path.abspath(folder)) / IN_USE  # noqa: PTH100
    if file in _used:
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        while file not in _used:
            handle = os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            # filelock has no lock that several share but in a SQLite file.
            fcntl.flock(handle, fcntl.LOCK_SH)
            if file.exists() and os.path.samestat(os.fstat(handle), file.stat()):
                _used[file] = handle
                if len(_used) > _MOST_USED:
                    os.close(_used.pop(next(iter(_used))))
            else:  # removed while this process waited
                os.close(handle)


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether nobody uses a folder (:func:`note_use`), which holds as long as the block lasts."""
    handle = None
    try:
        handle = os.open(folder / IN_USE, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    except OSError:  # nobody has used it, or there are no locks
        free = True
    try:
        yield free
    finally:
        if handle is not None:
            os.close(handle)


def safe_name(text: str) -> str:
    """Safe file name for a text that may hold anything.

    A good name stays as it is. In any other ``_`` stands for what is unsafe, and eight digits of the text's hash
    follow, so that two texts do not share a file (pathvalidate has no such mark).

    Args:
        text: of any characters and length.

    Returns:
        At most 120 bytes in UTF-8, without a separator, not empty, and not hidden by a leading dot.
    """
    name = _cleaned(text)
    return name if name and name == text else marked_name(name, text)


def safe_path(case_id: str) -> PurePosixPath:
    """A relative path for a case id, whose ``/`` separates folders; it never leads out of its folder.

    A case id of good names stays as it is. In any other, parts without a name (``..``, or before a leading ``/``) are
    left out, the rest is made safe, and the last part bears digits of the hash of the whole case id.
    """
    names = [_cleaned(part) for part in case_id.split("/")]
    if "/".join(names) == case_id and all(names):
        return PurePosixPath(case_id)
    return PurePosixPath(*[name for name in names[:-1] if name], marked_name(names[-1], case_id))


def marked_name(name: str, text: str) -> str:
    """The name, shortened where it must be, with eight digits of the hash of ``text`` behind it."""
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    start = name.encode()[: _LONGEST - len(digits) - 1].decode(errors="ignore")
    return f"{start}_{digits}" if start else digits


def _cleaned(text: str) -> str:
    name = _UNSAFE.sub("_", text.encode("utf-8", "replace").decode()).strip(". ")
    return name.encode()[:_LONGEST].decode(errors="ignore")


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_be_written(file: Path, error: OSError) -> SuiteError:
    return SuiteError(
        f"{file}: cannot be written ({error.strerror or error}): choose a folder you may write to, with space left"
    )
