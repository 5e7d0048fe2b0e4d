"""Images and masks in one folder, told apart by their names: ``case1.png`` with ``case1_mask.png``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from datamodules.cases.table import case_id_of
from datamodules.readers.listing import path_below
from datamodules.readers.patterns import FilePatterns

_MASK = "masks?|seg|segs|segmentations?|labels?|labelmap|gt"
_IMAGE = "images?|imgs?|scans?|orig|original|raw|volumes?|vol"
_SEQUENCE = re.compile(r"(.+)_\d{4}$")  # nnU-Net: case_0000.nii.gz


def _at_ends(words: str) -> re.Pattern[str]:
    """Words at the end of a name or at its beginning; there a number may follow at once (``mask001``)."""
    return re.compile(rf"(?:^|[_\-. ]+)(?:{words})$|^(?:{words})(?:[_\-. ]+|(?=\d))", re.IGNORECASE)


_MASK_WORD, _IMAGE_WORD = _at_ends(_MASK), _at_ends(_IMAGE)
_BETWEEN = ("_", "-", ".", " ")


def mask_key(name: str) -> tuple[str, str] | None:
    """Folder and name of the image that a mask's name speaks of; None for a name that speaks of no mask.

    ``a/case1_seg.nii.gz`` speaks of ``case1`` in ``a``; ``mask_001.png`` of ``001``.

    Args:
        name: of a file, with folders (POSIX).
    """
    folder, stem = _parts(name)
    found = _MASK_WORD.search(stem)
    return None if found is None else (folder, stem[: found.start()] + stem[found.end() :])


def image_keys(name: str) -> list[tuple[str, str]]:
    """What masks may call an image: its name, and that without a word for image, or without nnU-Net's number.

    Args:
        name: of a file, with folders (POSIX).
    """
    folder, stem = _parts(name)
    keys = [stem]
    if (found := _IMAGE_WORD.search(stem)) is not None:
        keys.append(stem[: found.start()] + stem[found.end() :])
    if (numbered := _SEQUENCE.match(stem)) is not None:
        keys.append(numbered[1])
    return [(folder, key) for key in keys]


@dataclass(frozen=True)
class SideBySide:
    """Files of one folder by what they are.

    Attributes:
        images: of each mask; several are the sequences of a volume, or nobody knows which is meant.
        masks: of each image that has one.
        without_mask: images without a mask.
        without_image: masks without an image.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)
    without_mask: list[str] = field(default_factory=list)
    without_image: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.images)

    def example(self) -> str:
        """The first image and its mask, in words."""
        mask, images = next(iter(self.images.items()))
        return f"{images[0]} with {PurePosixPath(mask).name}"


def told_apart(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Images and masks among the names of one folder, in their order."""
    masks = mask_names(names)
    return [name for name in names if name not in masks], [name for name in names if name in masks]


def pairs_beside(
    root: Path, folder: str, names: Sequence[str], patterns: FilePatterns
) -> tuple[list[str], SideBySide] | None:
    """The images of one folder that patterns take, and which masks beside them are theirs; None where none are.

    Args:
        root: of the data set.
        folder: in it; empty: the root itself.
        names: of its files, with folders below it (POSIX).
        patterns: which files are taken.

    Raises:
        SuiteError: patterns leave none of the images.
    """
    images, masks = told_apart(names)
    kept = [name for name in masks if patterns.keep(path_below(folder, name))]
    if not kept or not side_by_side(images, kept):
        return None
    images = patterns.chosen(images, root, folder)
    return images, side_by_side(images, kept)


def mask_names(names: Iterable[str]) -> set[str]:
    """The names that speak of masks; an image whose mask bears its name with one more such word is none."""
    keys = {name: key for name in names if (key := mask_key(name)) is not None}
    images = {key for name in names if name not in keys for key in image_keys(name)}
    spoken = set(keys.values())
    return {name for name, key in keys.items() if key in images or _parts(name) not in spoken}


def side_by_side(images: Sequence[str], masks: Sequence[str]) -> SideBySide:
    """Pair images and masks of one folder by their names.

    Where no image bears exactly the name that a mask speaks of, the ones that begin with it are meant
    (``case1_flair.nii.gz`` and ``case1_seg.nii.gz``).

    Args:
        images: names of those that are no masks (:func:`mask_names`), with folders (POSIX).
        masks: names of those that are.
    """
    by_key: dict[tuple[str, str], list[str]] = {}
    for name in images:
        for key in image_keys(name):
            by_key.setdefault(key, []).append(name)
    found = SideBySide()
    for mask in masks:
        spoken = mask_key(mask)
        assert spoken is not None  # or it were no mask
        meant = by_key.get(spoken) or _beginning(spoken, images)
        if meant:
            found.images[mask] = list(meant)
        else:
            found.without_image.append(mask)
        for image in meant:
            found.masks.setdefault(image, []).append(mask)
    found.without_mask.extend(name for name in images if name not in found.masks)
    return found


def _parts(name: str) -> tuple[str, str]:
    """Folder and name without suffix."""
    path = PurePosixPath(case_id_of(name))
    return path.parent.as_posix(), path.name


def _beginning(key: tuple[str, str], images: Sequence[str]) -> list[str]:
    folder, stem = key
    starts = tuple(stem + mark for mark in _BETWEEN) if stem else ("",)
    return [name for name in images if (parts := _parts(name))[0] == folder and parts[1].startswith(starts)]
