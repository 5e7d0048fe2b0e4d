"""Tables made by another tool, read as if a run had written them: what is missing is worked out where it can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.classification.columns import read_multilabel, read_regression, read_single_label
from tasks.evaluation.detection.boxes import CORNERS, read_boxes
from tasks.evaluation.detection.coco_map import STANDARD_DETECTIONS
from tasks.evaluation.detection.froc import FROC_IOU
from tasks.evaluation.evaluated import EvaluatedRun, checked
from tasks.evaluation.segmentation.metrics import LESION_METRICS, METRICS, segmentation_metrics
from tasks.evaluation.segmentation.overlap import Overlap, overlap_metrics
from tasks.evaluation.tables import read_table
from tasks.evaluation.task_file import RunTask
from tasks.evaluation.uncertainty.cases import STORED

TargetKind: TypeAlias = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]

_PART = "test"  # where no column says another
_PARTS = {"valid": "val", "validation": "val", "dev": "val"}
_ONLY_CLASS = {"segment": "foreground", "detect": "object"}
_COUNTS = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class TableFiles:
    """Files of another tool, and what their columns do not say.

    Attributes:
        predictions: as ``predictions.csv`` of a run, see ``docs/report.md``.
        cases: a row a case, with patients and columns to make subgroups of; None = they are in the predictions.
        targets: true boxes, in detection.
        class_names: in class order; empty = as the tables have them.
        positive_class: in binary classification; None = the last.
        target: kind of target; None = as the columns look.
    """

    predictions: Path
    cases: Path | None = None
    targets: Path | None = None
    class_names: Sequence[str] = ()
    positive_class: str | None = None
    target: TargetKind | None = None


def read_other_tables(task: str, files: TableFiles) -> EvaluatedRun:
    """Read tables of another tool.

    Args:
        task: name of the task.
        files: see there.

    Raises:
        SuiteError: a file cannot be read, a column is missing, or a cell is not what it should be; with file and row.
    """
    readers: dict[str, Callable[[TableFiles, pd.DataFrame], EvaluatedRun]] = {
        "classify": _classification,
        "segment": _segmentation,
        "detect": _detection,
    }
    predictions = _with_split(_read(files.predictions), files.predictions)
    try:
        return checked(readers[task](files, predictions))
    except SuiteError as error:
        said = str(error).removeprefix(f"{files.predictions}: ")
        raise SuiteError(f"{files.predictions}: {said}") from None


def _read(file: Path) -> pd.DataFrame:
    table = read_table(file)
    if len(table.columns) == 1 and (other := [one for one in ";\t|" if one in str(table.columns[0])]):
        mark = {"\t": "tabs"}.get(other[0], f"{other[0]!r}")
        raise SuiteError(
            f"{file}: has {mark} between its cells: save it as CSV with commas (and points in numbers), or as Parquet"
        )
    if "case_id" not in table:
        raise SuiteError(
            f"{file}: no column 'case_id' (found: {', '.join(map(str, table.columns))}): name each case in one"
        )
    empty = np.flatnonzero(table["case_id"].isna().to_numpy())
    if len(empty):
        raise SuiteError(f"{file}: case_id in row {empty[0] + 1} is empty: name the case")
    return table


def _with_split(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    if "split" not in table:
        return table.assign(split=_PART)
    if len(empty := np.flatnonzero(table["split"].isna().to_numpy())):
        raise SuiteError(f"{file}: split in row {empty[0] + 1} is empty: name the part (val, test), or drop the column")
    return table.assign(split=table["split"].str.lower().replace(_PARTS))


def _classification(files: TableFiles, predictions: pd.DataFrame) -> EvaluatedRun:
    scores = [str(name).removeprefix("score_") for name in predictions.columns if str(name).startswith("score_")]
    labels = [name for name in scores if f"target_{name}" in predictions]
    kind: TargetKind
    if files.target is not None:
        kind = files.target
    elif labels:
        kind = "multilabel"
    elif scores or "score" in predictions:
        kind = "binary" if "score" in predictions or len(scores) == 2 else "multiclass"
    else:
        kind = "regression"
    if "score" in predictions and kind == "binary":
        predictions, scores = _two_scores(predictions, files)
    names = list(files.class_names) or (labels if kind == "multilabel" else scores)
    if kind == "regression":
        names = names or ["target"]
        read_regression(predictions)
    elif not names:
        raise SuiteError("no column score_<class>: give a score from 0 to 1 for each class")
    elif kind == "multilabel":
        for name in names:
            if f"prediction_{name}" not in predictions and f"score_{name}" in predictions:
                score = pd.to_numeric(predictions[f"score_{name}"], errors="coerce")
                predictions = predictions.assign(**{f"prediction_{name}": (score >= 0.5).astype("Int64")})
        read_multilabel(predictions, names)
    else:
        predictions = _with_highest(predictions, names)
        read_single_label(predictions, names)
    positive = files.positive_class
    if positive is not None and positive not in names:
        raise SuiteError(f"--positive_class {positive}: is none of the classes ({', '.join(names)})")
    own = {"target": kind, "positive_class": positive or (names[-1] if kind == "binary" else None)}
    task = RunTask("classify", names, {}, own)
    known = {"case_id", "split", "target", "prediction", "prediction_op", "score", STORED}
    lead = ("score_", "target_", "prediction_", "uncalibrated_")
    further = [name for name in predictions.columns if name not in known and not str(name).startswith(lead)]
    cases = _cases(files, predictions[["case_id", "split", *further]])
    return EvaluatedRun(str(files.predictions), task, cases, predictions)


def _two_scores(predictions: pd.DataFrame, files: TableFiles) -> tuple[pd.DataFrame, list[str]]:
    """Scores of both classes from that of the positive one."""
    classes = list(files.class_names) or sorted(
        predictions["target"].dropna().unique() if "target" in predictions else []
    )
    if len(classes) != 2:
        raise SuiteError(
            f"column 'score' is that of the positive of two classes, and the column 'target' has {len(classes)}: name "
            "both with --class_names, or give a column score_<class> for each"
        )
    positive = files.positive_class or classes[1]
    if positive not in classes:
        raise SuiteError(f"--positive_class {positive}: is none of the classes ({', '.join(classes)})")
    score = pd.to_numeric(predictions["score"], errors="coerce")
    both = {f"score_{name}": score if name == positive else 1 - score for name in classes}
    return predictions.assign(**both), classes


def _with_highest(predictions: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """With the highest-scoring class as the prediction, where there is no such column."""
    columns = [f"score_{name}" for name in names]
    if "prediction" in predictions or not set(columns) <= set(predictions.columns):
        return predictions
    scores = predictions[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    highest = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    return predictions.assign(prediction=pd.Series(np.array(names, dtype=object)[highest], dtype="str"))


def _segmentation(files: TableFiles, predictions: pd.DataFrame) -> EvaluatedRun:
    if "class" not in predictions:
        predictions = predictions.assign(**{"class": _ONLY_CLASS["segment"]})
    named = [name for name in METRICS if name in predictions]
    if not named and not set(_COUNTS) <= set(predictions.columns):
        raise SuiteError(f"none of the columns {', '.join((*METRICS[:4], 'hd95'))}, nor {', '.join(_COUNTS)}: give one")
    if set(_COUNTS) <= set(predictions.columns):
        counts = predictions[list(_COUNTS)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
        overlap = pd.DataFrame([overlap_metrics(Overlap(*row)) for row in counts])
        for name in overlap:
            if name not in predictions:
                predictions[name] = overlap[name].to_numpy()
    absent = [name for name in METRICS if name not in predictions and name not in LESION_METRICS]
    for name in absent:
        predictions[name] = np.nan
    names = list(files.class_names) or list(dict.fromkeys(predictions["class"].dropna()))
    twice = np.flatnonzero(predictions.duplicated(["case_id", "split", "class"]).to_numpy())
    if len(twice):
        row = predictions.iloc[twice[0]]
        raise SuiteError(
            f"case {row['case_id']!r} has class {row['class']!r} once more in row {twice[0] + 1}: keep one"
        )
    segmentation_metrics(predictions.drop_duplicates(["case_id", "class"]), names, resamples=0)
    task = RunTask("segment", names, {})
    measured = {"class", STORED, *METRICS, *_COUNTS}
    further = [name for name in predictions.columns if name not in measured]
    return EvaluatedRun(str(files.predictions), task, _cases(files, predictions[further]), predictions)


def _detection(files: TableFiles, predictions: pd.DataFrame) -> EvaluatedRun:
    if files.targets is None:
        raise SuiteError("--targets: name the file of the true boxes (case_id, label, x1, y1, x2, y2)")
    targets = _with_split(_read(files.targets), files.targets)
    if "label" not in predictions and "label" not in targets:
        predictions, targets = (table.assign(label=_ONLY_CLASS["detect"]) for table in (predictions, targets))
    found = pd.concat([table["label"] for table in (targets, predictions) if "label" in table]).dropna()
    names = list(files.class_names) or sorted(found.unique())
    both = pd.concat([table[["case_id", "split"]] for table in (targets, predictions)])
    cases = _cases(files, both)
    read_boxes(cases.drop_duplicates("case_id"), targets, predictions, names)
    columns = {"case_id", "split", "label", *CORNERS}
    if missing := sorted(columns - set(targets.columns)):
        raise SuiteError(f"{files.targets}: no column {missing[0]!r}")
    task = RunTask("detect", names, {}, {"max_detections": STANDARD_DETECTIONS, "froc_iou": FROC_IOU})
    return EvaluatedRun(str(files.predictions), task, cases, predictions, targets)


def _cases(files: TableFiles, own: pd.DataFrame) -> pd.DataFrame:
    """The table of cases: of its file, or of what stands beside the predictions."""
    own = own.drop_duplicates(["case_id", "split"]).reset_index(drop=True)
    if files.cases is None:
        return own if "patient_id" in own else own.assign(patient_id=None)
    cases = _read(files.cases)
    if "split" in cases:
        cases = _with_split(cases, files.cases)
    elif cases["case_id"].is_unique:
        # What is not in the predictions is an image without a found box.
        parts = own.set_index("case_id")["split"] if own["case_id"].is_unique else None
        default = _PART if own["split"].nunique() != 1 else str(own["split"].iloc[0])
        cases = cases.assign(split=default if parts is None else cases["case_id"].map(parts).fillna(default))
    else:
        twice = cases["case_id"][cases["case_id"].duplicated()].iloc[0]
        raise SuiteError(f"{files.cases}: case {twice!r} is duplicated: keep one row")
    return cases if "patient_id" in cases else cases.assign(patient_id=None)
