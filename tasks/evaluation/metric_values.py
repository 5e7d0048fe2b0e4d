"""Values of metrics with their intervals, and ``metrics.json``, which holds those of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.files import write_text

# Of fewer a variance by patient is a guess: simulated intervals hold the truth too seldom (docs/intervals.md).
LEAST_PATIENTS = 10
# On the side that has fewer of them: with the finding or without, in the denominator, of the rarest class of a mean.
LEAST_RESTS = 5
WITHHELD = f"fewer than {LEAST_PATIENTS} patients"
TOO_FEW_REST = f"rests on fewer than {LEAST_RESTS} patients"
NO_SPREAD = "all patients agree"
BIASED = "biased upward: see squared_ece"
_COUNTS = ("patients", "positives", "missed", "empty")


@dataclass(frozen=True)
class MetricValue:
    """The value of one metric.

    Attributes:
        value: the number; NaN = undefined (AUROC of a class that no case has, ...).
        low: lower end of the 95 % interval; NaN = unknown.
        high: upper end of the 95 % interval; NaN = unknown.
        n: cases that entered.
        classes: on a mean over classes, how many classes were defined and entered; otherwise None.
        withheld: why there is no interval, where it would say nothing; otherwise None.
        patients: that these cases are of; a case without one counts as its own. None = not counted.
        positives: cases with the finding (in detection true boxes), where the metric is of one finding; otherwise None.
        missed: of surface distances, cases in which the class is there and nothing is segmented: their distance is
            undefined, and not in the value; otherwise None.
        empty: likewise, cases in which the class is not there.
    """

    value: float
    low: float
    high: float
    n: int
    classes: int | None = None
    withheld: str | None = None
    patients: int | None = None
    positives: int | None = None
    missed: int | None = None
    empty: int | None = None


def with_interval(
    interval: tuple[float, float, float],
    n: int,
    patients: int,
    classes: int | None = None,
    *,
    rests: int | None = None,
    positives: int | None = None,
    missing: str | None = None,
) -> MetricValue:
    """A value with its interval, which is withheld where too few patients are behind it.

    The one place of that rule: fewer than :data:`LEAST_PATIENTS`, or than :data:`LEAST_RESTS` on the smaller side.

    Args:
        interval: value, low, high.
        n: cases that entered.
        patients: that these cases are of; a case without one counts as its own.
        classes: on a mean over classes, how many were defined.
        rests: patients of the smaller side that the value rests on; None = all of them.
        positives: see :class:`MetricValue`.
        missing: why there is no interval where there are patients enough and its ends are NaN; None = none was wanted.
    """
    value, low, high = interval
    withheld = None
    if math.isfinite(value):
        if patients < LEAST_PATIENTS:
            withheld = WITHHELD
        elif rests is not None and rests < LEAST_RESTS:
            withheld = TOO_FEW_REST
        elif math.isnan(low):
            withheld = missing
    if withheld is not None or not math.isfinite(value):
        low = high = math.nan
    return MetricValue(value, float(low), float(high), n, classes, withheld, patients, positives)


def write_metrics(file: Path, metrics: Mapping[str, MetricValue]) -> None:
    """Write metrics into ``metrics.json``.

    Evaluating a stage again replaces all metrics of that stage; those of other stages, and entries that are no metrics,
    stay as they are.

    Args:
        file: the ``metrics.json``; made where it is absent.
        metrics: ``<stage>/<metric>`` -> value. NaN is written as null, for JSON has no NaN.

    Raises:
        SuiteError: the present file is not readable as JSON, or the folder cannot be written to.
    """
    stages = {name.split("/", 1)[0] for name in metrics}
    present = _read_entries(file) if file.exists() else {}
    kept = {
        name: entry for name, entry in present.items() if name.split("/", 1)[0] not in stages or not _is_metric(entry)
    }
    _write_entries(file, kept | {name: _entry(metric) for name, metric in metrics.items()})


def write_note(file: Path, name: str, value: bool | str) -> None:
    """Write an entry that is no metric into ``metrics.json``, beside what stands there.

    Args:
        file: the ``metrics.json``.
        name: ``<stage>/<what>``.
        value: what is to be known of the stage's metrics.
    """
    _write_entries(file, (_read_entries(file) if file.exists() else {}) | {name: value})


def _write_entries(file: Path, entries: Mapping[str, Any]) -> None:
    text = json.dumps(entries, indent=2, allow_nan=False)
    write_text(file, text + "\n")


def read_metrics(file: Path) -> dict[str, MetricValue]:
    """Read the metrics of a ``metrics.json``; null becomes NaN, entries that are no metrics are passed over.

    Raises:
        SuiteError: the file is missing or not readable as JSON.
    """
    if not file.is_file():
        raise SuiteError(f"{file}: no such file: run `test` or `validate` into this folder first")
    return {
        name: MetricValue(
            value=_number(entry["value"]),
            low=_number(entry["low"]),
            high=_number(entry["high"]),
            n=entry["n"],
            classes=entry.get("classes"),
            withheld=entry.get("withheld"),
            **{name: entry.get(name) for name in _COUNTS},
        )
        for name, entry in _read_entries(file).items()
        if _is_metric(entry)
    }


def read_notes(file: Path) -> dict[str, bool | str]:
    """Entries of a ``metrics.json`` that are no metrics: see :func:`write_note`.

    Raises:
        SuiteError: the file is not readable as JSON.
    """
    return {name: entry for name, entry in _read_entries(file).items() if isinstance(entry, bool | str)}


def _entry(metric: MetricValue) -> dict[str, float | int | str | None]:
    numbers = {"value": metric.value, "low": metric.low, "high": metric.high}
    entry: dict[str, float | int | str | None] = {
        key: float(number) if math.isfinite(number) else None for key, number in numbers.items()
    }
    entry["n"] = int(metric.n)
    for name in ("classes", *_COUNTS):
        count = getattr(metric, name)
        if count is not None:
            entry[name] = int(count)
    if metric.withheld is not None:
        entry["withheld"] = metric.withheld
    return entry


def _number(entry: float | None) -> float:
    return math.nan if entry is None else float(entry)


def _is_metric(entry: object) -> bool:
    return isinstance(entry, dict) and {"value", "low", "high", "n"} <= entry.keys()


def _read_entries(file: Path) -> dict[str, Any]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"{file}: cannot be read as JSON ({error}): mend or remove it, then evaluate again") from None
    if not isinstance(entries, dict):
        raise SuiteError(f"{file}: holds no JSON object: remove it, then evaluate again")
    return entries
