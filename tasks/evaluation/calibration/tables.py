"""Calibration fitted on the predictions tables of validation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import Calibration, Method
from tasks.evaluation.calibration.fitting import Fitted, fit_calibration
from tasks.evaluation.calibration.scored import scored, uncalibrated
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
