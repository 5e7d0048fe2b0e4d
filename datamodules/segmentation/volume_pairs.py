"""Pairs of scan and mask volumes: the layouts of the Medical Segmentation Decathlon and nnU-Net, and tables."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datamodules.cases.ids import clean_id
from datamodules.cases.side_by_side import pairs_beside
from datamodules.cases.table import by_case_id, case_id_of
from datamodules.faults import report_fault
from datamodules.readers.dicom.header import is_dicom
from datamodules.readers.listing import entries, files_below, passed_over, path_below
from datamodules.readers.patterns import ALL, FilePatterns
from datamodules.readers.volume import may_be_volume
from datamodules.segmentation.mask_pairs import refuse_unclear
from datamodules.tables.text import read_text
from scansuite.errors import SuiteError
from scansuite.words import plain_words

log = logging.getLogger(__name__)

USUAL = ("imagesTr", "labelsTr")
_SEQUENCE = re.compile(r"(.+)_(\d{4})$")  # nnU-Net: case_0000.nii.gz, case_0001.nii.gz, ...


@dataclass(frozen=True)
class Described:
    """Contents of a ``dataset.json``.

    Attributes:
        classes: name -> label value; empty where the file names none.
        regions: name -> classes, where the file describes overlapping regions.
        ignore: label value of pixels to leave out, if any.
        sequences: names of the channels.
    """

    classes: dict[str, int]
    regions: dict[str, list[str]] | None = None
    ignore: int | None = None
    sequences: tuple[str, ...] = ()


def read_description(file: Path) -> Described:
    """Read the ``dataset.json`` of the Decathlon (``labels: {"1": "liver"}``) or nnU-Net (``{"liver": 1}``).

    A file that is not there describes nothing.

    Raises:
        SuiteError: the file is no JSON or of another form.
    """
    if not file.is_file():
        return Described({})
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise SuiteError(
            f"{file}: cannot be read as a dataset.json: no JSON: {plain_words(error)}: mend it, or take it away"
        ) from None
    try:
        channels = content.get("channel_names", content.get("modality", {}))
        sequences = tuple(str(channels[key]) for key in sorted(channels, key=int))
        labels = content.get("labels", {})
        if all(str(key).isdigit() for key in labels):
            return Described({str(name): int(value) for value, name in labels.items()}, sequences=sequences)
        return _nnunet(labels, sequences)
    except (ValueError, TypeError, AttributeError):
        raise SuiteError(
            f'{file}: cannot be read as a dataset.json: expected labels as {{"1": "liver"}} or {{"liver": 1}}, and '
            'channels as {"0": "CT"}'
        ) from None


def _nnunet(labels: Mapping[str, Any], sequences: tuple[str, ...]) -> Described:
    labels = dict(labels)
    ignore = labels.pop("ignore", None)
    if not any(isinstance(value, list) for value in labels.values()):
        return Described({name: int(value) for name, value in labels.items()}, None, ignore, sequences)
    regions = {name: value if isinstance(value, list) else [value] for name, value in labels.items()}
    stored = {0} | {int(value) for values in regions.values() for value in values}
    classes = {"background" if value == 0 else f"label_{value}": value for value in sorted(stored)}
    members = {name: [f"label_{value}" for value in values if value != 0] for name, values in regions.items()}
    return Described(classes, {name: some for name, some in members.items() if some}, ignore, sequences)


def folder_pairs(
    root: Path, images: str, labels: str, sequences: tuple[str, ...], patterns: FilePatterns = ALL
) -> pd.DataFrame:
    """Pair the volumes of two folders by name, or of one folder in which they lie side by side.

    Side by side is what one folder for both says, or a root without ``imagesTr`` (``case1.nii.gz`` with
    ``case1_seg.nii.gz``, also in folders of their own: ``case1/image.nii.gz`` with ``case1/mask.nii.gz``).

    Args:
        root: folder of the data set.
        images: folder of the images; ``x.nii.gz``, or ``x_0000.nii.gz``, ``x_0001.nii.gz``, ... for several sequences;
            or folders ``x`` with a DICOM series each.
        labels: folder of the masks; ``x.nii.gz`` (or ``.nii``); or DICOM-SEG as ``x.dcm`` or in a folder ``x``.
        sequences: names of the sequences, for messages.
        patterns: which files are taken.

    Returns:
        One row a case, sorted: ``case_id``, ``path`` (of the first image), ``label``, and ``sequences``, a tuple of
        paths; all relative to the root.

    Raises:
        SuiteError: a folder, a mask, an image or a sequence is missing, or nobody knows which belongs to which.
    """
    if images == labels or (images == USUAL[0] and not (root / images).is_dir()):
        found = _beside(root, images if images == labels else "", sequences, patterns)
        if found is not None:
            return found
    image_files, label_files = (
        _volumes(root / folder, flag) for folder, flag in ((images, "images"), (labels, "labels"))
    )
    taken = set(patterns.chosen(list(image_files.values()), root, images))
    image_files = {stem: file for stem, file in image_files.items() if file in taken}
    label_files = {stem: file for stem, file in label_files.items() if patterns.keep(f"{labels}/{file}")}
    by_case: dict[str, dict[int, str]] = {}
    for stem, file in image_files.items():
        match = None if stem in label_files else _SEQUENCE.match(stem)
        case, number = (match[1], int(match[2])) if match is not None else (stem, 0)
        by_case.setdefault(case, {})[number] = file
    for case, files in by_case.items():
        if case not in label_files:
            missing = sum(case not in label_files for case in by_case)
            report_fault(
                "mask_pair",
                f"{root / images / next(iter(files.values()))}: no mask {case}.nii.gz in {root / labels} ({missing} of "
                f"{len(by_case)} cases have none): add it, or take the image away",
                [f"{images}/{next(iter(files.values()))}"],
                f"no mask {case}.nii.gz in {labels}: add it, or take the image away",
            )
    by_case = {case: files for case, files in by_case.items() if case in label_files}
    return _frame(root, by_case, label_files, images, labels, sequences)


def _beside(root: Path, folder: str, sequences: tuple[str, ...], patterns: FilePatterns) -> pd.DataFrame | None:
    """Volumes with masks beside them; None where there are none such."""
    below = files_below(root / folder, lambda file: may_be_volume(file.name))
    pairs = pairs_beside(root, folder, below, patterns)
    if pairs is None:
        return None
    _, found = pairs
    where = root / folder
    for names, own, other in ((found.without_mask, "image", "mask"), (found.without_image, "mask", "image")):
        if names and (own == "image" or not patterns):
            text = f"no {other} of this name beside it: add it, or leave the {own} out with --data.exclude"
            count = f" ({len(names)} {own}s have none)"
            paths = [path_below(folder, name) for name in names]
            report_fault("mask_pair", f"{where / names[0]}: {text}{count}", paths, text)
    refuse_unclear(where, found.masks, "mask")
    by_case: dict[str, dict[int, str]] = {}
    masks_of: dict[str, str] = {}
    for mask, several in found.images.items():
        numbered = [_SEQUENCE.match(case_id_of(name)) for name in several]
        if len(several) > 1 and not all(numbered):
            refuse_unclear(where, {mask: several}, "image")
            continue
        first = numbered[0]
        case = case_id_of(several[0]) if first is None or not all(numbered) else first[1]
        if case in masks_of:
            continue  # in a check, which has named it above
        masks_of[case] = mask
        by_case[case] = {int(match[2]) if match else 0: name for match, name in zip(numbered, several, strict=True)}
    log.info("%s: masks lie beside their images: %s (%d cases)", where, found.example(), len(by_case))
    return _frame(root, by_case, masks_of, folder, folder, sequences)


def _frame(
    root: Path,
    by_case: Mapping[str, Mapping[int, str]],
    label_files: Mapping[str, str],
    images: str,
    labels: str,
    sequences: tuple[str, ...],
) -> pd.DataFrame:
    """The cases that have all sequences that others have."""
    numbers = sorted(set().union(*(files.keys() for files in by_case.values())))
    for case, files in by_case.items():
        for number in [number for number in numbers if number not in files]:
            name = f" ({sequences[number]})" if number < len(sequences) else ""
            report_fault(
                "missing_file",
                f"{root / images}: case {case} has no {case}_{number:04d}.nii.gz{name}, which other cases have: add "
                "it, or take the case away",
            )
    cases = [case for case in sorted(by_case) if len(by_case[case]) == len(numbers)]
    rows = [tuple(path_below(images, by_case[case][number]) for number in numbers) for case in cases]
    return pd.DataFrame(
        {
            "case_id": cases,
            "path": [row[0] for row in rows],
            "label": [path_below(labels, label_files[case]) for case in cases],
            "sequences": pd.Series(rows, dtype=object),
        }
    )


def _volumes(folder: Path, flag: str) -> dict[str, str]:
    """Stem -> name of the volumes and series folders in a folder; hidden files are passed over (macOS leaves some)."""
    if not folder.is_dir():
        raise SuiteError(
            f"--data.{flag} {folder}: no such folder: Volumes wants imagesTr/ beside labelsTr/, "
            "or masks beside their images (case1.nii.gz with case1_seg.nii.gz)"
        )
    files = [Path(entry.path) for entry in entries(folder)]
    volumes = [file.name for file in files if may_be_volume(file.name) or is_dicom(file)]
    folders = [file.name for file in files if file.is_dir()]
    found = by_case_id(
        folder, {**{name: case_id_of(name) for name in volumes}, **{name: clean_id(name) for name in folders}}
    )
    if not found:
        raise SuiteError(
            f"--data.{flag} {folder}: no volumes in it (files such as .nii.gz, .nrrd or .mha, or folders with DICOM "
            f"series){passed_over(folder)}"
        )
    return found
