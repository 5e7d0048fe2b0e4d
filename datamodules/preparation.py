"""From the files of a data class to its case table: the steps on the way, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.identity import join_identity
from datamodules.leakage import grouping, refuse_leakage
from datamodules.patients import join_patients
from datamodules.splits import join_split, make_split, warn_of_unknown_patients
from datamodules.table import SPLITS, CaseTable
from datamodules.types import SuiteError

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
    """All steps: find the cases, say who they are, hash what they hold, part them, refuse what leaks.

    Raises:
        SuiteError: whatever a step refuses.
    """
    table = add_people(data, find_cases(data))
    if data.split == "all_test":
        return Prepared(table.with_columns(split="test"), [])
    contents = data.hashes(table)
    table = add_split(data, table)
    table = draw(data, table, data.strata(table), contents)
    warn_of_unknown_patients(table)
    twice = refuse_leakage(table, contents, allow=data.allow_leakage)
    _log_parts(table)
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


def add_split(data: ScanDataModule, table: CaseTable) -> CaseTable:
    """The split of ``--data.split_file``, where there is one."""
    return table if data.split_file is None else join_split(table, Path(data.split_file))


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


def _log_parts(table: CaseTable) -> None:
    sizes = table.cases["split"].value_counts()
    patients = table.cases.groupby("split")["patient_id"].nunique()
    for part in [part for part in SPLITS if part in sizes]:
        who = f" of {patients[part]} patients" if table.patients_known else ""
        log.info("%s: %d cases%s", part, sizes[part], who)
