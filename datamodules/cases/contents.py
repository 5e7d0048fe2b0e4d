"""Contents of all images: each is read once, hashed and kept; unreadable ones are named before training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
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
from datamodules.readers.hashing import array_hash, parts_of
from datamodules.readers.kept import Kept
from datamodules.settings import default_workers
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule
    from datamodules.cases.table import CaseTable

log = logging.getLogger(__name__)

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
        known: content hash by number of the unit.
    """

    def __init__(self, units: Sequence[Unit], file: Path | None) -> None:
        self._kept = Kept(file, "content hashes")
        parts = [units[start : start + _AT_ONCE] for start in range(0, len(units), _AT_ONCE)]
        with ThreadPoolExecutor(8) as pool:
            pairs = [pair for some in pool.map(_names_and_stamps, parts) for pair in some]
        self.names = [name for name, _ in pairs]
        self._stamps = dict(pairs)
        self.known: dict[int, str] = {}
        self.look_up()

    def look_up(self) -> None:
        """Look for what another process may have kept in the meantime."""
        values = self._kept.look_up(self._stamps)
        self.known |= {unit: values[name] for unit, name in enumerate(self.names) if name in values}

    def keep(self, fresh: Iterable[tuple[int, str]]) -> None:
        """Keep the content hashes of some units."""
        named = [(self.names[unit], content) for unit, content in fresh]
        self._kept.keep([(name, self._stamps[name], content) for name, content in named if self._stamps[name]])


def _names_and_stamps(units: Sequence[Unit]) -> list[tuple[str, str]]:
    return [_name_and_stamp(unit) for unit in units]


def _name_and_stamp(unit: Unit) -> tuple[str, str]:
    name, stamp = hashlib.blake2b(unit.settings.encode(), digest_size=16), hashlib.blake2b(digest_size=16)
    name.update(json.dumps([os.path.abspath(file) for file in unit.files]).encode())  # noqa: PTH100 - much faster
    stamp.update(behaviour().encode())
    try:
        for file in unit.files:
            for part in parts_of(Path(file)):
                status = os.stat(part)  # noqa: PTH116 - as above
                stamp.update(f"{part.name} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    except OSError:
        return f"content {name.hexdigest()}", ""  # its reader says what is missing
    return f"content {name.hexdigest()}", stamp.hexdigest()


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
    if len(kept.known) < len(units):
        # The ranks of a training come here at the same time: one reads, the others find what it has kept.
        root = hashlib.blake2b(os.path.abspath(data.root).encode(errors="surrogateescape"), digest_size=8)  # noqa: PTH100
        with lock_if_possible(data.cache_dir / f".contents-{root.hexdigest()}.lock"):
            kept.look_up()
            return _complete(data, units, kept, read)
    return [kept.known[unit] for unit in range(len(units))]


def _complete(
    data: ScanDataModule, units: Sequence[Unit], kept: KeptContents, read: Callable[[int], str]
) -> list[str | Unreadable]:
    # What is named twice is read once.
    first: dict[str, int] = {}
    for unit, name in enumerate(kept.names):
        first.setdefault(name, unit)
    found: dict[int, str | Unreadable] = dict(kept.known)
    waiting = np.array([unit for unit in first.values() if unit not in found], np.int64)
    asked = data.num_workers if data.num_workers is not None else max(1, default_workers())
    fresh: list[tuple[int, str]] = []
    told = _Told(len(waiting))
    for unit, content in _read(units, waiting, read, processes(asked)):
        found[unit] = content
        if isinstance(content, str):
            fresh.append((unit, content))
        if len(fresh) >= _KEEP_AFTER:
            kept.keep(fresh)
            fresh = []
        told.one_more()
    kept.keep(fresh)
    told.done()
    return [found[first[name]] if unit not in found else found[unit] for unit, name in enumerate(kept.names)]


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
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            found.append((place, Lost(place, "unreadable", reason.rstrip(": "))))
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
    texts = list(texts)
    return "; ".join(texts[:most]) + ("; ..." if len(texts) > most else "")
