"""Curves: ROC, precision-recall and FROC with bands, confusion matrices; of numbers predicted against true ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tasks.evaluation.classification.columns import class_numbers, read_regression
from tasks.evaluation.classification.metrics import confusion_matrix
from tasks.evaluation.decisions.agreement import agreement
from tasks.evaluation.decisions.bands import RESAMPLES, BandedCurve, froc, height_at, precision_recall, roc
from tasks.evaluation.decisions.called import called_of
from tasks.evaluation.decisions.findings import findings_of
from tasks.evaluation.decisions.levels import Levels, box_levels, levels_of
from tasks.evaluation.detection.boxes import read_boxes
from tasks.evaluation.detection.calls import CALL_IOU
from tasks.evaluation.detection.matching import Matches, match_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import numbered
from tasks.evaluation.metric_values import MetricValue, with_interval
from tasks.evaluation.report.content import FloatArray, Line, LinePlot, MatrixPlot, Plot, Section, Subject, Table
from tasks.evaluation.report.header import part_of
from tasks.evaluation.report.words import with_interval as said

_MOST = 30  # classes with curves and in matrices
_FEW = 6  # classes; with more, bands come from fewer resamples
_FALSE = 0.1  # rate at which the sensitivity is said
_DOTS = 2000  # of a plot
_BAND = "Shaded: 95 % band by patient, of each place by itself and not of the whole curve at once."


def section(subject: Subject) -> Section | None:
    """Curves of the reported part; None of segmentation."""
    if subject.run.task.task == "detect":
        return _boxes(subject)
    if subject.run.task.task != "classify":
        return None
    return _numbers(subject) if subject.tables.kind == "regression" else _scores(subject)


def _scores(subject: Subject) -> Section | None:
    findings = [each for each in findings_of(subject.tables) if 0 < each.truth.sum() < len(each.truth)]
    shown = sorted(findings, key=lambda each: -each.truth.sum())[:_MOST]
    findings = [each for each in findings if each in shown]
    parts: list[Plot | Table] = []
    values: dict[str, MetricValue] = {}
    if findings:
        levels = {each.name: levels_of(each, subject.settings.seed) for each in findings}
        curves = _drawn(subject, levels, roc)
        values = {name: _sensitivity(curve, levels[name]) for name, curve in curves.items()}
        points = {each.name: (each.threshold, each.score, each.truth) for each in findings}
        marks = {name: _rates(*point) for name, point in points.items() if point[0] is not None}
        parts.append(
            LinePlot(
                "roc",
                f"ROC curve, {part_of(subject)}",
                "false positive rate (1 - specificity)",
                "sensitivity",
                [
                    *_lines(curves, "line"),
                    *_dots({name: (mark[1], mark[0]) for name, mark in marks.items()}),
                    Line("guessing", np.array([0.0, 1.0]), np.array([0.0, 1.0]), kind="reference"),
                ],
                (0.0, 1.0),
                (0.0, 1.0),
                square=True,
                note=f"{_BAND} {_dot(bool(marks))}".strip(),
            )
        )
        precisions = _drawn(subject, levels, precision_recall)
        guesses = [
            Line("calling all", np.array([0.0, 1.0]), np.full(2, each.prevalence), kind="reference", group=each.name)
            for each in findings
        ]
        parts.append(
            LinePlot(
                "precision_recall",
                f"Precision and recall, {part_of(subject)}",
                "recall (sensitivity)",
                "precision (positive predictive value)",
                [
                    *_lines(precisions, "step"),
                    *_dots({name: (mark[0], mark[2]) for name, mark in marks.items()}),
                    *guesses,
                ],
                (0.0, 1.0),
                (0.0, 1.0),
                square=True,
                note=f"{_BAND} Precision depends on the share of the cases that have the finding.",
            )
        )
    parts += _matrices(subject)
    if not parts:
        return None
    lines = []
    if values:
        name, value = min(values.items(), key=lambda item: item[1].value)
        lowest = f", the lowest of {len(values)} classes" if len(values) > 1 else ""
        lines.append(
            f"Where one in ten cases without the finding is called, {said(value)} of those with {name} are found"
            f"{lowest}."
        )
    left = len(findings_of(subject.tables)) - len(findings)
    if left:
        reason = "all their cases are alike, or others have more cases with the finding"
        lines.append(f"Without a curve: {left} of the classes ({reason}).")
    return Section("curves", "Curves", lines, parts=parts, figures={"sensitivity_at_fpr_0.1": values})


def _boxes(subject: Subject) -> Section | None:
    tables = subject.tables
    names, matches = tables.task.class_names, _froc_matches(tables)
    there = [k for k, each in enumerate(matches) if each.truth[0].any()]
    shown = sorted(there, key=lambda k: -matches[k].truth[0].sum())[:_MOST]
    parts: list[Plot | Table] = []
    lines: list[str] = []
    figures: dict[str, MetricValue] = {}
    if there:
        levels = {names[k]: box_levels([matches[k]], tables.patients) for k in there if k in shown}
        if len(there) > 1:
            levels = {"all classes": box_levels(matches, tables.patients), **levels}
        curves = _drawn(subject, levels, froc)
        whole, curve = next(iter(curves.items()))
        value, low, high = height_at(curve, 1.0)
        units, patients = int(levels[whole].positives.sum()), levels[whole].patients
        figures["sensitivity_at_1_fp"] = with_interval(
            (value, low, high), len(tables.cases), patients, rests=levels[whole].with_positive, positives=units
        )
        lines.append(
            f"With one false box an image, {said(figures['sensitivity_at_1_fp'])} of the true boxes are found."
        )
        marks = {}
        if tables.task["froc_iou"] == CALL_IOU:
            for each in called_of(tables):
                if each.name in levels:
                    marks[each.name] = (each.value("fp").value, each.value("sensitivity").value)
        marks = {name: mark for name, mark in marks.items() if mark[0] >= 1 / 16}
        parts.append(
            LinePlot(
                "froc",
                f"FROC curve, {part_of(subject)}",
                "false positives an image",
                "sensitivity (share of the true boxes found)",
                [*_lines(curves, "line"), *_dots(marks)],
                (1 / 16, float(max(curve.x[-1] for curve in curves.values()))),
                (0.0, 1.0),
                log_x=True,
                note=f"{_BAND} Found: from an IoU of {tables.task['froc_iou']:g} on. {_dot(bool(marks))}".strip(),
            )
        )
    counted = called_of(tables)
    if counted:
        rows = [
            (each.name, int(each.tp.sum()), int(each.fp.sum()), int(each.fn.sum()), each.value("fp"))
            for each in counted
        ]
        head = ("class", "found", "false boxes", "missed", "false boxes an image")
        note = "Calls at the operating point, at an IoU of 0.5. 95 % intervals by patient."
        parts.append(Table("counts", "Boxes found, false and missed", head, rows, note))
    return Section("curves", "Curves", lines, parts=parts, figures=figures) if parts else None


def _numbers(subject: Subject) -> Section | None:
    tables = subject.tables
    rows, target, prediction = read_regression(tables.predictions)
    if len(rows) < 2:
        return None
    groups = numbered(tables.patients[rows])
    found = agreement(prediction - target, groups)
    few = _few(len(rows), subject.settings.seed)
    ends = np.array([min(target.min(), prediction.min()), max(target.max(), prediction.max())])
    ids = tables.predictions["case_id"].iloc[rows].astype(str).to_numpy()
    texts = [f"{ids[k]}: true {target[k]:.4g}, predicted {prediction[k]:.4g}" for k in few]
    note = f"{len(few)} of {len(rows)} cases, drawn at random." if len(few) < len(rows) else ""
    against = LinePlot(
        "predicted",
        f"Predicted and true, {part_of(subject)}",
        "true",
        "predicted",
        [
            Line("cases", target[few], prediction[few], kind="dots", said=texts),
            Line("predicted = true", ends, ends, kind="reference"),
        ],
        square=True,
        note=note,
    )
    middle = (prediction + target) / 2
    span = np.array([middle.min(), middle.max()])
    differences = LinePlot(
        "bland_altman",
        f"Bland-Altman, {part_of(subject)}",
        "mean of predicted and true",
        "predicted - true",
        [
            Line("cases", middle[few], (prediction - target)[few], kind="dots", said=texts),
            *limits(found.bias, found.lower, found.upper, span),
        ],
        note=note,
    )
    line = (
        f"Predictions are off by {said(found.bias)} in the mean (predicted - true); 95 % of the differences lie "
        f"between {said(found.lower)} and {said(found.upper)}."
    )
    figures = {"bias": found.bias, "lower_limit": found.lower, "upper_limit": found.upper}
    return Section("curves", "Curves", [line], parts=[against, differences], figures=figures)


def limits(bias: MetricValue, lower: MetricValue, upper: MetricValue, span: FloatArray) -> list[Line]:
    """Bias and limits of agreement as level lines with their intervals.

    Args:
        bias: mean difference.
        lower: limit of agreement.
        upper: likewise.
        span: ``(2,)`` ends of the axis.
    """
    lines = []
    for name, value in (("bias", bias), ("lower limit of agreement", lower), ("upper limit of agreement", upper)):
        if not np.isnan(value.value):
            known = not np.isnan(value.low)
            low, high = (np.full(2, end) if known else None for end in (value.low, value.high))
            lines.append(Line(name, span, np.full(2, value.value), low, high))
    return lines


def _drawn(
    subject: Subject, levels: dict[str, Levels], curve: Callable[[Levels, int, int], BandedCurve | None]
) -> dict[str, BandedCurve]:
    """The curve of each class; of many classes the bands come from fewer resamples."""
    most = RESAMPLES if len(levels) <= _FEW else 200
    resamples = min(most, subject.settings.resamples)
    found = {name: curve(each, resamples, subject.settings.seed) for name, each in levels.items()}
    return {name: each for name, each in found.items() if each is not None}


def _lines(curves: dict[str, BandedCurve], kind: Any) -> list[Line]:
    return [Line(name, each.x, each.y, each.low, each.high, kind, group=name) for name, each in curves.items()]


def _dots(marks: dict[str, tuple[float, float]]) -> list[Line]:
    """Operating points; what is undefined has none."""
    known = {name: mark for name, mark in marks.items() if not np.isnan(mark).any()}
    return [
        Line("", np.array([x]), np.array([y]), kind="dots", said=[f"operating point, {name}: {y:.3f}"], group=name)
        for name, (x, y) in known.items()
    ]


def _dot(there: bool) -> str:
    return "Dot: operating point." if there else ""


def _rates(threshold: float | None, score: FloatArray, truth: Any) -> tuple[float, float, float]:
    """Sensitivity, false positive rate and precision of the calls."""
    called = score >= (np.inf if threshold is None else threshold)
    precision = float(truth[called].mean()) if called.any() else np.nan
    return float(called[truth].mean()), float(called[~truth].mean()), precision


def _sensitivity(curve: BandedCurve, levels: Levels) -> MetricValue:
    positives = int(levels.positives.sum())
    n = positives + int(levels.others.sum())
    return with_interval(height_at(curve, _FALSE), n, levels.patients, rests=levels.smaller, positives=positives)


def _matrices(subject: Subject) -> list[Plot | Table]:
    tables, names = subject.tables, subject.run.task.class_names
    if tables.kind == "multilabel":
        return _label_counts(tables)
    if len(names) > _MOST:
        return []
    title = f"Confusion matrix, {part_of(subject)}"
    counts = confusion_matrix(tables.predictions, names).to_numpy(dtype=np.int64)
    called = "median grade" if tables.kind == "ordinal" else "most likely class"
    if subject.run.folder is None:  # another tool may call otherwise
        called = "called class"
    parts: list[Plot | Table] = [
        MatrixPlot("confusion", f"{title}: {called}", "true class", "predicted class", names, counts)
    ]
    if "prediction_op" in tables.predictions and tables.task.operating_points:
        target, there = (class_numbers(tables.predictions, each, names) for each in ("target", "prediction_op"))
        known = (target >= 0) & (there >= 0)
        counts = np.zeros((len(names), len(names)), dtype=np.int64)
        np.add.at(counts, (target[known], there[known]), 1)
        parts.append(
            MatrixPlot(
                "confusion_op", f"{title}: at the operating point", "true class", "predicted class", names, counts
            )
        )
    return parts


def _label_counts(tables: PartTables) -> list[Plot | Table]:
    """Calls of each label from 0.5 on and at its operating point: a case has several, so there is no one matrix."""
    at = {each.name: each for each in called_of(tables)}
    rows: list[Sequence[str | int | None]] = []
    for each in findings_of(tables):
        half = each.score >= 0.5
        cells = [int((each.truth & half).sum()), int((~each.truth & half).sum()), int((each.truth & ~half).sum())]
        cells.append(len(half) - sum(cells))
        point = at.get(each.name)
        own = (None,) * 4 if point is None or point.tn is None else tuple(
            int(sums.sum()) for sums in (point.tp, point.fp, point.fn, point.tn)
        )  # fmt: skip
        rows.append((each.name, *cells, *own))
    said_of = ("found", "false calls", "missed", "rightly not called")
    head = ("label", *(f"{each}, from 0.5" for each in said_of), *(f"{each}, operating point" for each in said_of))
    return [Table("counts", "Calls by label", head, rows, note="Cases whose truth is known.")]


def _froc_matches(tables: PartTables) -> list[Matches]:
    """Matches at the IoU of FROC, which is that of calls unless a flag says otherwise."""
    if tables.task["froc_iou"] == CALL_IOU:
        return tables.matches
    assert tables.targets is not None
    boxes = read_boxes(tables.cases, tables.targets, tables.predictions, tables.task.class_names)
    return match_boxes(boxes, tables.task["max_detections"], np.array([tables.task["froc_iou"]]))


def _few(count: int, seed: int) -> Any:
    """Rows that are drawn as dots."""
    if count <= _DOTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _DOTS, replace=False))
