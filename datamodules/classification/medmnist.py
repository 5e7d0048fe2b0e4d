"""``MedMNIST``: the twelve flat sets of MedMNIST with their official splits."""

from __future__ import annotations

import difflib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from datamodules.cases.table import SPLITS, CaseTable, table_of_images
from datamodules.classification.base import ClassificationData
from datamodules.classification.medmnist_files import MedMNISTFile, fetch
from datamodules.classification.medmnist_sets import (
    MEDMNIST_SETS,
    SIZES,
    MedMNISTSet,
    file_name,
    file_url,
)
from datamodules.types import Scan, ScanInfo
from datamodules.useless import Useless
from scansuite.errors import SuiteError
from scansuite.files import lock_if_possible


class MedMNIST(ClassificationData):
    """An official MedMNIST file: its classes, its split, its images.

    Args:
        root: folder with the ``.npz`` file, or the file itself.
        name: name of the set.
        size: side of the images in pixels: 28, 64, 128 or 224.
        download: fetch the file to ``root`` where it is missing (to the cache folder where ``root`` is read-only).
        kwargs: see :class:`~datamodules.classification.base.ClassificationData`.
    """

    useless: ClassVar[tuple[Useless, ...]] = (
        Useless("patient_pattern", "the images of a set have no paths that could tell patients (see --data.cases)"),
    )

    def __init__(self, root: str = ".", *, name: str, size: int = 28, download: bool = False, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        _published(name, size)
        self.set_name, self.size, self.download = name, size, download
        if download:
            with suppress(OSError):  # a root that cannot be made is refused with all other missing roots
                self.root.mkdir(parents=True, exist_ok=True)

    def build_table(self) -> CaseTable:
        """Find or fetch the file; one case an image, named ``train/00115``."""
        published = _published(self.set_name, self.size)
        file = find_file(self.root, self.cache_dir, self.set_name, self.size, download=self.download)
        self.arrays = MedMNISTFile(file, self.cache_dir)
        if published.kind == "multilabel":
            self.label_columns = list(published.classes)
        self.class_order = list(published.classes)
        self.task_kind = self.task_kind or published.kind
        return medmnist_table(self.arrays, published, self.size)

    def not_on_disk(self) -> str | None:
        """Why images are not kept on disk."""
        return "images come from one unpacked file already"

    def read(self, image: int) -> Scan:
        """Read image number ``image`` of ``self.table.images``."""
        frame = int(self.table.images["frame"].to_numpy()[image])
        array = self.arrays.image(frame)
        split, number = self.arrays.locate(frame)
        name = f"{self.arrays.file.name}#{split}/{number}"
        return Scan(array, ScanInfo(path=name, original_size=(array.shape[0], array.shape[1])))

    def hashes(self, table: CaseTable) -> list[str]:
        """A content hash for each row of ``table.images``."""
        hashes = self.arrays.hashes()
        return [hashes[frame] for frame in table.images["frame"]]


def find_file(root: Path, cache_dir: Path, name: str, size: int, *, download: bool = False) -> Path:
    """The file of a set: in ``root``, or fetched before into the cache folder, or fetched now.

    Args:
        root: folder with the file, or the file itself.
        cache_dir: takes the file where ``root`` is read-only.
        name: which set.
        size: side of the images in pixels.
        download: fetch it where it is missing.

    Raises:
        SuiteError: there is no such file and it may not, or cannot, be fetched.
    """
    published = _published(name, size)
    if root.is_file():
        return root
    folders = (root, cache_dir / "medmnist")
    for folder in folders:
        if (folder / file_name(name, size)).is_file():
            return folder / file_name(name, size)
    url = file_url(name, size)
    if not download:
        raise SuiteError(
            f"{root / file_name(name, size)}: no such file: fetch it with --data.download true, or put {url} there"
        )
    folder = next((folder for folder in folders if folder.is_dir() and os.access(folder, os.W_OK)), folders[1])
    target = folder / file_name(name, size)
    with lock_if_possible(folders[1] / f"{target.name}.lock"):
        if not target.is_file():  # another process may just have fetched it
            fetch(url, target, published.md5[SIZES.index(size)])
    return target


def medmnist_table(arrays: MedMNISTFile, published: MedMNISTSet, size: int) -> CaseTable:
    """One case an image, with the official split and the class by name.

    Args:
        arrays: the opened file.
        published: what is published about the set.
        size: side that the images must have.

    Returns:
        ``label`` holds the class name; multilabel sets have one column of 0 and 1 a label. ``frame`` counts images
        through train, val and test.

    Raises:
        SuiteError: the file holds another set or size.
    """
    if arrays.image_size != (size, size):
        height, width = arrays.image_size
        raise SuiteError(f"{arrays.file}: images are {height} x {width}, not {size} x {size}: give --data.size")
    labels = np.concatenate([arrays.labels[split] for split in SPLITS])
    classes = published.classes
    width, top = (len(classes), 1) if published.kind == "multilabel" else (1, len(classes) - 1)
    if labels.shape[1] != width or labels.dtype.kind not in "ui" or labels.min() < 0 or labels.max() > top:
        raise SuiteError(
            f"{arrays.file}: labels of shape {labels.shape} up to {labels.max()} are not those of the set, which has "
            f"{len(classes)} classes: is --data.name right?"
        )
    digits = max(5, *(len(str(count - 1)) for count in arrays.counts.values()))
    frame = pd.DataFrame(
        {
            "case_id": [f"{split}/{number:0{digits}d}" for split in SPLITS for number in range(arrays.counts[split])],
            "path": arrays.file.name,
            "split": np.repeat(SPLITS, [arrays.counts[split] for split in SPLITS]),
        }
    )
    if published.kind == "multilabel":
        frame = frame.join(pd.DataFrame(labels, columns=list(classes)))
    else:
        frame["label"] = pd.Series(np.asarray(classes)[labels[:, 0]], dtype="str")
    return table_of_images(frame, frames=range(len(frame)), published_split=True)


def _published(name: str, size: int) -> MedMNISTSet:
    if name not in MEDMNIST_SETS:
        near = difflib.get_close_matches(name.lower(), MEDMNIST_SETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(MEDMNIST_SETS)}"
        raise SuiteError(f"--data.name {name}: no MedMNIST set of this name; {hint}")
    if size not in SIZES:
        raise SuiteError(f"--data.size {size}: MedMNIST has {', '.join(map(str, SIZES))} pixels")
    return MEDMNIST_SETS[name]
