"""Fetching and opening the ``.npz`` files of MedMNIST."""

from __future__ import annotations

import hashlib
import http.client
import logging
import math
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.caching.reading_version import behaviour
from datamodules.cases.table import SPLITS
from datamodules.readers.hashing import array_hash
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible, note_use, replacing
from scansuite.progress import Tell, progress

log = logging.getLogger(__name__)


def fetch(url: str, target: Path, md5: str) -> None:
    """Download a file; ``target`` appears whole and checked, or not at all.

    Args:
        url: where the file is.
        target: where it is to be; its folder exists.
        md5: the sum its bytes must have.

    Raises:
        SuiteError: the server does not answer, the sum is wrong, or the file cannot be written.
    """
    log.info("fetching %s", url)
    request = urllib.request.Request(url, headers={"User-Agent": "scansuite"})

    def failed(error: Exception) -> SuiteError:
        return SuiteError(f"{url}: cannot be fetched to {target}: {error}; put the file there by hand")

    try:
        with replacing(target, failed=failed) as temporary:
            with urllib.request.urlopen(request, timeout=60) as response, temporary.open("wb") as file:
                total = int(response.headers.get("Content-Length") or 0)
                with progress(f"fetching {target.name}", "MiB", round(total / 2**20) or None) as tell:
                    found = _copy_with_md5(response, file, tell)
            if found != md5:
                raise SuiteError(f"{url}: MD5 is {found}, should be {md5}: damaged on the way or not the official file")
    except (http.client.HTTPException, ValueError) as error:
        raise failed(error) from None


def _copy_with_md5(source: BinaryIO, target: BinaryIO, tell: Tell) -> str:
    digest, done = hashlib.md5(usedforsecurity=False), 0
    while chunk := source.read(1 << 20):
        digest.update(chunk)
        target.write(chunk)
        done += len(chunk)
        tell(done >> 20)
    return digest.hexdigest()


class MedMNISTFile:
    """An opened file: images and labels of the three official parts.

    Small files are read into memory. Of larger ones the images are unpacked once into ``cache_dir`` and mapped from
    there, so that loader processes share them.

    Args:
        file: the ``.npz`` file.
        cache_dir: where images are unpacked to.
        memory_limit: bytes, unpacked, up to which everything is read into memory.

    Attributes:
        labels: (N, L) integers of each part.
        counts: number of images of each part.

    Raises:
        SuiteError: the file is damaged, no MedMNIST file, or cannot be unpacked.
    """

    def __init__(self, file: Path, cache_dir: Path, memory_limit: int = 2**29) -> None:
        self.file = file
        self._mapped: dict[str, Path] = {}
        self._images: dict[str, NDArray[Any]] = {}
        try:
            with zipfile.ZipFile(file) as archive:
                self._open(archive, cache_dir / "medmnist", memory_limit)
        except OSError as error:
            raise SuiteError(f"{error.filename or file}: {error.strerror or error} while reading {file}") from None
        except Exception as error:  # headers are Python text, and damaged ones raise whatever parsing it raises
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise SuiteError(f"{file}: cannot be read as a MedMNIST file: {reason}; fetch it again") from None

    def _open(self, archive: zipfile.ZipFile, cache_dir: Path, memory_limit: int) -> None:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        wanted = [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]
        missing = [key for key in wanted if key not in members]
        if missing:
            raise ValueError(f"no {', '.join(missing)} in it (found: {', '.join(members) or 'nothing'})")
        for key in wanted:
            _check(archive, members[key])
        if sum(members[f"{split}_labels"].file_size for split in SPLITS) > memory_limit:
            raise ValueError("its labels are too large")
        self.labels = {split: _load(archive, members[f"{split}_labels"]) for split in SPLITS}
        if sum(members[key].file_size for key in wanted) <= memory_limit:
            self._images = {split: _load(archive, members[f"{split}_images"]) for split in SPLITS}
        else:
            status = self.file.stat()
            self._folder = cache_dir / f"{self.file.stem}-{status.st_size}-{status.st_mtime_ns}"
            note_use(cache_dir)
            with lock_if_possible(cache_dir / f"{self.file.name}.lock"):
                for split in SPLITS:
                    self._mapped[split] = _unpack(archive, members[f"{split}_images"], self._folder)
        self.counts = {split: len(self._part(split)) for split in SPLITS}
        for split, labels in self.labels.items():
            images = self._part(split)
            if images.ndim not in (3, 4) or labels.ndim != 2 or len(images) != len(labels):
                raise ValueError(f"{split} has images of shape {images.shape} and labels of shape {labels.shape}")

    def _part(self, split: str) -> NDArray[Any]:
        if split not in self._images:
            self._images[split] = np.load(self._mapped[split], mmap_mode="r")
        return self._images[split]

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled with all its values; the other process maps the file itself.
        return {**self.__dict__, "_images": {} if self._mapped else self._images}

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        height, width = self._part("train").shape[1:3]
        return height, width

    def __len__(self) -> int:
        return sum(self.counts.values())

    def locate(self, frame: int) -> tuple[str, int]:
        """Part and number in it of image number ``frame``, counted through train, val and test."""
        for split in SPLITS:
            if frame < self.counts[split]:
                return split, frame
            frame -= self.counts[split]
        raise IndexError(f"{self.file} has {len(self)} images")

    def image(self, frame: int) -> NDArray[Any]:
        """Image number ``frame``, counted through train, val and test: (H, W) or (H, W, 3) uint8."""
        split, number = self.locate(frame)
        return np.asarray(self._part(split)[number])

    def hashes(self) -> list[str]:
        """Content hash of each image, in the order of :meth:`image`; kept beside unpacked images."""
        kept = self._folder / f"hashes-{behaviour()}.txt" if self._mapped else None
        if kept is not None and kept.is_file():
            return kept.read_text().split()
        hashes = [array_hash(image) for split in SPLITS for image in self._part(split)]
        if kept is not None:
            with suppress(SuiteError), replacing(kept, durable=False) as temporary:
                temporary.write_text("\n".join(hashes))
        return hashes


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse a member whose size is not that of the small whole numbers its own header promises.

    Raises:
        ValueError: it is so, or it has no such header.
    """
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
        if kind.hasobject:
            raise ValueError("Object arrays cannot be loaded: they are pickles")
        values = math.prod(shape) * kind.itemsize
        if kind.kind not in "bui" or stream.tell() + values != member.file_size:
            raise ValueError(f"{member.filename} does not hold what its header says")


def _load(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    target = folder / Path(member.filename).name
    if not target.is_file():
        log.info("unpacking %s (%.1f GiB) to %s", member.filename, member.file_size / 2**30, folder)
        folder.mkdir(parents=True, exist_ok=True)
        whole = replacing(target, failed=lambda error: error, durable=False)
        with whole as temporary, archive.open(member) as stream, temporary.open("wb") as file:
            copyfileobj(stream, file, 1 << 20)
    return target
