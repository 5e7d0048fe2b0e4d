"""Plots of a comparison: curves of all models over one another, and cases by one model against the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.evaluation.bootstrap import FloatArray
from tasks.evaluation.classification.metrics import KnownCases, read_known_cases
from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.comparison.differences import Comparison, Difference
from tasks.evaluation.comparison.models import Model
from tasks.evaluation.detection.froc import froc_points
from tasks.evaluation.detection.metrics import read_evaluated_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.metric_names import DISTANCES, label_of
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import ForestPlot, Line, LinePlot, Plot
from tasks.evaluation.segmentation.metrics import read_case_metrics

_CLASSES = 6  # plots of single classes
_DOTS = 2000
_IN_UNITS = frozenset({*DISTANCES, "mae", "rmse"})  # the others lie on a scale from 0 to 1


def forests(comparisons: Sequence[Comparison], unit: str = "") -> list[ForestPlot]:
    """Differences with their intervals below one another: those of shares, and those that have a unit.

    Args:
        comparisons: of each model with the reference.
        unit: of surface distances.
    """
    plots = []
    kinds = (("differences", "Differences", False), ("distances", "Differences in units", True))
    for name, title, in_units in kinds:
        rows: list[tuple[str, MetricValue | None]] = []
        for comparison in comparisons:
            own = [each for each in (comparison.primary, *comparison.secondary) if each is not None]
            of_kind = [each for each in own if (_bare(each) in _IN_UNITS) == in_units]
            if rows and of_kind:
                rows.append(("", None))
            more = f"{comparison.other.name}: " if len(comparisons) > 1 else ""
            rows += [(f"{more}{label_of(each.metric, unit)}", each.value) for each in of_kind]
        if rows:
            reference = comparisons[0].reference.name
            axis = f"{comparisons[0].other.name if len(comparisons) == 1 else 'model'} less {reference}"
            plots.append(
                ForestPlot(
                    name, title, axis, rows, reference=0.0, note="Paired differences, 95 % intervals by patient."
                )
            )
    return plots


def _bare(difference: Difference) -> str:
    return difference.metric.partition("/")[0].partition("@")[0]


def curves(models: Sequence[Model]) -> list[Plot]:
    """ROC curves, FROC curves, or Dice case by case; of several runs of a model the first."""
    first = models[0].parts[0]
    if first.task.task == "detect":
        return [_froc(models)]
    if first.task.task == "segment":
        return _dice(models)
    return [] if first.kind == "regression" else _rocs(models)


def _rocs(models: Sequence[Model]) -> list[Plot]:
    read = [(model.name, _known(model.parts[0])) for model in models]
    names = list(read[0][1].class_names)
    positive = read[0][1].positive
    chosen = [positive] if positive is not None else list(range(min(len(names), _CLASSES)))
    plots: list[Plot] = []
    for k in chosen:
        lines = [Line("", np.array([0.0, 1.0]), np.array([0.0, 1.0]), kind="reference")]
        lines += [Line(name, *_roc(cases, k)) for name, cases in read]
        title = "ROC curves" if positive is not None else f"ROC curves, {names[k]}"
        plots.append(
            LinePlot(
                "roc" if positive is not None else f"roc_{k}",
                title,
                "1 - specificity",
                "sensitivity",
                lines,
                (0, 1),
                (0, 1),
                square=True,
            )
        )
    return plots


def _known(part: PartTables) -> KnownCases:
    return read_known_cases(
        part.predictions, part.task["target"], part.task.class_names, part.positive_class, part.cases.get("patient_id")
    )


def _roc(cases: KnownCases, k: int) -> tuple[FloatArray, FloatArray]:
    ranking = rank(*cases.findings[k])
    found = np.cumsum(ranking.positive)[ranking.ends]
    false = ranking.ends + 1 - found
    if not len(found) or not found[-1] or not false[-1]:
        return np.zeros(1), np.zeros(1)
    return np.append(0.0, false / false[-1]), np.append(0.0, found / found[-1])


def _froc(models: Sequence[Model]) -> LinePlot:
    lines = []
    for model in models:
        part = model.parts[0]
        assert part.targets is not None
        task = part.task
        boxes = read_evaluated_boxes(
            part.cases,
            part.targets,
            part.predictions,
            task.class_names,
            None,
            task["max_detections"],
            task["froc_iou"],
        )
        rate, sensitivity, _ = froc_points(np.ones((1, boxes.boxes.images)), boxes.whole)
        lines.append(Line(model.name, np.append(0.0, rate[0]), np.append(0.0, np.nan_to_num(sensitivity[0]))))
    furthest = min(8.0, max(1.0, *(float(line.x.max()) for line in lines)))
    return LinePlot(
        "froc", "FROC curves", "false positives an image", "sensitivity by lesion", lines, (0, furthest), (0, 1)
    )


def _dice(models: Sequence[Model]) -> list[Plot]:
    """Of each other model the mean Dice of a case against the reference's."""
    reference, *others = models
    own = _mean_dice(reference.parts[0])
    ids = reference.parts[0].cases["case_id"].to_numpy(dtype=object)
    plots: list[Plot] = []
    for number, other in enumerate(others):
        its = _mean_dice(other.parts[0])
        known = np.flatnonzero(~np.isnan(own) & ~np.isnan(its))[:_DOTS]
        lines = [
            Line("", np.array([0.0, 1.0]), np.array([0.0, 1.0]), kind="reference"),
            Line("cases", own[known], its[known], kind="dots", said=[str(case) for case in ids[known]]),
        ]
        plots.append(
            LinePlot(
                f"dice_{number}",
                "Dice case by case",
                reference.name,
                other.name,
                lines,
                (0, 1),
                (0, 1),
                square=True,
                note=f"Above the line {other.name} is better.",
            )
        )
    return plots


def _mean_dice(part: PartTables) -> FloatArray:
    read = read_case_metrics(part.predictions, part.task.class_names)
    dice = read.values[:, :, read.metrics.index("dice")]
    count = (~np.isnan(dice)).sum(axis=1)
    mean: FloatArray = np.where(count > 0, np.nansum(dice, axis=1) / np.maximum(count, 1), np.nan)
    return mean
