"""Dirichlet calibration: logits = W ln(p) + b, with off-diagonal and intercept regularisation (ODIR).

Least mean log loss + penalty (sum of the squares of W beside its diagonal / (K (K - 1)) + sum of those of b / K). The
penalty is that of the least log loss in a cross-validation by patient. Source: M. Kull and others, Beyond temperature
scaling, NeurIPS 2019, whose intercept may have a penalty of its own; here both are the same.
"""

from __future__ import annotations

import numpy as np

from tasks.evaluation.calibration.maps import FloatArray
from tasks.evaluation.intervals.ratios import IntArray

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5
# Beyond it the penalty hardly matters, and its cross-validation costs time.
MOST_CASES = 20_000


def fit_dirichlet(logs: FloatArray, target: IntArray, groups: IntArray, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """``(K, K)`` W and ``(K,)`` b.

    Args:
        logs: ``(n, K)`` logarithms of probabilities.
        target: ``(n,)`` class number.
        groups: ``(n,)`` patient number of each case.
        seed: of the dealing of patients to folds.
    """
    return solve(logs, target, choose_penalty(logs, target, groups, seed))


def choose_penalty(logs: FloatArray, target: IntArray, groups: IntArray, seed: int = 0) -> float:
    """The penalty of the least log loss on patients left out."""
    patients, number = np.unique(groups, return_inverse=True)
    dealt = np.random.default_rng(seed).permutation(len(patients))
    if len(target) > MOST_CASES:
        kept = dealt[number] < max(FOLDS, len(patients) * MOST_CASES // len(target))
        logs, target, number = logs[kept], target[kept], number[kept]
    fold = dealt[number] % min(FOLDS, len(patients))
    losses = []
    for penalty in PENALTIES:
        loss = 0.0
        for left_out in np.unique(fold):
            own = fold == left_out
            if own.all():
                continue
            matrix, intercept = solve(logs[~own], target[~own], penalty)
            loss += float(_log_losses(logs[own] @ matrix.T + intercept, target[own]).sum())
        losses.append(loss)
    # Of equal ones the largest: the simplest calibration.
    return PENALTIES[len(losses) - 1 - int(np.argmin(losses[::-1]))]


def solve(logs: FloatArray, target: IntArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    """W and b of the least penalised loss, from the identity on."""
    from scipy.optimize import minimize

    count, size = logs.shape
    beside = ~np.eye(size, dtype=bool)
    truth = np.zeros((count, size))
    truth[np.arange(count), target] = 1

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        matrix, intercept = flat[: size * size].reshape(size, size), flat[size * size :]
        logits = logs @ matrix.T + intercept
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (raised / raised.sum(axis=1, keepdims=True) - truth) / count
        off = np.where(beside, matrix, 0.0)
        value = _log_losses(logits, target).mean() + penalty * (
            (off**2).sum() / (size * (size - 1)) + (intercept**2).sum() / size
        )
        of_matrix = error.T @ logs + 2 * penalty * off / (size * (size - 1))
        of_intercept = error.sum(axis=0) + 2 * penalty * intercept / size
        return float(value), np.concatenate([of_matrix.ravel(), of_intercept])

    start = np.concatenate([np.eye(size).ravel(), np.zeros(size)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7, "ftol": 1e-13})
    solution = np.asarray(found.x, dtype=np.float64)
    return solution[: size * size].reshape(size, size), solution[size * size :]


def _log_losses(logits: FloatArray, target: IntArray) -> FloatArray:
    top = logits.max(axis=1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    losses: FloatArray = total - logits[np.arange(len(logits)), target]
    return losses
