"""Parts of several runs on the same cases in the same order, or a line that says why they cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.segmentation.overlap import BoolArray

_CORNERS = ("x1", "y1", "x2", "y2")
_FLAG = "--common_cases"


def aligned_parts(runs: Sequence[EvaluatedRun], split: str, *, common: bool = False) -> list[PartTables]:
    """The same part of each run, its cases in the order of the first run's.

    Args:
        runs: two or more; the first is what the others are held against.
        split: the part.
        common: leave out cases that not all runs have.

    Raises:
        SuiteError: task, classes, cases, patients or targets of two runs differ, or a part is absent.
    """
    parts = [run.part(split) for run in runs]
    for run, part in zip(runs[1:], parts[1:], strict=True):
        _same_task(runs[0].name, parts[0], run.name, part)
    ids = [_ids(part.cases) for part in parts]
    together = set(ids[0]).intersection(*ids[1:])
    if not common:
        for run, part in zip(runs[1:], parts[1:], strict=True):
            _same_cases(runs[0].name, parts[0], run.name, part)
    elif not together:
        raise SuiteError(f"{runs[-1].name}: no case of split {split!r} is in all runs: there is nothing to compare")
    order = pd.Index([case for case in ids[0] if case in together], dtype=object)
    ordered = [_in_order(part, order, parts[0]) for part in parts]
    for run, part in zip(runs[1:], ordered[1:], strict=True):
        _same_patients(runs[0].name, ordered[0], run.name, part)
        _same_targets(runs[0].name, ordered[0], run.name, part)
    # Patients of the first run, or of the first that names any: they are the same.
    named = next((part.cases["patient_id"] for part in ordered if "patient_id" in part.cases), None)
    if named is not None:
        ordered = [replace(part, cases=part.cases.assign(patient_id=named.to_numpy())) for part in ordered]
    return ordered


def _same_task(reference: str, first: PartTables, name: str, part: PartTables) -> None:
    if part.task.task != first.task.task or part.kind != first.kind:
        raise SuiteError(
            f"{name}: is of {_task(part)}, and {reference} of {_task(first)}: compare runs of one task and one kind "
            "of target"
        )
    if part.kind == "regression":
        return
    own, its = set(first.task.class_names), set(part.task.class_names)
    if own != its or (part.kind == "ordinal" and part.task.class_names != first.task.class_names):
        strange = sorted(own ^ its)
        which = f", such as {strange[0]!r}, which is in one alone" if strange else " in another order"
        raise SuiteError(
            f"{name}: has other classes than {reference}{which}: evaluate both on the same classes "
            f"({', '.join(first.task.class_names[:10])})"
        )
    if part.positive_class != first.positive_class:
        raise SuiteError(
            f"{name}: its positive class is {part.positive_class!r}, that of {reference} {first.positive_class!r}: "
            "evaluate both with the same --data.positive_class"
        )


def _task(part: PartTables) -> str:
    return part.task.task if part.kind == part.task.task else f"{part.task.task} ({part.kind})"


def _same_cases(reference: str, first: PartTables, name: str, part: PartTables) -> None:
    own, its = set(_ids(first.cases)), set(_ids(part.cases))
    if own == its:
        return
    lacking, further = len(own - its), len(its - own)
    example = min(own ^ its)
    said = [f"lacks {lacking} of the {number_of(len(own), 'case')} of {reference}"] if lacking else []
    said += [f"has {number_of(further, 'case')} that {reference} has not"] if further else []
    raise SuiteError(
        f"{name}: split {first.split!r}: {' and '.join(said)}, such as {example!r}: evaluate both on the same data, or "
        f"compare the {number_of(len(own & its), 'common case')} with {_FLAG}"
    )


def _ids(table: pd.DataFrame) -> NDArray[np.object_]:
    """Names of cases as Python texts: columns of pandas' own kind of text are slow to look up."""
    return table["case_id"].to_numpy(dtype=object)


def _in_order(part: PartTables, order: pd.Index, first: PartTables) -> PartTables:
    """The part with cases in an order; rows of classes and boxes stay in their own, case by case."""
    # Columns of scores have names: classes may stand in the order of the first run.
    task = replace(part.task, class_names=list(first.task.class_names))

    def sorted_rows(table: pd.DataFrame) -> pd.DataFrame:
        place = order.get_indexer(pd.Index(_ids(table), dtype=object))
        rows = np.argsort(place, kind="stable")
        return table.iloc[rows[place[rows] >= 0]].reset_index(drop=True)

    targets = None if part.targets is None else sorted_rows(part.targets)
    return replace(
        part, task=task, cases=sorted_rows(part.cases), predictions=sorted_rows(part.predictions), targets=targets
    )


def _same_patients(reference: str, first: PartTables, name: str, part: PartTables) -> None:
    if "patient_id" not in first.cases or "patient_id" not in part.cases:
        return
    own, its = (frame["patient_id"].astype("str").fillna("") for frame in (first.cases, part.cases))
    wrong = np.flatnonzero((own != its).to_numpy())
    if len(wrong):
        case = first.cases["case_id"].iloc[wrong[0]]
        raise SuiteError(
            f"{name}: case {case!r} is of another patient than in {reference} ({number_of(len(wrong), 'case')}): "
            "evaluate both with the same patient column"
        )


def _same_targets(reference: str, first: PartTables, name: str, part: PartTables) -> None:
    if first.targets is not None and part.targets is not None:
        wrong = _boxes_differ(first, part)
        what = "its true boxes are others"
    elif first.task.task == "segment":
        wrong = _masks_differ(first.predictions, part.predictions)
        what = "its true mask has another size"
    else:
        wrong = _labels_differ(first, part)
        what = "its target is another one"
    if len(wrong):
        raise SuiteError(
            f"{name}: case {wrong[0]!r}: {what} than in {reference} ({number_of(len(wrong), 'case')}): evaluate both "
            "on the same annotation"
        )


def _labels_differ(first: PartTables, part: PartTables) -> NDArray[np.object_]:
    columns = [f"target_{each}" for each in first.task.class_names] if first.kind == "multilabel" else ["target"]
    differ = np.zeros(len(first.cases), dtype=bool)
    for column in columns:
        pair = [one.predictions.get(column) for one in (first, part)]
        if pair[0] is None or pair[1] is None:
            continue  # told where the table is read
        differ |= _unequal(pair[0], pair[1], numbers=first.kind in ("multilabel", "regression"))
    return first.cases["case_id"].to_numpy(dtype=object)[differ]


def _unequal(own: pd.Series, its: pd.Series, *, numbers: bool) -> BoolArray:
    if numbers:
        first, second = (pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64) for cells in (own, its))
        unequal: BoolArray = ~np.isclose(first, second, rtol=1e-9, atol=0, equal_nan=True)
        return unequal
    texts = [cells.astype("str").where(cells.notna(), "").to_numpy(dtype=object) for cells in (own, its)]
    return np.asarray((texts[0] != texts[1]) | (own.isna().to_numpy() != its.isna().to_numpy()))


def _masks_differ(first: pd.DataFrame, second: pd.DataFrame) -> NDArray[np.object_]:
    """Cases whose classes have another number of true voxels; tables without counts are not looked at."""
    columns = ["tp", "fn"]
    if not set(columns) <= set(first.columns) or not set(columns) <= set(second.columns):
        return np.zeros(0, dtype=object)
    sizes = [
        table.assign(size=table[columns].apply(pd.to_numeric, errors="coerce").sum(axis=1)).set_index(
            ["case_id", "class"]
        )["size"]
        for table in (first, second)
    ]
    pair = pd.concat(sizes, axis=1, keys=["own", "its"])
    return pair.index.get_level_values("case_id")[(pair["own"] != pair["its"]).to_numpy()].unique().to_numpy()


def _boxes_differ(first: PartTables, part: PartTables) -> NDArray[np.object_]:
    assert first.targets is not None
    assert part.targets is not None
    keys = []
    for table in (first.targets, part.targets):
        corners = table[list(_CORNERS)].apply(pd.to_numeric, errors="coerce").round(3)
        keys.append(pd.MultiIndex.from_frame(pd.concat([table[["case_id", "label"]], corners], axis=1)))
    counts = [pd.Series(1, index=index).groupby(level=list(range(index.nlevels))).sum() for index in keys]
    pair = pd.concat(counts, axis=1, keys=["own", "its"]).fillna(0)
    differ = pair.index.get_level_values(0)[(pair["own"] != pair["its"]).to_numpy()]
    return differ.unique().to_numpy()
