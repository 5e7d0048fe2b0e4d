"""Calibration applied to predictions tables; the raw scores stay beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import FloatArray

IntArray: TypeAlias = NDArray[np.intp]
# Columns of scores as the model gave them.
RAW = "uncalibrated_"
RAW_BOX = "uncalibrated_score"


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
