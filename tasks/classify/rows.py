"""Rows of the predictions table from scores of cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from datamodules.types import Batch
from tasks.batches import case_ids
from tasks.classify.scores import called_class


def case_rows(scores: Tensor, batch: Batch, target: str, class_names: Sequence[str]) -> dict[str, list[Any]]:
    """``case_id`` and ``target``, ``prediction``, ``score_<class>`` (see the tables of the documentation).

    Args:
        scores: (B, C) probabilities; (B, 1) numbers for regression.
        batch: the cases; without ``label`` there is no column ``target``.
        target: kind of target.
        class_names: in class order.
    """
    scores = scores.double().cpu()
    label = batch["label"].cpu() if "label" in batch else None
    columns: dict[str, list[Any]] = {"case_id": case_ids(batch["scan"])}
    if target == "regression":
        if label is not None:
            columns["target"] = label.double().tolist()
        columns["prediction"] = scores[:, 0].tolist()
    elif target == "multilabel":
        for position, name in enumerate(class_names):
            if label is not None:
                # NaN, not None: a part without any known cell must not turn the column into objects.
                columns[f"target_{name}"] = label[:, position].double().tolist()
            columns[f"prediction_{name}"] = (scores[:, position] > 0.5).int().tolist()
            columns[f"score_{name}"] = scores[:, position].tolist()
    else:
        if label is not None:
            columns["target"] = [class_names[number] for number in label.tolist()]
        columns["prediction"] = [class_names[number] for number in called_class(scores, target).tolist()]
        for position, name in enumerate(class_names):
            columns[f"score_{name}"] = scores[:, position].tolist()
    return columns
