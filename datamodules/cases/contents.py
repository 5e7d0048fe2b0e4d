"""Contents of all images: each is read once, hashed and kept; unreadable ones are named before training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.caching.cache import CacheError
from datamodules.caching.reading_version import behaviour
from datamodules.cases.pool import Lost, in_chunks, processes
from datamodules.lazy import LazySequence
from datamodules.readers.hashing import array_hash, parts_of
from datamodules.readers.itk_header import HEADERS
from datamodules.readers.kept import Kept
from datamodules.settings import default_workers
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible
from scansuite.progress import progress
from scansuite.words import plain_words

if TYPE_CHECKING:
    import pandas as pd

    from datamodules.base import ScanDataModule
    from datamodules.cases.table import CaseTable

log = logging.getLogger(__name__)

_DIGEST = 16  # bytes
_NO_STAMP = bytes(_DIGEST)
_AT_ONCE = 1024  # units whose files are looked at by a thread
_SECONDS = 600.0  # that one unit may take: slow disks have large volumes
_SAY_AFTER = 5.0  # seconds: what is done sooner needs no words
_KEEP_AFTER = 1000  # hashes: a run that is cut off has most of them
_NAMED_IN_ERROR, _NAMED_IN_LOG = 3, 50


class Unit(NamedTuple):
    """Unit that is read as one: an image, an image with its mask, a volume with its label.

    Attributes:
        files: that are read.
        settings: all else that reading them depends on.
    """

    files: tuple[str, ...]
    settings: str = ""


class ImageUnits(LazySequence[Unit]):
    """Images as units, each made when it is asked for: a million of them would take a third of a GiB.

    Args:
        images: rows with ``path`` and ``frame``.
        root: folder of the paths.
        settings: that reading depends on beside the frame.
    """

    def __init__(self, images: pd.DataFrame, root: Path, settings: str) -> None:
        self._paths, self._frames = images["path"], images["frame"]
        self._root, self._settings = str(root), settings

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Unit]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]

    def _item(self, number: int) -> Unit:
        return self._unit(str(self._paths.iat[number]), int(self._frames.to_numpy()[number]))

    def _items(self, numbers: range) -> list[Unit]:
        return list(map(self._unit, self._paths.iloc[list(numbers)], self._frames.iloc[list(numbers)]))

    def _unit(self, path: str, frame: int) -> Unit:
        return Unit((os.path.join(self._root, path),), f"{frame} {self._settings}")  # noqa: PTH118 - there may be many


class Unreadable(NamedTuple):
    """Stands for the content of what cannot be read.

    Attributes:
        reason: the reader's words, with the name of the file.
    """

    reason: str


class KeptContents:
    """Content hashes of units, as far as they are kept from earlier runs.

    They are kept by absolute path, size and modification time of all files of a unit (those of a folder, and those that
    a header points to), by its settings and by how this version of the suite reads files.

    Args:
        units: what is read.
        file: SQLite file; None keeps nothing.

    Attributes:
        known: (N,) content hash of each unit, as bytes; empty where it is unknown.
        names: (N, 16) digest that stands for each unit.
    """

    def __init__(self, units: Sequence[Unit], file: Path | None) -> None:
        self._kept = Kept(file, "content hashes")
        parts = [units[start : start + _AT_ONCE] for start in range(0, len(units), _AT_ONCE)]
        with ThreadPoolExecutor(8) as pool:
            digests = b"".join(pool.map(_names_and_stamps, parts))
        # In arrays: a million pairs of texts would take half a GiB.
        table = np.frombuffer(digests, np.uint8).reshape(-1, 2, _DIGEST)
        self.names, self._stamps = table[:, 0], table[:, 1]
        self.known = np.zeros(len(units), "S32")
        self.look_up()

    def look_up(self) -> None:
        """Look for what another process may have kept in the meantime."""
        unknown = np.flatnonzero(self.known == b"")
        for some in np.split(unknown, range(_AT_ONCE, len(unknown), _AT_ONCE)):
            texts = {self._name(unit): self._stamp(unit) for unit in some}
            values = self._kept.look_up({name: stamp for name, stamp in texts.items() if stamp})
            for unit in some:
                self.known[unit] = values.get(self._name(unit), "").encode()

    def keep(self, fresh: Iterable[tuple[int, str]]) -> None:
        """Keep the content hashes of some units."""
        named = [(self._name(unit), self._stamp(unit), content) for unit, content in fresh]
        self._kept.keep([(name, stamp, content) for name, stamp, content in named if stamp])

    def first_of_each(self) -> NDArray[np.int64]:
        """(N,) For each unit the first one that is named as it is: what is named twice is read once."""
        words = np.ascontiguousarray(self.names).view(np.uint64)
        order = np.lexsort((words[:, 1], words[:, 0]))  # stable: of equal ones the first comes first
        new = np.ones(len(order), np.bool_)
        new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
        first = np.empty(len(order), np.int64)
        first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
        return first

    def _name(self, unit: int) -> str:
        return f"content {self.names[unit].tobytes().hex()}"

    def _stamp(self, unit: int) -> str:
        """The state of a unit's files, or "" where one is missing."""
        stamp = self._stamps[unit].tobytes()
        return "" if stamp == _NO_STAMP else stamp.hex()


def _names_and_stamps(units: Sequence[Unit]) -> bytes:
    return b"".join(map(name_and_stamp, units))


def name_and_stamp(unit: Unit) -> bytes:
    """Digest of a unit's name and settings, then that of the state of its files (zeros where one is missing)."""
    name, stamp = hashlib.blake2b(unit.settings.encode(), digest_size=_DIGEST), hashlib.blake2b(digest_size=_DIGEST)
    name.update(json.dumps([os.path.abspath(file) for file in unit.files]).encode())  # noqa: PTH100 - much faster
    stamp.update(behaviour().encode())
    try:
        for file in unit.files:
            for part, status in _parts(file):
                stamp.update(f"{part} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    except OSError:
        return name.digest() + _NO_STAMP  # its reader says what is missing
    return name.digest() + stamp.digest()


def _parts(file: str) -> Iterator[tuple[str, os.stat_result]]:
    """Name and state of the files that hold what a path stands for (:func:`~datamodules.readers.hashing.parts_of`)."""
    status = os.stat(file)  # noqa: PTH116 - there may be a million
    if stat.S_ISDIR(status.st_mode) or file.lower().endswith(HEADERS):
        for part in parts_of(Path(file)):
            yield part.name, part.stat()
    else:
        yield os.path.basename(file), status  # noqa: PTH119 - as above


def image_contents(data: ScanDataModule, table: CaseTable) -> list[str | Unreadable]:
    """The content hash of each image of the table of the data, as :meth:`~ScanDataModule.read_whole` reads it."""
    return read_units(data, data.units(table), partial(_content, data))


def _content(data: ScanDataModule, image: int) -> str:
    return array_hash(data.read_whole(image).array)


def read_units(data: ScanDataModule, units: Sequence[Unit], read: Callable[[int], str]) -> list[str | Unreadable]:
    """The content hash of each unit: looked up, or read now in processes of their own.

    Args:
        data: says where hashes are kept and how many processes read.
        units: what is read.
        read: decodes a unit by its number, as training will, and hashes what it holds.

    Raises:
        SuiteError: the cache that ``read`` fills cannot be written.
    """
    kept = KeptContents(units, data.cache_dir / "hashes.sqlite")
    if (kept.known == b"").any():
        # The ranks of a training come here at the same time: one reads, the others find what it has kept.
        root = hashlib.blake2b(os.path.abspath(data.root).encode(errors="surrogateescape"), digest_size=8)  # noqa: PTH100
        with lock_if_possible(data.cache_dir / f".contents-{root.hexdigest()}.lock"):
            kept.look_up()
            return _complete(data, units, kept, read)
    return [content.decode() for content in kept.known.tolist()]


def _complete(
    data: ScanDataModule, units: Sequence[Unit], kept: KeptContents, read: Callable[[int], str]
) -> list[str | Unreadable]:
    first = kept.first_of_each()
    waiting = np.flatnonzero((kept.known == b"") & (first == np.arange(len(first))))
    unreadable: dict[int, Unreadable] = {}
    asked = data.num_workers if data.num_workers is not None else max(1, default_workers())
    fresh: list[tuple[int, str]] = []
    told = _Told(len(waiting))
    with progress("reading", "images", len(waiting)) as tell:
        for done, (unit, content) in enumerate(_read(units, waiting, read, processes(asked)), start=1):
            if isinstance(content, Unreadable):
                unreadable[unit] = content
            else:
                kept.known[unit] = content.encode()
                fresh.append((unit, content))
            if len(fresh) >= _KEEP_AFTER:
                kept.keep(fresh)
                fresh = []
            told.one_more()
            tell(done)
    kept.keep(fresh)
    told.done()
    known = kept.known[first].tolist()
    return [unreadable.get(unit, content.decode()) for unit, content in zip(first.tolist(), known, strict=True)]


def _read(
    units: Sequence[Unit], waiting: NDArray[np.int64], read: Callable[[int], str], workers: int
) -> Iterator[tuple[int, str | Unreadable]]:
    for part in in_chunks(partial(_read_chunk, waiting, read), len(waiting), workers, _SECONDS):
        if isinstance(part, str):
            raise SuiteError(part)
        some = [(part.unit, part)] if isinstance(part, Lost) else part
        for place, content in some:
            unit = int(waiting[place])
            if isinstance(content, Lost):  # these words do not name the file yet
                yield unit, Unreadable(f"{units[unit].files[0]}: {content.text}")
            else:
                yield unit, content


def _read_chunk(
    waiting: NDArray[np.int64], read: Callable[[int], str], start: int, stop: int, tell: Callable[[int], None]
) -> list[tuple[int, str | Unreadable | Lost]] | str:
    """Content or reason of each unit of a chunk; a text where nothing can be done at all."""
    found: list[tuple[int, str | Unreadable | Lost]] = []
    for place in range(start, stop):
        tell(place)
        try:
            found.append((place, read(int(waiting[place]))))
        except CacheError as error:
            return str(error)
        except SuiteError as error:
            found.append((place, Unreadable(str(error))))
        except Exception as error:  # whatever a crafted file brings about
            found.append((place, Lost(place, "unreadable", plain_words(error))))
    return found


class _Told:
    """Says that much is being read, once it takes long; and at its end."""

    def __init__(self, count: int) -> None:
        self.count, self.read, self.said, self.since = count, 0, False, time.monotonic()

    def one_more(self) -> None:
        self.read += 1
        taken = time.monotonic() - self.since
        if not self.said and taken > _SAY_AFTER and self.read < self.count:
            self.said = True
            left = taken / self.read * (self.count - self.read)
            log.info(
                "reading %d images once, to find identical and damaged ones: about %.0f min; what is found is kept",
                self.count, np.ceil(left / 60),
            )  # fmt: skip

    def done(self) -> None:
        if self.said:
            log.info("%d images read in %.0f seconds", self.count, time.monotonic() - self.since)


def readable_cases(
    data: ScanDataModule, found: Sequence[str | Unreadable], owners: NDArray[np.int64], case_ids: Sequence[str]
) -> NDArray[np.bool_]:
    """Cases that can be read wholly; the others are an error, or with ``--data.skip_unreadable`` left out.

    Args:
        data: its ``unreadable`` takes the ids of the cases that are left out.
        found: content, or why there is none, of each image.
        owners: (M,) case of each image.
        case_ids: of the cases.

    Raises:
        SuiteError: names the first images that cannot be read, and says how many cases that are; or no case is left.
    """
    reasons: dict[int, str] = {}
    for case, content in zip(owners, found, strict=True):
        if isinstance(content, Unreadable):
            reasons.setdefault(int(case), content.reason)
    keep = np.ones(len(case_ids), np.bool_)
    keep[list(reasons)] = False
    if not reasons:
        return keep
    said = f"{len(reasons)} of {len(case_ids)} cases cannot be read"
    if not data.skip_unreadable or not keep.any():
        aside = "" if data.skip_unreadable else "; --data.skip_unreadable true goes on without them"
        raise SuiteError(
            f"{_some(reasons.values(), _NAMED_IN_ERROR)} ({said}: the verb check with the same --data flags names "
            f"all{aside})",
            kind="unreadable",
        )
    log.warning("%s and are left out: %s", said, _some(reasons.values(), _NAMED_IN_LOG))
    data.unreadable += [case_ids[case] for case in reasons]
    return keep


def _some(texts: Iterable[str], most: int) -> str:
    """A few lines, each of a file; what is said in the same words again is not repeated."""
    texts, said = list(texts), set[str]()
    shown = []
    for text in texts[:most]:
        file, _, why = text.partition(": ")
        shown.append(f"{file}: likewise" if why in said else text)
        said.add(why)
    return "; ".join(shown) + ("; ..." if len(texts) > most else "")
