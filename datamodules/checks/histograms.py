"""Histograms of a data set, and its images that are unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.measures import READ, TYPES
from datamodules.checks.store import FindingStore
from datamodules.checks.units import Units

_FEW = 0.2  # share of a set up to which what is unlike the rest is named one by one
_MOST_BARS = 12
_CLOSE = 1e-12  # of numbers up to 1: what twelve bins need that floats can tell apart


@dataclass(frozen=True)
class Histogram:
    """Counts to be shown.

    Attributes:
        title: of what.
        bars: what, and how often.
    """

    title: str
    bars: list[tuple[str, int]]


def check_likeness(
    units: Units, records: NDArray[Any], cases: NDArray[np.int64], store: FindingStore
) -> list[Histogram]:
    """Histograms of sizes, spacings, channels, types and means; what is unlike the rest is a finding.

    Args:
        units: what was read.
        records: (M,) what was measured.
        cases: (M,) row of the case table of each.
        store: takes findings.
    """
    read = np.flatnonzero(records["status"] == READ)
    if len(read) == 0:
        return []

    def note(kind: str, places: NDArray[np.int64], numbers: NDArray[np.int64], names: list[str], unit_of: str) -> None:
        most = names[int(np.bincount(numbers).argmax())]
        for place in places:
            unit = int(read[place])
            case = int(cases[unit])
            path = "" if case >= 0 else units.path(unit)
            store.add(kind, f"{names[numbers[place]]}{unit_of}; most are {most}", case=case, path=path, unit=unit)

    # Column by column: of a million images even this table is large.
    shapes = records["shape"][read]
    flat = bool((shapes[:, 2] == 1).all())
    sizes, size_of = _groups(shapes)
    names = [_times(size[:2] if flat else size) for size in sizes]
    note("odd_size", _odd_sizes(shapes, size_of), size_of, names, " pixels" if flat else " voxels")
    histograms = [_histogram("Height x width in pixels" if flat else "Voxels", names, size_of)]

    spacings, spacing_of = _groups(np.round(np.nan_to_num(records["spacing"][read], nan=0.0), 4))
    known = [[side for side in spacing if side > 0] for spacing in spacings.tolist()]
    if len(spacings) > 1 or known[0]:
        names = [" x ".join(f"{side:.4g}" for side in sides) or "unknown" for sides in known]
        note("odd_spacing", _odd_spacings(spacings, spacing_of), spacing_of, names, " mm")
        histograms.append(_histogram("Spacing in mm", names, spacing_of))

    channels = records["channels"][read].astype(np.int64) * 4 + records["alpha"][read] * 2 + records["grey"][read]
    for kind, title, values, named in (
        (
            "odd_channels",
            "Channels",
            channels,
            lambda code: _channels(int(code) // 4, alpha=bool(code & 2), grey=bool(code & 1)),
        ),
        ("odd_type", "Stored as", records["type"][read], lambda code: TYPES[code]),
        ("modality_mix", "Modality", records["modality"][read], lambda code: code.decode("ascii", "replace")),
    ):
        kinds, kind_of = np.unique(values, return_inverse=True)
        names = [named(one) or "unknown" for one in kinds]
        if names == ["unknown"]:
            continue
        note(kind, _minority(kind_of), kind_of, names, "")
        histograms.append(_histogram(title, names, kind_of))
    histograms.append(binned("Mean value", records["mean"][read]))
    return histograms


def _groups(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    return unique, inverse.reshape(-1)


def _times(size: NDArray[Any]) -> str:
    return " x ".join(str(int(side)) for side in size)


def _channels(count: int, *, alpha: bool, grey: bool) -> str:
    colours = "grey" if count <= 2 else ("grey stored as colour" if grey else "colour")
    if count > 4 or (count in (2, 4) and not alpha):
        return f"{count} channels"
    return colours + (f" with alpha ({count} channels)" if alpha else "")


def _histogram(title: str, names: Sequence[str], numbers: NDArray[np.int64]) -> Histogram:
    counts = np.bincount(numbers, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    bars = [(names[place], int(counts[place])) for place in order[:_MOST_BARS]]
    others = int(counts[order[_MOST_BARS:]].sum())
    return Histogram(title, [*bars, (f"{len(names) - _MOST_BARS} others", others)] if others else bars)


def binned(title: str, values: NDArray[Any]) -> Histogram:
    """Numbers in a dozen bins of one width; one bar where they are too close together for that."""
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    bars: list[tuple[str, int]] = []
    if len(known):
        # By a power of two, which loses nothing: the distance of the largest numbers there are is none.
        exponent = int(np.frexp(np.abs(known).max())[1])
        near = np.ldexp(known, -exponent)
        if np.ptp(near) > _CLOSE:
            counts, edges = np.histogram(near, bins=_MOST_BARS)
            names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(np.ldexp(edges, exponent))]
            bars = list(zip(names, counts.tolist(), strict=True))
        else:
            bars = [(f"{known[0]:.4g}", len(known))]
    if len(known) < len(numbers):
        bars.append(("NaN or infinite", len(numbers) - len(known)))
    return Histogram(title, bars)


def _minority(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of all that is not of the commonest group, where that is little."""
    unlike = np.flatnonzero(numbers != np.bincount(numbers).argmax())
    return unlike if len(unlike) <= _FEW * len(numbers) else np.empty(0, np.int64)


def _odd_sizes(shapes: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Few among many of one size; else sides beyond three times the quartiles' distance, and by a factor of two."""
    if np.bincount(numbers).max() >= 0.95 * len(numbers):
        return _minority(numbers)
    return np.flatnonzero(_outliers(np.log(shapes[:, :2].astype(np.float64))) | _outliers(np.log(shapes[:, 2:])))


def _odd_spacings(spacings: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    known = spacings[:, 0] > 0
    if known.sum() < 1:
        return np.empty(0, np.int64)
    if np.bincount(numbers).max() >= 0.95 * len(numbers):
        return _minority(numbers)
    logs = np.log(np.where(spacings > 0, spacings, 1.0))[numbers]
    return np.flatnonzero(_outliers(logs) & known[numbers])


def _outliers(logs: NDArray[Any]) -> NDArray[np.bool_]:
    low, middle, high = np.percentile(logs, (25, 50, 75), axis=0)
    reach = np.maximum(3 * (high - low), np.log(2))
    return np.asarray((np.abs(logs - middle) > reach + (high - low) / 2).any(axis=1))
