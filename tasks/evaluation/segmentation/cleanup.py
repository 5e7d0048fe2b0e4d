"""Clean-up of a called mask: small components, or all but the largest, become background; chosen on validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError, nearest

# NIfTI stores spacing as float32: a component of exactly the smallest size must stay.
_SLACK = 1e-6
# Voxels counted or changed at once: numpy would turn the component numbers of a large image into int64 as a whole.
_VOXELS_AT_ONCE = 2**22
# Smallest sizes tried: fixed, so that ranks agree before they have seen a case, and wide enough for cells of a
# few square micrometres (in mm^2) as for organs and for photographs in pixels.
_SIZES = 2.0 ** np.arange(-20, 31)
_LEAST_GAIN = 1e-4

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class CleanUp:
    """Clean-up of masks by connected components: those that stay; the others become background (0).

    Components touch by a face, an edge or a corner (8 neighbours in 2D, 26 in 3D), so that a thin structure does not
    fall apart. Classes, and overlapping regions, are cleaned one by one.

    Attributes:
        largest: classes that keep their largest component only; of equal ones the first.
        min_size: smallest size, by class, that a component must have: mm^2 on a flat grid and mm^3 on that of a volume
            where the spacing is known, else pixels or voxels.
    """

    largest: tuple[str, ...] = ()
    min_size: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, size in self.min_size.items():
            if not 0 <= size < math.inf:
                raise SuiteError(f"clean-up: the smallest size of {name!r} is {size}: give mm^2, mm^3 or pixels from 0")

    def to_dict(self) -> dict[str, Any]:
        """Settings in plain types, for checkpoints and JSON."""
        return {"largest": list(self.largest), "min_size": {name: float(size) for name, size in self.min_size.items()}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> CleanUp:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            SuiteError: a field is unknown here, or a value is not allowed.
        """
        unknown = sorted(set(plain) - {one.name for one in fields(cls)})
        if unknown:
            raise SuiteError(f"saved clean-up has unknown fields {', '.join(unknown)}: made by a newer version")
        return cls(tuple(plain.get("largest", ())), dict(plain.get("min_size", {})))

    def __call__(
        self,
        mask: NDArray[np.uint8],
        class_names: Sequence[str],
        spacing: Sequence[float] | None = None,
        overlapping: bool = False,
    ) -> NDArray[np.uint8]:
        """Clean the mask of a whole case on its original grid.

        Args:
            mask: (H, W) or (X, Y, Z) class numbers; with ``overlapping`` (L, ...) zeros and ones.
            class_names: in the order of the numbers, background first; with ``overlapping`` the L regions.
            spacing: mm per axis of the grid, or None.
            overlapping: classes are regions that may overlap.

        Returns:
            A mask of the same shape and type; the one given is not changed.

        Raises:
            SuiteError: a class is none of the mask's, or the background.
            ValueError: spacing has not one number an axis.
        """
        wanted = {*self.largest, *self.min_size}
        cleanable = list(class_names if overlapping else class_names[1:])
        for name in sorted(wanted - set(cleanable)):
            raise SuiteError(f"clean-up: no class {name!r} to clean: {nearest(name, cleanable)}")
        if not wanted:
            return mask
        unit = voxel_size(spacing, mask.ndim - overlapping)
        cleaned = mask.copy()
        for number, name in enumerate(class_names):
            if name not in wanted:
                continue
            plane, value = (cleaned[number], 1) if overlapping else (cleaned, number)
            found = find_components(plane == value)
            if found is None:
                continue
            box, labels, counts = found
            stays = counts * unit >= self.min_size.get(name, 0.0) * (1 - _SLACK)
            if name in self.largest:
                stays[np.arange(len(counts)) != counts.argmax()] = False
            _erase(plane[box], labels, stays)
        return cleaned


class CleanUpChoice:
    """Choice of the clean-up that helps on validation, class by class.

    Tried by themselves are: nothing; each smallest size of a fixed grid, the powers of two from 2^-20 to 2^30 mm^2,
    mm^3 or pixels; the largest component alone. Each is evaluated by its mean Dice over the cases where it is defined,
    so that cleaning a case without the class (empty and empty: undefined, as in the tables) takes the 0 of a false call
    out of the mean. What is kept are sums, whatever the number of cases.

    Args:
        class_names: background first; with ``overlapping`` the regions.
        overlapping: classes are regions that may overlap.
        ignore_index: value of the truth that means unknown: such voxels are not counted, but components are measured
            with them, for predictions on new cases know no such voxels.
    """

    def __init__(
        self, class_names: Sequence[str], *, overlapping: bool = False, ignore_index: int | None = None
    ) -> None:
        self.class_names, self.overlapping, self.ignore_index = list(class_names), overlapping, ignore_index
        # (K, candidates): nothing, the sizes, the largest component
        self.total = np.zeros((len(class_names), len(_SIZES) + 2))
        self.defined = np.zeros(self.total.shape, np.int64)

    def add(self, truth: NDArray[Any], prediction: NDArray[np.uint8], spacing: Sequence[float] | None = None) -> None:
        """Evaluate a case.

        Args:
            truth: (H, W) or (X, Y, Z), or (L, ...) where regions overlap, on the original grid.
            prediction: of the same shape, not cleaned.
            spacing: mm per axis of the grid, or None.

        Raises:
            ValueError: the shapes differ, or spacing has not one number an axis.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"truth has shape {truth.shape} and prediction {prediction.shape}: evaluate on one grid")
        unit = voxel_size(spacing, truth.ndim - self.overlapping)
        for number in range(0 if self.overlapping else 1, len(self.class_names)):
            true, called = (truth[number], prediction[number]) if self.overlapping else (truth, prediction)
            known = None if self.ignore_index is None else true != self.ignore_index
            value = 1 if self.overlapping else number
            dice = _dice_of_candidates(true == value, called == value, known, unit)
            there = ~np.isnan(dice)
            self.total[number, there] += dice[there]
            self.defined[number] += there

    def merge(self, others: Iterable[CleanUpChoice]) -> None:
        """Add what other ranks have seen."""
        for other in others:
            self.total += other.total
            self.defined += other.defined

    def choose(self) -> CleanUp:
        """Choose for each class the best candidate, if its mean Dice is more than 1e-4 above that of doing nothing.

        Of equally good ones the smallest size is taken, and a size before the largest component: a case may have two.
        """
        largest: list[str] = []
        min_size: dict[str, float] = {}
        for name, total, defined in zip(self.class_names, self.total, self.defined, strict=True):
            means = np.divide(total, defined, out=np.full(len(total), -np.inf), where=defined > 0)
            if not defined[0]:
                continue
            good = np.flatnonzero(means >= means.max() - 1e-9)  # sums of the same numbers differ in their last digits
            best = int(good[0])
            if means[best] - means[0] <= _LEAST_GAIN:
                continue
            if best <= len(_SIZES):
                min_size[name] = float(_SIZES[best - 1])
            else:
                largest.append(name)
        return CleanUp(tuple(largest), min_size)


def voxel_size(spacing: Sequence[float] | None, axes: int) -> float:
    """mm^2 or mm^3 of a voxel, or 1 where the spacing is unknown.

    Raises:
        ValueError: spacing has not one number an axis.
    """
    if spacing is None:
        return 1.0
    if len(spacing) != axes:
        raise ValueError(f"spacing {tuple(spacing)} has not one number for each of {axes} axes")
    return math.prod(spacing)


def find_components(mask: BoolArray) -> tuple[tuple[slice, ...], NDArray[np.int32], NDArray[np.int64]] | None:
    """The box that holds a mask, the numbers 1.. of its components within the box, and their voxels; None if empty."""
    # Here, because the command line's help imports the task and needs no scipy.
    from scipy import ndimage

    box = ndimage.find_objects(mask.view(np.uint8), max_label=1)[0]
    if box is None:
        return None
    labels, number = ndimage.label(mask[box], ndimage.generate_binary_structure(mask.ndim, mask.ndim))
    return box, labels, _count(labels, number)


def _dice_of_candidates(
    truth: BoolArray, called: BoolArray, known: BoolArray | None, unit: float
) -> NDArray[np.float64]:
    """Dice of one case and class: as called, for each smallest size, and for the largest component; NaN undefined."""
    true = np.count_nonzero(truth)  # an unknown voxel has another value
    found = find_components(called)
    if found is None:
        return np.full(len(_SIZES) + 2, 0.0 if true else math.nan)
    box, labels, counts = found
    number = len(counts)
    tp = _count(labels, number, truth[box])
    calls = counts if known is None else _count(labels, number, known[box])

    # Components of at least a size are the end of the list sorted by size.
    order = counts.argsort(kind="stable")
    start = np.searchsorted(counts[order] * unit, _SIZES * (1 - _SLACK))
    start = np.array([0, *start])
    sums = [np.append(one[order][::-1].cumsum()[::-1], 0)[start] for one in (tp, calls)]
    largest = counts.argmax()
    kept_tp, kept_calls = (np.append(some, one[largest]) for some, one in zip(sums, (tp, calls), strict=True))
    size = true + kept_calls
    dice: NDArray[np.float64] = np.divide(2.0 * kept_tp, size, out=np.full(len(size), math.nan), where=size > 0)
    return dice


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, _VOXELS_AT_ONCE // math.prod(shape[1:]))
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def _count(labels: NDArray[np.int32], number: int, where: BoolArray | None = None) -> NDArray[np.int64]:
    """(number,) voxels of each component, or those of them that ``where`` holds."""
    counts = np.zeros(number + 1, np.int64)
    for slab in _slabs(labels.shape):
        part = labels[slab].ravel() if where is None else labels[slab][where[slab]]
        counts += np.bincount(part, minlength=number + 1)
    return counts[1:]


def _erase(mask: NDArray[np.uint8], labels: NDArray[np.int32], stays: BoolArray) -> None:
    """Set the components that do not stay to 0."""
    if stays.all():
        return
    goes = np.append(False, ~stays)
    for slab in _slabs(labels.shape):
        mask[slab][goes[labels[slab]]] = 0
