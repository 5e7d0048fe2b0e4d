"""What a look at images has shown, kept in the cache folder: a second run does not look again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.caching.cache import VolumeCache
from datamodules.caching.reading_version import behaviour, of_classes
from datamodules.cases.contents import Unit, name_and_stamp
from datamodules.classification.medmnist_files import MedMNISTFile
from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.fingerprint.plain import NotPlainError, in_plain_words
from datamodules.readers.kept import Kept
from datamodules.samples.sliced_volumes import SlicedVolumes
from datamodules.segmentation.mask_pairs import MaskPairs

# Attributes of a data module that change nothing in what is seen of a stored image, or were found in files whose state
# is known (of which there are more or fewer by ``patterns``). What is not named here counts, and where nothing tells it
# from another one, nothing is kept.
_ELSEWHERE = frozenset(
    {"batch_size", "_batch_size", "total_batch_size", "num_workers", "seed", "cache", "cache_dir", "augment",
     "augment_args", "augment_on", "augment_place", "feature_copies", "patch", "mosaic", "normalize", "scratch",
     "keep_scratch", "prepare_data_per_node", "image_size", "cross_validates", "trainer", "extractor", "patterns",
     "_datasets", "_prepared", "_boxes", "_sizes", "_image_hashes",
     "allow_zero_length_dataloader_with_multiple_devices"}
)  # fmt: skip
_OF_FILES = (VolumeCache, SlicedVolumes, MaskPairs, MedMNISTFile)  # how these were opened is told by other attributes
_NO_STAMP = bytes(16)


class Seen(NamedTuple):
    """What a look has shown of stored images.

    Attributes:
        found: in the fields of a fingerprint; of the modality it says nothing, which is told by more than images.
        dicom: Modality of the DICOM files, each as often as it was read.
        stated: images whose range of values is stated.
    """

    found: Fingerprint
    dicom: Counter[str]
    stated: int

    def to_json(self) -> str:
        """As it is kept."""
        return json.dumps({"found": self.found.to_json(), "dicom": dict(self.dicom), "stated": self.stated})

    @classmethod
    def from_json(cls, text: str) -> Seen:
        """Read back what :meth:`to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            values = json.loads(text)
            return cls(Fingerprint.from_json(values["found"]), Counter(values["dicom"]), int(values["stated"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"nothing that was seen: {error}") from None


class KeptLook:
    """What is kept of a look: by what is looked at, how it is read, and the state of the files.

    Images that are no files (arrays, phantoms) are looked at anew each time, which costs little; as are those of a data
    class with an attribute that cannot be told from another one by plain words.

    Args:
        data: whose images they are.
        images: rows of its ``table.images``, in the order in which they are looked at.
    """

    def __init__(self, data: ScanDataModule, images: NDArray[np.int64]) -> None:
        self._kept = Kept(data.cache_dir / "hashes.sqlite", "fingerprints")
        name, stamp = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        name.update(f"{type(data).__module__}.{type(data).__qualname__} ".encode())
        stamp.update(f"{behaviour('fingerprint/look', 'fingerprint/measure')} {of_classes(type(data))}".encode())
        whole = len(images) > 0
        for unit in _units(data, images):
            digests = name_and_stamp(unit)
            whole = whole and digests[16:] != _NO_STAMP
            name.update(digests[:16])
            stamp.update(digests[16:])
        settings = _settings(data) if whole else None
        whole = settings is not None
        name.update(str(settings).encode())
        self._name = f"fingerprint {name.hexdigest()}"
        self._stamp = stamp.hexdigest() if whole else ""

    @property
    def lasts(self) -> bool:
        """Whether what is looked at are files, read by settings that can be told, so that it can be kept."""
        return self._stamp != ""

    def look_up(self) -> Seen | None:
        """What was seen; None where nothing is kept that still holds."""
        if not self.lasts:
            return None
        text = self._kept.look_up({self._name: self._stamp}).get(self._name)
        with suppress(ValueError):
            return None if text is None else Seen.from_json(text)
        return None

    def keep(self, seen: Seen) -> None:
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


def _settings(data: ScanDataModule) -> str | None:
    """Settings of a data module in plain words, in a fixed order; None where one of them has none."""
    found = {
        name: value
        for name, value in vars(data).items()
        if name not in _ELSEWHERE and not isinstance(value, _OF_FILES) and not _follows(type(data), name)
    }
    with suppress(NotPlainError):
        return in_plain_words(sorted(found.items()))
    return None


def _follows(cls: type, name: str) -> bool:
    """Whether an attribute is computed from the others, by a class of the suite's, when it is first asked for."""
    owner = next((base for base in cls.__mro__ if name in vars(base)), None)
    ours = owner is not None and owner.__module__.partition(".")[0] == "datamodules"
    return ours and isinstance(vars(owner)[name], cached_property)
