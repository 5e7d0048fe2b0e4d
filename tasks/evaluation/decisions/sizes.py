"""How performance goes with size: Dice with the size of a mask, sensitivity with size and shape of true boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tasks.evaluation.classification.columns import class_numbers
from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.detection.boxes import read_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.ratios import IntArray, numbered, ratios
from tasks.evaluation.intervals.scales import LOGIT
from tasks.evaluation.intervals.share import share_intervals
from tasks.evaluation.intervals.studentised import studentised_intervals
from tasks.evaluation.metric_values import NO_SPREAD, MetricValue, with_interval

COCO_SIDES = {"small": (0.0, 32.0), "medium": (32.0, 96.0), "large": (96.0, np.inf)}  # side of a square, pixels
SHAPES = {"tall": (0.0, 1 / 1.5), "about square": (1 / 1.5, 1.5), "wide": (1.5, np.inf)}  # width / height
_PARTS = 3  # bands of size with as many each


@dataclass(frozen=True)
class Band:
    """What lies between two sizes.

    Attributes:
        name: of it.
        low: lower end, inside.
        high: upper end, outside but for the last.
        value: of the metric there; its ``n`` counts what lies there.
    """

    name: str
    low: float
    high: float
    value: MetricValue


@dataclass(frozen=True, eq=False)
class Masks:
    """The masks of one class, a row a case.

    Attributes:
        name: of the class.
        case_ids: ``(n,)``.
        groups: ``(n,)`` patient number, 0..G-1.
        true: ``(n,)`` size of the true mask, in ``unit``.
        predicted: ``(n,)`` of the predicted one.
        metrics: ``(n,)`` values of ``dice`` and, where lesions are counted, ``lesion_sensitivity``; NaN = undefined.
        unit: ``mL``; of images ``mm²``; ``voxels`` where no spacing is known.
    """

    name: str
    case_ids: FloatArray
    groups: IntArray
    true: FloatArray
    predicted: FloatArray
    metrics: Mapping[str, FloatArray]
    unit: str

    def bands(self, metric: str, resamples: int = 1000, seed: int = 0) -> list[Band]:
        """Means of a metric in thirds of the true sizes; masks that are not there are in none.

        Args:
            metric: one of ``metrics``.
            resamples: of the intervals.
            seed: of the draws.
        """
        there = self.true > 0
        edges = _edges(self.true[there])
        if not len(edges):
            return []
        place = np.where(there, _place(self.true, edges), -1)
        values = self.metrics[metric]
        inside = (place[:, None] == np.arange(len(edges) - 1)) & ~np.isnan(values)[:, None]
        own = ratios(np.where(inside, np.nan_to_num(values)[:, None], 0.0), inside, self.groups)
        wanted = {str(number): ([number], LOGIT) for number in range(len(edges) - 1)}
        ends = studentised_intervals(own, wanted, resamples, seed)
        return [
            Band(
                name,
                float(edges[number]),
                float(edges[number + 1]),
                with_interval(
                    (float(own.value[number]), *ends[str(number)]),
                    int(inside[:, number].sum()),
                    int(own.patients[number]),
                    missing=NO_SPREAD,
                ),
            )
            for number, name in enumerate(_names(len(edges) - 1))
        ]


def masks_of(tables: PartTables) -> list[Masks]:
    """The masks of each class that has rows; none of a table without counts of voxels.

    Raises:
        SuiteError: a column is missing, or a class is none of the model's.
    """
    table = tables.predictions
    if not {"tp", "fp", "fn", "dice"} <= set(table.columns):
        return []
    numbers = class_numbers(table, "class", tables.task.class_names)
    rows = pd.Index(tables.cases["case_id"]).get_indexer(pd.Index(table["case_id"]))
    factor, unit = _size_of_voxel(tables.cases)
    tp, fp, fn = (table[name].to_numpy(dtype=np.float64) for name in ("tp", "fp", "fn"))
    columns = [name for name in ("dice", "lesion_sensitivity") if name in table]
    metrics = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64) for name in columns}
    found = []
    for number, name in enumerate(tables.task.class_names):
        own = (numbers == number) & (rows >= 0)
        if own.any():
            groups = numbered(tables.patients[rows[own]])
            scale = factor[rows[own]]
            found.append(
                Masks(
                    name,
                    table["case_id"].to_numpy()[own],
                    groups,
                    (tp + fn)[own] * scale,
                    (tp + fp)[own] * scale,
                    {metric: values[own] for metric, values in metrics.items()},
                    unit,
                )
            )
    return found


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """The true boxes that count of classes with an operating point, and which of them are found there.

    Attributes:
        class_names: in class order.
        label: ``(N,)`` class number.
        found: ``(N,)`` by a call at an IoU of 0.5.
        groups: ``(N,)`` patient number.
        images: ``(N,)`` image number.
        side: ``(N,)`` of a square as large, in pixels.
        length: ``(N,)`` the same in ``unit``.
        shape: ``(N,)`` width / height.
        unit: ``mm``; ``pixels`` where no spacing is known.
    """

    class_names: Sequence[str]
    label: IntArray
    found: BoolArray
    groups: IntArray
    images: IntArray
    side: FloatArray
    length: FloatArray
    shape: FloatArray
    unit: str

    def of(self, number: int) -> TrueBoxes:
        """Those of one class."""
        own = self.label == number
        return replace(
            self,
            label=self.label[own],
            found=self.found[own],
            groups=self.groups[own],
            images=self.images[own],
            side=self.side[own],
            length=self.length[own],
            shape=self.shape[own],
        )

    def by_length(self) -> list[Band]:
        """Sensitivity in thirds of the boxes by their size."""
        edges = _edges(self.length)
        names = _names(max(0, len(edges) - 1))
        return self._bands(self.length, {name: (edges[k], edges[k + 1]) for k, name in enumerate(names)})

    def by_side(self) -> list[Band]:
        """Sensitivity by COCO's sizes."""
        return self._bands(self.side, COCO_SIDES)

    def by_shape(self) -> list[Band]:
        """Sensitivity of tall, square and wide boxes."""
        return self._bands(self.shape, SHAPES)

    def _bands(self, values: FloatArray, ends: Mapping[str, tuple[float, float]]) -> list[Band]:
        bands = []
        for number, (name, (low, high)) in enumerate(ends.items()):
            last = number == len(ends) - 1
            inside = (values >= low) & ((values <= high) if last else (values < high))
            ratio = ratios((inside & self.found)[:, None], inside[:, None], self.groups)
            (interval,) = share_intervals(ratio)
            patients, boxes = int(ratio.patients[0]), int(inside.sum())
            images = len(np.unique(self.images[inside]))
            value = with_interval(
                (float(ratio.value[0]), *interval), images, patients, rests=patients, positives=boxes, missing=NO_SPREAD
            )
            bands.append(Band(name, low, high, value))
        return bands


def true_boxes_of(tables: PartTables) -> TrueBoxes | None:
    """The true boxes of a part; None where none counts, or no class has an operating point.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    assert tables.targets is not None
    names, points = tables.task.class_names, tables.task.operating_points
    boxes = read_boxes(tables.cases, tables.targets, tables.predictions, names)
    found = np.zeros(len(boxes.true_label), dtype=bool)
    for name, matches in zip(names, tables.matches, strict=True):
        if name in points:
            found[matches.taken[(matches.score >= points[name]) & (matches.taken >= 0)]] = True
    known = np.isin(boxes.true_label, [number for number, name in enumerate(names) if name in points]) & ~boxes.ignore
    if not known.any():
        return None
    width, height = (boxes.true_boxes[known, k + 2] - boxes.true_boxes[known, k] for k in (0, 1))
    side = np.sqrt(width * height)
    images = boxes.true_image[known]
    step, unit = _size_of_pixel(tables.cases)
    return TrueBoxes(
        names,
        boxes.true_label[known],
        found[known],
        tables.patients[images],
        images,
        side,
        side * step[images],
        np.divide(width, height, out=np.full(len(width), np.inf), where=height > 0),
        unit,
    )


def _edges(values: FloatArray) -> FloatArray:
    """Ends of bands with about as many in each; fewer bands where many are of one size, none of none."""
    if not len(values):
        return np.zeros(0)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _PARTS + 1)))
    return edges if len(edges) > 1 else np.append(edges, edges)


def _place(values: FloatArray, edges: FloatArray) -> IntArray:
    place: IntArray = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return place


def _names(count: int) -> Sequence[str]:
    return {0: (), 1: ("all",), 2: ("smaller", "larger"), 3: ("smallest third", "middle third", "largest third")}[count]


def _size_of_voxel(cases: pd.DataFrame) -> tuple[FloatArray, str]:
    """Size of each case's voxel (pixel) and its unit; 1 where not every spacing is known."""
    spacing = _spacings(cases)
    if spacing is None:
        return np.ones(len(cases)), "voxels"
    size = spacing.prod(axis=1)
    return (size / 1000, "mL") if spacing.shape[1] == 3 else (size, "mm²")


def _size_of_pixel(cases: pd.DataFrame) -> tuple[FloatArray, str]:
    """Side of a square as large as each case's pixel, and its unit; 1 where not every spacing is known."""
    spacing = _spacings(cases)
    if spacing is None or spacing.shape[1] != 2:
        return np.ones(len(cases)), "pixels"
    return np.sqrt(spacing.prod(axis=1)), "mm"


def _spacings(cases: pd.DataFrame) -> FloatArray | None:
    """``(n, axes)`` mm; None where not every case has one, or some have other axes than others."""
    if "spacing" not in cases or cases["spacing"].isna().any() or not len(cases):
        return None
    number, texts = pd.factorize(cases["spacing"].astype(str))
    try:
        known = [[float(word) for word in text.split()] for text in texts]
    except ValueError:
        return None
    if len({len(each) for each in known}) != 1 or len(known[0]) not in (2, 3):
        return None
    spacing = np.array(known)
    return spacing[number] if np.isfinite(spacing).all() and (spacing > 0).all() else None
