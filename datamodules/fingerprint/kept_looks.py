"""What a look at images has shown, kept in the cache folder: a second run does not look again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.caching.reading_version import behaviour, of_classes
from datamodules.cases.contents import Unit, name_and_stamp
from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.readers.kept import Kept

# Settings of a data module that change nothing in what is seen of its stored images.
_ELSEWHERE = frozenset(
    {"batch_size", "_batch_size", "total_batch_size", "num_workers", "seed", "cache", "cache_dir", "augment",
     "augment_on", "mosaic", "normalize", "scratch", "keep_scratch", "prepare_data_per_node", "image_size",
     "cross_validates", "allow_zero_length_dataloader_with_multiple_devices"}
)  # fmt: skip
_PLAIN = (str, int, float, bool, tuple, list, dict, Path, type(None))
_NO_STAMP = bytes(16)


class KeptLook:
    """What is kept of a look: by what is looked at, how it is read, and the state of the files.

    Images that are no files (arrays, phantoms) are looked at anew each time, which costs little.

    Args:
        data: whose images they are.
        images: rows of its ``table.images``, in the order in which they are looked at.
    """

    def __init__(self, data: ScanDataModule, images: NDArray[np.int64]) -> None:
        self._kept = Kept(data.cache_dir / "hashes.sqlite", "fingerprints")
        name, stamp = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        name.update(f"{type(data).__module__}.{type(data).__qualname__} {_settings(data)}".encode())
        stamp.update(f"{behaviour('fingerprint/look', 'fingerprint/measure')} {of_classes(type(data))}".encode())
        whole = len(images) > 0
        for unit in _units(data, images):
            digests = name_and_stamp(unit)
            whole = whole and digests[16:] != _NO_STAMP
            name.update(digests[:16])
            stamp.update(digests[16:])
        self._name = f"fingerprint {name.hexdigest()}"
        self._stamp = stamp.hexdigest() if whole else ""

    @property
    def lasts(self) -> bool:
        """Whether what is looked at are files, so that it can be kept."""
        return self._stamp != ""

    def look_up(self) -> Fingerprint | None:
        """What was seen, in the fields of a fingerprint; None where nothing is kept that still holds."""
        if not self.lasts:
            return None
        text = self._kept.look_up({self._name: self._stamp}).get(self._name)
        with suppress(ValueError):
            return None if text is None else Fingerprint.from_json(text)
        return None

    def keep(self, seen: Fingerprint) -> None:
        """Keep it."""
        if self.lasts:
            self._kept.keep([(self._name, self._stamp, seen.to_json())])


def _units(data: ScanDataModule, images: NDArray[np.int64]) -> Iterator[Unit]:
    """Files that are read of each image, and what it depends on beside them."""
    volume_of = data.stored(data.table).volume
    units = data.units(data.table)
    for image in images:
        volume = None if volume_of is None else volume_of(int(image))
        if volume is None:
            yield units[int(image)]
        else:
            files = [*volume.images, *([volume.mask] if volume.mask is not None else [])]
            yield Unit(tuple(str(file) for file in files), str(data.limits))


def _settings(data: ScanDataModule) -> str:
    """Settings of a data module in plain types, in a fixed order."""
    found: dict[str, Any] = {
        name: value for name, value in vars(data).items() if name not in _ELSEWHERE and isinstance(value, _PLAIN)
    }
    plain = {name: value for name, value in found.items() if _is_plain(value)}
    return repr(sorted(plain.items()))


def _is_plain(value: Any) -> bool:
    """Whether nothing in a value is an object of ours, whose words may change from run to run."""
    if isinstance(value, dict):
        return len(value) < 100 and all(_is_plain(one) for pair in value.items() for one in pair)
    if isinstance(value, (tuple, list)):
        return len(value) < 100 and all(_is_plain(one) for one in value)
    return isinstance(value, _PLAIN)
