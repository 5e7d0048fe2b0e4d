"""Simulated test sets of patients with several scans, for ``benchmarks.coverage``.

A patient has 1 to 4 scans. What makes a scan easy or hard is a normal number whose variance is shared by the scans of a
patient to ``icc`` (intra-class correlation). Class and finding are the patient's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.classification.metrics import Kind, classification_metrics
from tasks.evaluation.detection.metrics import evaluate_boxes
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.segmentation.metrics import METRICS, PENALISED, segmentation_metrics

_DIAGONAL = 60.0  # of the images, mm: what a missed mask costs
Array = NDArray[Any]
Metrics = Mapping[str, MetricValue]


class Draw:
    """Scans of a number of patients, and their random numbers."""

    def __init__(self, generator: np.random.Generator, patients: int, icc: float, scans: int = 4) -> None:
        """Draw how many scans each patient has: 1 to ``scans``."""
        self.generator, self.patients, self.icc = generator, patients, icc
        self.groups = np.repeat(np.arange(patients), generator.integers(1, scans + 1, patients))
        self.count = len(self.groups)
        self.cases = pd.Series([f"s{number}" for number in range(self.count)])
        self.names = pd.Series([f"p{number}" for number in self.groups])

    def effect(self, columns: int = 1) -> Array:
        """Standard normal numbers, correlated within a patient, ``(n, columns)``."""
        shared = self.generator.standard_normal((self.patients, columns))[self.groups]
        own = self.generator.standard_normal((self.count, columns))
        effect: Array = np.sqrt(self.icc) * shared + np.sqrt(1 - self.icc) * own
        return effect

    def kind(self, *shares: float) -> Array:
        """Class of the patient of each scan, ``(n,)``."""
        kinds: Array = self.generator.choice(len(shares), self.patients, p=shares)[self.groups]
        return kinds


@dataclass(frozen=True)
class Population:
    """Where test sets come from.

    Attributes:
        about: one line.
        draw: a test set -> its evaluation, to be called with patients or without and with options.
        large: patients whose metrics are taken for the truth.
        figures: that are shown; none = all of the whole.
    """

    about: str
    draw: Callable[[Draw], Callable[..., Metrics]]
    large: int = 200_000
    figures: tuple[str, ...] = ()


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softened: Array = powers / powers.sum(axis=1, keepdims=True)
    return softened


def _single(draw: Draw, chance: Array, target: Array, kind: Kind, names: list[str]) -> Callable[..., Metrics]:
    frame = pd.DataFrame({"case_id": draw.cases, **{f"score_{name}": chance[:, k] for k, name in enumerate(names)}})
    labels = np.array(names, dtype=object)
    frame["target"] = pd.Series(labels[target], dtype="str")
    frame["prediction"] = pd.Series(labels[chance.argmax(axis=1)], dtype="str")
    return lambda patients, **options: classification_metrics(frame, kind, names, None, patients, **options)


def binary(auroc: float, confidence: float) -> Callable[[Draw], Callable[..., Metrics]]:
    """Two classes, four patients in ten with the finding.

    Args:
        auroc: of the population.
        confidence: factor of the logits: 1 = calibrated, more = overconfident.
    """

    def draw(scans: Draw) -> Callable[..., Metrics]:
        target = scans.kind(0.6, 0.4)
        distance = NormalDist().inv_cdf(auroc) * np.sqrt(2)
        score = distance * target + scans.effect()[:, 0]
        logit = confidence * (distance * score - distance**2 / 2 + np.log(0.4 / 0.6))
        chance = 1 / (1 + np.exp(-logit))
        return _single(scans, np.stack([1 - chance, chance], axis=1), target, "binary", ["no", "yes"])

    return draw


def three_classes(scans: Draw) -> Callable[..., Metrics]:
    """Grades with five, three and two patients in ten."""
    target = scans.kind(0.5, 0.3, 0.2)
    chance = _softmax(1.5 * (scans.effect(3) + 1.8 * np.eye(3)[target]))
    return _single(scans, chance, target, "ordinal", ["common", "less", "rare"])


def labels(scans: Draw) -> Callable[..., Metrics]:
    """Two findings that are there in four and in two patients of ten, each unknown in a tenth of the scans."""
    frame = pd.DataFrame({"case_id": scans.cases})
    effect = scans.effect(2)
    for k, (name, share, distance) in enumerate((("mass", 0.4, 1.6), ("effusion", 0.2, 2.2))):
        there = scans.kind(1 - share, share) == 1
        score = distance * there + effect[:, k]
        chance = 1 / (1 + np.exp(-(distance * score - distance**2 / 2 + np.log(share / (1 - share)))))
        known = scans.generator.random(scans.count) >= 0.1
        frame[f"target_{name}"] = np.where(known, there.astype(np.float64), np.nan)
        frame[f"score_{name}"] = chance
        frame[f"prediction_{name}"] = (chance >= 0.5).astype(int)
        frame[f"prediction_op_{name}"] = (chance >= share).astype(int)
    names = ["mass", "effusion"]
    return lambda patients, **options: classification_metrics(frame, "multilabel", names, None, patients, **options)


def numbers(scans: Draw) -> Callable[..., Metrics]:
    """Regression of a normal number."""
    target = 50 + 10 * scans.effect()[:, 0]
    prediction = target + 5 * scans.effect()[:, 0]
    frame = pd.DataFrame({"case_id": scans.cases, "target": target, "prediction": prediction})
    return lambda patients, **options: classification_metrics(frame, "regression", [], None, patients, **options)


def masks(scans: Draw) -> Callable[..., Metrics]:
    """Two classes: skewed overlaps, three scans in a hundred missed, the second class in six patients of ten."""
    effect, rows = scans.effect(2), []
    for k, name in enumerate(("organ", "lesion")):
        there = np.ones(scans.count, dtype=bool) if k == 0 else scans.kind(0.4, 0.6) == 1
        quality = effect[:, k]
        missed = quality < -1.9
        dice = np.where(missed, 0.0, 1 / (1 + np.exp(-(2.2 - 0.8 * k) - quality)))
        sensitivity, precision = dice ** (0.8 + 0.4 * k), np.where(missed, 0.0, dice**1.2)
        distance = np.where(missed, np.nan, np.exp(1.5 - 0.7 * quality))
        values = {
            "dice": dice, "iou": dice / (2 - dice), "sensitivity": sensitivity, "specificity": 1 - 0.02 * (1 - dice),
            "precision": precision, "f1": dice, "hd95": distance, "assd": distance / 4,
            "hd95_penalised": np.where(missed, _DIAGONAL, distance),
            "assd_penalised": np.where(missed, _DIAGONAL, distance / 4),
            "nsd": np.where(missed, 0.0, dice**0.5), "volume_difference": np.exp(0.3 * quality) - 1.05,
            "lesion_sensitivity": sensitivity**0.5, "lesion_f1": dice**1.5,
        }  # fmt: skip
        assert tuple(values) == METRICS
        # No finding and none called: undefined; specificity is not, and a penalised distance is 0.
        absent = dict.fromkeys(PENALISED, 0.0) | {"specificity": values["specificity"]}
        values = {metric: np.where(there, value, absent.get(metric, np.nan)) for metric, value in values.items()}
        rows.append(pd.DataFrame({"case_id": scans.cases, "class": name, **values}))
    table = pd.concat(rows, ignore_index=True)

    def evaluate(patients: pd.Series | None, **options: Any) -> Metrics:
        twice = None if patients is None else pd.concat([patients, patients], ignore_index=True)
        return segmentation_metrics(table, ["organ", "lesion"], twice, **options)

    return evaluate


def boxes(scans: Draw) -> Callable[..., Metrics]:
    """Two kinds of lesion: seven patients in ten have some, found or not, with false boxes beside them."""
    generator, effect = scans.generator, scans.effect(2)
    ill = scans.kind(0.3, 0.7) == 1
    true, found = [], []
    for k, name in enumerate(("nodule", "mass")):
        count = np.where(ill, generator.poisson(1.2, scans.count), 0)
        image = np.repeat(np.arange(scans.count), count)
        quality = effect[image, k] + 0.7 * generator.standard_normal(len(image))
        corner, size = generator.uniform(0, 400, (len(image), 2)), generator.uniform(15, 60, (len(image), 2))
        place = np.concatenate([corner, corner + size], axis=1)
        true.append(_box_rows(scans, image, name, place))
        hit = quality > -0.8
        shift = generator.normal(0, 0.06, (len(image), 2)) * size * np.exp(-0.4 * quality)[:, None]
        score = 1 / (1 + np.exp(-1.0 - quality - 0.5 * generator.standard_normal(len(image))))
        near = place + np.concatenate([shift, shift], axis=1)
        found.append(_box_rows(scans, image[hit], name, near[hit], score[hit]))
        image = np.repeat(np.arange(scans.count), generator.poisson(0.8 * np.exp(0.5 * effect[:, 1 - k])))
        corner, size = generator.uniform(0, 400, (len(image), 2)), generator.uniform(15, 60, (len(image), 2))
        score = 1 / (1 + np.exp(1.0 - generator.standard_normal(len(image))))
        found.append(_box_rows(scans, image, name, np.concatenate([corner, corner + size], axis=1), score))
    cases = pd.DataFrame({"case_id": scans.cases})
    tables = pd.concat(true, ignore_index=True), pd.concat(found, ignore_index=True)
    points = {"nodule": 0.5, "mass": 0.5}

    def evaluate(patients: pd.Series | None, **options: Any) -> Metrics:
        own = cases if patients is None else cases.assign(patient_id=patients)
        return evaluate_boxes(own, *tables, ["nodule", "mass"], points, **options).metrics

    return evaluate


def _box_rows(draw: Draw, image: Array, name: str, place: Array, score: Array | None = None) -> pd.DataFrame:
    columns = {"case_id": draw.cases.to_numpy()[image], "label": [name] * len(image)}
    columns |= {corner: place[:, number] for number, corner in enumerate(("x1", "y1", "x2", "y2"))}
    return pd.DataFrame(columns if score is None else {**columns, "score": score})


POPULATIONS = {
    "binary": Population("two classes, AUROC 0.88, overconfident", binary(0.88, 2.0)),
    "good": Population(
        "two classes, AUROC 0.96, calibrated", binary(0.96, 1.0),
        figures=("auroc", "auprc", "sensitivity", "specificity", "squared_ece"),
    ),
    "classes": Population("three ordered classes, the rarest with two patients in ten", three_classes),
    "labels": Population("two labels a case, the rarer with two patients in ten", labels),
    "regression": Population("a number", numbers),
    "masks": Population("masks of two classes, one of them not in all", masks),
    "boxes": Population("boxes of two classes", boxes, large=6_000),
}  # fmt: skip
