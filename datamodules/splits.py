"""Patient-grouped, stratified splits: who trains, who validates, who is tested."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.faults import refuse
from datamodules.ids import clean_ids
from datamodules.table import SPLITS, CaseTable, read_frame, split_words
from datamodules.types import SuiteError

log = logging.getLogger(__name__)

_NO_STRATUM = ("case_id", "patient_id", "path", "split")
_MOST_NUMBERS = 10  # that a column of numbers may hold to count value by value
_MOST_VALUES = 100


def stratified_groups(
    strata: NDArray[np.float64], groups: NDArray[np.int64], fractions: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Deal cases into parts so that groups stay whole and each part has about its share of every stratum.

    Greedy, as scikit-learn's ``StratifiedGroupKFold``, but for strata that overlap and parts of unequal shares: groups
    with many cases of rare strata go first, each to the part where the chi-square sum over parts and strata of
    (count - expected)^2 / expected falls most.

    Args:
        strata: (N, S) how much of each stratum a case carries, usually 0 or 1.
        groups: (N,) group number of each case.
        fractions: share of each part, above 0; they sum to 1.
        seed: breaks ties.

    Returns:
        (N,) number of the part of each case.
    """
    rng = np.random.default_rng(seed)
    number = np.unique(groups, return_inverse=True)[1]
    counts = np.zeros((int(number.max()) + 1, strata.shape[1] + 1))
    np.add.at(counts[:, :-1], number, np.nan_to_num(strata))
    counts[:, -1] = np.bincount(number)  # the last stratum is "a case": it balances sizes
    totals = counts.sum(axis=0)
    lacking = np.outer(fractions, totals)
    weights = 1 / np.outer(fractions, np.where(totals > 0, totals, 1))
    shuffled = rng.permutation(len(counts))
    heaviness = (counts[shuffled] ** 2 * weights[0]).sum(axis=1)
    part_of = np.empty(len(counts), dtype=np.int64)
    for group in shuffled[np.argsort(-heaviness, kind="stable")]:
        fall = ((2 * lacking - counts[group]) * counts[group] * weights).sum(axis=1)
        # Of equal parts the last: a class of one patient then trains by default, where fold 0 validates.
        part_of[group] = part = len(fall) - 1 - int(fall[::-1].argmax())
        lacking[part] -= counts[group]
    return part_of[number]


def column_strata(cases: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """What columns of the case table add to the strata: one for each value, and one for empty cells.

    Numbers of more than ten values (age) count by fifths of the cases.

    Returns:
        (N, S) of 0 and 1; S is 0 without columns.

    Raises:
        SuiteError: no such column, or more than a hundred values that are no numbers.
    """
    known = [str(name) for name in cases.columns if name not in _NO_STRATUM]
    parts = [np.zeros((len(cases), 0))]
    for column in columns:
        if column not in known:
            found = f"its columns are {', '.join(known)}" if known else "it has none to stratify by"
            raise SuiteError(f"--data.stratify {column}: no such column in the case table ({found})")
        values = cases[column]
        count = values.nunique()
        if pd.api.types.is_numeric_dtype(values) and count > _MOST_NUMBERS:
            values = pd.qcut(values, 5, labels=False, duplicates="drop")
        elif count > _MOST_VALUES:
            raise SuiteError(
                f"--data.stratify {column}: {count} different values cannot be spread evenly: at most {_MOST_VALUES}"
            )
        parts.append(pd.get_dummies(values, dummy_na=bool(values.isna().any())).to_numpy(np.float64))
    return np.hstack(parts)


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
) -> pd.Series[str]:
    """Fill in the split column where the table does not give it.

    Test is drawn first, folds outside it; fold ``fold`` is validation. With ``test_fraction`` 0 fold ``fold`` is the
    part that is judged (test) and validation is the next fold. A table that brings train and test but no validation
    part gets validation as fold ``fold`` of its train part.

    Args:
        table: the cases; a filled ``split`` column is kept as it is.
        strata: (N, S) see :func:`stratified_groups`.
        groups: (N,) patient numbers (or image numbers where no patient is known).
        stratify: columns of the cases that add to the strata, see :func:`column_strata`; not looked at where nothing is
            drawn, as with the ``split.csv`` of a run.
        test_fraction: share of cases for the test part, 0 <= f < 1.
        folds: number of folds, at least 2.
        fold: which fold validates, 0..folds-1.
        seed: of the split alone, so that training seeds do not move cases.

    Returns:
        ``train``, ``val`` or ``test`` for each case.

    Raises:
        SuiteError: a number out of range, too few groups, a test part that stays empty, a split column with gaps, or no
            such column to stratify by.
    """
    if not 0 <= test_fraction < 1:
        raise SuiteError(f"--data.test_fraction {test_fraction}: must be at least 0 and below 1")
    if folds < 2 or not 0 <= fold < folds:
        raise SuiteError(f"--data.folds {folds} --data.fold {fold}: folds must be at least 2, fold in 0..folds-1")
    given = table.cases["split"]
    draws_all = not given.notna().any()
    if draws_all:
        split = np.full(len(table), "train", dtype=object)
    else:
        if given.isna().any():
            row = int(np.flatnonzero(given.isna())[0]) + 1
            raise SuiteError(
                f"the split is empty in row {row} ({table.cases['path'].iloc[row - 1]}): fill it for each row"
            )
        split = given.to_numpy(dtype=object).copy()
        if not (split == "train").any() and (split == "val").any():
            raise SuiteError("the given split has no train part")
        if not (split == "train").any() or (split == "val").any():
            return pd.Series(split, index=given.index, dtype="str")
    strata = np.hstack([strata, column_strata(table.cases, stratify)])
    if draws_all and test_fraction > 0:
        parts = stratified_groups(strata, groups, (1 - test_fraction, test_fraction), seed)
        split[parts == 1] = "test"
        if not (parts == 1).any():
            raise SuiteError(
                f"--data.test_fraction {test_fraction}: of {len(np.unique(groups))} patients (or images, where no "
                "patient is known) none fits into so small a test part: give a larger one, or 0 for none"
            )
    judged = fold if draws_all and test_fraction == 0 else None
    _deal_folds(split, strata, groups, folds, fold, seed, judged=judged)
    return pd.Series(split, index=given.index, dtype="str")


def _deal_folds(
    split: NDArray[np.object_],
    strata: NDArray[np.float64],
    groups: NDArray[np.int64],
    folds: int,
    fold: int,
    seed: int,
    judged: int | None,
) -> None:
    """Deal the train part into folds and mark validation (and the judged fold) in place."""
    train = np.flatnonzero(split == "train")
    number = np.unique(groups[train], return_inverse=True)[1]
    if number.size == 0 or number.max() + 1 < folds:
        have = 0 if number.size == 0 else int(number.max()) + 1
        raise SuiteError(
            f"--data.folds {folds}: only {have} patients (or images, where no patient is known) are left outside the "
            "test part: give fewer folds, a smaller --data.test_fraction, or more data"
        )
    parts = stratified_groups(strata[train], number, [1 / folds] * folds, seed + 1)
    if judged is None:
        split[train[parts == fold]] = "val"
    else:
        split[train[parts == judged]] = "test"
        split[train[parts == (judged + 1) % folds]] = "val"


def join_split(table: CaseTable, file: Path) -> CaseTable:
    """The table with the split of a ``split.csv`` (columns ``case_id`` and ``split``).

    A file without validation cases leaves them to be drawn from its train part. Further columns of the file (what to
    stratify by) are joined where the table has none of that name; patients are the table's own. A name that is no file
    is looked for among the splits that ship with the suite (``splits/hippocampus``).

    Raises:
        SuiteError: a column is missing or has gaps, or file and table do not hold the same cases.
    """
    if not file.is_file() and file.parts[:1] == ("splits",) and len(file.parts) == 2:
        file = Path(str(resources.files("configs"))) / file.with_suffix(".csv")
    frame = read_frame(file, flag="--data.split_file", text_columns=("case_id", "split"))
    for column in ("case_id", "split"):
        if column not in frame:
            raise SuiteError(f"--data.split_file {file}: no column {column} (found: {', '.join(frame.columns)})")
    frame = frame.assign(case_id=clean_ids(frame["case_id"]))
    if frame["case_id"].duplicated().any():
        name = frame["case_id"][frame["case_id"].duplicated()].iloc[0]
        refuse("split", f"--data.split_file {file}: case_id {name!r} stands twice")
        frame = frame.drop_duplicates("case_id")
    words = split_words(frame["split"], f"--data.split_file {file}")
    if words.isna().any():
        row = int(np.flatnonzero(words.isna())[0])
        refuse(
            "split",
            f"--data.split_file {file}: the split is empty in row {row + 1} ({frame['case_id'].iloc[row]}): fill it "
            "for each row",
        )
    known = frame.assign(split=words.to_numpy()).set_index("case_id")
    absent = table.cases["case_id"][~table.cases["case_id"].isin(known.index)]
    if len(absent):
        refuse(
            "split",
            f"--data.split_file {file}: case_id {absent.iloc[0]!r} is not in it ({len(absent)} of {len(table)} cases "
            "are not): was it made for other data?",
            detail=f"not in --data.split_file {file}",
            cases=absent.index,
        )
    strangers = known.index[~known.index.isin(table.cases["case_id"])]
    if len(strangers):
        refuse(
            "split",
            f"--data.split_file {file}: case_id {strangers[0]!r} is not in the data ({len(strangers)} of {len(known)} "
            "rows are not): was it made for other data?",
        )
    rows = known.reindex(table.cases["case_id"]).reset_index(drop=True)
    further = [str(name) for name in rows.columns if name not in (*_NO_STRATUM, *table.cases.columns)]
    # The split.csv of a run on a published split is still that split.
    published = table.published_split and bool((rows["split"] == table.cases["split"]).all())
    joined = table.with_columns(split=rows["split"].astype("str"), **{name: rows[name] for name in further})
    return replace(joined, published_split=published)


def warn_of_unknown_patients(table: CaseTable) -> None:
    """Log a loud line where patients are not known and the split is not a published one."""
    if table.patients_known or table.published_split:
        return
    log.warning(
        "NO PATIENTS KNOWN for %d of %d cases: these are split by image, so figures are too good if a patient "
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
