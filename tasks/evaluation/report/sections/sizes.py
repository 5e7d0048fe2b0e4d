"""Sizes: whether small things are segmented and found as well as large ones, and volumes against the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tasks.evaluation.decisions.agreement import Agreement, agreement
from tasks.evaluation.decisions.sizes import Band, Masks, masks_of, true_boxes_of
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, ForestPlot, Line, LinePlot, Plot, Section, Subject, Table
from tasks.evaluation.report.header import part_of
from tasks.evaluation.report.sections.curves import limits
from tasks.evaluation.report.words import number, with_interval

_MOST = 12  # classes
_DOTS = 3000  # of a plot


def section(subject: Subject) -> Section | None:
    """Performance by size; None of classification."""
    if subject.run.task.task == "segment":
        return _masks(subject)
    return _boxes(subject) if subject.run.task.task == "detect" else None


def _masks(subject: Subject) -> Section | None:
    classes = [each for each in masks_of(subject.tables) if (each.true > 0).any()][:_MOST]
    if not classes:
        return None
    settings = subject.settings
    bands = {each.name: each.bands("dice", settings.resamples, settings.seed) for each in classes}
    lesions = {
        each.name: each.bands("lesion_sensitivity", settings.resamples, settings.seed)
        for each in classes
        if "lesion_sensitivity" in each.metrics
    }
    volumes = {each.name: _agreement(each) for each in classes}
    unit, few = classes[0].unit, max(1, _DOTS // len(classes))
    title = part_of(subject)
    parts: list[Plot | Table] = [
        LinePlot(
            "dice_by_size",
            f"Dice and size of the truth, {title}",
            f"size of the true mask ({unit})",
            "Dice",
            [_dots(each, few, settings.seed) for each in classes],
            y_range=(0.0, 1.0),
            log_x=True,
            note="A dot a case. Masks that are not there have no size, and no dot.",
        ),
        _table("dice", f"Dice by size, {title}", "mean Dice", unit, bands),
    ]
    if lesions:
        parts.append(
            _table("lesions", f"Lesion sensitivity by size, {title}", "mean lesion sensitivity", unit, lesions)
        )
    lines = []
    for each in classes:
        lines += _differences(each, volumes[each.name], few, settings.seed)
    parts.append(
        LinePlot(
            "volumes",
            f"Bland-Altman of sizes, {title}",
            f"mean of predicted and true ({unit})",
            f"predicted - true ({unit})",
            lines,
            note=(
                "Lines: bias and 95 % limits of agreement, with their intervals. Cases in which the class is neither "
                "in the truth nor in the prediction are left out."
            ),
        )
    )
    rows = [
        (name, found.bias.n, found.bias.patients, found.bias, found.lower, found.upper)
        for name, found in volumes.items()
    ]
    head = ("class", "cases", "patients", f"bias ({unit})", f"lower limit ({unit})", f"upper limit ({unit})")
    note = "Predicted - true; 95 % of the differences lie between the limits (Bland and Altman 2007)."
    parts.append(Table("volumes", f"Agreement of sizes, {title}", head, rows, note))
    said = [sentence for name, own in bands.items() if (sentence := _said(name, own, "Dice", unit))]
    said += [
        f"Masks of {name} are {'larger' if found.bias.low > 0 else 'smaller'} than the truth: by "
        f"{with_interval(_unsigned(found.bias))} {unit} in the mean."
        for name, found in volumes.items()
        if not math.isnan(found.bias.low) and (found.bias.low > 0 or found.bias.high < 0)
    ][:2]
    return Section("sizes", "By size", said, parts=parts, figures={"dice": _figures(bands), "unit": unit})


def _unsigned(bias: MetricValue) -> MetricValue:
    """How far, where the sentence says in which direction."""
    return bias if bias.value > 0 else replace(bias, value=-bias.value, low=-bias.high, high=-bias.low)


def _boxes(subject: Subject) -> Section | None:
    boxes = true_boxes_of(subject.tables)
    if boxes is None:
        return None
    title = f"Sensitivity at the operating point by %s, {part_of(subject)}"
    numbers = np.unique(boxes.label)
    shown = {"": boxes}
    if len(numbers) > 1:
        own = {boxes.class_names[number]: boxes.of(number) for number in numbers[:_MOST]}
        shown = {"all classes": boxes, **own}
    kinds = {
        "size": ("size", boxes.unit, {name: each.by_length() for name, each in shown.items()}),
        "coco_size": ("COCO's sizes", "pixels", {name: each.by_side() for name, each in shown.items()}),
        "shape": ("shape", "width / height", {name: each.by_shape() for name, each in shown.items()}),
    }
    parts: list[Plot | Table] = []
    for name, (what, unit, bands) in kinds.items():
        parts.append(_table(name, title % what, "sensitivity", unit, bands, boxes=True))
    rows: list[tuple[str, MetricValue | None]] = []
    for _, unit, bands in kinds.values():
        rows += [("", None)] if rows else []
        rows += [(_range(each, unit), each.value) for each in next(iter(bands.values())) if each.value.n]
    whole = float(boxes.found.mean())
    parts.insert(0, ForestPlot("sensitivity", title % "size and shape", "sensitivity", rows, whole))
    lines = (
        [sentence]
        if (sentence := _said("true boxes", kinds["size"][2][next(iter(shown))], "Sensitivity", boxes.unit))
        else []
    )
    figures = {name: _figures(bands) for name, (_, _, bands) in kinds.items()} | {"unit": boxes.unit}
    return Section("sizes", "By size", lines, parts=parts, figures=figures)


def _agreement(masks: Masks) -> Agreement:
    either = (masks.true > 0) | (masks.predicted > 0)
    return agreement((masks.predicted - masks.true)[either], masks.groups[either])


def _dots(masks: Masks, most: int, seed: int) -> Line:
    shown = np.flatnonzero((masks.true > 0) & ~np.isnan(masks.metrics["dice"]))
    shown = _some(shown, most, seed)
    dice = masks.metrics["dice"][shown]
    said = [
        f"{case}: Dice {value:.3f}, {size:.4g} {masks.unit}"
        for case, value, size in zip(masks.case_ids[shown], dice, masks.true[shown], strict=True)
    ]
    return Line(masks.name, masks.true[shown], dice, kind="dots", said=said, group=masks.name)


def _differences(masks: Masks, found: Agreement, most: int, seed: int) -> list[Line]:
    shown = _some(np.flatnonzero((masks.true > 0) | (masks.predicted > 0)), most, seed)
    if not len(shown):
        return []
    middle = (masks.true + masks.predicted)[shown] / 2
    difference = (masks.predicted - masks.true)[shown]
    said = [f"{case}: {size:+.4g} {masks.unit}" for case, size in zip(masks.case_ids[shown], difference, strict=True)]
    span = np.array([middle.min(), middle.max()])
    lines = [Line(masks.name, middle, difference, kind="dots", said=said, group=masks.name)]
    for line in limits(found.bias, found.lower, found.upper, span):
        lines.append(
            Line("", line.x, line.y, line.low, line.high, group=masks.name, said=[f"{masks.name}: {line.name}"] * 2)
        )
    return lines


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _table(
    name: str, title: str, metric: str, unit: str, bands: dict[str, list[Band]], *, boxes: bool = False
) -> Table:
    """A row a class and band."""
    several = len(bands) > 1
    rows: list[tuple[Cell, ...]] = []
    for own, each in bands.items():
        for band in each:
            counts = (band.value.positives if boxes else band.value.n, band.value.patients)
            ends = [None if math.isinf(end) else end for end in (band.low, band.high)]
            rows.append((*([own] if several else []), band.name, *ends, *counts, band.value))
    counted = "true boxes" if boxes else "cases"
    head = (*(["class"] if several else []), "size", f"from ({unit})", f"to ({unit})", counted, "patients", metric)
    if name == "shape":
        head = tuple("shape" if each == "size" else each for each in head)
    note = {
        "size": "Thirds of the true boxes; the size is the side of a square as large.",
        "coco_size": "The side of a square as large as the box.",
        "shape": "",
    }.get(name, "Thirds of the true masks.")
    return Table(name, title, head, rows, f"{note} 95 % intervals by patient.".strip(), sortable=len(rows) > 20)


def _said(name: str, bands: list[Band], metric: str, unit: str) -> str:
    """The smallest against the largest in a sentence."""
    if len(bands) < 2 or any(math.isnan(bands[place].value.value) for place in (0, -1)):
        return ""
    small, large = bands[0], bands[-1]
    return (
        f"{metric} of {name} is {with_interval(small.value)} in the {small.name} (below {_size(small.high)} {unit}) "
        f"and {with_interval(large.value)} in the {large.name} (from {_size(large.low)} {unit})."
    )


def _range(band: Band, unit: str) -> str:
    """``small (below 32 pixels)``."""
    if math.isinf(band.high) or band.name.startswith("largest"):
        return f"{band.name} (from {_size(band.low)} {unit})"
    if band.low == 0 or band.name.startswith("smallest"):
        return f"{band.name} (below {_size(band.high)} {unit})"
    return f"{band.name} ({_size(band.low)} to {_size(band.high)} {unit})"


def _size(value: float) -> str:
    return number(value, 0 if value >= 100 else 1 if value >= 10 else 2)


def _figures(bands: dict[str, list[Band]]) -> dict[str, list[dict[str, float | str | MetricValue]]]:
    return {
        name: [{"name": each.name, "from": each.low, "to": each.high, "value": each.value} for each in own]
        for name, own in bands.items()
    }
