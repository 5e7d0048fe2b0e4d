"""From the files of a data class to its case table: the steps on the way, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.cases.contents import readable_cases
from datamodules.cases.identity import join_identity
from datamodules.cases.patients import join_patients
from datamodules.cases.table import SPLITS, CaseTable
from datamodules.splitting.leakage import grouping, refuse_leakage
from datamodules.splitting.splits import join_split, make_split, warn_of_unknown_patients
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A case table that is ready to train or judge on.

    Attributes:
        table: the cases with patients and split.
        contents: content hash of each image, in the order of ``table.images``.
        images_in_two_parts: how many identical images stand in more than one part of the split.
    """

    table: CaseTable
    contents: Sequence[str]
    images_in_two_parts: int = 0


def prepare(data: ScanDataModule) -> Prepared:
    """All steps: find the cases, say who they are, read what they hold, part them, refuse what leaks.

    Raises:
        SuiteError: whatever a step refuses.
    """
    table = add_people(data, find_cases(data))
    # Mistakes in tables are named before files are read, which may take long; unless the split leaves out cases that
    # cannot be read, and which are those is not known yet.
    joined = data.split != "all_test" and not data.skip_unreadable
    strata = None
    if joined:
        table = add_split(data, table)
        # Cases that the split leaves out may have classes that nobody knows.
        strata = None if leaves_out(data) else data.strata(table)
    table, contents = read_contents(data, table)
    if data.split == "all_test":
        if data.split_file is not None:
            log.warning("--data.split_file %s does nothing: --data.split all_test judges all cases", data.split_file)
        table = table.with_columns(split="test")
        log.info("%s", described(data, table))
        return Prepared(table, contents)
    table = table if joined else add_split(data, table)
    if not leaves_out(data):
        _say_what_is_not_drawn(data, table)
        table = draw(data, table, data.strata(table) if strata is None else strata, contents)
    warn_of_unknown_patients(table)
    twice = refuse_leakage(table, contents, allow=data.allow_leakage)
    log.info("%s", described(data, table))
    return Prepared(table, contents, twice)


def find_cases(data: ScanDataModule) -> CaseTable:
    """The cases as the data class finds them, with the split they bring, if any.

    Raises:
        SuiteError: the root is missing, nothing is found in it, or whatever the data class refuses.
    """
    if not data.root.exists():
        raise SuiteError(f"--data.root {data.root}: no such file or folder")
    table = data.build_table()
    if len(table) == 0:
        raise SuiteError(f"--data.root {data.root}: no cases found")
    return table


def add_people(data: ScanDataModule, table: CaseTable) -> CaseTable:
    """Patients and further columns of ``--data.patient_pattern``, ``--data.cases`` and DICOM headers."""
    table = join_patients(table, data.patient_pattern, Path(data.cases_file) if data.cases_file else None)
    return join_identity(table, data.root, keep_ids=data.keep_ids)


def read_contents(data: ScanDataModule, table: CaseTable) -> tuple[CaseTable, list[str]]:
    """The cases that can be read, and the content hash of each of their images.

    Raises:
        SuiteError: some cannot be read, and ``--data.skip_unreadable`` is not given.
    """
    found = data.hashes(table)
    owners = table.images["case"].to_numpy()
    keep = readable_cases(data, found, owners, table.cases["case_id"].tolist())
    contents = [content for content in found if isinstance(content, str)]
    if keep.all():
        return table, contents
    data.leave_out(keep)
    kept = keep[owners]
    return table.select(keep.tolist()), [str(content) for content, one in zip(found, kept, strict=True) if one]


def add_split(data: ScanDataModule, table: CaseTable) -> CaseTable:
    """The split of ``--data.split_file``, where there is one."""
    if data.split_file is None:
        return table
    return join_split(table, Path(data.split_file), data.unreadable, leave_out=leaves_out(data))


def leaves_out(data: ScanDataModule) -> bool:
    """Whether cases that ``--data.split_file`` does not name are in no part; nothing is drawn then."""
    return data.split_file is not None and data.new_cases == "leave_out"


def draw(data: ScanDataModule, table: CaseTable, strata: NDArray[np.float64], contents: Sequence[str]) -> CaseTable:
    """Draw what the split leaves open; a patient's cases and those with one content stay together.

    Args:
        data: how it is drawn.
        table: the cases with the split that is given.
        strata: (N, S) what each part gets its share of.
        contents: content hash of each image, in the order of ``table.images``.
    """
    split = make_split(
        table,
        strata,
        grouping(table, contents),
        stratify=data.stratify,
        test_fraction=data.test_fraction,
        folds=data.folds,
        fold=data.fold,
        seed=data.split_seed,
    )
    return table.with_columns(split=split)


# What says how a split is drawn, as it is where it is left out: of the test part, and of validation.
_TEST: dict[str, object] = {"test_fraction": 0.2}
_VALIDATION: dict[str, object] = {"folds": 5, "fold": 0, "split_seed": 0, "stratify": []}


def _say_what_is_not_drawn(data: ScanDataModule, table: CaseTable) -> None:
    """Name the flags of a draw that does not take place, since the split is given."""
    parts = set(table.cases["split"].dropna())
    if not parts:
        return
    idle = _TEST if parts == {"train", "test"} else {**_TEST, **_VALIDATION}
    changed = [name for name, usual in idle.items() if getattr(data, name) != usual]
    if changed:
        who = "the data bring" if data.split_file is None else f"--data.split_file {data.split_file} gives"
        known = ", ".join(part for part in SPLITS if part in parts)
        log.warning("%s does nothing: %s the parts (%s)", ", ".join(f"--data.{name}" for name in changed), who, known)


def described(data: ScanDataModule, table: CaseTable) -> str:
    """What is trained or judged on, in one line: data class, where its scans come from, cases of each part."""
    sizes = table.cases["split"].value_counts()
    patients = table.cases.groupby("split")["patient_id"].nunique()
    parts = [
        f"{part} {sizes[part]} cases" + (f" of {patients[part]} patients" if table.patients_known else "")
        for part in SPLITS
        if part in sizes
    ]
    return f"data: {type(data).__name__}, {data.origin}: {', '.join(parts) or f'{len(table)} cases'}"
