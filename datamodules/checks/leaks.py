"""Checks for leakage between two parts: patients, identical images, images that look the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import SPLITS
from datamodules.checks.kinds import Severity
from datamodules.checks.measures import READ, picture_of
from datamodules.checks.perceptual import near_pairs
from datamodules.checks.store import FindingStore
from datamodules.checks.survey import Survey
from datamodules.resampling import resize_image
from datamodules.splitting.splits import shared_between_parts
from scansuite.errors import SuiteError
from scansuite.words import number_of

_MOST_LOOKS = 2000  # pairs whose images are read once more to be compared
_SIDE = 64
_ALIKE = 0.98  # correlation of two images reduced to 64 x 64
_NAMED = 6  # cases of a group that a line names


def content_numbers(records: NDArray[Any]) -> NDArray[np.int64]:
    """(M,) equal numbers for equal content; what was not read equals nothing."""
    pairs = np.ascontiguousarray(records["hash"]).view([("a", "u8"), ("b", "u8")]).reshape(-1)
    numbers = np.unique(pairs, return_inverse=True)[1].reshape(-1).astype(np.int64)
    failed = records["status"] != READ
    numbers[failed] = len(numbers) + np.arange(int(failed.sum()))
    return numbers


def check_patients(survey: Survey, store: FindingStore) -> None:
    """Note each patient in more than one part."""
    cases, allowed = survey.table.cases, survey.data.allow_leakage
    if survey.data.split == "all_test":
        return
    known = cases["patient_id"].notna()
    if not known.all() and not survey.table.published_split:
        text = f"{int((~known).sum())} of {len(cases)} cases have no patient: give a patient column, "
        store.add("split_by_image", text + "--data.patient_pattern or --data.cases")
    shared = shared_between_parts(cases["patient_id"], cases["split"])
    if len(shared) == 0:
        return
    theirs = cases[cases["patient_id"].isin(shared["key"])]
    severity: Severity | None = "warning" if allowed else None
    for patient, group in theirs.groupby("patient_id", sort=False):
        counts = group["split"].value_counts()
        shown = " and ".join(f"{part} ({number_of(int(counts[part]), 'case')})" for part in SPLITS if part in counts)
        detail = f"patient {patient} stands in {shown}"
        others = [(int(row), -1) for row in group["split"].drop_duplicates().index[1:]]
        store.add("patient_leak", detail, case=int(group.index[0]), beside=others, severity=severity)


def check_duplicates(
    survey: Survey, content: NDArray[np.int64], store: FindingStore, labels: pd.Series[Any] | None
) -> None:
    """Note identical images: in different parts, in one part, and with different labels.

    Args:
        survey: with a table.
        content: (M,) see :func:`content_numbers`.
        store: takes findings.
        labels: one label a case, where there is such.
    """
    table, owners = survey.table, survey.owners
    order = np.argsort(content, kind="stable")
    edges = np.flatnonzero(np.diff(content[order])) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(order)]])
    several = np.flatnonzero(ends - starts > 1)
    parts = table.cases["split"].to_numpy(dtype=object)
    names = table.cases["case_id"]
    told = table.published_split or survey.data.allow_leakage
    for group in several:
        units = order[starts[group] : ends[group]]
        rows = np.unique(owners[units])
        if len(rows) < 2:
            continue
        between = pd.unique(parts[rows])
        named = _first_of_each(rows, parts)
        shown = [f"{names.iat[row]} ({parts[row]})" for row in named]
        detail = " = ".join(shown) + (f", {len(rows)} in all" if len(rows) > len(shown) else "")
        across = len([part for part in between if isinstance(part, str)]) > 1
        severity: Severity | None = "warning" if across and told else None
        kind = "duplicate_leak" if across else "duplicate"
        one, *others = ((row, int(units[owners[units] == row][0])) for row in named)
        store.add(kind, detail, case=one[0], unit=one[1], beside=others, severity=severity)
        if labels is not None and labels.iloc[rows].dropna().nunique() > 1:
            some = [int(row) for row in rows[:_NAMED]]
            text = ", ".join(f"{names.iat[row]}: {labels.iat[row]}" for row in some)
            one, *others = ((row, int(units[owners[units] == row][0])) for row in some)
            store.add("label_conflict", text, case=one[0], unit=one[1], beside=others)


def _first_of_each(rows: NDArray[np.int64], parts: NDArray[Any]) -> list[int]:
    """Some cases, at least one of each part."""
    firsts = {parts[row]: int(row) for row in rows[::-1]}
    return sorted({*firsts.values(), *(int(row) for row in rows[:2])})[:_NAMED]


def check_near_duplicates(survey: Survey, content: NDArray[np.int64], store: FindingStore) -> None:
    """Warn of images of different parts that look the same but are not identical."""
    cases, records, owners = survey.table.cases, survey.records, survey.owners
    part = pd.Categorical(cases["split"], categories=SPLITS).codes.astype(np.int64)[owners]
    usable = np.flatnonzero((records["status"] == READ) & (records["low"] < records["high"]) & (part >= 0))
    # One unit for each look and part: a million copies of few pictures are few pictures.
    looks = np.stack([records["look"][usable], part[usable].astype(np.uint64)], axis=1)
    chosen = usable[np.sort(np.unique(looks, axis=0, return_index=True)[1])] if len(usable) else usable
    patients = cases["patient_id"].to_numpy(dtype=object)
    looked = 0
    for one, other, bits in near_pairs(records["look"][chosen], part[chosen]):
        units = int(chosen[one]), int(chosen[other])
        rows = int(owners[units[0]]), int(owners[units[1]])
        same_patient = isinstance(patients[rows[0]], str) and patients[rows[0]] == patients[rows[1]]
        if content[units[0]] == content[units[1]] or same_patient:
            continue
        looked += 1
        if looked > _MOST_LOOKS:
            store.add("near_duplicate", f"more than {_MOST_LOOKS} pairs look alike: the others are not named")
            return
        alike = _correlation(survey, units)
        if alike >= _ALIKE:
            names = [f"{cases['case_id'].iat[row]} ({cases['split'].iat[row]})" for row in rows]
            text = f"{names[0]} looks like {names[1]}: correlation {alike:.3f}, {bits} of 64 bits differ"
            store.add("near_duplicate", text, case=rows[0], unit=units[0], beside=[(rows[1], units[1])])


def _correlation(survey: Survey, units: Sequence[int]) -> float:
    small = []
    for unit in units:
        try:
            picture = picture_of(survey.units.picture(unit))
        except SuiteError:
            return 0.0
        small.append(resize_image(picture, (_SIDE, _SIDE)).ravel().astype(np.float64))
    if min(values.std() for values in small) == 0:
        return 0.0
    return float(np.corrcoef(small[0], small[1])[0, 1])
