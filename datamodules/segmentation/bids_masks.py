"""Masks of a data set of BIDS: in which derivatives they lie, which kind is meant, and to which image each belongs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from datamodules.cases.bids import MASKS, BidsName, case_rows, images_of, subject_files, with_ending
from datamodules.faults import report_fault
from datamodules.readers.listing import entries
from datamodules.readers.patterns import FilePatterns
from datamodules.tables.file import read_frame
from datamodules.tables.form import TableForm
from scansuite.errors import SuiteError, nearest

log = logging.getLogger(__name__)

_FOLDER = "derivatives"


def masked_rows(
    root: Path, suffix: str | None, derivatives: str | None, masks: str | None, patterns: FilePatterns, form: TableForm
) -> tuple[pd.DataFrame, dict[str, int | list[int]] | None]:
    """Case rows of the images that have a mask, with it in the column ``mask``, and the classes that names tell.

    Args:
        root: of the data set.
        suffix: of the images.
        derivatives: pipeline whose masks are meant, a folder in ``derivatives``.
        masks: what their names end in.
        patterns: which files are taken.
        form: of tables, as flags say it.

    Raises:
        SuiteError: nothing is found, something is ambiguous, or an image has no mask.
    """
    images = images_of(root, suffix, patterns)
    pipeline, found = _pipeline(root, derivatives)
    kept = [one for one in found if patterns.keep(one.path)]
    if not kept:
        raise SuiteError(f"{patterns}: leaves no mask in {root / pipeline}: take a pattern back")
    chosen = with_ending(kept, masks, f"masks in {root / pipeline}", "--data.masks")
    by_subject: dict[str, list[BidsName]] = {}
    for one in chosen:
        by_subject.setdefault(one.subject, []).append(one)
    partners = [_partner(image, by_subject.get(image.subject, []), root) for image in images]
    _refuse_shared(images, partners, root)
    missing = [image.path for image, mask in zip(images, partners, strict=True) if mask is None]
    if missing:
        place = f"no mask that ends in {chosen[0].ending} in {pipeline or '.'}"
        report_fault(
            "mask_pair",
            f"{root / missing[0]}: {place} ({len(missing)} of {len(images)} images have none): add it, or leave the "
            "image out with --data.exclude",
            missing,
            f"{place}: add it, or leave the image out with --data.exclude",
        )
    pairs = [(image, mask) for image, mask in zip(images, partners, strict=True) if mask is not None]
    rows = case_rows(root, [image for image, _ in pairs], form)
    rows = rows.assign(mask=pd.Series([mask.path for _, mask in pairs], dtype="str"))
    log.info(
        "%s: %d images end in %s, their masks in %s in %s", root, len(pairs), images[0].ending, chosen[0].ending,
        pipeline or root,
    )  # fmt: skip
    return rows, _classes(root, pipeline, chosen[0], form)


def _pipeline(root: Path, asked: str | None) -> tuple[str, list[BidsName]]:
    """The folder of derivatives that has masks, relative to the root, and they."""
    places = _places(root)
    if asked is not None:
        place = next((one for one in (f"{_FOLDER}/{asked}", asked) if (root / one).is_dir()), None)
        if place is None:
            known = [one.removeprefix(f"{_FOLDER}/") for one in places]
            raise SuiteError(f"--data.derivatives {asked}: no such folder in {root / _FOLDER}: {nearest(asked, known)}")
        found = _masks(root, place)
        if not found:
            raise SuiteError(f"--data.derivatives {asked}: no masks of subjects in {root / place} (sub-01_..._mask)")
        return place, found
    holding = {place: found for place in places if (found := _masks(root, place))}
    if not holding:
        raise SuiteError(
            f"{root}: no masks as BIDS names them (derivatives/manual/sub-01/anat/sub-01_label-lesion_mask.nii.gz, "
            "or ..._dseg.nii.gz): name their folder with --data.derivatives"
        )
    if len(holding) > 1:
        shown = ", ".join(f"{place.removeprefix(_FOLDER + '/') or '.'} ({len(one)})" for place, one in holding.items())
        raise SuiteError(f"{root}: masks lie in {shown}: choose one with --data.derivatives")
    return next(iter(holding.items()))


def _places(root: Path) -> list[str]:
    """Folders that may hold subjects: pipelines, derivatives without one, and the data set itself."""
    folder = root / _FOLDER
    inside = [entry.name for entry in entries(folder) if entry.is_dir()] if folder.is_dir() else []
    pipelines = [f"{_FOLDER}/{name}" for name in inside if not name.startswith("sub-")]
    return [*pipelines, *([_FOLDER] if len(pipelines) < len(inside) else []), ""]


def _masks(root: Path, place: str) -> list[BidsName]:
    return [one for one in subject_files(root, place) if one.suffix in MASKS or (not one.suffix and one.source_suffix)]


def _partner(image: BidsName, masks: Sequence[BidsName], root: Path) -> BidsName | None:
    """The mask of an image: of those that may be, the one that says most of its source."""
    fitting = [mask for mask in masks if mask.may_be_of(image)]
    most = max((len(mask.source) for mask in fitting), default=0)
    best = [mask for mask in fitting if len(mask.source) == most]
    if len(best) > 1:
        report_fault(
            "mask_pair",
            f"{root / image.path}: its mask may be {best[0].path} or {best[1].path}: leave one out with --data.exclude",
        )
    return best[0] if best else None


def _refuse_shared(images: Sequence[BidsName], partners: Sequence[BidsName | None], root: Path) -> None:
    owner: dict[str, BidsName] = {}
    for image, mask in zip(images, partners, strict=True):
        if mask is None:
            continue
        if mask.path in owner:
            report_fault(
                "mask_pair",
                f"{root / mask.path}: is the mask of {owner[mask.path].path} or of {image.path}: choose with "
                "--data.include or --data.exclude",
            )
        owner[mask.path] = image


def _classes(root: Path, pipeline: str, mask: BidsName, form: TableForm) -> dict[str, int | list[int]] | None:
    """Classes and their values: of a binary mask by its name, of others by the table beside them; None: not said."""
    if mask.suffix == "mask":
        return {"background": 0, mask.derived.get("label") or mask.derived.get("desc") or "foreground": 1}
    beside = (root / mask.path).with_name(f"{mask.stem}.tsv")
    names = [root / pipeline / f"{mask.ending}.tsv", root / pipeline / "dseg.tsv", beside]
    file = next((one for one in names if one.is_file()), None)
    if file is None:
        return None
    frame = read_frame(file, "--data.derivatives", text_columns=("name",), form=form.of_joined())
    if not {"index", "name"} <= set(frame.columns):
        return None
    classes: dict[str, int | list[int]] = {
        str(name): int(index) for index, name in zip(frame["index"], frame["name"], strict=True)
    }
    return classes if 0 in classes.values() else {"background": 0, **classes}
