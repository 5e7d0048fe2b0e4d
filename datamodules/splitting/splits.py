"""Splits into train, validation and test: patient-grouped and stratified."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.keyed import among, read_keyed, rows_of, without_row
from datamodules.cases.table import SPLITS, CaseTable, split_words
from datamodules.faults import report_fault
from datamodules.splitting.dealing import stratified_groups, tie_words
from datamodules.splitting.strata import NO_STRATUM, column_strata
from datamodules.tables.form import AS_FOUND, TableForm
from scansuite.errors import SuiteError
from scansuite.words import number_of

log = logging.getLogger(__name__)

_LEAST_PATIENTS = 3
_TOO_FEW = "training, validation and test need a patient each: add patients"


def make_split(
    table: CaseTable,
    strata: NDArray[np.float64],
    groups: NDArray[np.int64],
    *,
    stratify: Sequence[str] = (),
    test_fraction: float,
    folds: int,
    fold: int,
    seed: int,
    cross_validates: bool = False,
) -> pd.Series[str]:
    """Fill in the split column where the table does not give it.

    Test is drawn first, folds outside it; fold ``fold`` is validation. With ``test_fraction`` 0 fold ``fold`` is the
    part that is evaluated (test) and validation is the next fold. A table that brings train and test but no validation
    part gets validation as fold ``fold`` of its train part, and so does one that brings all three where all folds are
    trained. What is drawn depends on the set of cases, not on their order.

    Args:
        table: the cases; a filled ``split`` column is kept as it is.
        strata: (N, S) see :func:`~datamodules.splitting.dealing.stratified_groups`.
        groups: (N,) patient numbers (or image numbers where no patient is known).
        stratify: columns of the cases that add to the strata, see :func:`~datamodules.splitting.strata.column_strata`;
            not looked at where nothing is drawn, as with the ``split.csv`` of a run.
        test_fraction: share of cases for the test part, 0 <= f < 1.
        folds: number of folds, at least 2.
        fold: which fold validates, 0..folds-1.
        seed: of the split alone, so that training seeds do not move cases.
        cross_validates: all folds are to be trained (``--folds``): a validation part that the table brings is dealt
            into them with its train part.

    Returns:
        ``train``, ``val`` or ``test`` for each case.

    Raises:
        SuiteError: a number out of range, too few groups, a test part that stays empty, a split column with gaps, or no
            such column to stratify by.
    """
    folds_flag = "--folds" if cross_validates else "--data.folds"
    if not 0 <= test_fraction < 1:
        raise SuiteError(f"--data.test_fraction {test_fraction}: must be at least 0 and below 1")
    if folds < 2 or not 0 <= fold < folds:
        raise SuiteError(f"{folds_flag} {folds} --data.fold {fold}: folds must be at least 2, fold in 0..folds-1")
    given = table.cases["split"]
    if cross_validates:
        given = given.replace("val", "train")
    draws_all = not given.notna().any()
    if draws_all and test_fraction == 0 and folds == 2:
        raise SuiteError(
            f"{folds_flag} 2 --data.test_fraction 0: one fold is evaluated, the other validates, and nothing is left "
            "to train on: give at least 3 folds, or a test fraction above 0"
        )
    if draws_all:
        split = np.full(len(table), "train", dtype=object)
    else:
        if refuse_gaps(table):
            return given
        split = given.to_numpy(dtype=object).copy()
        if not (split == "train").any() and (split == "val").any():
            raise SuiteError("the given split has no train part: give it one, or leave the split out, and one is drawn")
        if not (split == "train").any() or (split == "val").any():
            return pd.Series(split, index=given.index, dtype="str")
    strata = np.hstack([strata, column_strata(table.cases, stratify)])
    if draws_all and test_fraction > 0:
        ties = tie_words(table.cases["case_id"], seed, "test")
        parts = stratified_groups(strata, groups, (1 - test_fraction, test_fraction), ties)
        split[parts == 1] = "test"
        if not (parts == 1).any():
            have = len(np.unique(groups))
            mend = "give a larger one, or 0 for none, or more data" if have >= _LEAST_PATIENTS else _TOO_FEW
            raise SuiteError(
                f"--data.test_fraction {test_fraction}: of {number_of(have, 'patient')} (or images, where no patient "
                f"is known) none fits into so small a test part: {mend}"
            )
    evaluated = fold if draws_all and test_fraction == 0 else None
    _refuse_too_few(groups[split == "train"], folds, folds_flag)
    _deal_folds(
        split, strata, groups, folds, fold, tie_words(table.cases["case_id"], seed, "folds"), evaluated=evaluated
    )
    return pd.Series(split, index=given.index, dtype="str")


def refuse_gaps(table: CaseTable) -> bool:
    """Refuse a split that some cases have a part in and others none.

    Returns:
        Whether it is such a split, which a check notes for each case without a part.

    Raises:
        SuiteError: names the first, outside a check.
    """
    given = table.cases["split"]
    gaps = np.flatnonzero(given.isna())
    if len(gaps) in (0, len(given)):
        return False
    report_fault(
        "split",
        f"the split is empty in row {gaps[0] + 1} ({table.cases['path'].iloc[gaps[0]]}): fill it for each row",
        detail="is in no part of the split",
        cases=gaps,
    )
    return True


def _refuse_too_few(groups: NDArray[np.int64], folds: int, flag: str) -> None:
    have = len(np.unique(groups))
    if have < folds:
        mend = "give fewer folds, a smaller --data.test_fraction, or more data" if have > 1 else _TOO_FEW
        raise SuiteError(
            f"{flag} {folds}: only {number_of(have, 'patient')} (or images, where no patient is known) "
            f"{'is' if have == 1 else 'are'} left outside the test part: {mend}"
        )


def _deal_folds(
    split: NDArray[np.object_],
    strata: NDArray[np.float64],
    groups: NDArray[np.int64],
    folds: int,
    fold: int,
    ties: NDArray[np.uint64],
    evaluated: int | None,
) -> None:
    """Deal the train part into folds and mark validation (and the evaluated fold) in place."""
    train = np.flatnonzero(split == "train")
    number = np.unique(groups[train], return_inverse=True)[1]
    parts = stratified_groups(strata[train], number, [1 / folds] * folds, ties[train])
    if evaluated is None:
        split[train[parts == fold]] = "val"
    else:
        split[train[parts == evaluated]] = "test"
        split[train[parts == (evaluated + 1) % folds]] = "val"


def join_split(
    table: CaseTable, file: Path, gone: Sequence[str] = (), *, leave_out: bool = False, form: TableForm = AS_FOUND
) -> CaseTable:
    """The table with the split of a ``split.csv`` (columns ``case_id`` and ``split``).

    A file without validation cases leaves them to be drawn from its train part. Further columns of the file (what to
    stratify by) are joined where the table has none of that name; patients are the table's own. A name that is no file
    is looked for among the splits that ship with the suite (``splits/hippocampus``).

    Args:
        table: the cases.
        file: the split.
        gone: cases (or the volumes whose slices they are) that the file may name although the table has left them out.
        leave_out: cases that the file does not name stay without a part, with a warning; the file must name all parts
            then.
        form: of the file, as flags say it.

    Raises:
        SuiteError: a column is missing or has gaps, or file and table do not hold the same cases.
    """
    if not file.is_file() and file.parts[:1] == ("splits",) and len(file.parts) == 2:
        file = Path(str(resources.files("configs"))) / file.with_suffix(".csv")
    named = f"--data.split_file {file}"
    columns = ("case_id", "split")
    known = read_keyed(file, "--data.split_file", named=named, kind="split", columns=columns, form=form)
    known = known.assign(split=split_words(known["split"], named))
    gaps = known.index[known["split"].isna()]
    if len(gaps):
        report_fault(
            "split",
            f"{named}: the split is empty in row {gaps[0] + 1} ({known['case_id'][gaps[0]]}): fill it for each row",
        )
    absent = without_row(table, known)
    if len(absent) and leave_out:
        log.warning(
            "%d of %d cases are not in %s, such as %s: they are left out",
            len(absent), len(table), file, absent.iloc[0],
        )  # fmt: skip
    elif len(absent):
        report_fault(
            "split",
            f"{named}: case_id {absent.iloc[0]!r} is not in it ({len(absent)} of {len(table)} cases are not): was it "
            f"made for other data? Add its row, or leave --data.split_file {file} out",
            detail=f"not in {named}",
            cases=absent.index,
        )
    strangers = known["case_id"][~(among(known["case_id"], table.cases["case_id"]) | known["case_id"].isin(gone))]
    if len(gone):
        strangers = strangers[~strangers.str.startswith(tuple(f"{volume}/" for volume in gone))]
    if len(strangers):
        shown = ", ".join(map(repr, strangers[:3])) + (", ..." if len(strangers) > 3 else "")
        report_fault(
            "split",
            f"{named}: case_id {shown} {'is' if len(strangers) == 1 else 'are'} not in the data "
            f"({len(strangers)} of {len(known)} rows are not): have files gone, or was it made for other data? "
            "Remove its row, or leave --data.split_file out",
        )
    if leave_out and (known["split"] == "train").any() and not (known["split"] == "val").any():
        raise SuiteError(f"--data.new_cases leave_out: {file} names no validation cases, and none are drawn then")
    rows = rows_of(table, known)
    further = [str(name) for name in rows.columns if name not in (*NO_STRATUM, *table.cases.columns)]
    # The split.csv of a run on a published split is still that split.
    kept = (rows["split"] == table.cases["split"]) | (table.cases.index.isin(absent.index) & leave_out)
    published = table.published_split and bool(kept.all())
    joined = table.with_columns(split=rows["split"].astype("str"), **{name: rows[name] for name in further})
    return replace(joined, published_split=published)


def warn_of_unknown_patients(table: CaseTable) -> None:
    """Log a loud line where patients are not known and the split is not a published one."""
    if table.patients_known or table.published_split:
        return
    log.warning(
        "NO PATIENTS KNOWN for %d of %d cases: these are split by image, so metrics are too good if a patient "
        "has several; say who is who with a patient column, --data.patient_pattern or --data.cases",
        table.cases["patient_id"].isna().sum(),
        len(table),
    )


def _in_order(parts: pd.Series[str]) -> tuple[str, ...]:
    return tuple(sorted(parts, key=SPLITS.index))


def shared_between_parts(key: pd.Series[str], split: pd.Series[str]) -> pd.DataFrame:
    """Keys (patients, content hashes) that stand in more than one part.

    Returns:
        One row a key, in order of appearance: ``key`` and ``parts``, a tuple of split names.
    """
    frame = pd.DataFrame({"key": key, "split": split}).dropna()
    pairs = frame.drop_duplicates()
    twice = pairs["key"][pairs["key"].duplicated()].unique()
    parts = pairs[pairs["key"].isin(twice)].groupby("key", sort=False)["split"].agg(_in_order)
    return pd.DataFrame({"key": parts.index, "parts": parts.to_numpy()})
