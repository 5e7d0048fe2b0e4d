"""Segmentation metrics: rows of the predictions table from two masks, and metrics from the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import FloatArray, bootstrap, group_cases
from tasks.evaluation.classification.columns import class_numbers
from tasks.evaluation.classification.weighted import divide, mean_of_classes
from tasks.evaluation.intervals.ratios import Ratios, ratios
from tasks.evaluation.intervals.scales import LOGIT, student_interval
from tasks.evaluation.intervals.share import UNKNOWN, Ends
from tasks.evaluation.intervals.smooth import scale_of
from tasks.evaluation.intervals.studentised import mean_variance, studentised_intervals
from tasks.evaluation.metric_values import NO_SPREAD, MetricValue, with_interval
from tasks.evaluation.segmentation.overlap import BoolArray, check_shapes, count_overlap, overlap_metrics

# The order in which metrics are written and shown; the last two stand in the table where lesions are counted.
METRICS = (
    "dice", "iou", "sensitivity", "specificity", "precision", "f1", "hd95", "assd", "hd95_penalised", "assd_penalised",
    "nsd", "volume_difference", "lesion_sensitivity", "lesion_f1",
)  # fmt: skip
LESION_METRICS = METRICS[-2:]
DISTANCES = ("hd95", "assd")  # undefined where a mask is empty: how often is counted beside them
PENALISED = ("hd95_penalised", "assd_penalised")  # a miss counts as the diagonal of the image
_OPTIONAL = (*LESION_METRICS, *PENALISED)  # tables written before there were any have none


def case_rows(
    case_id: str,
    truth: NDArray[Any],
    prediction: NDArray[Any],
    class_names: Sequence[str],
    spacing: Sequence[float] | None = None,
    tolerance_mm: float = 1.0,
    ignore_index: int | None = None,
    lesions: bool = False,
    overlapping: bool = False,
) -> list[dict[str, str | int | float]]:
    """The rows of one case: one for each class but the background, evaluated on the grid of the arrays.

    Args:
        case_id: of the case.
        truth: ``(H, W)`` or ``(I, J, K)`` class numbers; with ``overlapping`` ``(L, ...)`` zeros and ones, a layer a
            region.
        prediction: the model's, of the same shape.
        class_names: in the order of the numbers, from the background, number 0, on; with ``overlapping`` the L regions.
        spacing: mm per axis of the grid; None = unknown, and distances are in pixels.
        tolerance_mm: of the normalised surface Dice.
        ignore_index: value of ``truth`` that means unknown: such voxels are left out of counts, surfaces and lesions.
        lesions: add the metrics lesion by lesion.
        overlapping: classes are regions that may overlap, none of them the background.

    Returns:
        Rows with ``case_id``, ``class``, ``tp``, ``fp``, ``fn``, ``tn`` and the metrics of :data:`METRICS`; undefined =
        NaN. Counts are in voxels, distances in mm, the rest are shares.

    Raises:
        SuiteError: a mask holds a number that is no class.
        ValueError: the shapes, or the numbers of layers and names, differ.
    """
    # Here, because evaluating the tables needs no scipy.
    from tasks.evaluation.segmentation.lesions import match_lesions
    from tasks.evaluation.segmentation.surface import assd, hd95, image_diagonal, nsd, penalised, surface_distances

    check_shapes(truth, prediction)
    if overlapping and len(truth) != len(class_names):
        raise ValueError(f"{len(truth)} layers of regions, but {len(class_names)} class names")
    known = None if ignore_index is None else truth != ignore_index
    highest = 1 if overlapping else len(class_names) - 1
    _check_numbers(case_id, "true mask", truth, known, highest)
    _check_numbers(case_id, "predicted mask", prediction, known, highest)

    shape = truth.shape[1:] if overlapping else truth.shape
    rows: list[dict[str, str | int | float]] = []
    for number, name in enumerate(class_names):
        if number == 0 and not overlapping:
            continue
        true, called, here = _masks(truth, prediction, known, number, overlapping)
        counts = count_overlap(true, called, here)
        distances = surface_distances(true, called, spacing)
        metrics = overlap_metrics(counts)
        metrics |= {"hd95": hd95(distances), "assd": assd(distances), "nsd": nsd(distances, tolerance_mm)}
        for distance, own in zip(DISTANCES, PENALISED, strict=True):
            # Where nothing is known nothing is agreed upon.
            metrics[own] = (
                penalised(metrics[distance], distances, image_diagonal(shape, spacing)) if sum(counts) else math.nan
            )
        if lesions:
            found = match_lesions(true, called, connectivity="full")
            metrics |= {"lesion_sensitivity": found.sensitivity, "lesion_f1": found.f1}
        ordered = {metric: metrics[metric] for metric in METRICS if metric in metrics}
        rows.append({"case_id": case_id, "class": name, **counts._asdict(), **ordered})
    return rows


def _masks(
    truth: NDArray[Any], prediction: NDArray[Any], known: BoolArray | None, number: int, overlapping: bool
) -> tuple[BoolArray, BoolArray, BoolArray | None]:
    """Of one class: where it is, where it is called, and where the truth is known."""
    if overlapping:
        true, called, here = truth[number] == 1, prediction[number] == 1, None if known is None else known[number]
    else:
        true, called, here = truth == number, prediction == number, known
    return (true, called, here) if here is None else (true & here, called & here, here)


def _check_numbers(case_id: str, what: str, mask: NDArray[Any], known: BoolArray | None, highest: int) -> None:
    where = True if known is None else known
    low, high = int(mask.min(initial=0, where=where)), int(mask.max(initial=0, where=where))
    if low < 0 or high > highest:
        strange = low if low < 0 else high
        raise SuiteError(
            f"{case_id}: the {what} holds {strange}, and classes go from 0 to {highest}: "
            "mend the mask, name the class, or give the value as ignore value"
        )


def segmentation_metrics(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    patients: pd.Series | None = None,
    resamples: int = 1000,
    seed: int = 0,
    percentile: bool = False,
) -> dict[str, MetricValue]:
    """Evaluate a table with one row for each case and class.

    ``<metric>/<class>`` is the mean over the cases where it is defined, and ``n`` is how many these are. The bare name
    is the mean of these metrics over the classes that have one (``classes``); its ``n`` are the cases in which any
    class is defined.

    Args:
        predictions: columns ``case_id``, ``class`` and those of :data:`METRICS`, empty = undefined.
        class_names: in class order; a class without any row (the background) is left out.
        patients: patient of each row, in the order of the rows; NA or None = each case for itself.
        resamples: of the bootstrap over patients; 0 = no intervals.
        seed: of the bootstrap.
        percentile: give every metric the percentile bootstrap's interval, see
            :func:`tasks.evaluation.classification.metrics.classification_metrics`.

    Returns:
        Metrics by name, without stage.

    Raises:
        SuiteError: a column is missing, a cell is not what it should be, or a case lacks a class or has it twice.
        ValueError: ``patients`` has another length than ``predictions``.
    """
    if patients is not None and len(patients) != len(predictions):
        raise ValueError(f"{len(patients)} patients for {len(predictions)} rows")
    read = read_case_metrics(predictions, class_names)
    metrics, first, order, names = read.metrics, read.first, read.order, read.class_names
    values = read.values.reshape(len(first), -1)
    defined = ~np.isnan(values)
    filled, ones = np.where(defined, values, 0.0), defined.astype(np.float64)

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        means = divide(weights @ filled, weights @ ones).reshape(len(weights), len(names), len(metrics))
        found = {metric: mean_of_classes(means[:, :, m]) for m, metric in enumerate(metrics)}
        for k, name in enumerate(names):
            found |= {f"{metric}/{name}": means[:, k, m] for m, metric in enumerate(metrics)}
        return found

    groups = group_cases(
        predictions["case_id"].iloc[first], None if patients is None else patients.iloc[first].reset_index(drop=True)
    )
    by_patient = ratios(filled, ones, groups)
    columns = {metric: list(range(m, len(names) * len(metrics), len(metrics))) for m, metric in enumerate(metrics)}
    for k, name in enumerate(names):
        columns |= {f"{metric}/{name}": [k * len(metrics) + m] for m, metric in enumerate(metrics)}
    if percentile:
        drawn = bootstrap(statistics, groups, resamples, seed)
        ends = {name: (interval.low, interval.high) for name, interval in drawn.items()}
    else:
        ends = _ends(by_patient, columns, resamples, seed)
    cube = defined.reshape(len(first), len(names), len(metrics))
    there, called = _there_and_called(predictions, order)
    found = {}
    for name, value in statistics(np.ones((1, len(first)))).items():
        metric, _, own = name.partition("/")
        classes = [names.index(own)] if own else list(range(len(names)))
        entered = cube[:, classes, metrics.index(metric)]
        cases = entered.any(axis=1)
        found[name] = with_interval(
            (float(value[0]), *ends[name]),
            int(cases.sum()),
            len(np.unique(groups[cases])),
            None if own else int(entered.any(axis=0).sum()),
            rests=by_patient.fewest(columns[name]),
            positives=int(there[:, classes].sum()) if own and there is not None else None,
            missing=NO_SPREAD if resamples else None,
        )
        if metric in DISTANCES and there is not None and called is not None:
            # Of a mean: in any class that is in it.
            counted = [k for k in classes if own or cube[:, k, metrics.index(metric)].any()]
            missed, empty = there[:, counted] & ~called[:, counted], ~there[:, counted]
            found[name] = replace(found[name], missed=int(missed.any(axis=1).sum()), empty=int(empty.any(axis=1).sum()))
    return found


@dataclass(frozen=True, eq=False)
class CaseMetrics:
    """The metrics of n cases and K classes, as their table has them.

    Attributes:
        metrics: names of M metrics, those of :data:`METRICS` that the table has.
        class_names: of the K classes that have rows.
        first: ``(n,)`` first row of each case, in the order of the cases.
        order: ``(n, K)`` row of each case and class.
        values: ``(n, K, M)``; NaN = undefined.
    """

    metrics: list[str]
    class_names: list[str]
    first: NDArray[np.intp]
    order: NDArray[np.intp]
    values: FloatArray


def read_case_metrics(predictions: pd.DataFrame, class_names: Sequence[str]) -> CaseMetrics:
    """Read a table with one row for each case and class; arguments and errors as in :func:`segmentation_metrics`."""
    missing = [name for name in ("case_id", *METRICS) if name not in predictions and name not in _OPTIONAL]
    if missing:
        raise SuiteError(
            f"predictions table: no column {missing[0]!r} (found: {', '.join(map(str, predictions.columns))})"
        )
    metrics = [metric for metric in METRICS if metric in predictions]
    first, order, names = _case_and_class(predictions, class_names)
    values = np.stack([_numbers(predictions, metric) for metric in metrics], axis=1)[order]
    return CaseMetrics(metrics, names, first, order, values)


def _ends(by_patient: Ratios, columns: dict[str, list[int]], resamples: int, seed: int) -> dict[str, Ends]:
    """Intervals of means over cases: studentised of shares, Student's of the others (``docs/intervals.md``)."""
    if not resamples:
        return dict.fromkeys(columns, UNKNOWN)
    shares = {name: (own, LOGIT) for name, own in columns.items() if scale_of(name) is LOGIT}
    found = studentised_intervals(by_patient, shares, resamples, seed)
    for name, own in columns.items():
        if name not in shares:
            variance = mean_variance(by_patient, own)
            found[name] = student_interval(*variance, scale_of(name), by_patient.fewest(own))
    return found


def _there_and_called(
    predictions: pd.DataFrame, order: NDArray[np.intp]
) -> tuple[BoolArray, BoolArray] | tuple[None, None]:
    """Where a class is in the truth and in the prediction, each ``(n, K)``; None of a table without counts."""
    if not {"tp", "fp", "fn"} <= set(predictions.columns):
        return None, None
    tp, fp, fn = (_numbers(predictions, name)[order] for name in ("tp", "fp", "fn"))
    return tp + fn > 0, tp + fp > 0


def _case_and_class(
    predictions: pd.DataFrame, class_names: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[str]]:
    """First row of each of n cases, the rows as ``(n, K)``, and the names of the K classes that have rows."""
    numbers = class_numbers(predictions, "class", class_names)
    if (numbers < 0).any():
        raise SuiteError(f"predictions table: class in row {int(np.argmax(numbers < 0)) + 1} is empty")
    case, case_names = pd.factorize(predictions["case_id"])
    present, column = np.unique(numbers, return_inverse=True)
    names = [class_names[k] for k in present]
    order = np.full((len(case_names), len(present)), -1, dtype=np.intp)
    order[case, column] = np.arange(len(predictions))
    if (order < 0).any():
        n, k = np.argwhere(order < 0)[0]
        raise SuiteError(f"predictions table: case {case_names[n]!r} has no row of class {names[k]!r}: evaluate again")
    if order.size < len(predictions):
        twice = predictions[["case_id", "class"]].duplicated().to_numpy()
        n = int(np.argmax(twice))
        raise SuiteError(
            f"predictions table: case {case_names[case[n]]!r} has two rows of class {names[column[n]]!r}: each has one"
        )
    return order.min(axis=1), order, names


def _numbers(predictions: pd.DataFrame, metric: str) -> FloatArray:
    cells = predictions[metric]
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & cells.notna().to_numpy())
    if len(wrong):
        row = int(wrong[0])
        case = predictions["case_id"].iloc[row]
        raise SuiteError(
            f"predictions table: {metric} {cells.iloc[row]!r} in row {row + 1} ({case}) is no finite number"
        )
    return numbers
