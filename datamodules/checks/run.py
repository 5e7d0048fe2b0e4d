"""The whole check: table, files, split, labels, leaks; findings go to a store, counts to the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import SPLITS, CaseTable
from datamodules.checks.boxes import check_boxes
from datamodules.checks.examine import examine_all
from datamodules.checks.kinds import Severity
from datamodules.checks.labels import Labels, class_counts
from datamodules.checks.leaks import check_duplicates, check_near_duplicates, check_patients, content_numbers
from datamodules.checks.likeness import check_likeness
from datamodules.checks.masks import classes_in
from datamodules.checks.measures import READ, RECORD, kept_hashes
from datamodules.checks.plots import Plot
from datamodules.checks.store import FindingStore
from datamodules.checks.survey import Survey
from datamodules.checks.units import FileUnits, TableUnits, Units, loose_files
from datamodules.faults import Fault
from datamodules.preparation import find_strata, prepare, refuse_leaks, steps_of
from datamodules.prepared import Prepared
from datamodules.readers.listing import refuse_missing
from datamodules.stored import StoredMasks
from scansuite.errors import SuiteError

Progress = Callable[[int, int], None]  # units done, units in all

_REFUSED = ("mask_unreadable", "unknown_value", "grid_mismatch", "size_mismatch")  # beside what cannot be read itself
_MANY_EMPTY = 0.25  # share of empty masks above which one is nothing unusual
# Met again, and better told, when the files themselves are read.
_TOLD_LATER = ("mask_probe", "size")


@contextmanager
def check(
    data: ScanDataModule, store: FindingStore, folder: Path, workers: int, progress: Progress, seconds: float = 120.0
) -> Iterator[Survey]:
    """Check a data set; what was measured lies in a scratch file in ``folder`` until the end of the block.

    Args:
        data: the data module, whose table has not been asked for.
        store: takes findings.
        folder: takes the scratch file.
        workers: processes that read; 0 reads in this one, where a crafted file may end the check.
        progress: is told how far it is.
        seconds: what one file may take.

    Raises:
        SuiteError: the root is missing, or the scratch file cannot be written.
    """
    refuse_missing(data.root, "--data.root")
    scratch = folder / ".records.part"
    survey = Survey.of(data)
    own = _Check(survey, store, scratch, workers, progress, seconds)

    def note(fault: Fault) -> None:
        if fault.kind not in _TOLD_LATER:
            store.note(replace(fault, path=short_path(fault.path, data.root)))

    try:
        # A check compares the parts more closely, and by then without the contents: as text a million take 80 MiB.
        steps = [step for step in steps_of(data, read=own.read, weigh=own.weigh) if step.run is not refuse_leaks]
        prepared = replace(prepare(data, steps, note), contents=())
        if len(prepared.table):
            data.adopt_table(prepared)
            own.compare(prepared.table)
        else:
            own.examine(FileUnits(data, loose_files(data.root)))
        yield survey
    finally:
        scratch.unlink(missing_ok=True)


@dataclass
class _Check:
    """What a check does in its own way on the way to a table: it measures, and finds more than the first mistake."""

    survey: Survey
    store: FindingStore
    scratch: Path
    workers: int
    progress: Progress
    seconds: float

    def read(self, data: ScanDataModule, prepared: Prepared) -> Prepared:
        """Look at all images and volumes; what cannot be read stays in the table, but takes no part in a split."""
        data.adopt_table(prepared)  # readers ask for their rows
        self.examine(TableUnits(data, prepared.table))
        usable = np.ones(len(prepared.table), np.bool_)
        usable[self.survey.owners[self.survey.refused]] = not data.skip_unreadable
        return replace(prepared, contents=kept_hashes(self.survey.records), usable=usable)

    def weigh(self, data: ScanDataModule, prepared: Prepared) -> Prepared:
        """Note labels that are none; the others are spread evenly."""
        stored = data.stored(prepared.table).labels
        if stored is None:
            return find_strata(data, prepared)
        self.survey.labels = Labels(prepared.table, stored, self.store)
        return replace(prepared, strata=self.survey.labels.strata)

    def compare(self, table: CaseTable) -> None:
        """Note what a part lacks, and what parts share."""
        survey, store, data = self.survey, self.store, self.survey.data
        survey.table = table
        content = content_numbers(survey.records)
        parts = survey.cases()["split"]
        if data.split != "all_test" and "train" not in set(parts.dropna()):
            store.add("split", "there is no train part")
        stored = data.stored(table)
        if survey.labels is not None:
            survey.plots += survey.labels.by_part(parts)
        if stored.boxes is not None:
            survey.plots += check_boxes(survey, stored.boxes, store)
        if stored.masks is not None:
            survey.plots += _masks_by_part(survey, stored.masks, store)
        check_patients(survey, store)
        check_duplicates(survey, content, store, None if stored.labels is None else stored.labels.single)
        check_near_duplicates(survey, content, store)

    def examine(self, units: Units) -> None:
        """Look at all units: note what is wrong with each, and which are unlike the rest."""
        survey, store = self.survey, self.store
        survey.units, survey.owners, survey.records = units, units.owners(), _scratch(self.scratch, len(units))
        survey.refused = np.zeros(len(units), np.bool_)
        empty = self._examine(units)
        if len(empty) > _MANY_EMPTY * len(units):
            store.add("mask_empty", f"{len(empty)} of {len(units)} masks show no class", severity="note")
        else:
            for unit in empty:
                store.add("mask_empty", "no pixel belongs to a class", case=int(survey.owners[unit]), unit=unit)
        survey.plots += check_likeness(units, survey.records, survey.owners, store)

    def _examine(self, units: Units) -> list[int]:
        """Note what is wrong with each unit; those with empty masks are left to the caller."""
        survey, empty = self.survey, []
        severity: Severity | None = "warning" if survey.data.skip_unreadable else None
        root = f"{survey.data.root}/"
        done = 0
        for part in examine_all(units, self.workers, self.seconds):
            survey.records[part.start : part.start + len(part.records)] = part.records
            for unit, kind, detail in part.notes:
                if kind == "mask_empty":  # how many there are says what it means
                    empty.append(unit)
                    continue
                case = int(survey.owners[unit])
                path = "" if case >= 0 else units.path(unit)
                refused = kind in _REFUSED or survey.records["status"][unit] != READ
                survey.refused[unit] |= refused
                how = severity if refused else None
                self.store.add(kind, detail.replace(root, ""), case=case, path=path, unit=unit, severity=how)
            done += len(part.records)
            self.progress(done, len(units))
        return empty


def _scratch(file: Path, count: int) -> NDArray[Any]:
    if count == 0:
        return np.zeros(0, RECORD)
    try:
        return np.memmap(file, RECORD, "w+", shape=(count,))
    except OSError as error:
        raise SuiteError(f"{file.parent}: {count * RECORD.itemsize} bytes of scratch are needed: {error}") from None


def _masks_by_part(survey: Survey, stored: StoredMasks, store: FindingStore) -> list[Plot]:
    """In how many images (volumes) of each part each class is seen."""
    shown = classes_in(survey.records["labels"])
    shown = shown[:, 1:]
    names = list(stored.classes[1:])
    if not names:
        names = [str(number) for number in range(1, 1 + int(np.flatnonzero(shown.any(axis=0)).max(initial=0)) + 1)]
    split_of = survey.cases()["split"].to_numpy(dtype=object)[survey.owners]
    read = survey.records["status"] == READ
    counts = {
        part: shown[(split_of == part) & read][:, : len(names)].sum(axis=0).astype(float).tolist()
        for part in SPLITS
        if (split_of == part).any()
    }
    return class_counts(counts, names, store, refused=False, what="mask")


def short_path(path: str, root: Path) -> str:
    """A path relative to the root where it lies below it."""
    prefix = f"{root.as_posix().rstrip('/')}/"
    return path.removeprefix(prefix)
