"""Ratios of sums over patients (shares of cases, means over cases), and how far each patient moves them.

The variance of a ratio is that of its linear approximation, patient by patient: two scans of one patient are no two
witnesses. Source: W. G. Cochran, Sampling Techniques, third edition, Wiley, 1977, chapters 6 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.evaluation.classification.weighted import divide

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


def numbered(groups: IntArray) -> IntArray:
    """``(n,)`` numbers from 0 on of patients with any numbers, in their order: those without a case have none.

    Args:
        groups: ``(n,)`` 0 or above.
    """
    number = np.cumsum(np.bincount(groups) > 0) - 1
    return number[groups].astype(np.intp) if len(groups) else groups


@dataclass(frozen=True, eq=False)
class Ratios:
    """L ratios over the same G patients; NaN where no case is in the denominator.

    Attributes:
        part: ``(G, L)`` each patient's sum of the numerator.
        whole: ``(G, L)`` each patient's sum of the denominator: cases, true boxes.
    """

    part: FloatArray
    whole: FloatArray

    @cached_property
    def units(self) -> FloatArray:
        """Sum of the denominator, ``(L,)``."""
        units: FloatArray = self.whole.sum(axis=0)
        return units

    @cached_property
    def value(self) -> FloatArray:
        """The ratios, ``(L,)``."""
        return divide(self.part.sum(axis=0), self.units)

    @cached_property
    def patients(self) -> IntArray:
        """How many patients have a part in the denominator, ``(L,)``."""
        count: IntArray = (self.whole > 0).sum(axis=0)
        return count

    @cached_property
    def moves(self) -> FloatArray:
        """How far each patient moves the ratio, ``(G, L)``: the squares add up to its variance.

        NaN where only one patient has a part in it.
        """
        few = np.sqrt(divide(self.patients.astype(np.float64), self.patients.astype(np.float64) - 1))
        return few * divide(self.part - self.value * self.whole, np.broadcast_to(self.units, self.part.shape))

    @cached_property
    def variance(self) -> FloatArray:
        """Of each ratio, ``(L,)``."""
        variance: FloatArray = (self.moves**2).sum(axis=0)
        return variance

    def fewest(self, columns: Sequence[int]) -> int:
        """Patients behind that of some ratios which has the fewest; those that are undefined are left out."""
        return min((int(self.patients[column]) for column in columns if self.units[column] > 0), default=0)


def patient_sums(values: ArrayLike, groups: IntArray) -> FloatArray:
    """Sums over the cases of each patient: ``(n, L)`` -> ``(G, L)``.

    Args:
        values: ``(n, L)``.
        groups: ``(n,)`` patient number of each case, 0..G-1.
    """
    columns = np.asarray(values, dtype=np.float64)
    patients = int(groups.max()) + 1 if len(groups) else 0
    sums = np.zeros((patients, columns.shape[1]))
    for number, column in enumerate(columns.T):
        sums[:, number] = np.bincount(groups, column, patients)
    return sums


def ratios(numerator: ArrayLike, denominator: ArrayLike, groups: IntArray) -> Ratios:
    """Sum of the numerator over sum of the denominator, column by column.

    Args:
        numerator: ``(n, L)`` of each case, 0 where the denominator is.
        denominator: ``(n, L)`` >= 0: what the case counts for.
        groups: ``(n,)`` patient number of each case, 0..G-1.
    """
    return Ratios(patient_sums(numerator, groups), patient_sums(denominator, groups))
