"""How often intervals of paired differences hold the truth, and how often a difference is found.

Prints the tables of docs/comparison.md:

    python -m benchmarks.comparison [--simulations 1000] [--patients 60 150] [--populations binary masks ...]

Each simulation is a test set of patients with 1 to 4 correlated scans (``benchmarks.simulated``) and two models, whose
errors on a scan are correlated too. "none": both are equally good, and every difference that is found is a false one.
"better": the second is better.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.coverage import Count
from benchmarks.simulated import Array, Draw
from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.task_file import RunTask

ALIKE = 0.6  # correlation of the two models' errors
SPLIT = "test"
Pair = tuple[EvaluatedRun, EvaluatedRun]


@dataclass(frozen=True)
class Models:
    """Two models and the cases that they are compared on.

    Attributes:
        draw: a test set, and by how much the second model is better -> both runs.
        better: by how much, where it is.
        names: metrics that are compared.
        large: patients whose metrics are taken for the truth.
    """

    draw: Callable[[Draw, float], Pair]
    better: float
    names: Sequence[str]
    large: int = 60_000


@dataclass
class Found:
    """What was counted of one metric.

    Attributes:
        intervals: of the difference.
        tests: p-values that were given.
        below: of them those below 0.05.
    """

    intervals: Count
    tests: int = 0
    below: int = 0

    @property
    def share(self) -> float:
        """Of the tests the share that finds a difference; NaN without any."""
        return self.below / self.tests if self.tests else math.nan


def errors(scans: Draw, columns: int = 1) -> tuple[Array, Array]:
    """Errors of two models on each scan, correlated by patient and by model, each ``(n, columns)``."""
    shared = scans.effect(columns)
    first, second = (
        np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * own for own in (scans.effect(columns), scans.effect(columns))
    )
    return first, second


def _run(name: str, scans: Draw, task: RunTask, predictions: pd.DataFrame, **tables: Any) -> EvaluatedRun:
    cases = pd.DataFrame({"case_id": scans.cases, "patient_id": scans.names, "split": SPLIT})
    return EvaluatedRun(name, task, cases, predictions.assign(split=SPLIT), **tables)


def binary(scans: Draw, better: float) -> Pair:
    """Two classes, four patients in ten with the finding, AUROC about 0.86."""
    target = scans.kind(0.6, 0.4)
    names = np.array(["no", "yes"], dtype=object)
    task = RunTask("classify", ["no", "yes"], {"yes": 0.3}, {"target": "binary", "positive_class": "yes"})
    runs = []
    for number, error in enumerate(errors(scans)):
        logit = (1.5 + better * number) * target + error[:, 0] - 0.9
        chance = 1 / (1 + np.exp(-1.5 * logit))
        columns = {"case_id": scans.cases, "target": names[target], "prediction": names[(chance >= 0.5).astype(int)]}
        columns |= {"score_no": 1 - chance, "score_yes": chance}
        columns |= {"prediction_op": names[(chance >= 0.3).astype(int)]}
        runs.append(_run("ab"[number], scans, task, pd.DataFrame(columns)))
    return runs[0], runs[1]


def classes(scans: Draw, better: float) -> Pair:
    """Three classes with five, three and two patients in ten."""
    target = scans.kind(0.5, 0.3, 0.2)
    names = np.array(["common", "less", "rare"], dtype=object)
    runs = []
    for number, error in enumerate(errors(scans, 3)):
        power = np.exp(1.5 * (error + (1.5 + better * number) * np.eye(3)[target]))
        chance = power / power.sum(axis=1, keepdims=True)
        frame = pd.DataFrame({f"score_{name}": chance[:, k] for k, name in enumerate(names)})
        frame = frame.assign(case_id=scans.cases, target=names[target], prediction=names[chance.argmax(axis=1)])
        runs.append(_run("ab"[number], scans, RunTask("classify", list(names), {}, {"target": "multiclass"}), frame))
    return runs[0], runs[1]


def numbers(scans: Draw, better: float) -> Pair:
    """Regression of a normal number."""
    target = 50 + 10 * scans.effect()[:, 0]
    runs = []
    for number, error in enumerate(errors(scans)):
        frame = pd.DataFrame({"case_id": scans.cases, "target": target})
        frame["prediction"] = target + 5 * (1 - better * number) * error[:, 0]
        runs.append(_run("ab"[number], scans, RunTask("classify", [], {}, {"target": "regression"}), frame))
    return runs[0], runs[1]


def masks(scans: Draw, better: float) -> Pair:
    """Two classes: skewed overlaps, three scans in a hundred missed."""
    runs = []
    for number, error in enumerate(errors(scans, 2)):
        rows = []
        for k, name in enumerate(("organ", "lesion")):
            quality = error[:, k] + better * number
            missed = quality < -1.9
            dice = np.where(missed, 0.0, 1 / (1 + np.exp(-(2.2 - 0.8 * k) - quality)))
            distance = np.where(missed, np.nan, np.exp(1.5 - 0.7 * quality))
            counts = {"tp": np.where(missed, 0, 100), "fp": 5, "fn": np.where(missed, 100, 0), "tn": 900}
            values = {
                "dice": dice, "iou": dice / (2 - dice), "sensitivity": dice, "specificity": 1 - 0.02 * (1 - dice),
                "precision": dice, "f1": dice, "hd95": distance, "assd": distance / 4,
                "nsd": np.where(missed, 0.0, dice**0.5), "volume_difference": 0.3 * quality,
            }  # fmt: skip
            rows.append(pd.DataFrame({"case_id": scans.cases, "class": name, **counts, **values}))
        task = RunTask("segment", ["background", "organ", "lesion"], {}, {})
        runs.append(_run("ab"[number], scans, task, pd.concat(rows, ignore_index=True)))
    return runs[0], runs[1]


def boxes(scans: Draw, better: float) -> Pair:
    """Lesions, found or not, with false boxes beside them."""
    generator = scans.generator
    image = np.repeat(np.arange(scans.count), generator.poisson(1.5, scans.count))
    place = _places(generator, len(image))
    shared = generator.standard_normal(len(image))
    targets = _boxes(scans, image, place).assign(split=SPLIT)
    task = RunTask("detect", ["mass"], {"mass": 0.5}, {"max_detections": 100, "froc_iou": 0.1})
    runs = []
    for number, error in enumerate(errors(scans)):
        own = generator.standard_normal(len(image))
        quality = error[image, 0] + 0.6 * shared + 0.6 * own + better * number
        hit = quality > -0.6
        shift = np.tile(generator.normal(0, 3, (len(image), 2)), 2)
        score = 1 / (1 + np.exp(-0.8 - quality))
        false = np.repeat(np.arange(scans.count), generator.poisson(0.8, scans.count))
        wrong = 1 / (1 + np.exp(1 - generator.standard_normal(len(false))))
        found = [_boxes(scans, image[hit], (place + shift)[hit], score[hit])]
        found.append(_boxes(scans, false, _places(generator, len(false)), wrong))
        runs.append(_run("ab"[number], scans, task, pd.concat(found, ignore_index=True), targets=targets))
    return runs[0], runs[1]


def _places(generator: np.random.Generator, count: int) -> Array:
    corner, size = generator.uniform(0, 400, (count, 2)), generator.uniform(20, 60, (count, 2))
    return np.concatenate([corner, corner + size], axis=1)


def _boxes(scans: Draw, image: Array, place: Array, score: Array | None = None) -> pd.DataFrame:
    columns = {"case_id": scans.cases.to_numpy()[image], "label": ["mass"] * len(image)}
    columns |= {corner: place[:, k] for k, corner in enumerate(("x1", "y1", "x2", "y2"))}
    return pd.DataFrame(columns if score is None else {**columns, "score": score})


POPULATIONS = {
    "binary": Models(
        binary, 0.6,
        ("auroc", "auprc", "sensitivity", "specificity", "accuracy", "f1", "sensitivity@op", "specificity@op", "brier"),
    ),
    "classes": Models(classes, 0.5, ("auroc", "auprc", "accuracy", "balanced_accuracy", "f1", "auroc/rare")),
    "regression": Models(numbers, 0.25, ("mae", "rmse", "r2")),
    "masks": Models(masks, 0.4, ("dice", "nsd", "hd95", "dice/lesion")),
    "boxes": Models(
        boxes, 0.5, ("map50", "map", "froc", "sensitivity@1fp", "image_auroc", "sensitivity@op", "f1@op"), large=4_000
    ),
}  # fmt: skip


def parts_of(pair: Pair) -> tuple[PartTables, PartTables]:
    """The part of both."""
    return pair[0].part(SPLIT), pair[1].part(SPLIT)


def truth_of(models: Models, better: float, icc: float, seed: int = 0) -> Mapping[str, float]:
    """Differences in very many patients; 0 where both models are alike."""
    if not better:
        return dict.fromkeys(models.names, 0.0)
    draw = Draw(np.random.default_rng([seed, 3]), models.large, icc)
    parts = parts_of(models.draw(draw, better))
    if parts[0].task.task == "segment":  # of the cases where both have a distance
        pairs = paired_differences([parts[0]], [parts[1]], models.names)
        return {name: pair.difference for name, pair in pairs.items()}
    first, second = (part.metrics(resamples=0) for part in parts)
    return {name: second[name].value - first[name].value for name in models.names}


def simulate(
    models: Models,
    truth: Mapping[str, float],
    better: float,
    patients: int,
    simulations: int,
    icc: float = 0.5,
    seed: int = 0,
) -> dict[str, Found]:
    """Draw test sets, compare, and count.

    Args:
        models: that are compared.
        truth: difference of each metric.
        better: by how much the second model is better.
        patients: of a test set.
        simulations: test sets.
        icc: intra-class correlation of a patient's scans.
        seed: of the draws.
    """
    counts = {name: Found(Count()) for name in models.names}
    for number in range(simulations):
        draw = Draw(np.random.default_rng([seed, 4, patients, number]), patients, icc)
        first, second = parts_of(models.draw(draw, better))
        for name, pair in paired_differences([first], [second], models.names, resamples=500).items():
            value = pair.value
            counts[name].intervals.add(value.value, value.low, value.high, truth[name])
            if not math.isnan(pair.p):
                counts[name].tests += 1
                counts[name].below += pair.p < 0.05
    return counts


def rows(models: Models, truth: Mapping[str, float], counted: Sequence[Mapping[str, Found]]) -> list[str]:
    """Rows of the table: a metric, its true difference, and coverage / share found of each column."""
    lines = []
    for name in models.names:
        cells = [f"{own[name].intervals.share:.3f} / {own[name].share:.3f}" for own in counted]
        lines.append(f"| {name} | {truth[name]:+.3f} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=1000, help="test sets of each column")
    parser.add_argument("--patients", type=int, nargs="+", default=[60, 150])
    parser.add_argument("--icc", type=float, default=0.5, help="intra-class correlation of a patient's scans")
    parser.add_argument("--populations", nargs="+", default=list(POPULATIONS), choices=list(POPULATIONS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    for name in arguments.populations:
        models, start = POPULATIONS[name], time.monotonic()
        counted, heads = [], []
        truth: Mapping[str, float] = {}
        for better in (0.0, models.better):
            truth = truth_of(models, better, arguments.icc, arguments.seed)
            for patients in arguments.patients:
                counted.append(
                    simulate(models, truth, better, patients, arguments.simulations, arguments.icc, arguments.seed)
                )
                heads.append(f"{'better' if better else 'none'}, {patients}")
                print(f"{name}, {heads[-1]}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        print(f"\n| {name} | difference | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
        print("\n".join(rows(models, truth, counted)))
        every = [own.intervals for column in counted for own in column.values()]
        print(
            f"\n{sum(one.given for one in every)} intervals: {sum(one.no_width for one in every)} without a width, "
            f"{sum(one.outside for one in every)} with the value outside.",
            flush=True,
        )


if __name__ == "__main__":
    main()
