"""Preparation of a case table from the files of a data class, step by step.

:func:`steps_of` lists them in their order. ``fit`` stops at the first mistake; a check takes the same way, has mistakes
noted, and goes on behind each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.cases.contents import readable_cases
from datamodules.cases.identity import join_identity
from datamodules.cases.patients import join_patients
from datamodules.cases.table import NO_CASES, SPLITS, CaseTable
from datamodules.faults import Fault, collecting, tolerated
from datamodules.prepared import Prepared
from datamodules.readers.listing import refuse_missing
from datamodules.splitting.leakage import grouping, refuse_leakage
from datamodules.splitting.splits import join_split, make_split, refuse_gaps, warn_of_unknown_patients
from scansuite.errors import SuiteError
from scansuite.words import number_of

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule

log = logging.getLogger(__name__)

Run = Callable[["ScanDataModule", Prepared], Prepared]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: what it does.
        run: does it: what is known before -> what is known after.
        fault: kind of the finding where a check meets a mistake that ends the step, and goes on without it; "": the
            step notes what it finds by itself, and what it raises ends a check too.
    """

    name: str
    run: Run
    fault: str = ""


def steps_of(data: ScanDataModule, *, read: Run | None = None, weigh: Run | None = None) -> list[Step]:
    """The steps for the flags of a data class, in their order.

    Args:
        data: the data class.
        read: left out: :func:`read_contents`; a check measures what it reads.
        weigh: left out: :func:`find_strata`; a check says what each label lacks.
    """
    find = [Step("find cases", find_cases, "table"), Step("name patients", add_people, "no_patient")]
    contents = [Step("read contents", read or read_contents)]
    given = [Step("take the given split", add_split, "split"), Step("find strata", weigh or find_strata, "labels")]
    # Mistakes in tables are named before files are read, which may take long; unless cases that cannot be read are left
    # out, which the split need not name: which are those is not known yet.
    middle = [*contents, *given] if data.skip_unreadable else [*given, *contents]
    return [*find, *middle, Step("draw the split", draw, "split"), Step("compare parts", refuse_leaks)]


def prepare(
    data: ScanDataModule, steps: list[Step] | None = None, on_fault: Callable[[Fault], None] | None = None
) -> Prepared:
    """Take all steps.

    Args:
        data: whose cases they are.
        steps: left out: those of training.
        on_fault: takes mistakes, of steps and within them, and the way goes on without what is concerned, to its end or
            until no case is found; left out: the first is raised.

    Raises:
        SuiteError: whatever a step refuses.
    """
    prepared = Prepared(NO_CASES)
    for step in steps_of(data) if steps is None else steps:
        log.debug("%s", step.name)
        with ExitStack() as stack:
            if on_fault is not None and step.fault:
                stack.enter_context(collecting(on_fault))
                stack.enter_context(tolerated(step.fault))
            prepared = step.run(data, prepared)
        if len(prepared.table) == 0:
            break
    return replace(prepared, strata=None)


def find_cases(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """The cases as the data class finds them, with the split they bring, if any.

    Raises:
        SuiteError: the root is missing, nothing is found in it, or whatever the data class refuses.
    """
    refuse_missing(data.root, "--data.root")
    if data.patterns and not data.walks_folder:
        raise SuiteError(f"{data.patterns}: no use to {type(data).__name__}, which walks no folder: leave it out")
    table = data.build_table()
    if len(table) == 0:
        raise SuiteError(f"--data.root {data.root}: no cases found")
    return replace(prepared, table=table)


def add_people(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """Patients and further columns of ``--data.patient_pattern``, ``--data.cases`` and DICOM headers."""
    cases = Path(data.cases_file) if data.cases_file else None
    table = join_patients(prepared.table, data.patient_pattern, cases, data.table_form)
    return replace(prepared, table=join_identity(table, data.root, keep_ids=data.keep_ids))


def read_contents(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """The cases that can be read, and the content hash of each of their images; nothing without ``check_files``.

    Raises:
        SuiteError: some cannot be read, and ``--data.skip_unreadable`` is not given.
    """
    table = prepared.table
    if not data.check_files:
        log.warning(
            "no file is read before it is used (--data.check_files false): whether images are damaged, or identical in "
            "two parts of the split, is not known"
        )
        return prepared
    before = data.adopt_table(prepared)  # readers ask for their rows
    try:
        found = data.hashes(table)
    finally:
        data.adopt_table(before)
    owners = table.images["case"].to_numpy()
    keep = readable_cases(data, found, owners, table.cases["case_id"].tolist())
    kept = keep[owners]
    contents = [str(content) for content, one in zip(found, kept, strict=True) if one]
    if keep.all():
        return replace(prepared, contents=contents)
    data.leave_out(keep)
    return replace(prepared, table=table.select(keep.tolist()), contents=contents)


def add_split(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """The split of ``--data.split_file``, where there is one; with ``--data.split all_test`` all cases are test."""
    table = prepared.table
    if data.split == "all_test":
        if data.split_file is not None:
            log.warning("--data.split_file %s does nothing: --data.split all_test evaluates all cases", data.split_file)
        return replace(prepared, table=table.with_columns(split="test"))
    if data.split_file is None:
        return prepared
    file = Path(data.split_file)
    table = join_split(table, file, data.unreadable, leave_out=leaves_out(data), form=data.table_form)
    return replace(prepared, table=table)


def leaves_out(data: ScanDataModule) -> bool:
    """Whether cases that ``--data.split_file`` does not name are in no part; nothing is drawn then."""
    return data.split_file is not None and data.new_cases == "leave_out"


def _draws(data: ScanDataModule) -> bool:
    return data.split != "all_test" and not leaves_out(data)


def find_strata(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """Strata that a drawn split spreads evenly; cases that it leaves out may have classes that nobody knows."""
    return replace(prepared, strata=data.strata(prepared.table)) if _draws(data) else prepared


def draw(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """Draw what the split leaves open; a patient's cases and those with one content stay together."""
    table, usable = prepared.table, prepared.usable
    if not _draws(data) or refuse_gaps(table):
        return prepared
    _say_what_is_not_drawn(data, table)
    usable = np.ones(len(table), np.bool_) if usable is None else usable
    strata = np.ones((len(table), 1)) if prepared.strata is None else prepared.strata
    chosen = table if usable.all() else table.select(usable.tolist())
    of_chosen = usable[table.images["case"].to_numpy()]
    known = zip(prepared.contents, of_chosen, strict=True) if len(prepared.contents) else ()
    contents = [content for content, one in known if one]
    split = make_split(
        chosen,
        strata[usable],
        grouping(chosen, contents),
        stratify=data.stratify,
        test_fraction=data.test_fraction,
        folds=data.folds,
        fold=data.fold,
        seed=data.split_seed,
        cross_validates=data.cross_validates,
    )
    dealt = int((table.cases["split"] == "val").sum()) if data.cross_validates else 0
    split = split.set_axis(np.flatnonzero(usable)).reindex(table.cases.index).astype("str")
    return replace(prepared, table=table.with_columns(split=split), dealt_validation=dealt)


def refuse_leaks(data: ScanDataModule, prepared: Prepared) -> Prepared:
    """Refuse patients and identical images in two parts, or count them; say of cases without a patient.

    Raises:
        SuiteError: see :func:`~datamodules.splitting.leakage.refuse_leakage`.
    """
    table = prepared.table
    if data.split != "all_test":
        warn_of_unknown_patients(table)
        shared = refuse_leakage(table, prepared.contents, allow=data.allow_leakage)
        prepared = replace(prepared, images_in_two_parts=shared)
    log.info("%s", described(data, table))
    return prepared


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
    """Description of the data in one line: data class, where its scans come from, cases of each part."""
    sizes = table.cases["split"].value_counts()
    patients = table.cases.groupby("split")["patient_id"].nunique()
    parts = [
        f"{part} {number_of(sizes[part], 'case')}"
        + (f" of {number_of(patients[part], 'patient')}" if table.patients_known else "")
        for part in SPLITS
        if part in sizes
    ]
    return f"data: {type(data).__name__}, {data.origin}: {', '.join(parts) or number_of(len(table), 'case')}"
