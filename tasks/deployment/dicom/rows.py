"""Rows of a classifier's table -> what a result says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_SCORE, _CALLED = "score_", "prediction_op"


def scored(row: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
    """Arguments of :class:`~tasks.deployment.dicom.result.CaseResult` from a row of ``predictions.csv``.

    Called are the classes at or above their operating points; where none was chosen, the class that is predicted.

    Args:
        row: its columns.
        class_names: in class order; of a regression there are none with scores.

    Returns:
        ``scores`` and ``called``, or ``prediction``.
    """
    scores = {name: float(row[_SCORE + name]) for name in class_names if _is_number(row.get(_SCORE + name))}
    if not scores:
        value = row.get("prediction")
        return {"prediction": float(str(value))} if _is_number(value) else {}
    named = [name for name in class_names if f"{_CALLED}_{name}" in row]
    if named:
        called = [name for name in named if str(row[f"{_CALLED}_{name}"]) in ("1", "1.0", "True")]
    else:
        one = row.get(_CALLED, row.get("prediction"))
        called = [str(one)] if str(one) in scores else []
    return {"scores": scores, "called": called}


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
