"""``ImageFolder``: a folder per class (what Keras calls ``flow_from_directory``)."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd

from datamodules.cases.ids import clean_text
from datamodules.cases.table import SPLIT_WORDS, SPLITS, CaseTable, table_of_images
from datamodules.classification.base import ClassificationData
from datamodules.faults import is_collecting, report_fault
from datamodules.readers.formats import is_image
from datamodules.readers.listing import entries, no_folder, passed_over
from datamodules.readers.patterns import ALL, FilePatterns
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

_Identity = tuple[int, int]  # device and inode: what a folder is, whatever links lead to it
_LAYOUT = "ImageFolder wants one folder per class, below train/ val/ test/ or not"


class ImageFolder(ClassificationData):
    """Images in one folder per class; class folders may have sub-folders.

    Where every folder in ``root`` bears the name of a part (``train``; ``val``, ``valid``, ``validation``, ``dev``;
    ``test``), the class folders are looked for below those, and that is the split. Classes are in alphabetic order, as
    torchvision and Keras number them; grades (``--data.target ordinal``) by number, and where they are names
    ``--data.class_names`` must say their order.
    """

    walks_folder: ClassVar[bool] = True

    def build_table(self) -> CaseTable:
        """Walk the folders; one case an image."""
        table, self.found_order = folder_table(self.root, self.patterns)
        if self.split == "auto" and self.split_file is None and not is_collecting():
            check_training_classes(table, self.root)
        return table


def folder_table(root: Path, patterns: FilePatterns = ALL) -> tuple[CaseTable, list[str]]:
    """Cases and classes of a folder of class folders.

    Hidden files and folders are passed over; other files that are no images are counted in the log.

    Args:
        root: the folder.
        patterns: which files are taken; a class of which none is taken is no class.

    Returns:
        The table, sorted by part, class and path, with the folder's name in ``label`` and, below ``train/ val/ test/``,
        ``split``; and the classes in alphabetic order (as torchvision and Keras number them).

    Raises:
        SuiteError: the folder is missing, has images but no class folders, or a class has no image.
    """
    if not root.is_dir():
        raise SuiteError(f"--data.root {root}: {no_folder(root)}")
    tops = _class_folders(root, root, patterns)
    words = {top.name: SPLIT_WORDS.get(top.name.lower()) for top in tops}
    parts: list[tuple[str | None, str]] = [(None, "")]  # part and its folder, relative to the root
    if any(words.values()):
        _check_split_folders(root, words)
        parts = [(split, name) for split in SPLITS for name, word in words.items() if word == split]
    found = _Found(patterns)
    for split, below in parts:
        above = frozenset((_identity(root), _identity(root / below)))
        for top in _class_folders(root / below, root, patterns) if below else tops:
            found.walk(root, top, f"{below}/{top.name}" if below else top.name, split, above)
    if found.left_out:
        if not found.paths:
            patterns.chosen(found.left_out, root)  # names the nearest
        log.info("%s: %d of %d files are left out (%s)", root, len(found.left_out), found.walked, patterns)
    classes = sorted(found.folders)
    counts = Counter(found.labels)
    for name in classes:
        if counts[name] == 0:
            report_fault(
                "class_missing",
                f"{root / found.folders[name]}: class {name!r} has no images"
                f"{passed_over(root / found.folders[name], 'remove the folder')}",
            )
    if found.others.total():
        log.info("%s: %d files that are no images are passed over", root, found.others.total())
    frame = pd.DataFrame({"path": found.paths, "label": found.labels}, dtype="str")
    if any(words.values()):
        frame["split"] = pd.Series(found.splits, dtype="str")
    return table_of_images(frame), classes


def check_training_classes(table: CaseTable, root: Path) -> None:
    """Refuse a split in which a class is validated or tested but never trained.

    Raises:
        SuiteError: names the first such class.
    """
    split = table.cases["split"]
    trained = set(table.cases["label"][split == "train"])
    if not trained:
        return
    for name, part in zip(table.cases["label"], split, strict=True):
        if name not in trained:
            raise SuiteError(f"{root}: class {name!r} has images in {part} but none in train: add some or remove it")


@dataclass
class _Found:
    """What walking through class folders has found so far."""

    patterns: FilePatterns
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)  # class -> first folder of it, relative to the root
    others: Counter[str] = field(default_factory=Counter)  # class -> files that are no images
    left_out: list[str] = field(default_factory=list)  # images

    @property
    def walked(self) -> int:
        """How many images there are, with those that are left out."""
        return len(self.paths) + len(self.left_out)

    def walk(
        self, root: Path, top: os.DirEntry[str], below: str, split: str | None, above: frozenset[_Identity]
    ) -> None:
        """Take the images of one class folder, sorted by path."""
        name = clean_text(top.name)
        files = sorted(_files(top.path, below, above))
        there = [file for file in files if is_image(root / file)]
        images = [file for file in there if self.patterns.take(file)] if self.patterns else there
        self.left_out += sorted(set(there) - set(images)) if len(images) < len(there) else []
        self.others[name] += len(files) - len(there)
        if there and not images:
            return
        self.folders.setdefault(name, below)
        self.paths += images
        self.labels += [name] * len(images)
        self.splits += [split] * len(images)


def _class_folders(folder: Path, root: Path, patterns: FilePatterns) -> list[os.DirEntry[str]]:
    inside = entries(folder)
    below = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    folders = [entry for entry in inside if entry.is_dir() and patterns.keep(below + entry.name)]
    loose = [entry.name for entry in inside if not entry.is_dir() and is_image(Path(entry.path))]
    loose = [name for name in loose if patterns.take(below + name)]
    if loose:
        report_fault(
            "table",
            f"{folder}: {len(loose)} images lie directly in it ({loose[0]}): {_LAYOUT}; where classes are in a table, "
            "use --data ImageTable",
        )
    if not folders:
        raise SuiteError(f"{folder}: no class folders in it: {_LAYOUT}")
    return folders


def _check_split_folders(root: Path, words: dict[str, str | None]) -> None:
    strange = [name for name, word in words.items() if word is None]
    known = [name for name, word in words.items() if word is not None]
    if strange:
        raise SuiteError(
            f"{root}: has folders of a split ({', '.join(known)}) beside others ({', '.join(strange[:3])}): move the "
            "others away, or rename the first if they are classes"
        )
    for split in SPLITS:
        same = [name for name in known if words[name] == split]
        if len(same) > 1:
            raise SuiteError(f"{root}: {' and '.join(same)} both mean {split}: put them into one folder")


def _identity(folder: str | Path) -> _Identity:
    status = os.stat(folder)  # noqa: PTH116 - scandir gives text
    return status.st_dev, status.st_ino


def _files(folder: str, below: str, above: frozenset[_Identity]) -> Iterator[str]:
    """Files in a folder and its sub-folders, relative to the root; a link back to a folder above is not followed."""
    identity = _identity(folder)
    if identity in above:
        return
    for entry in entries(folder):
        if entry.is_dir():
            yield from _files(entry.path, f"{below}/{entry.name}", above | {identity})
        else:
            yield f"{below}/{entry.name}"
