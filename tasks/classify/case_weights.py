"""What each training case counts where a head is fitted to all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.classify.losses import ClassificationLoss

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask


def weights_of(task: ClassificationTask, labels: NDArray[Any], every: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the cases: their own, by those of their class, or of each label that they have.

    Args:
        task: says target and weights of classes.
        labels: (N,), or (N, L) with NaN where they are unknown.
        every: (N,) weights of their own.

    Returns:
        (N,), of a multilabel target (N, L).
    """
    assert isinstance(task.criterion, ClassificationLoss)
    given = task.criterion.weights
    by_class = np.ones(task.num_classes) if given is None else given.double().cpu().numpy()
    if task.target == "multilabel":
        of_labels: NDArray[np.float64] = every[:, None] * np.where(labels > 0, by_class, 1.0)
        return of_labels
    if task.target == "regression":
        return every
    of_cases: NDArray[np.float64] = every * by_class[labels.astype(np.int64)]
    return of_cases
