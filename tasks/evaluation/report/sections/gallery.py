"""Gallery: best, worst, typical and most uncertain cases, and the errors at the operating point, with their scans."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from scansuite.words import number_of
from tasks.evaluation.classification.columns import read_multilabel
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.gallery.choice import KINDS
from tasks.evaluation.gallery.measures import CaseMeasures, case_measures
from tasks.evaluation.gallery.store import CasePicture, read_gallery
from tasks.evaluation.gallery.thumbnails import class_legend
from tasks.evaluation.report.content import Cell, Gallery, GalleryCase, Section, Subject
from tasks.evaluation.report.gallery_boxes import case_boxes, found_words
from tasks.evaluation.report.header import part_of
from tasks.evaluation.subgroups.groupings import find_groupings

_MOST_COLUMNS = 6
_NAMED = 12  # classes in a caption


def section(subject: Subject) -> Section | None:
    """The cases whose pictures the run folder has; None where it has none, as of tables made by another tool."""
    if subject.run.folder is None:
        return None
    there = set(subject.tables.cases["case_id"])
    pictures = [one for one in read_gallery(subject.run.folder, subject.split) if one.case_id in there]
    if not pictures:
        return None
    cases = _cases(subject.tables, pictures)
    counts = {kind: sum(kind in case.kinds for case in cases) for kind in KINDS}
    sliced = subject.tables.task.task == "segment" and any(case.note for case in cases)
    note = _note(subject.tables, sliced=sliced, mapped=any(case.map for case in cases))
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return Section(
        "gallery",
        "Cases",
        [
            f"{number_of(len(cases), 'case')} of {len(subject.tables.cases):,} ({part_of(subject)}), chosen "
            f"because they tell most, not because they are usual: {said}; a case may be several of these."
        ],
        parts=[Gallery("cases", "Telling cases", cases, _legend(subject.tables), note)],
        figures={"cases": [{"case_id": case.case_id, "kinds": list(case.kinds)} for case in cases]},
    )


def _cases(tables: PartTables, pictures: Sequence[CasePicture]) -> list[GalleryCase]:
    """Cases with what the tables say of them today, in the order of their pictures."""
    groups = _groups(tables)
    some = tables.take(tables.cases["case_id"].isin([one.case_id for one in pictures]).to_numpy())
    measures = case_measures(some)
    place = {str(case_id): row for row, case_id in enumerate(some.cases["case_id"])}
    known = groups.loc[some.cases["case_id"]]
    classes = _classes(some)
    found = []
    for one in pictures:
        row = place[one.case_id]
        boxes = case_boxes(some, one.case_id, one.image_size) if some.task.task == "detect" else []
        facts = _facts(some, measures, row) + ([("found", found_words(boxes))] if some.task.task == "detect" else [])
        values = {measures.name: float(measures.value[row])}
        if measures.uncertainty_name:
            values[measures.uncertainty_name] = float(measures.uncertainty[row])
        columns = {name: str(known[name].iat[row]) for name in known.columns}
        found.append(
            GalleryCase(
                one.case_id,
                _kinds(one.kinds, some, measures, row),
                scan=one.scan.data,
                size=one.scan.size,
                window=one.scan.window,
                units=one.scan.units,
                truth=one.truth,
                prediction=one.prediction,
                boxes=boxes,
                facts=[*facts, *((name, value) for name, value in columns.items() if value)],
                values=values,
                groups={"class": classes[row], **{name: [value or "unknown"] for name, value in columns.items()}},
                note=one.note,
                map=one.map,
                map_of=one.map_of,
            )
        )
    return found


def _kinds(stored: Sequence[str], tables: PartTables, measures: CaseMeasures, row: int) -> list[str]:
    """Why a case is shown; of errors those that it has at the operating point of today's tables.

    In classification all cases have them that are wrong so; images with a missed or a false box are too many for that.
    """
    errors = {
        "false negative": bool(measures.false_negative[row]),
        "false positive": bool(measures.false_positive[row]),
        "wrong class": bool(measures.wrong_class[row]),
    }
    every = tables.task.task == "classify"
    return [
        kind
        for kind in KINDS
        if (errors.get(kind, False) and (every or kind in stored)) or (kind not in errors and kind in stored)
    ]


def _groups(tables: PartTables) -> pd.DataFrame:
    """Subgroups of each case by single columns, by case id; empty = unknown.

    No column that names patients is among them (:func:`~tasks.evaluation.subgroups.groupings.find_groupings`).
    """
    columns: dict[str, list[str]] = {}
    for grouping in find_groupings(tables):
        if len(grouping.columns) == 1 and len(columns) < _MOST_COLUMNS:
            columns[grouping.title] = [grouping.names[number] if number >= 0 else "" for number in grouping.number]
    return pd.DataFrame(columns, index=pd.Index(tables.cases["case_id"]))


def _facts(tables: PartTables, measures: CaseMeasures, row: int) -> list[tuple[str, Cell]]:
    """What is true and predicted of a case, and how it was judged."""
    value = float(measures.value[row])
    judged: list[tuple[str, Cell]] = [(measures.name, None if math.isnan(value) else value)]
    if tables.task.task == "classify":
        predicted = tables.predictions.iloc[row]
        if tables.kind == "multilabel":
            names = tables.task.class_names
            op = any(f"prediction_op_{name}" in predicted for name in names)
            columns = {"truth": "target_", "prediction": "prediction_op_" if op else "prediction_"}
            return [(said, _labels(predicted, prefix, names)) for said, prefix in columns.items()] + judged
        if tables.kind == "regression":
            return [(name, float(predicted[column])) for name, column in _COLUMNS] + judged
        call = predicted.get("prediction_op")
        return [
            ("truth", _text(predicted["target"])),
            ("prediction", _text(predicted["prediction"] if call is None or pd.isna(call) else call)),
            *judged,
        ]
    own = tables.predictions[tables.predictions["case_id"] == tables.cases["case_id"].iat[row]]
    if tables.task.task == "segment" and len(own) > 1:
        values = zip(own["class"], pd.to_numeric(own["dice"], errors="coerce"), strict=True)
        each = [(f"Dice {name}", None if math.isnan(dice) else float(dice)) for name, dice in values]
        return [*judged, *each[:_NAMED]]
    return judged


_COLUMNS = (("truth", "target"), ("prediction", "prediction"))


def _labels(row: pd.Series, prefix: str, names: Sequence[str]) -> str:
    there = [name for name in names if row.get(f"{prefix}{name}") == 1]
    more = f" and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    return ", ".join(there[:_NAMED]) + more if there else "none"


def _text(cell: object) -> str:
    return "unknown" if pd.isna(cell) else str(cell)  # type: ignore[call-overload]


def _classes(tables: PartTables) -> list[list[str]]:
    """The true classes of each case, by which cases are filtered."""
    ids = tables.cases["case_id"]
    if tables.task.task == "detect":
        assert tables.targets is not None
        of_case = tables.targets.groupby("case_id")["label"].unique()
        return [[str(name) for name in of_case.get(case, [])] or ["none"] for case in ids]
    if tables.task.task == "segment":
        table = tables.predictions
        if {"tp", "fn", "class"} <= set(table.columns):
            table = table[table["tp"] + table["fn"] > 0]
            of_case = table.groupby("case_id")["class"].unique()
            return [[str(name) for name in of_case.get(case, [])] or ["none"] for case in ids]
        return [[] for _ in ids]
    if tables.kind == "multilabel":
        read = read_multilabel(tables.predictions, tables.task.class_names)
        names = [[] for _ in ids]  # type: list[list[str]]
        for row, target in zip(read.rows, read.target, strict=True):
            names[row] = [tables.task.class_names[label] for label in np.flatnonzero(target)] or ["none"]
        return [one or ["unknown"] for one in names]
    if tables.kind == "regression":
        return [[] for _ in ids]
    return [[_text(target)] for target in tables.predictions["target"]]


def _legend(tables: PartTables) -> list[tuple[str, str]]:
    names = tables.task.class_names
    if tables.task.task == "detect":
        return class_legend(names)
    if tables.task.task == "segment":
        return class_legend(names if tables.task.own.get("overlapping") else names[1:])
    return []


def _note(tables: PartTables, *, sliced: bool, mapped: bool) -> str:
    said = ["The numbers below a case are of the whole case."]
    if mapped:
        said.append(
            "Grad-CAM shows what raises the score of the class it names, from nothing (clear) to most in that image "
            "(yellow); these maps were not checked: explain --sanity true does that."
        )
    if tables.task.task == "detect":
        said.append("Boxes are calls at the operating point; dashed ones are wrong: missed, or false calls.")
    if sliced:
        said.append(
            "Of each volume one slice is shown: that with most of the truth, of errors the one with most errors."
        )
    if tables.positive_class is not None:
        said.append(f"Positive is {tables.positive_class}.")
    said.append("Scans are shown at 384 pixels a side at most: no picture for a diagnosis.")
    return " ".join(said)
