"""Metrics of detection, with intervals, from the tables of a run.

Every image is matched once; average precision, FROC, the metrics at the operating point and all their resamples are
read from that. The values of COCO's metrics themselves are those of faster-coco-eval, over the whole data set; where
boxes are VOC's difficult, which it does not know, they are read from the matches too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import Statistics, bootstrap, group_cases
from tasks.evaluation.classification.weighted import BoolArray, FloatArray, mean_of_classes
from tasks.evaluation.classification.weighted_scores import rank, ranking_areas
from tasks.evaluation.detection import coco_map
from tasks.evaluation.detection.average_precision import average_precision, build_ladder
from tasks.evaluation.detection.boxes import BoxSet, IntArray, join_boxes, read_boxes
from tasks.evaluation.detection.calls import CALL_IOU, Calls, call_boxes, call_rates, choose_thresholds
from tasks.evaluation.detection.coco_map import AREAS, IOU_THRESHOLDS, STANDARD_DETECTIONS, coco_metrics
from tasks.evaluation.detection.evidence import box_evidence
from tasks.evaluation.detection.froc import FALSE_POSITIVES, FROC_IOU, Froc, build_froc, froc_sensitivities, froc_table
from tasks.evaluation.detection.matching import Matches, match_boxes
from tasks.evaluation.intervals.evidence import Evidence, interval_of, mean_evidence, with_ends
from tasks.evaluation.intervals.jackknife import BLOCKS, jackknife
from tasks.evaluation.metric_values import MetricValue, with_interval
from tasks.evaluation.operating_rules import F1, OperatingRule

# The order in which metrics are written and shown.
METRICS = (
    *coco_map.METRICS, "froc", *(f"sensitivity@{rate:g}fp" for rate in FALSE_POSITIVES), "patient_froc",
    "patient_sensitivity@1fp", "image_auroc", "sensitivity@op", "precision@op", "f1@op",
)  # fmt: skip

# What is the mean over the classes under its bare name.
MEANS = frozenset(metric for metric in METRICS if metric in coco_map.METRICS or metric.endswith("@op"))


class BoxEvaluation(NamedTuple):
    """Metrics of a part, and its FROC curves."""

    metrics: dict[str, MetricValue]  # by name, without stage
    curves: pd.DataFrame  # see froc_table


def evaluate_boxes(
    cases: pd.DataFrame,
    targets: pd.DataFrame,
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    operating_points: Mapping[str, float] | None = None,
    max_detections: int = STANDARD_DETECTIONS,
    resamples: int = 1000,
    froc_iou: float = FROC_IOU,
    seed: int = 0,
    percentile: bool = False,
) -> BoxEvaluation:
    """Evaluate the boxes of one part.

    ``<metric>/<class>`` is a class's own value. The bare name is the mean over the classes that have one
    (``classes``), but for FROC and ``image_auroc``: there it is the value of all classes together, with one threshold,
    and in FROC the false positives of any class, a box of the wrong class among them. Undefined values are NaN.

    Args:
        cases: a row for each image evaluated, boxes or none: ``case_id`` and, where known, ``patient_id``.
        targets: true boxes, see :func:`tasks.evaluation.detection.boxes.read_boxes`.
        predictions: found boxes, the same; no row = a model that found nothing.
        class_names: in class order.
        operating_points: lowest score of a call by class, see :func:`detection_operating_points`; None or empty = no
            metrics ``@op``, and a class that is left out has none.
        max_detections: best found boxes of an image and class that count, but in ``map@100``.
        resamples: most times that a metric is computed without some of the patients; 0 = no intervals.
        froc_iou: IoU from which a box has found a lesion, in FROC.
        seed: of the order in which more patients than that are left out.
        percentile: give every metric the percentile bootstrap's interval, see
            :func:`tasks.evaluation.classification.metrics.classification_metrics`.

    Raises:
        SuiteError: a column is missing, a cell is not what it should be, or ``froc_iou`` is no IoU above 0.
    """
    read = read_evaluated_boxes(cases, targets, predictions, class_names, operating_points, max_detections, froc_iou)
    boxes, groups, statistics = read.boxes, read.groups, read.statistics
    values = read.values()
    patients = len(np.unique(groups))
    evidence = read.evidence(values)
    variances: Mapping[str, float] | None = None
    if percentile:
        evidence = with_ends(evidence, bootstrap(statistics, groups, resamples, seed), patients)
    elif resamples and boxes.images:
        variances = jackknife(statistics, groups, min(resamples, BLOCKS), seed)
    else:
        evidence = {name: each.without_ends() for name, each in evidence.items()}
    images = dict.fromkeys(values, boxes.images) | read.seen.images(class_names)
    metrics = {}
    for name in [*METRICS, *(f"{metric}/{name}" for name in class_names for metric in METRICS)]:
        if name in values:
            known = evidence.get(name, Evidence(None, patients))
            ends, missing = interval_of(name, values[name], known, variances, patients)
            metrics[name] = with_interval(
                (values[name], *ends),
                images[name],
                patients if known.patients is None else known.patients,
                sum(not np.isnan(values[f"{name}/{each}"]) for each in class_names) if name in MEANS else None,
                rests=known.rests,
                positives=known.positives,
                missing=missing,
            )
    return BoxEvaluation(metrics, froc_table(read.whole, read.curves, class_names))


@dataclass(frozen=True, eq=False)
class EvaluatedBoxes:
    """The boxes of n images, matched, and ready to be evaluated with any weights of the images.

    Attributes:
        boxes: as they were read.
        class_names: K names in class order.
        groups: ``(n,)`` patient number of each image, 0..G-1.
        statistics: the metrics of weighted images, as they are read from the matches.
        seen: whole images by their highest box.
        calls: at the operating points; None = no metrics ``@op``.
        whole: FROC of all classes together.
        curves: FROC of each class.
        max_detections: best found boxes of an image and class that count.
    """

    boxes: BoxSet
    class_names: Sequence[str]
    groups: IntArray
    statistics: Statistics
    seen: SeenImages
    calls: Calls | None
    whole: Froc
    curves: Sequence[Froc]
    max_detections: int

    def values(self) -> dict[str, float]:
        """The metrics; those of COCO are faster-coco-eval's, where it knows all boxes."""
        values = {name: float(value[0]) for name, value in self.statistics(np.ones((1, self.boxes.images))).items()}
        if not self.boxes.difficult.any():
            values |= coco_map.named(coco_metrics(self.boxes, self.max_detections), self.boxes.class_names)
        return values

    def evidence(self, values: Mapping[str, float]) -> dict[str, Evidence]:
        """What is behind each metric; what is absent rests on all patients.

        Args:
            values: of the metrics.
        """
        own = box_evidence(self.whole, self.curves, self.seen.rankings, self.calls, self.groups, self.class_names)
        return own | {name: each for name, each in mean_evidence(own, values).items() if name in MEANS}


def read_evaluated_boxes(
    cases: pd.DataFrame,
    targets: pd.DataFrame,
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    operating_points: Mapping[str, float] | None = None,
    max_detections: int = STANDARD_DETECTIONS,
    froc_iou: float = FROC_IOU,
) -> EvaluatedBoxes:
    """Read and match the boxes of one part; arguments and errors as in :func:`evaluate_boxes`."""
    if not 0 < froc_iou <= 1:
        raise SuiteError(f"froc_iou {froc_iou:g} is not above 0 and at most 1: any two boxes would be a hit, or none")
    boxes = read_boxes(cases, targets, predictions, class_names)
    groups = group_cases(cases["case_id"], cases.get("patient_id"))
    matches = match_boxes(
        boxes, max(max_detections, STANDARD_DETECTIONS), np.append(IOU_THRESHOLDS, froc_iou), list(AREAS.values())
    )
    best = [each.best(max_detections) for each in matches]
    whole, *curves = (build_froc(part, groups, len(IOU_THRESHOLDS)) for part in (best, *([each] for each in best)))
    seen = SeenImages(boxes)
    parts = [_precisions(matches, best), _frocs(whole, curves), seen.areas]
    calls = call_boxes(best, class_names, 0, operating_points) if operating_points else None
    if calls is not None:
        parts.append(partial(call_rates, calls=calls))

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        values: dict[str, FloatArray] = {}
        for part in parts:
            for metric, numbers in part(weights).items():
                # Statistics of the whole have a column of their own, before those of the classes.
                mean = numbers[:, 0] if numbers.shape[1] > len(class_names) else mean_of_classes(numbers)
                columns = numbers[:, -len(class_names) :]
                values |= {metric: mean} | {f"{metric}/{name}": columns[:, k] for k, name in enumerate(class_names)}
        return values

    return EvaluatedBoxes(boxes, class_names, groups, statistics, seen, calls, whole, curves, max_detections)


def detection_operating_points(
    cases: pd.DataFrame,
    targets: pd.DataFrame,
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    max_detections: int = STANDARD_DETECTIONS,
    rule: OperatingRule = F1,
) -> dict[str, float]:
    """Choose for each class the lowest score of a call, by a rule over calls at IoU 0.5.

    Args:
        cases: a row for each image of the validation part.
        targets: its true boxes.
        predictions: its found boxes.
        class_names: in class order.
        max_detections: best found boxes of an image and class that count.
        rule: by which it is chosen.

    Returns:
        Score by class; without classes that have no true box.

    Raises:
        SuiteError: a column is missing, or a cell is not what it should be.
    """
    boxes = read_boxes(cases, targets, predictions, class_names)
    return choose_thresholds(match_boxes(boxes, max_detections, np.array([CALL_IOU])), class_names, 0, rule)


def quick_map(
    targets: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    max_detections: int = STANDARD_DETECTIONS,
) -> dict[str, float]:
    """The metrics of a validation epoch, from the boxes of all its images, without intervals.

    Args:
        targets: for each image ``boxes`` (N, 4) xyxy in pixels of the stored image, ``labels`` (N,) class numbers and,
            where boxes are to be ignored, ``ignore`` and ``difficult`` (N,) bool.
        predictions: for the same images ``boxes``, ``scores`` and ``labels``.
        class_names: in class order.
        max_detections: best found boxes of an image and class that count.

    Returns:
        COCO's metrics, and ``sensitivity@op``, ``precision@op`` and ``f1@op`` at thresholds that are best on these very
        images; each as the mean over classes, and by class as ``<metric>/<class>``. NaN = undefined.
    """
    boxes = join_boxes(targets, predictions, class_names)
    matches = match_boxes(boxes, max_detections, np.array([CALL_IOU]))
    calls = call_boxes(matches, class_names, 0, choose_thresholds(matches, class_names, 0))
    called = {metric: values[0] for metric, values in call_rates(np.ones((1, boxes.images)), calls).items()}
    return coco_map.named({**_map_metrics(boxes, max_detections), **called}, boxes.class_names)


def _map_metrics(boxes: BoxSet, max_detections: int) -> dict[str, FloatArray]:
    """COCO's metrics of each class, ``(K,)``."""
    if not boxes.difficult.any():
        return coco_metrics(boxes, max_detections)
    most = max(max_detections, STANDARD_DETECTIONS)
    matches = match_boxes(boxes, most, IOU_THRESHOLDS, list(AREAS.values()))
    statistics = _precisions(matches, [each.best(max_detections) for each in matches])
    return {metric: values[0] for metric, values in statistics(np.ones((1, boxes.images))).items()}


def _precisions(matches: Sequence[Matches], best: Sequence[Matches]) -> Statistics:
    """COCO's metrics of each class, ``(B, K)``."""
    every = slice(0, len(IOU_THRESHOLDS))
    ladders = [[build_ladder(each, area, every) for area in range(len(AREAS))] for each in best]
    standard = [
        # The same where no image has more boxes than either limit.
        None if len(each.place) == len(own.place) == (each.place < STANDARD_DETECTIONS).sum()
        else build_ladder(each.best(STANDARD_DETECTIONS), 0, every)
        for each, own in zip(matches, best, strict=True)
    ]  # fmt: skip

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        columns = []
        for own, other in zip(ladders, standard, strict=True):
            precision, recall = average_precision(weights, own[0])
            mean = precision.mean(axis=1)
            at_standard = mean if other is None else average_precision(weights, other)[0].mean(axis=1)
            sizes = [average_precision(weights, ladder)[0].mean(axis=1) for ladder in own[1:]]
            # In the order of coco_map.METRICS.
            columns.append([mean, precision[:, 0], precision[:, 5], at_standard, *sizes, recall.mean(axis=1)])
        stacked = np.array(columns)  # (K, M, B)
        return {metric: stacked[:, m].T for m, metric in enumerate(coco_map.METRICS)}

    return statistics


def _frocs(whole: Froc, curves: Sequence[Froc]) -> Statistics:
    """Sensitivities at fixed rates, ``(B, 1 + K)``: of all classes together, then of each."""

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        read = [froc_sensitivities(weights, curve) for curve in (whole, *curves)]
        by_lesion = np.stack([lesion for lesion, _ in read], axis=1)  # (B, 1 + K, 7)
        by_patient = np.stack([patient for _, patient in read], axis=1)
        values = {"froc": by_lesion.mean(axis=2), "patient_froc": by_patient.mean(axis=2)}
        for number, rate in enumerate(FALSE_POSITIVES):
            values[f"sensitivity@{rate:g}fp"] = by_lesion[:, :, number]
        values["patient_sensitivity@1fp"] = by_patient[:, :, FALSE_POSITIVES.index(1.0)]
        return values

    return statistics


class SeenImages:
    """Whole images told apart by their highest box, which is 0 where there is none.

    An image whose only true boxes are to be ignored is neither with nor without, and left out.
    """

    def __init__(self, boxes: BoxSet) -> None:
        shape = (boxes.images, len(boxes.class_names))
        top, true, unclear = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        np.maximum.at(top, (boxes.image, boxes.label), boxes.score)
        true[boxes.true_image[~boxes.ignore], boxes.true_label[~boxes.ignore]] = True
        unclear[boxes.true_image[boxes.ignore], boxes.true_label[boxes.ignore]] = True

        def with_whole(cells: BoolArray) -> BoolArray:
            return np.concatenate([cells.any(axis=1, keepdims=True), cells], axis=1)

        target = with_whole(true)
        self.known = target | ~with_whole(unclear)
        score = np.concatenate([top.max(axis=1, keepdims=True), top], axis=1)
        columns: IntArray = np.arange(target.shape[1])
        self.rankings = [rank(score[:, k], target[:, k], self.known[:, k]) for k in columns]

    def areas(self, weights: FloatArray) -> dict[str, FloatArray]:
        """AUROC of the whole and of each class, ``(B, 1 + K)``."""
        return {"image_auroc": np.stack([ranking_areas(weights, each)[0] for each in self.rankings], axis=1)}

    def images(self, class_names: Sequence[str]) -> dict[str, int]:
        """Number of images behind each value."""
        names = ["image_auroc", *(f"image_auroc/{name}" for name in class_names)]
        return dict(zip(names, self.known.sum(axis=0).tolist(), strict=True))
