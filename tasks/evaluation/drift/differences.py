"""Differences between two groups of patients in one variable: kept two-sample tests, and how large a difference is.

Numbers: the test of Kolmogorov and Smirnov, which sees a shift as well as another spread. Categories: Pearson's
chi-squared test, Fisher's exact one for two by two small counts, and the same statistic over random tables of equal
margins where a larger table has small counts. All are scipy's.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.drift.variables import Variable
from tasks.evaluation.holm import holm

# Of fewer patients on a side nothing is tested.
LEAST = 10
# A flag is raised where the adjusted p-value is below the first, and the difference at least as large as the second:
# in a hundred thousand patients every difference is significant.
ALPHA = 0.01
LEAST_EFFECT = 0.1
_EXACT = 500  # patients up to which the distribution of KS is counted out
_RARE = 5  # cases; levels with fewer are one level together
_BINS = 10  # at most, of as many patients each
_TABLES = 9999  # random ones
_MOST_LEVELS = 50


@dataclass(frozen=True, eq=False)
class Difference:
    """A variable in a reference group and in a new one.

    Attributes:
        name: of the variable.
        group: of the variable.
        kind: ``number`` or ``category``.
        patients: with a known value: in the reference, in the new group.
        reference: mean and standard deviation, or the shares of :attr:`levels`.
        new: likewise.
        levels: of categories.
        distance: numbers: the largest distance of the two distribution functions (the D of Kolmogorov and Smirnov);
            categories: Cramér's V. 0..1; NaN = undefined.
        standardised: difference of the means in standard deviations (new minus reference); of categories the distance
            of the shares by Mahalanobis (Yang and Dalton 2012), without a sign. NaN = undefined.
        psi: population stability index; NaN = undefined.
        p: of the test; NaN = nothing was tested.
        adjusted: by Holm's method over all variables compared.
        untested: why there is no test.
    """

    name: str
    group: str
    kind: str
    patients: tuple[int, int]
    reference: tuple[float, ...] = ()
    new: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    distance: float = math.nan
    standardised: float = math.nan
    psi: float = math.nan
    p: float = math.nan
    adjusted: float = math.nan
    untested: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the groups differ beyond chance, and by more than a trifle."""
        return bool(self.adjusted < ALPHA and self.distance >= LEAST_EFFECT)

    @property
    def standardised_interval(self) -> tuple[float, float]:
        """95 % interval of the standardised difference of means (Hedges and Olkin 1985); NaN for categories."""
        first, second = self.patients
        if self.kind != "number" or not math.isfinite(self.standardised) or min(first, second) < LEAST:
            return math.nan, math.nan
        half = 1.96 * math.sqrt(1 / first + 1 / second + self.standardised**2 / (2 * (first + second)))
        return self.standardised - half, self.standardised + half


def compare(reference: Variable, new: Variable, seed: int = 0) -> Difference:
    """One variable in two groups whose values are independent: one value a patient.

    Args:
        reference: of one group.
        new: the same of the other.
        seed: of random tables.
    """
    first, second = reference.values[reference.known], new.values[new.known]
    if reference.kind == "number":
        return _numbers(reference, first.astype(np.float64), second.astype(np.float64))
    return _categories(reference, first, second, seed)


def adjust(differences: list[Difference]) -> list[Difference]:
    """The same with p-values adjusted for so many tests."""
    adjusted = holm([one.p for one in differences])
    return [replace(one, adjusted=float(p)) for one, p in zip(differences, adjusted, strict=True)]


def _numbers(about: Variable, first: NDArray[np.float64], second: NDArray[np.float64]) -> Difference:
    from scipy import stats

    patients = (len(first), len(second))
    found = Difference(about.name, about.group, "number", patients)
    if not min(patients):
        return replace(found, untested="unknown")
    found = replace(
        found, reference=_moments(first), new=_moments(second), standardised=standardised_mean(first, second)
    )
    if np.ptp(np.concatenate([first, second])) == 0:
        return replace(found, distance=0.0, untested="the same in all")
    method = "exact" if max(patients) <= _EXACT else "asymp"
    with warnings.catch_warnings():  # where it cannot be counted out, scipy takes the limit and warns
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ks_2samp(first, second, method=method)
    found = replace(found, distance=float(test.statistic), psi=_psi_of_numbers(first, second))
    if min(patients) < LEAST:
        return replace(found, untested=f"fewer than {LEAST} patients")
    return replace(found, p=float(test.pvalue))


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan


def standardised_mean(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Difference of means, second minus first, in units of the mean standard deviation (Austin 2009).

    NaN where a group has fewer than two values; 0 where all are equal, infinite where each group has one value only.
    """
    if min(len(first), len(second)) < 2:
        return math.nan
    difference = float(second.mean() - first.mean())
    spread = math.sqrt((float(first.var(ddof=1)) + float(second.var(ddof=1))) / 2)
    trifle = 1e-12 * max(1.0, abs(float(first.mean())))  # rounding
    if spread <= trifle:
        return 0.0 if abs(difference) <= trifle else math.copysign(math.inf, difference)
    return difference / spread


def _psi_of_numbers(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """PSI over tenths of the reference; fewer bins where patients are few or values repeat."""
    bins = int(np.clip(min(len(first), len(second)) // _BINS, 2, _BINS))
    edges = np.unique(np.quantile(first, np.arange(1, bins) / bins))
    counts = [
        np.bincount(np.searchsorted(edges, part, side="left"), minlength=len(edges) + 1) for part in (first, second)
    ]
    return stability_index(*counts)


def stability_index(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Population stability index of counts by bin: sum of (q - p) log(q / p); half a case is added to each bin.

    Without this an empty bin makes it infinite. Values below 0.1 are usually taken for stable, above 0.25 for shifted.

    Args:
        first: ``(bins,)`` counts of the reference.
        second: ``(bins,)`` counts of the new group.
    """
    shares = [(counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (first, second)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _categories(about: Variable, first: NDArray[Any], second: NDArray[Any], seed: int) -> Difference:
    patients = (len(first), len(second))
    found = Difference(about.name, about.group, "category", patients)
    if not min(patients):
        return replace(found, untested="unknown")
    codes, levels = pd.factorize(pd.Series(np.concatenate([first, second])).astype("str"), sort=True)
    table = np.stack([
        np.bincount(codes[: len(first)], minlength=len(levels)), np.bincount(codes[len(first) :], minlength=len(levels))
    ])  # fmt: skip
    names, table = pooled([str(level) for level in levels], table)
    shares = table / table.sum(axis=1, keepdims=True)
    found = replace(
        found,
        levels=tuple(names),
        reference=tuple(shares[0].tolist()),
        new=tuple(shares[1].tolist()),
        standardised=standardised_shares(table),
        psi=stability_index(*table),
    )
    if len(names) < 2:
        return replace(found, distance=0.0, untested="the same in all")
    p, strength = _association(table, seed)
    found = replace(found, distance=strength)
    if min(patients) < LEAST:
        return replace(found, untested=f"fewer than {LEAST} patients")
    return replace(found, p=p)


def pooled(names: list[str], table: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """A table of counts whose rare levels are one together, where there are several of them.

    Args:
        names: of the levels.
        table: ``(2, levels)``.
    """
    totals = table.sum(axis=0)
    rare = totals < _RARE
    if len(names) > _MOST_LEVELS:
        rare |= np.argsort(np.argsort(-totals, kind="stable"), kind="stable") >= _MOST_LEVELS
    if rare.sum() < 2 or len(names) < 3:
        return names, table
    kept = [name for name, one in zip(names, rare, strict=True) if not one]
    return [*kept, "all others"], np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])


def _association(table: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """p-value and Cramér's V of a 2 x levels table without empty rows and columns."""
    from scipy import stats

    strength = float(stats.contingency.association(table, method="cramer"))
    if stats.contingency.expected_freq(table).min() >= _RARE:
        return float(stats.chi2_contingency(table, correction=False).pvalue), strength
    if table.shape == (2, 2):
        return float(stats.fisher_exact(table).pvalue), strength
    method = stats.MonteCarloMethod(n_resamples=_TABLES, rng=np.random.default_rng(seed))
    return float(stats.chi2_contingency(table, correction=False, method=method).pvalue), strength


def standardised_shares(table: NDArray[np.int64]) -> float:
    """Distance of two distributions over levels in standard deviations.

    Source: D. Yang and J. E. Dalton, A unified approach to measuring the effect size between two groups, SAS Global
    Forum 335, 2012. With two levels it is the usual standardised difference of shares.

    Args:
        table: ``(2, levels)`` counts.

    Returns:
        0 or more; NaN where a group is empty, infinite where the groups share no level and do not vary.
    """
    totals = table.sum(axis=1, keepdims=True)
    if not totals.all():
        return math.nan
    shares = (table / totals)[:, :-1]
    difference = shares[1] - shares[0]
    if not np.any(np.abs(difference) > 1e-12):
        return 0.0
    covariance = sum(np.diag(row) - np.outer(row, row) for row in shares) / 2
    if np.linalg.matrix_rank(covariance, hermitian=True) < len(difference):
        solved, *_ = np.linalg.lstsq(covariance, difference, rcond=None)
        if not np.allclose(covariance @ solved, difference, atol=1e-9):
            return math.inf
    else:
        solved = np.linalg.solve(covariance, difference)
    return math.sqrt(max(0.0, float(difference @ solved)))
