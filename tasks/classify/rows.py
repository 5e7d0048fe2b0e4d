"""Rows of the predictions table from scores of cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from datamodules.types import Batch
from tasks.batches import case_ids
from tasks.deployment.classified import score_columns


def case_rows(scores: Tensor, batch: Batch, target: str, class_names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of the cases of a batch, see :func:`~tasks.deployment.classified.score_columns`.

    Args:
        scores: (B, C) probabilities; (B, 1) numbers for regression.
        batch: the cases; without ``label`` there is no column ``target``.
        target: kind of target.
        class_names: in class order.
    """
    label = batch["label"].cpu().numpy() if "label" in batch else None
    return score_columns(case_ids(batch["scan"]), scores.double().cpu().numpy(), target, class_names, label)
