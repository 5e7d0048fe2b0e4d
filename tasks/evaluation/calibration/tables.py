"""Calibration of predictions tables: fitted on those of validation, applied to any; the raw scores stay beside."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import Calibration, Method
from tasks.evaluation.calibration.fitting import Fitted, fit_calibration
from tasks.evaluation.calibration.maps import FloatArray
from tasks.evaluation.calibration.scored import RAW, RAW_BOX, IntArray, scored, uncalibrated
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.task_file import RunTask

log = logging.getLogger(__name__)


def fit_on(tables: PartTables, method: Method) -> Fitted:
    """Fit a calibration on the tables of a part, from the scores as the model gave them.

    Args:
        tables: of validation, or of all cases out of fold: ``read_evaluated(folder).part("val")``.
        method: see :func:`~tasks.evaluation.calibration.fitting.fit_calibration`.

    Raises:
        SuiteError: there are no scores by case (regression, segmentation), or a table is not what it should be.
    """
    own = scored(uncalibrated(tables) or tables)
    if own is None:
        raise SuiteError(f"calibration: {tables.kind} has no scores by case: there is nothing to calibrate")
    return fit_calibration(own, method)


def fit_on_frames(
    task: str,
    class_names: Sequence[str],
    facts: Mapping[str, Any],
    predictions: pd.DataFrame,
    cases: pd.DataFrame | None,
    targets: pd.DataFrame | None,
    method: Method,
) -> Fitted:
    """The same from data frames that are not written yet.

    Args:
        task: name of it.
        class_names: in class order.
        facts: of the task, as ``task.json`` has them.
        predictions: a row a case, or a box.
        cases: with ``case_id`` and ``patient_id``; None = each case is a patient.
        targets: true boxes, in detection.
        method: by which it is fitted; ``none``: nothing is.
    """
    if method == "none":
        return Fitted(None)
    own = pd.DataFrame({"case_id": predictions["case_id"]}) if cases is None else cases
    if task == "classify" and cases is not None:
        own = cases.drop_duplicates("case_id").set_index("case_id").reindex(predictions["case_id"]).reset_index()
    about = RunTask(task, [str(name) for name in class_names], {}, facts)
    return fit_on(PartTables(about, "val", own, predictions, targets), method)


def tell(fitted: Fitted) -> Calibration | None:
    """The calibration, after what is to be known of it is said."""
    for line in fitted.said:
        log.warning("%s", line)
    if fitted.calibration is not None:
        log.info("calibration: %s", fitted.calibration)
    return fitted.calibration


def calibrate_cases(
    predictions: pd.DataFrame, calibration: Calibration | None, kind: str, class_names: Sequence[str]
) -> pd.DataFrame:
    """A table of cases with calibrated scores, and what is called by them; ``uncalibrated_<class>`` are the raw ones.

    A table that has raw scores already is calibrated from these; without a calibration they are its scores again.

    Args:
        predictions: with ``score_<class>``; other columns stay.
        calibration: None = the scores are the model's own.
        kind: of target.
        class_names: in class order.
    """
    if not len(predictions) or (calibration is None and f"{RAW}{class_names[0]}" not in predictions):
        return predictions
    raw = np.stack([_numbers(predictions, f"{RAW}{name}", f"score_{name}") for name in class_names], axis=1)
    scores = raw if calibration is None else calibration.apply(raw)
    changed: dict[str, Any] = {f"score_{name}": scores[:, k] for k, name in enumerate(class_names)}
    if kind == "multilabel":
        changed |= {f"prediction_{name}": (scores[:, k] > 0.5).astype(int) for k, name in enumerate(class_names)}
    else:
        changed["prediction"] = np.array(class_names, dtype=object)[called_class(scores, kind)]
    kept = predictions.drop(columns=[f"{RAW}{name}" for name in class_names], errors="ignore").assign(**changed)
    if calibration is None:
        return kept
    # Behind the scores, so that what was there keeps its place.
    behind = max(list(kept.columns).index(f"score_{name}") for name in class_names) + 1
    for k, name in enumerate(class_names):
        kept.insert(behind + k, f"{RAW}{name}", raw[:, k])
    return kept


def calibrate_boxes(predictions: pd.DataFrame, calibration: Calibration | None) -> pd.DataFrame:
    """A table of boxes with calibrated scores, best first within each case; ``uncalibrated_score`` are the raw ones.

    Args:
        predictions: columns ``case_id,label,score`` and further ones, the rows of a case together.
        calibration: None = the scores are the model's own.
    """
    if calibration is None and RAW_BOX not in predictions:
        return predictions
    raw = _numbers(predictions, RAW_BOX, "score")
    score = raw.copy()
    labels = predictions["label"].astype("str")
    if calibration is not None:
        for name in calibration.names:
            own = (labels == name).to_numpy(dtype=bool)
            score[own] = calibration.apply_to(name, raw[own])
    kept = predictions.drop(columns=RAW_BOX, errors="ignore").assign(score=score)
    if calibration is not None:
        kept.insert(list(kept.columns).index("score") + 1, RAW_BOX, raw)
    case = pd.factorize(kept["case_id"])[0]
    return kept.iloc[np.lexsort((-score, case))].reset_index(drop=True)  # lexsort is stable: ties keep their order


def called_class(scores: FloatArray, kind: str) -> IntArray:
    """``(n, K)`` scores -> ``(n,)`` class number: the highest-scoring; of an ordinal target the median grade."""
    if kind != "ordinal":
        return np.asarray(scores.argmax(axis=1), dtype=np.intp)
    grade: IntArray = (scores.cumsum(axis=1)[:, :-1] < 0.5).sum(axis=1)
    return grade


def _numbers(table: pd.DataFrame, *columns: str) -> FloatArray:
    """The first of the columns that the table has."""
    for column in columns:
        if column in table:
            return pd.to_numeric(table[column]).to_numpy(dtype=np.float64)
    raise SuiteError(f"predictions table: no column {columns[-1]!r} (found: {', '.join(map(str, table.columns))})")
