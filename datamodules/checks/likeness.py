"""What a data set is like: sizes, spacings, channels, types, values; and its images that are unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.measures import READ, TYPES
from datamodules.checks.plots import Bars, Numbers, Pairs, Plot
from datamodules.checks.store import FindingStore
from datamodules.checks.units import Units

_FEW = 0.2  # share of a set up to which what is unlike the rest is named one by one
_MOST_BARS = 12
_VALUES = {"lowest": "low", "mean": "mean", "highest": "high"}  # plot -> record


def check_likeness(units: Units, records: NDArray[Any], cases: NDArray[np.int64], store: FindingStore) -> list[Plot]:
    """Plots of sizes, spacings, channels, types and values; what is unlike the rest is a finding.

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
    plots = _size_plots(sizes, size_of, names, flat=flat)

    spacings, spacing_of = _groups(np.round(np.nan_to_num(records["spacing"][read], nan=0.0), 4))
    known = [[side for side in spacing if side > 0] for spacing in spacings.tolist()]
    if len(spacings) > 1 or known[0]:
        names = [" x ".join(f"{side:.4g}" for side in sides) or "unknown" for sides in known]
        note("odd_spacing", _odd_spacings(spacings, spacing_of), spacing_of, names, " mm")
        plots += _spacing_plots(records["spacing"][read], names, spacing_of, flat=flat)

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
        plots.append(_bars(title, names, kind_of, title.lower()))
    values = {name: records[field][read] for name, field in _VALUES.items()}
    unit = "stored value, in HU" if set(np.unique(records["modality"][read])) == {b"CT"} else "stored value"
    return [*plots, Numbers("Intensities of each image" if flat else "Intensities of each volume", values, unit)]


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


def _size_plots(sizes: NDArray[Any], size_of: NDArray[np.int64], names: Sequence[str], *, flat: bool) -> list[Plot]:
    counts = np.bincount(size_of, minlength=len(sizes))
    if not flat and len(sizes) > _MOST_BARS:
        axes = {axis: np.repeat(sizes[:, number], counts) for number, axis in enumerate(("X", "Y", "Z"))}
        return [Numbers("Voxels, along the axes of the file", axes, "voxels")]
    if not flat:
        return [_bars("Voxels, along the axes of the file", names, size_of, "voxels")]
    if len(sizes) == 1:
        height, width = (int(side) for side in sizes[0][:2])
        return [Bars("Size, width x height in pixels", [(f"{width} x {height}", len(size_of))], "pixels")]
    return [Pairs("Sizes", sizes[:, 1::-1], counts, ("width in pixels", "height in pixels"))]


def _spacing_plots(
    spacings: NDArray[Any], names: Sequence[str], spacing_of: NDArray[np.int64], *, flat: bool
) -> list[Plot]:
    if len(names) <= _MOST_BARS:
        title = (
            "Spacing in mm, from row to row x from column to column"
            if flat
            else "Spacing in mm, along the axes of the file"
        )
        return [_bars(title, names, spacing_of, "spacing in mm")]
    axes = ("from row to row", "from column to column") if flat else ("X", "Y", "Z")
    known = {axis: spacings[:, number] for number, axis in enumerate(axes)}
    return [Numbers("Spacing", {axis: values[values > 0] for axis, values in known.items()}, "mm")]


def _bars(title: str, names: Sequence[str], numbers: NDArray[np.int64], what: str) -> Bars:
    counts = np.bincount(numbers, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    bars = [(names[place], int(counts[place])) for place in order[:_MOST_BARS]]
    others = int(counts[order[_MOST_BARS:]].sum())
    return Bars(title, [*bars, (f"{len(names) - _MOST_BARS} others", others)] if others else bars, what)


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
