"""The whole check: table, files, split, labels, leaks; findings go to a store, counts to the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import SPLITS
from datamodules.checks.boxes import check_boxes
from datamodules.checks.examine import examine_all
from datamodules.checks.histograms import Histogram, check_likeness
from datamodules.checks.kinds import Severity
from datamodules.checks.labels import Labels, class_counts
from datamodules.checks.leaks import check_duplicates, check_near_duplicates, check_patients, content_numbers
from datamodules.checks.masks import classes_in
from datamodules.checks.measures import READ, RECORD, kept_hashes
from datamodules.checks.store import FindingStore
from datamodules.checks.survey import Survey, split, take
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from datamodules.segmentation.base import SegmentationData
from scansuite.errors import SuiteError

Progress = Callable[[int, int], None]  # units done, units in all

_REFUSED = ("mask_unreadable", "unknown_value", "grid_mismatch", "size_mismatch")  # beside what cannot be read itself
_MANY_EMPTY = 0.25  # share of empty masks above which one is nothing unusual


@dataclass
class Checked:
    """What a check leaves.

    Attributes:
        survey: data, units and table.
        records: (M,) what was measured of each unit; a mapped scratch file.
        cases: (M,) row of the case table of each unit, -1 without a table.
        refused: (M,) units that training stops at, or leaves out with ``--data.skip_unreadable``.
        histograms: for the pages.
    """

    survey: Survey
    records: NDArray[Any]
    cases: NDArray[np.int64]
    refused: NDArray[np.bool_]
    histograms: list[Histogram] = field(default_factory=list)


@contextmanager
def check(
    data: ScanDataModule, store: FindingStore, folder: Path, workers: int, progress: Progress, seconds: float = 120.0
) -> Iterator[Checked]:
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
    survey = take(data, store)
    scratch = folder / ".records.part"
    try:
        records = _scratch(scratch, len(survey.units))
        checked = Checked(survey, records, survey.units.cases(), np.zeros(len(survey.units), np.bool_))
        _examine(checked, store, workers, progress, seconds)
        checked.histograms += check_likeness(survey.units, records, checked.cases, store)
        if survey.table is not None:
            _check_table(checked, store)
        yield checked
    finally:
        scratch.unlink(missing_ok=True)


def _scratch(file: Path, count: int) -> NDArray[Any]:
    if count == 0:
        return np.zeros(0, RECORD)
    try:
        return np.memmap(file, RECORD, "w+", shape=(count,))
    except OSError as error:
        raise SuiteError(f"{file.parent}: {count * RECORD.itemsize} bytes of scratch are needed: {error}") from None


def _examine(checked: Checked, store: FindingStore, workers: int, progress: Progress, seconds: float) -> None:
    units, empty = checked.survey.units, []
    severity: Severity | None = "warning" if checked.survey.data.skip_unreadable else None
    root = f"{checked.survey.data.root}/"
    done = 0
    for part in examine_all(units, workers, seconds):
        checked.records[part.start : part.start + len(part.records)] = part.records
        for unit, kind, detail in part.notes:
            if kind == "mask_empty":  # how many there are says what it means
                empty.append(unit)
                continue
            case = int(checked.cases[unit])
            path = "" if case >= 0 else units.path(unit)
            refused = kind in _REFUSED or checked.records["status"][unit] != READ
            checked.refused[unit] |= refused
            how = severity if refused else None
            store.add(kind, detail.replace(root, ""), case=case, path=path, unit=unit, severity=how)
        done += len(part.records)
        progress(done, len(units))
    if len(empty) > _MANY_EMPTY * len(units):
        store.add("mask_empty", f"{len(empty)} of {len(units)} masks show no class", severity="note")
        return
    for unit in empty:
        store.add("mask_empty", "no pixel belongs to a class", case=int(checked.cases[unit]), unit=unit)


def _check_table(checked: Checked, store: FindingStore) -> None:
    survey, data = checked.survey, checked.survey.data
    table = survey.table
    assert table is not None  # asked for by the caller
    content = content_numbers(checked.records)
    labels = Labels(survey, data, store) if isinstance(data, ClassificationData) else None
    keep = np.ones(len(table), np.bool_)
    keep[checked.cases[checked.refused]] = not data.skip_unreadable
    hashes = kept_hashes(checked.records)
    split(survey, store, hashes, _strata(data, survey) if labels is None else labels.strata, keep)
    parts = survey.cases()["split"]
    present = set(parts.dropna())
    if data.split != "all_test" and "train" not in present:
        store.add("split", "there is no train part")
    one_label: pd.Series[Any] | None = None
    if labels is not None:
        checked.histograms += labels.by_part(parts)
        columns = data.label_columns  # type: ignore[attr-defined]
        if len(columns) == 1 and columns[0] in table.cases:
            one_label = table.cases[columns[0]]
    if isinstance(data, DetectionData):
        checked.histograms += check_boxes(survey, data, store)
    if isinstance(data, SegmentationData):
        checked.histograms += _masks_by_part(checked, data, store)
    check_patients(survey, store)
    check_duplicates(survey, content, checked.cases, store, one_label)
    check_near_duplicates(survey, checked.records, content, checked.cases, store)


def _strata(data: ScanDataModule, survey: Survey) -> NDArray[np.float64]:
    assert survey.table is not None  # asked for by the caller
    return data.strata(survey.table)


def _masks_by_part(checked: Checked, data: SegmentationData, store: FindingStore) -> list[Histogram]:
    """In how many images (volumes) of each part each class is seen."""
    shown = classes_in(checked.records["labels"])
    shown = shown[:, 1:]
    names = list(data.stored_classes[1:])
    if not names:
        names = [str(number) for number in range(1, 1 + int(np.flatnonzero(shown.any(axis=0)).max(initial=0)) + 1)]
    split_of = checked.survey.cases()["split"].to_numpy(dtype=object)[checked.cases]
    read = checked.records["status"] == READ
    counts = {
        part: shown[(split_of == part) & read][:, : len(names)].sum(axis=0).astype(float).tolist()
        for part in SPLITS
        if (split_of == part).any()
    }
    return class_counts(counts, names, store, refused=False, what="mask")
