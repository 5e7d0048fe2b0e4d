"""Kernel ridge regression on kept features, its kernel and its ridge chosen on folds of patients.

Least squares with a kernel has one solution for all classes at once, and what it says of cases that were held out is
had at the price of one decomposition a fold (Rifkin, Yeo and Poggio, Regularized least-squares classification, 2003). A
Gaussian kernel calls an image by the training images that are like it, which a linear one cannot; a linear one is ahead
where labels are noisy: so both are tried. What is held out also says how far to stretch the outputs, so that they are
logits (Platt, 1999).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.classify.case_weights import weights_of
from tasks.classify.kernel_head import KernelHead, gaussian
from tasks.classify.targets import NEVER, ONE_CLASS

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask

log = logging.getLogger(__name__)

Kernel = Literal["linear", "gaussian"]
RIDGES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # beside kernels of which an image with itself is 1 in the mean
FOLDS = 5
MOST = 4000  # training images that are compared with each other
_FLAT = 1e-3  # factor of the squared stretch and shifts, so that what separates without an error has an end

_Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Cases:
    """Training images as kernels see them.

    Attributes:
        rows: (N, F) standardised features, by the root of F.
        targets: (N, outputs): 1 and -1, or a regression's numbers; NaN where they are unknown.
        weights: (N, outputs) of the cases.
        folds: (N,) number of the fold in which each is held out.
    """

    rows: _Numbers
    targets: _Numbers
    weights: _Numbers
    folds: NDArray[np.intp]


class Fitted(NamedTuple):
    """A kernel and a ridge, and what came of them.

    Attributes:
        kernel: its name.
        ridge: beside the kernel.
        weights: (N, outputs) of the training images, zero where their label is unknown.
        held_out: (N, outputs) of each training image by what was fitted without its fold.
        others: (V, outputs) of the validation images.
    """

    kernel: Kernel
    ridge: float
    weights: _Numbers
    held_out: _Numbers
    others: _Numbers


def fit_kernels(
    task: ClassificationTask,
    head: KernelHead,
    train: tuple[torch.Tensor, torch.Tensor],
    val: tuple[torch.Tensor, torch.Tensor],
    weights: _Numbers | None,
    groups: NDArray[np.intp],
) -> float:
    """Fit a head of kernels, and leave it in place.

    Args:
        task: says target, loss and weights of classes; ``l2`` is the ridge where it is given.
        head: to fill.
        train: (M, F) features and (M, ...) labels of the training images.
        val: likewise of the validation images, which are counted as held out.
        weights: (M,) of the training images; None: all alike.
        groups: (M,) number of the patient of each.

    Returns:
        The loss of held-out cases.

    Raises:
        SuiteError: all training cases are of one class.
    """
    began = time.monotonic()
    features, labels = train
    every = np.ones(len(features)) if weights is None else weights
    if len(features) > MOST:
        some = np.sort(np.random.default_rng(0).permutation(len(features))[:MOST])
        log.info("head: %d of %d training images, drawn at random, are compared with each other", MOST, len(features))
        features, labels, every, groups = features[some], labels[some], every[some], groups[some]
    head.eval()
    head.scale.see(features)
    with torch.no_grad():
        rows, others = (head.standardised(part).double().numpy() for part in (features, val[0]))
    targets = targets_of(task, labels.numpy())
    mean, spread = (np.nanmean(targets), max(np.nanstd(targets), 1e-9)) if task.target == "regression" else (0.0, 1.0)
    counts = np.broadcast_to(weights_of(task, labels.numpy(), every).reshape(len(rows), -1), targets.shape)
    cases = Cases(rows, (targets - mean) / spread, counts, folds_of(groups))
    ridges = RIDGES if task.l2 is None else (task.l2,)
    together = task.target != "multilabel" and task.criterion.name != "ordinal"  # a logit a class
    truth = torch.cat([labels, val[1]])
    tried: list[tuple[float, Fitted, _Numbers, _Numbers]] = []
    for fitted in candidates(cases, others, ridges):
        if task.target == "regression":
            stretch, shift = np.full(1, spread), np.full(1, mean)
        else:
            stretch, shift = stretched(fitted.held_out, cases, together=together)
        said = np.concatenate([fitted.held_out, fitted.others]) * stretch + shift
        with torch.no_grad():
            loss = float(task.criterion(torch.from_numpy(said).float(), truth))
        tried.append((loss, fitted, stretch, shift))
    loss, fitted, stretch, shift = min(tried, key=lambda one: one[0])
    put(head, fitted, rows, stretch, shift)
    task.l2 = fitted.ridge
    task.hparams.update(l2=fitted.ridge)
    log.info(
        "head: %s kernel on %s of %d features%s, ridge %g (of %s the best on %d folds and val), loss %.4f held out; "
        "fitted in %.1f seconds",
        fitted.kernel, number_of(len(rows), "training image"), head.width,
        ", which are kept in the checkpoint" if len(head.landmarks) else "", fitted.ridge,
        number_of(len(tried), "fit"), int(cases.folds.max()) + 1, loss, time.monotonic() - began,
    )  # fmt: skip
    return loss


def targets_of(task: ClassificationTask, labels: NDArray[np.generic]) -> _Numbers:
    """What each output shall be: 1 or -1, a number, or NaN where it is unknown or does not count.

    Raises:
        SuiteError: all cases are of one class.
    """
    if task.target == "regression":
        return labels.astype(np.float64).reshape(-1, 1)
    if task.target == "multilabel":
        return 2 * labels.astype(np.float64) - 1
    if len(np.unique(labels)) < 2:
        raise SuiteError(ONE_CLASS)
    numbers = labels.astype(np.int64)[:, None]
    if task.criterion.name == "ordinal":  # logit k: above class k, learnt on the cases of at least class k
        steps = np.arange(task.num_classes - 1)
        return np.where(numbers >= steps, np.where(numbers > steps, 1.0, -1.0), np.nan)
    one_hot: _Numbers = np.where(numbers == np.arange(task.num_classes), 1.0, -1.0)
    return one_hot


def folds_of(groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """(N,) fold of each case, those of one patient in one; where there is one patient, cases are dealt.

    Raises:
        SuiteError: there is one case.
    """
    from sklearn.model_selection import GroupKFold

    if len(np.unique(groups)) < 2:
        groups = np.arange(len(groups))
    folds = np.zeros(len(groups), np.intp)
    count = min(FOLDS, len(np.unique(groups)))
    if count < 2:
        raise SuiteError(
            "--model.head kernel: its kernel is chosen on folds of at least two training cases, and there is one: give "
            "--model.head pool"
        )
    for number, (_, held) in enumerate(GroupKFold(count, shuffle=True, random_state=0).split(folds, groups=groups)):
        folds[held] = number
    return folds


def candidates(cases: Cases, others: _Numbers, ridges: tuple[float, ...]) -> Iterator[Fitted]:
    """Each kernel with each ridge."""
    first, second = torch.from_numpy(cases.rows), torch.from_numpy(others)
    kernels: dict[Kernel, tuple[_Numbers, _Numbers]] = {
        "linear": (cases.rows @ cases.rows.T, others @ cases.rows.T),
        "gaussian": (gaussian(first, first).numpy(), gaussian(second, first).numpy()),
    }
    for name, (own, outer) in kernels.items():
        held_out = np.full((len(ridges), *cases.targets.shape), np.nan)
        for fold in np.unique(cases.folds):
            held = cases.folds == fold
            held_out[:, held] = own[held] @ solved(own, cases, ridges, ~held)
        whole = solved(own, cases, ridges, np.ones(len(own), np.bool_))
        for ridge, weights, apart in zip(ridges, whole, held_out, strict=True):
            yield Fitted(name, ridge, weights, apart, outer @ weights)


def solved(kernel: _Numbers, cases: Cases, ridges: tuple[float, ...], among: NDArray[np.bool_]) -> _Numbers:
    """(R, N, outputs) weights of the training images by each ridge, zero for those that take no part.

    Args:
        kernel: (N, N).
        cases: see there.
        ridges: R of them.
        among: (N,) whether a case takes part.
    """
    weights = np.zeros((len(ridges), *cases.targets.shape))
    known = ~np.isnan(cases.targets) & among[:, None]
    columns = np.arange(cases.targets.shape[1])
    while len(columns):  # outputs with the same cases and weights share a decomposition
        one = columns[0]
        alike = np.array([
            bool((known[:, other] == known[:, one]).all())
            and bool((cases.weights[:, other] == cases.weights[:, one])[known[:, one]].all())
            for other in columns
        ])  # fmt: skip
        chosen, columns = columns[alike], columns[~alike]
        rows = np.flatnonzero(known[:, one])
        if not len(rows):
            continue
        root = np.sqrt(cases.weights[rows, one])[:, None]
        values, vectors = np.linalg.eigh(root * kernel[np.ix_(rows, rows)] * root.T)
        turned = vectors.T @ (root * cases.targets[np.ix_(rows, chosen)])
        for number, ridge in enumerate(ridges):
            part = root * (vectors @ (turned / (np.maximum(values, 0) + ridge)[:, None]))
            weights[number][np.ix_(rows, chosen)] = part
    return weights


def stretched(held_out: _Numbers, cases: Cases, *, together: bool) -> tuple[_Numbers, _Numbers]:
    """(outputs,) factors and shifts that make logits of what was held out: those of the least weighted loss.

    Args:
        held_out: (N, outputs).
        cases: see there.
        together: classes exclude each other, and have one factor.
    """
    count = held_out.shape[1]
    factors, shifts = np.ones(count), np.full(count, NEVER)
    if together:
        there = np.flatnonzero((cases.targets > 0).any(axis=0))
        right = (cases.targets[:, there] > 0).argmax(axis=1)
        factor, shifts[there] = _softmax(held_out[:, there], right, cases.weights[:, 0])
        return factors * factor, shifts
    for one in range(count):
        known = ~np.isnan(cases.targets[:, one])
        said, positive = held_out[known, one], cases.targets[known, one] > 0
        if not known.any() or positive.all() or not positive.any():  # as if there were one more of each
            factors[one], shifts[one] = 0.0, np.log((positive.sum() + 1) / ((~positive).sum() + 1))
            continue
        pair = np.stack([-said, said], axis=1) / 2
        factors[one], shift = _softmax(pair, positive.astype(np.intp), cases.weights[known, one])
        shifts[one] = shift[1] - shift[0]
    return factors, shifts


def _softmax(outputs: _Numbers, right: NDArray[np.intp], weights: _Numbers) -> tuple[float, _Numbers]:
    """Factor above 0 of all (N, K) outputs, and (K,) shifts, with the least cross-entropy."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    rows = np.arange(len(right))
    share = weights / weights.sum()

    def loss(asked: _Numbers) -> tuple[float, _Numbers]:
        factor = np.exp(asked[0])
        logs = log_softmax(factor * outputs + asked[1:], axis=1)
        off = np.exp(logs)
        off[rows, right] -= 1
        off *= share[:, None]
        slope = np.concatenate([[factor * (off * outputs).sum()], off.sum(axis=0)])
        return float(-(share * logs[rows, right]).sum() + _FLAT / 2 * (asked**2).sum()), slope + _FLAT * asked

    found = minimize(loss, np.zeros(1 + outputs.shape[1]), jac=True, method="L-BFGS-B").x
    return float(np.exp(found[0])), found[1:]


@torch.no_grad()
def put(head: KernelHead, fitted: Fitted, rows: _Numbers, stretch: _Numbers, shift: _Numbers) -> None:
    """Fill a head with what was fitted."""
    weights = fitted.weights * stretch
    linear = rows.T @ weights if fitted.kernel == "linear" else np.zeros((rows.shape[1], weights.shape[1]))
    head.linear.weight.copy_(torch.from_numpy(linear.T))
    head.linear.bias.copy_(torch.from_numpy(shift))
    kept = len(rows) if fitted.kernel == "gaussian" else 0
    head.landmarks, head.weights = (torch.from_numpy(part[:kept]).float() for part in (rows, weights))
