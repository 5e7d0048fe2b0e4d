"""Pairs of flat images and masks: two folders, or side by side in one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datamodules.cases.side_by_side import image_keys, mask_key, pairs_beside
from datamodules.cases.table import SPLIT_WORDS, case_id_of
from datamodules.faults import report_fault
from datamodules.readers import formats
from datamodules.readers.listing import passed_over, path_below
from datamodules.readers.patterns import FilePatterns
from scansuite.errors import SuiteError

log = logging.getLogger(__name__)

MASK_FOLDERS = ("masks", "labels")
# What is put behind an image's stem to name its mask, beside nothing.
_SUFFIXES = ("", "_mask", "_seg", "_segmentation", "_label")
_BESIDE = "or masks beside their images (case1.png with case1_mask.png)"


@dataclass(frozen=True)
class MaskPairs:
    """Images and their masks.

    Attributes:
        frame: one row an image: ``path`` and ``mask`` (NA where there is none) relative to the root, ``case_id``, and
            ``split`` where folders name the parts.
        masks: folder of the masks in the root.
        beside: masks lie beside their images.
    """

    frame: pd.DataFrame
    masks: str
    beside: bool = False

    def with_masks(self, root: Path) -> pd.DataFrame:
        """The rows that have a mask.

        Raises:
            SuiteError: some have none, outside a check.
        """
        missing = self.frame["path"][self.frame["mask"].isna()]
        if len(missing):
            place = "beside it" if self.beside else f"in {self.masks}/"
            report_fault(
                "mask_pair",
                f"{root / missing.iloc[0]}: no mask of this name {place} ({len(missing)} of {len(self.frame)} images "
                "have none): add it, or take the image away (--data.exclude)",
                missing,
                f"no mask of this name {place}: add it, or take the image away",
            )
        return self.frame[self.frame["mask"].notna()].reset_index(drop=True)


def find_pairs(root: Path, images: str, masks: str | None, patterns: FilePatterns) -> MaskPairs:
    """Images and masks of two folders, else side by side in one.

    Args:
        root: folder of the data set.
        images: folder of the images in it.
        masks: folder of the masks in it; None: ``masks`` or ``labels``, or where the images are.
        patterns: which files are taken.

    Raises:
        SuiteError: a folder is missing, or has no images; nobody knows which folder the masks are in; two masks are of
            one image; a mask side by side has no image.
    """
    there = (root / images).is_dir()
    others = [name for name in MASK_FOLDERS if (root / name).is_dir()]
    if masks == images or (masks is None and (not others if there else images == "images")):
        found = _beside(root, images if there else "", patterns)
        if found is not None:
            return found
    below = formats.images_below(_folder(root, images, "--data.images"))
    if not below:
        raise SuiteError(f"{root / images}: no images in it{passed_over(root / images)}")
    if masks is None:
        if len(others) != 1:
            how = "both masks/ and labels/ are there" if others else "neither masks/ nor labels/ is there"
            raise SuiteError(f"{root}: {how}: name the folder of the masks with --data.masks, {_BESIDE}")
        masks = others[0]
    _folder(root, masks, "--data.masks")
    return MaskPairs(_of_folders(root, images, masks, patterns.chosen(below, root, images), patterns), masks)


def partner(stem: str, files: dict[str, str]) -> str | None:
    """The mask of an image among files by their path without suffix; both paths without suffix."""
    return next((files[stem + suffix] for suffix in _SUFFIXES if stem + suffix in files), None)


def _folder(root: Path, name: str, flag: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        raise SuiteError(
            f"{flag} {folder}: no such folder: MaskFolder wants images/ beside masks/ or labels/, {_BESIDE}"
        )
    return folder


def _of_folders(root: Path, images: str, masks: str, below: list[str], patterns: FilePatterns) -> pd.DataFrame:
    by_stem: dict[str, str] = {}
    by_key: dict[tuple[str, str], str] = {}
    for name in formats.images_below(root / masks):
        if not patterns.keep(f"{masks}/{name}"):
            continue
        stem = case_id_of(name)
        if stem in by_stem:
            report_fault(
                "mask_pair",
                f"{root / masks}: {by_stem[stem]} and {name} are masks of the same image: leave one (--data.exclude)",
            )
        by_stem[stem] = name
        if (key := mask_key(name)) is not None:
            by_key.setdefault(key, name)
    found = [
        partner(case_id_of(name), by_stem) or next((by_key[key] for key in image_keys(name) if key in by_key), None)
        for name in below
    ]
    return _frame(below, found, images, masks)


def _beside(root: Path, folder: str, patterns: FilePatterns) -> MaskPairs | None:
    """Images with masks beside them; None where there are none such."""
    below = formats.images_below(root / folder)
    pairs = pairs_beside(root, folder, below, patterns)
    if pairs is None:
        return None
    images, found = pairs
    if found.without_image and not patterns:
        mask = found.without_image[0]
        report_fault(
            "mask_pair",
            f"{root / folder / mask}: no image of this name beside it ({len(found.without_image)} masks have none): "
            "add it, or leave the mask out with --data.exclude",
            [path_below(folder, name) for name in found.without_image],
            "no image of this name beside it: add it, or take the mask away",
        )
    refuse_unclear(root / folder, found.images, "image")
    refuse_unclear(root / folder, found.masks, "mask")
    log.info("%s: masks lie beside their images: %s (%d images)", root / folder, found.example(), len(images))
    partners = [next(iter(found.masks.get(name, [])), None) for name in images]
    return MaskPairs(_frame(images, partners, folder, folder), folder, beside=True)


def refuse_unclear(folder: Path, partners: Mapping[str, Sequence[str]], what: str) -> None:
    """Refuse files that may belong to several others.

    Args:
        folder: that names are relative to.
        partners: of each file.
        what: partners are, for messages.

    Raises:
        SuiteError: names the first, outside a check.
    """
    for name, several in partners.items():
        if len(several) > 1:
            report_fault(
                "mask_pair",
                f"{folder / name}: its {what} may be {several[0]} or {several[1]}: choose with --data.include or "
                "--data.exclude",
            )


def _frame(names: list[str], masks: list[str | None], images_folder: str, masks_folder: str) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "path": [path_below(images_folder, name) for name in names],
            "case_id": [case_id_of(name) for name in names],
            "mask": pd.Series(
                [None if name is None else path_below(masks_folder, name) for name in masks], dtype="str"
            ),
        }
    )
    tops = [name.split("/")[0].lower() if "/" in name else "" for name in names]
    if all(top in SPLIT_WORDS for top in tops):
        frame["split"] = [SPLIT_WORDS[top] for top in tops]
    return frame
