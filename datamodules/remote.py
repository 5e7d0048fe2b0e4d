"""Data in object storage, as local copies: ``s3://bucket/set`` and whatever else fsspec opens by a URL.

Everything that reads data sees a folder of this machine; what the user is told names the URL.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from datamodules.settings import default_cache_dir
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible, note_use, replacing, write_text
from scansuite.progress import progress

log = logging.getLogger(__name__)

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*(://|::)")
_TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".xlsm", ".xls", ".ods")
_ROOM = "make room, or name another folder with --data.cache_dir or $SCANSUITE_CACHE"
_AT_ONCE = 16  # files fetched at a time: each waits for the network, not for a core
_RESERVE = 2**28  # bytes that are left free: others write there too
# What file systems call the state of a file: its hash, and when it was last changed.
_STATE = ("ETag", "etag", "md5Hash", "checksum", "content_hash", "VersionId")
_CHANGED = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_SECOND = 10**9
_named: dict[str, str] = {}  # local copy -> its URL, as typed


class _RemoteFile(NamedTuple):
    """File that is to be here.

    Attributes:
        key: its name in the storage.
        path: below the copy.
        size: in bytes; None where the storage does not say.
        stamp: ns, the modification time that its copy gets: seconds from the storage, and below them a hash of its
            state, so that the copy alone says whether it is up to date.
    """

    key: str
    path: str
    size: int | None
    stamp: int


def is_url(text: object) -> bool:
    """Whether a flag's value names a place in object storage, not a path."""
    return isinstance(text, str) and _URL.match(text) is not None


def was_fetched(url: str) -> bool:
    """Whether this user has asked for the data at a URL before, on this machine."""
    return _asked(url).is_file()


def as_typed(text: str) -> str:
    """A text in which local copies bear the URLs that they are copies of."""
    for local, url in _named.items():
        text = text.replace(local, url)
    return text


def local(name: str, cache_dir: Path, flag: str) -> Path:
    """The path that a flag names, or the local copy of what it names by a URL, brought up to date.

    Files are fetched in parallel; each appears whole or not at all, so that a fetch that was cut off goes on where it
    was. What has gone from the storage goes from the copy. One process at a time does it; the others take what it has
    fetched. Where the storage cannot be reached, a copy that is whole is read as it is, and a warning says so.

    Args:
        name: a path, or a URL of fsspec's (``s3://bucket/folder``, ``gs://``, ``https://``, ``file://``).
        cache_dir: copies are below its ``remote``.
        flag: that named it, for messages.

    Raises:
        SuiteError: there is nothing, it may not be read, it cannot be reached, or there is no room for it.
    """
    if not is_url(name):
        return Path(name)
    url = name.rstrip("/")
    last = PurePosixPath(url.split("://")[-1]).name or "data"
    folder = Path(os.path.abspath(cache_dir)) / "remote" / hashlib.sha256(url.encode()).hexdigest()[:16]  # noqa: PTH100
    # A case may be named by its folder: the copy bears the name that the data have there.
    copy = folder / re.sub(r"[^\w.-]", "_", last)
    _Mirror(name, copy, flag).bring_up_to_date()
    _named[str(copy)] = url
    return copy


def local_input(name: str, flag: str, *, alone: bool = False) -> Path:
    """The path of an input, or its local copy: of a table, with the folder that its paths are relative to.

    Args:
        name: a path or a URL.
        flag: that named it.
        alone: the paths of a table are relative to another folder.

    Raises:
        SuiteError: see :func:`local`.
    """
    folder, _, table = name.rpartition("/")
    # The folder of a page would be all that it links to.
    with_folder = is_url(folder) and not folder.startswith("http") and not alone
    if with_folder and table.lower().removesuffix(".gz").endswith(_TABLES):
        return local(folder, default_cache_dir(), flag) / table
    return local(name, default_cache_dir(), flag)


class _Mirror:
    """Local copy of the files at a URL.

    Args:
        url: as typed.
        copy: the local folder, or file where the URL is one's.
        flag: that named it.
    """

    def __init__(self, url: str, copy: Path, flag: str) -> None:
        self.url, self.copy, self.flag = url, copy, flag
        self.whole = copy.parent / "whole"  # there once all files have been fetched; its time says when
        self.fetched, self.bytes, self.began = 0, 0, time.monotonic()

    def bring_up_to_date(self) -> None:
        """Fetch what is new, and remove what has gone.

        Raises:
            SuiteError: see :func:`local`.
        """
        asked = time.time()
        note_use(self.copy.parent)
        with lock_if_possible(self.copy.parent / ".lock"):
            if self.whole.is_file() and self.whole.stat().st_mtime > asked:
                return  # another rank has done it while this one waited
            try:
                self.copy.parent.mkdir(parents=True, exist_ok=True)
                self._fetch_all()
                write_text(self.whole, f"{self.url}\n")
            except Exception as error:
                self._refuse(error)
            _note_asked(self.url)

    def _fetch_all(self) -> None:
        from fsspec.core import url_to_fs

        # Listings are not kept: a notebook would not see what has come since.
        system, top = url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True)
        info = system.info(top)
        if info["type"] == "file" and not self.url.endswith("/"):
            files, found = [self._file(info, top, "")], {""}
        else:
            files, found = [], set()
            for file in self._listed(system, top):
                found.add(file.path)
                files += [] if self._is_here(file) else [file]
        if not found:
            raise FileNotFoundError(self.url)
        files = [file for file in files if not self._is_here(file)]
        self._refuse_full(sum(file.size or 0 for file in files))
        if files:
            self.whole.unlink(missing_ok=True)
            self._fetch(system, files)
        if found != {""}:
            self._remove_others(found)

    def _listed(self, system: Any, top: str) -> Iterator[_RemoteFile]:
        # A folder at a time: what is said of a million objects would take a GiB.
        for _, _, files in system.walk(top, detail=True):
            for info in files.values():
                key = str(info["name"])
                path = key.removeprefix(top.rstrip("/")).lstrip("/")
                if not path or key.endswith("/"):
                    continue  # stands for a folder
                if any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
                    raise SuiteError(f"{self.flag} {self.url}: {path!r} is no path that a file can have: rename it")
                yield self._file(info, key, path)

    def _file(self, info: dict[str, Any], key: str, path: str) -> _RemoteFile:
        state = [str(info[name]) for name in (*_STATE, *_CHANGED) if info.get(name) is not None]
        changed = next((info[name] for name in _CHANGED if info.get(name) is not None), None)
        digest = int.from_bytes(hashlib.sha256("\n".join(state).encode()).digest()[:4])
        # Thousands of ns, and never none of them: file systems may keep microseconds, or seconds alone.
        stamp = _seconds(changed) * _SECOND + (digest % 999_999 + 1) * 1000
        return _RemoteFile(key, path, info.get("size"), stamp)

    def _place(self, file: _RemoteFile) -> Path:
        return self.copy / file.path if file.path else self.copy

    def _is_here(self, file: _RemoteFile) -> bool:
        try:
            status = os.stat(self._place(file))  # noqa: PTH116 - there may be a million
        except OSError:
            return False
        same = status.st_mtime_ns == file.stamp or (
            status.st_mtime_ns % _SECOND == 0 and status.st_mtime_ns // _SECOND == file.stamp // _SECOND
        )
        return same and file.size in (None, status.st_size)

    def _refuse_full(self, needed: int) -> None:
        free = shutil.disk_usage(self.copy.parent).free
        if needed and needed + _RESERVE > free:
            raise SuiteError(
                f"{self.flag} {self.url}: {needed / 2**30:.1f} GiB are to be fetched, {free / 2**30:.1f} GiB are free "
                f"in {self.copy.parent}: {_ROOM}"
            )

    def _fetch(self, system: Any, files: list[_RemoteFile]) -> None:
        """Fetch files, some at a time, and stop at the first that fails."""
        running: set[Future[int]] = set()
        waiting = iter(files)
        total = sum(file.size or 0 for file in files)
        with progress("fetching", "MiB", round(total / 2**20) or None) as tell, ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                while True:
                    while len(running) < 2 * _AT_ONCE and (file := next(waiting, None)) is not None:
                        running.add(pool.submit(self._fetch_one, system, file))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    self.fetched += len(done)
                    self.bytes += sum(one.result() for one in done)
                    tell(round(self.bytes / 2**20))
            except BaseException:
                for one in running:
                    one.cancel()
                raise
        log.info("%s", self._progress(len(files), total))

    def _progress(self, count: int, total: int) -> str:
        rate = self.bytes / 2**20 / max(time.monotonic() - self.began, 1e-3)
        done, whole = self.bytes / 2**20, total / 2**20
        return f"{self.url}: {self.fetched} of {count} files, {done:.1f} of {whole:.1f} MiB, {rate:.1f} MiB a second"

    def _fetch_one(self, system: Any, file: _RemoteFile) -> int:
        place = self._place(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The name of a temporary file begins with a point: what a kill leaves is removed by the next fetch.
        with replacing(place, failed=_itself, durable=False) as temporary:
            system.get_file(file.key, str(temporary))
            size = temporary.stat().st_size
            if file.size not in (None, size):
                raise OSError(f"{file.key} was cut off: {size} of {file.size} bytes came")
            os.utime(temporary, ns=(file.stamp, file.stamp))
        return size

    def _remove_others(self, found: set[str]) -> None:
        """Remove what has gone from the storage, and what killed processes have left."""
        for folder, _, names in os.walk(self.copy, topdown=False):
            inside = Path(folder)
            for name in names:
                if (inside / name).relative_to(self.copy).as_posix() not in found:
                    (inside / name).unlink()
            if inside != self.copy and not any(inside.iterdir()):
                inside.rmdir()

    def _refuse(self, error: Exception) -> None:
        """Say in one line what is wrong; an unreachable storage is no error where all of it is here."""
        if isinstance(error, SuiteError):
            raise error
        chain = list(_chain(error))
        kinds, said = {kind.__name__ for one in chain for kind in type(one).__mro__}, " ".join(str(error).split())[:200]
        what = f"{self.flag} {self.url}"
        if isinstance(error, ImportError):
            raise SuiteError(f"{what}: {said}: pip install 'scansuite[remote]' brings fsspec and s3fs") from None
        if _is_unreachable(kinds):
            if self.whole.is_file():
                when = datetime.fromtimestamp(self.whole.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
                log.warning("%s: cannot be reached: the copy of %s is read (%s)", what, when, said)
                return
            raise SuiteError(f"{what}: cannot be reached: {said}: is the network there, and is the address right?")
        if kinds & {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "DefaultCredentialsError"}:
            raise SuiteError(
                f"{what}: no credentials ({said}): set them as this storage's own tools want them (AWS_ACCESS_KEY_ID "
                "or ~/.aws), or FSSPEC_S3_ANON=true for data that are open to all"
            ) from None
        if isinstance(error, PermissionError) and not error.filename:
            raise SuiteError(f"{what}: may not be read ({said}): are the credentials those of this bucket?") from None
        if isinstance(error, FileNotFoundError):
            raise SuiteError(f"{what}: no such bucket, folder or file, or nothing in it") from None
        if isinstance(error, ValueError) and "Protocol not known" in said:
            raise SuiteError(f"{what}: no such protocol: s3://, gs://, https:// and others of fsspec's") from None
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SuiteError(f"{what}: the disk of {self.copy.parent} is full: {_ROOM}; what is there stays") from None
        if isinstance(error, OSError) and error.filename:
            raise SuiteError(f"{what}: cannot be kept in {self.copy.parent}: {error.strerror} ({error.filename})")
        raise SuiteError(f"{what}: cannot be fetched: {type(error).__name__}: {said}") from error


def _itself(error: OSError) -> Exception:
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _is_unreachable(kinds: set[str]) -> bool:
    """Whether an exception of botocore, aiohttp or the sockets says that nobody answers."""
    known = {"ConnectionError", "HTTPClientError", "ClientConnectionError", "EndpointConnectionError", "gaierror"}
    return bool(kinds & {*known, "TimeoutError", "ConnectTimeoutError", "ReadTimeoutError"})


def _seconds(changed: object) -> int:
    """Seconds since 1970 of what a file system says of a change."""
    if isinstance(changed, datetime):
        return int(changed.timestamp())
    if isinstance(changed, (int, float)):
        return int(changed)
    try:
        return int(datetime.fromisoformat(str(changed)).timestamp())
    except ValueError:
        return 0


def _asked(url: str) -> Path:
    return default_cache_dir() / "remote" / "asked" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:32]


def _note_asked(url: str) -> None:
    """Note that the user wants what is at a URL: a run that is taken up again may then fetch it."""
    file = _asked(url)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{url}\n", encoding="utf-8")
    except OSError:
        log.warning("%s: cannot be written: a run with these data must be taken up again with their flags", file)
