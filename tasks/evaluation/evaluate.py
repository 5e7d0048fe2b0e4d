"""Evaluate a run from the tables in its folder alone, so that it can be evaluated again without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from scansuite.errors import SuiteError
from scansuite.files import replacing
from tasks.evaluation.classification.metrics import Kind, classification_metrics, confusion_matrix
from tasks.evaluation.detection.froc import FROC_IOU
from tasks.evaluation.detection.metrics import evaluate_boxes
from tasks.evaluation.metric_values import MetricValue, write_metrics
from tasks.evaluation.segmentation.metrics import segmentation_metrics
from tasks.evaluation.tables import find_table, read_table


def evaluate_classification(
    run_dir: Path,
    stage: str,
    split: str,
    kind: Kind,
    class_names: Sequence[str],
    positive_class: str | None = None,
    resamples: int = 1000,
) -> dict[str, MetricValue]:
    """Evaluate the predictions of one split and write ``metrics.json`` and ``confusion_matrix_<stage>.csv``.

    The confusion matrix (rows true, columns predicted) is written where a case has one class.

    Args:
        run_dir: folder with the tables ``predictions`` and ``cases``.
        stage: first part of the names in ``metrics.json``: ``val`` or ``test``.
        split: the part of the predictions to evaluate.
        kind: of target.
        class_names: in class order.
        positive_class: in binary classification; None = the last.
        resamples: most resamples of patients, and times that a patient is left out; 0 = no intervals.

    Returns:
        Metrics by name, without stage.

    Raises:
        SuiteError: a table is missing or unreadable, has no case of this split, or holds a case twice or not at all.
    """
    file, predictions = _predictions(run_dir, split)
    twice = predictions["case_id"][predictions["case_id"].duplicated()]
    if len(twice):
        raise SuiteError(f"{file}: case {twice.iloc[0]!r} is duplicated in split {split!r}: each is evaluated once")

    patients = _patients(find_table(run_dir, "cases"), predictions["case_id"])
    metrics = classification_metrics(predictions, kind, class_names, positive_class, patients, resamples)
    write_metrics(run_dir / "metrics.json", {f"{stage}/{name}": value for name, value in metrics.items()})
    if kind not in ("multilabel", "regression"):
        with replacing(run_dir / f"confusion_matrix_{stage}.csv") as temporary:
            confusion_matrix(predictions, class_names).to_csv(temporary, index_label="target", encoding="utf-8")
    return metrics


def evaluate_segmentation(
    run_dir: Path, stage: str, split: str, class_names: Sequence[str], resamples: int = 1000
) -> dict[str, MetricValue]:
    """Evaluate the predictions of one split, one row a case and class, and write ``metrics.json``.

    Args:
        run_dir: folder with the tables ``predictions`` and ``cases``.
        stage: first part of the names in ``metrics.json``: ``val`` or ``test``.
        split: the part of the predictions to evaluate.
        class_names: in class order; the background may be among them or not.
        resamples: most resamples of patients, and times that a patient is left out; 0 = no intervals.

    Returns:
        Metrics by name, without stage.

    Raises:
        SuiteError: a table is missing or unreadable, has no case of this split, or holds a case and class twice or not
            at all.
    """
    predictions = _predictions(run_dir, split)[1]
    patients = _patients(find_table(run_dir, "cases"), predictions["case_id"])
    metrics = segmentation_metrics(predictions, class_names, patients, resamples)
    write_metrics(run_dir / "metrics.json", {f"{stage}/{name}": value for name, value in metrics.items()})
    return metrics


def evaluate_detection(
    run_dir: Path,
    stage: str,
    split: str,
    class_names: Sequence[str],
    operating_points: Mapping[str, float] | None = None,
    max_detections: int = 100,
    resamples: int = 1000,
    froc_iou: float = FROC_IOU,
) -> dict[str, MetricValue]:
    """Evaluate the boxes of one split, one row a box, and write ``metrics.json`` and ``froc_<stage>.csv``.

    Args:
        run_dir: folder with the tables ``predictions`` (may have no row: a model that finds nothing), ``targets`` (the
            true boxes) and ``cases`` (the images, boxes or none).
        stage: first part of the names in ``metrics.json``: ``val`` or ``test``.
        split: the part of the tables to evaluate.
        class_names: in class order.
        operating_points: lowest score of a call by class, chosen on validation; None or empty = no metrics ``@op``.
        max_detections: best found boxes of an image and class that count.
        resamples: most resamples of patients, and times that a patient is left out; 0 = no intervals.
        froc_iou: IoU from which a box has found a lesion, in FROC.

    Returns:
        Metrics by name, without stage.

    Raises:
        SuiteError: a table is missing or unreadable, a cell is not what it should be, or no case is of this split.
    """
    cases, targets, predictions = (_of_split(run_dir, name, split)[1] for name in ("cases", "targets", "predictions"))
    if cases.empty:
        raise SuiteError(f"{find_table(run_dir, 'cases')}: no case of split {split!r}: nothing to evaluate")
    found = evaluate_boxes(
        cases, targets, predictions, class_names, operating_points, max_detections, resamples, froc_iou
    )
    write_metrics(run_dir / "metrics.json", {f"{stage}/{name}": value for name, value in found.metrics.items()})
    with replacing(run_dir / f"froc_{stage}.csv") as temporary:
        found.curves.to_csv(temporary, index=False, encoding="utf-8")
    return found.metrics


def _of_split(run_dir: Path, name: str, split: str) -> tuple[Path, pd.DataFrame]:
    """A table of a run folder, and its rows of one split."""
    file = find_table(run_dir, name)
    table = read_table(file)
    for column in ("case_id", "split"):
        if column not in table:
            raise SuiteError(f"{file}: no column {column!r} (found: {', '.join(map(str, table.columns))})")
    return file, table[table["split"] == split].reset_index(drop=True)


def _predictions(run_dir: Path, split: str) -> tuple[Path, pd.DataFrame]:
    """The predictions table of a run folder, and its rows of one split, of which there must be some."""
    file, predictions = _of_split(run_dir, "predictions", split)
    if predictions.empty:
        raise SuiteError(f"{file}: no case of split {split!r}: nothing to evaluate")
    return file, predictions


def _patients(file: Path, case_ids: pd.Series) -> pd.Series:
    """The patient of each case, in the order asked for."""
    cases = read_table(file)
    for column in ("case_id", "patient_id"):
        if column not in cases:
            raise SuiteError(f"{file}: no column {column!r} (found: {', '.join(map(str, cases.columns))})")
    patients = cases.drop_duplicates("case_id").set_index("case_id")["patient_id"]
    missing = case_ids[~case_ids.isin(patients.index)]
    if len(missing):
        raise SuiteError(f"{file}: no row for case {missing.iloc[0]!r} of the predictions ({len(missing)} missing)")
    return patients.reindex(case_ids).reset_index(drop=True)
