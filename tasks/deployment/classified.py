"""Classified cases as tables: scores and calls of each, and the weights of a case's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.types import BagImage
from tasks.deployment.predictions import Predictions
from tasks.deployment.tables import with_paths
from tasks.evaluation.calibration.applying import calibrate_cases, called_class
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.classification.operating_point import call_at
from tasks.evaluation.tables import write_table


@dataclass(frozen=True)
class ClassifierFacts:
    """What turns the scores of a classifier into calls.

    Attributes:
        target: kind of target.
        class_names: in class order.
        positive_class: of a binary target.
        calibration: of the scores; None: they are the model's own.
        operating_points: threshold by class.
    """

    target: str
    class_names: Sequence[str]
    positive_class: str | None = None
    calibration: Calibration | None = None
    operating_points: Mapping[str, float] = field(default_factory=dict)

    def called(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """Calibrated predictions with ``prediction_op``, or ``prediction_op_<label>``."""
        calibrated = calibrate_cases(predictions, self.calibration, self.target, self.class_names)
        return call_at(calibrated, self.operating_points, self.target, self.class_names, self.positive_class)


@dataclass(frozen=True, repr=False, eq=False)
class ClassificationPredictions(Predictions):
    """See :class:`~tasks.deployment.predictions.Predictions`.

    Attributes:
        attention: ``case_id,path,slice,weight`` of the images of each case, where the model weighs them.
    """

    attention: pd.DataFrame | None = None

    @property
    def scores(self) -> pd.DataFrame:
        """A row a case (the index), a column a class; of a regression target the column ``prediction``."""
        table = self.table.set_index("case_id")
        if "score_" in "".join(table.columns):
            table = table.filter(regex="^score_")
            return table.rename(columns=lambda name: name.removeprefix("score_"))
        return table[["prediction"]] if "prediction" in table else table


def score_columns(
    case_ids: Sequence[str],
    scores: NDArray[np.float64],
    target: str,
    class_names: Sequence[str],
    label: NDArray[Any] | None = None,
) -> dict[str, list[Any]]:
    """``case_id`` and ``target``, ``prediction``, ``score_<class>`` (see the tables of the documentation).

    Args:
        case_ids: of B cases.
        scores: (B, C) probabilities; (B, 1) numbers for regression.
        target: kind of target.
        class_names: in class order.
        label: (B,) or (B, L); without it there is no column ``target``.
    """
    columns: dict[str, list[Any]] = {"case_id": list(case_ids)}
    if target == "regression":
        if label is not None:
            columns["target"] = label.astype(np.float64).tolist()
        columns["prediction"] = scores[:, 0].tolist()
    elif target == "multilabel":
        for position, name in enumerate(class_names):
            if label is not None:
                # NaN, not None: a part without any known cell must not turn the column into objects.
                columns[f"target_{name}"] = label[:, position].astype(np.float64).tolist()
            columns[f"prediction_{name}"] = (scores[:, position] > 0.5).astype(int).tolist()
            columns[f"score_{name}"] = scores[:, position].tolist()
    else:
        if label is not None:
            columns["target"] = [class_names[number] for number in label.tolist()]
        columns["prediction"] = [class_names[number] for number in called_class(scores, target).tolist()]
        for position, name in enumerate(class_names):
            columns[f"score_{name}"] = scores[:, position].tolist()
    return columns


def weight_rows(case_id: str, images: Sequence[BagImage], weights: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of ``attention.csv`` of a case: ``case_id,path,slice,weight``; ``slice`` is empty for a whole file."""
    return [
        {"case_id": case_id, "path": image.path, "slice": image.slice if image.slice >= 0 else pd.NA, "weight": weight}
        for image, weight in zip(images, weights, strict=True)
    ]


def weight_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame | None:
    """``case_id,path,slice,weight``, sorted, each image once; None where nothing was weighed."""
    if not rows:
        return None
    table = pd.DataFrame(rows).astype({"slice": "Int64"}).drop_duplicates(["case_id", "path", "slice"])
    return table.sort_values(["case_id", "path", "slice"], ignore_index=True, kind="stable")


def finished_table(
    predictions: pd.DataFrame,
    facts: ClassifierFacts,
    paths: Mapping[str, str],
    attention: pd.DataFrame | None,
    output: Path | None,
) -> pd.DataFrame:
    """The table of all cases, calibrated and called; ``attention.csv`` is written where images were weighed.

    Args:
        predictions: :func:`score_columns` of all cases.
        facts: of the model.
        paths: by case id.
        attention: as :func:`weight_table` gives it.
        output: folder; None: nothing is written.
    """
    if attention is not None and output is not None:
        write_table(attention, output / "attention.csv")
    return with_paths(facts.called(predictions), paths) if len(predictions) else predictions
