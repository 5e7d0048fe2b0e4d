"""Heads fitted to features at once, without a step of an optimiser: linear ones by scikit-learn, and neighbours.

A linear head is the solution of a convex problem, which scikit-learn's solvers reach; its coefficients are put into the
head's linear layer, so that the model is one like any other.
"""

from __future__ import annotations

import logging
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from datamodules.base import ScanDataModule
from datamodules.samples.features import FeatureDataset
from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.classify.case_weights import weights_of
from tasks.classify.heads import Head, Standardised
from tasks.classify.kernel_fit import fit_kernels
from tasks.classify.kernel_head import KernelHead
from tasks.classify.neighbours import NeighbourHead
from tasks.classify.targets import NEVER, ONE_CLASS
from tasks.evaluation.bootstrap import group_cases

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask

log = logging.getLogger(__name__)

# Factors of the squared weights that are tried on validation; scikit-learn's C is one over it.
# From the largest on, until two in a row are worse: the smaller, the longer a solver takes.
FACTORS = (10_000.0, 1000.0, 100.0, 10.0, 1.0, 0.1, 0.01)
_WORSE = 2
_MOST_STEPS = 10_000

_Numbers = NDArray[np.float64]


class Linear(NamedTuple):
    """A linear layer.

    Attributes:
        weight: (outputs, F).
        bias: (outputs,).
    """

    weight: _Numbers
    bias: _Numbers


def fit_head(task: ClassificationTask, data: ScanDataModule) -> float:
    """Fit the head of a task to features, and leave it in the task.

    Args:
        task: with a head that is fitted (``pool``, ``levels``, ``kernel``, ``flatten``, ``knn``).
        data: whose parts are features; on validation ``l2`` is chosen where it is not given.

    Returns:
        The loss of cases that it was not fitted to: of validation, with ``kernel`` of folds too; NaN with ``knn``.

    Raises:
        SuiteError: all training cases are of one class; neighbours are to be weighted; kernels have one case.
    """
    assert task.head is not None
    device, head = task.device, task.head.cpu()
    try:
        return _fit_on_cpu(task, head, data)
    finally:
        head.to(device)  # features of other parts go through its norm, where it has one


def _fit_on_cpu(task: ClassificationTask, head: nn.Module, data: ScanDataModule) -> float:
    train, val = data.part("train"), data.part("val")
    assert isinstance(train, FeatureDataset)
    assert isinstance(val, FeatureDataset)
    assert train.labels is not None
    assert val.labels is not None
    weights = data.sampler_weights(data.rows("train"))
    began = time.monotonic()
    copies = train.features.shape[1]
    features, labels = train.features.flatten(0, 1), train.labels.repeat_interleave(copies, dim=0)
    size = f"{number_of(len(features), 'training image')} of {features.shape[1]} features"
    if isinstance(head, NeighbourHead):
        if weights is not None:
            raise SuiteError("--data.sampler weighs cases, and neighbours vote alike: leave it out")
        head.remember(features, labels)
        log.info("head: the %d nearest of %s (cosine), which are kept in the checkpoint", head.neighbours, size)
        return float("nan")
    given = None if weights is None else np.repeat(weights / weights.mean(), copies)
    if isinstance(head, KernelHead):
        own = data.table.cases.iloc[data.rows("train")]
        groups = np.repeat(group_cases(own["case_id"], own["patient_id"]), copies)
        return fit_kernels(task, head, (features, labels), (val.features[:, 0], val.labels), given, groups)
    assert isinstance(head, Head)
    head.eval()
    if isinstance(head.scale, Standardised):
        head.scale.see(features)
    with torch.no_grad():
        numbers = head.scale(features).double().numpy()
    asked = task.l2
    tried: list[tuple[float, float, Linear]] = []
    for factor in FACTORS if asked is None else (asked,):
        fitted = solve(task, numbers, labels.numpy(), factor, given)
        _put(head, fitted)
        with torch.no_grad():
            loss = float(task.criterion(task.unit(head.classify(val.features[:, 0])), val.labels))
        tried.append((loss, factor, fitted))
        best = min(tried, key=lambda one: one[0])
        if len(tried) - tried.index(best) > _WORSE:
            break
    loss, factor, fitted = min(tried, key=lambda one: one[0])
    _put(head, fitted)
    task.l2 = factor
    task.hparams.update(l2=factor)
    how = "as given" if asked is not None else "of " + ", ".join(f"{one[1]:g}" for one in tried) + " the best on val"
    kind = "ridge regression" if task.target == "regression" else "logistic regression"
    log.info(
        "head: %s on %s, l2 %g (%s), loss %.4f on val; fitted in %.1f seconds",
        kind, size, factor, how, loss, time.monotonic() - began,
    )  # fmt: skip
    return loss


def solve(
    task: ClassificationTask, features: _Numbers, labels: NDArray[Any], l2: float, weights: _Numbers | None
) -> Linear:
    """The linear head with the least loss, l2 / 2 times its squared weights included.

    Args:
        task: says target, loss and weights of classes.
        features: (M, F).
        labels: (M,), or (M, L) with NaN where they are unknown.
        l2: factor of the squared weights, biases left out; the loss is summed over cases, as scikit-learn has it.
        weights: (M,) of the cases.
    """
    every = weights_of(task, labels, np.ones(len(features)) if weights is None else weights)
    if task.target == "regression":
        from sklearn.linear_model import Ridge

        standardised = (labels.astype(np.float64) - task.unit.mean) / task.unit.spread
        ridge = Ridge(alpha=l2).fit(features, standardised, sample_weight=every)
        return Linear(ridge.coef_[None].astype(np.float64), np.array([ridge.intercept_], np.float64))
    if task.target == "multilabel":
        rows = []
        for number in range(labels.shape[1]):
            known = ~np.isnan(labels[:, number])
            positive = labels[known, number] > 0
            rows.append(_two(features[known], positive, l2, every[known, number]))
        return _stacked(rows)
    if task.criterion.name == "ordinal":  # logit k: above class k, learnt on the cases of at least class k
        asked = [labels >= step for step in range(task.num_classes - 1)]
        return _stacked([_two(features[some], labels[some] > step, l2, every[some]) for step, some in enumerate(asked)])
    return _classes(features, labels, task.num_classes, l2, every)


def _classes(features: _Numbers, labels: NDArray[Any], count: int, l2: float, weights: _Numbers) -> Linear:
    present = np.unique(labels)
    if len(present) < 2:
        raise SuiteError(ONE_CLASS)
    coefficients, intercept = _logistic(features, labels, l2, weights)
    weight, bias = np.zeros((count, features.shape[1])), np.full(count, NEVER)
    if len(present) == 2:  # one row for both: the second over the first
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight[present], bias[present] = coefficients, intercept
    return Linear(weight, bias)


def _two(features: _Numbers, positive: NDArray[np.bool_], l2: float, weights: _Numbers) -> tuple[_Numbers, float]:
    """Row and bias of one logit; where all cases are alike the share of them alone, as if there were one more each."""
    if not len(positive) or positive.all() or not positive.any():
        count = int(positive.sum())
        return np.zeros(features.shape[1]), float(np.log((count + 1) / (len(positive) - count + 1)))
    coefficients, intercept = _logistic(features, positive, l2, weights)
    return coefficients[0], float(intercept[0])


def _logistic(features: _Numbers, labels: NDArray[Any], l2: float, weights: _Numbers) -> tuple[_Numbers, _Numbers]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        model = LogisticRegression(C=1 / l2, max_iter=_MOST_STEPS).fit(features, labels, sample_weight=weights)
    if any(issubclass(one.category, ConvergenceWarning) for one in told):
        log.warning("head: logistic regression with l2 %g has not converged in %d steps", l2, _MOST_STEPS)
    return np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)


def _stacked(rows: list[tuple[_Numbers, float]]) -> Linear:
    return Linear(np.stack([row for row, _ in rows]), np.array([bias for _, bias in rows]))


@torch.no_grad()
def _put(head: Head, fitted: Linear) -> None:
    head.linear.weight.copy_(torch.from_numpy(fitted.weight))
    head.linear.bias.copy_(torch.from_numpy(fitted.bias))
