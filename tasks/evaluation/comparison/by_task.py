"""Paired differences of the metrics of each task, from the tables of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tasks.evaluation.classification.columns import MultiLabel, SingleLabel
from tasks.evaluation.classification.folds import NAME as FOLD_AUROC
from tasks.evaluation.classification.folds import fold_areas
from tasks.evaluation.classification.metrics import KnownCases, read_known_cases
from tasks.evaluation.classification.weighted import BoolArray, FloatArray
from tasks.evaluation.classification.weighted_scores import rank
from tasks.evaluation.comparison.aurocs import paired_auroc, paired_fold_auroc
from tasks.evaluation.comparison.means import paired_means
from tasks.evaluation.comparison.paired import Paired
from tasks.evaluation.comparison.shares import paired_share
from tasks.evaluation.comparison.weighted import mean_statistics, paired_weighted
from tasks.evaluation.detection.metrics import EvaluatedBoxes, read_evaluated_boxes
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.intervals.auroc import clustered_auroc
from tasks.evaluation.intervals.evidence import Evidence
from tasks.evaluation.intervals.ratios import IntArray
from tasks.evaluation.segmentation.metrics import read_case_metrics

Names = Sequence[str] | None  # None: all of them


class Share(NamedTuple):
    """A share of the same cases by two models: ``(n,)`` counts of each case, and of how many."""

    name: str
    reference: FloatArray
    other: FloatArray
    whole: FloatArray


def paired_differences(
    reference: Sequence[PartTables],
    other: Sequence[PartTables],
    names: Names = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Paired]:
    """Differences of the metrics of two models, each of one run or of several whose metrics are averaged.

    Args:
        reference: parts of the runs of the first model, aligned (:mod:`tasks.evaluation.comparison.alignment`).
        other: of those of the second.
        names: metrics that are wanted, as in ``metrics.json`` without stage; those that there are not are passed over.
        resamples: of the studentised bootstrap, and most times that a patient is left out.
        seed: of what is drawn.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
    """
    task = reference[0].task.task
    if task == "segment":
        return _segmentation(reference, other, names, resamples, seed)
    if task == "detect":
        return _detection(reference, other, names, resamples, seed)
    return _classification(reference, other, names, resamples, seed)


def _wanted(name: str, names: Names) -> bool:
    return names is None or name in names


# --- classification


def _classification(
    reference: Sequence[PartTables], other: Sequence[PartTables], names: Names, resamples: int, seed: int
) -> dict[str, Paired]:
    first, second = ([_known(part) for part in side] for side in (reference, other))
    groups = first[0].groups
    if not len(groups):
        return {}
    found: dict[str, Paired] = {}
    if first[0].numbers is not None:
        if _wanted("mae", names):
            errors = [np.mean([_errors(run) for run in side], axis=0)[:, None] for side in (first, second)]
            found |= paired_means(errors[0], errors[1], groups, {"mae": [0]}, resamples, seed)
    else:
        found |= _aurocs(first, second, names)
        found |= _fold_aurocs(reference, other, first, second, names)
        for share in _shares(first, second):
            if _wanted(share.name, names):
                found[share.name] = paired_share(*share[1:], groups)
    values = [_values([run.statistics for run in side], len(groups)) for side in (first, second)]
    evidence = [run.evidence(own) for own, side in zip(values, (first, second), strict=True) for run in side]
    return found | _others(first, second, groups, values, evidence, [*found], names, resamples, seed)


def _known(part: PartTables) -> KnownCases:
    return read_known_cases(
        part.predictions, part.task["target"], part.task.class_names, part.positive_class, part.cases.get("patient_id")
    )


def _errors(run: KnownCases) -> FloatArray:
    assert run.numbers is not None
    target, prediction = run.numbers
    errors: FloatArray = np.abs(target - prediction)
    return errors


def _aurocs(first: Sequence[KnownCases], second: Sequence[KnownCases], names: Names) -> dict[str, Paired]:
    """Of each class or label; in binary classification under the bare name too."""
    found: dict[str, Paired] = {}
    classes = list(first[0].class_names)
    for k, own in enumerate(classes):
        bare = first[0].positive == k
        if _wanted(f"auroc/{own}", names) or (bare and _wanted("auroc", names)):
            areas = [[clustered_auroc(rank(*run.findings[k]), run.groups) for run in side] for side in (first, second)]
            pair = paired_auroc(areas[0], areas[1], int(first[0].findings[k].known.sum()))
            found |= {f"auroc/{own}": pair} if _wanted(f"auroc/{own}", names) else {}
            found |= {"auroc": pair} if bare and _wanted("auroc", names) else {}
    return found


def _fold_aurocs(
    reference: Sequence[PartTables],
    other: Sequence[PartTables],
    first: Sequence[KnownCases],
    second: Sequence[KnownCases],
    names: Names,
) -> dict[str, Paired]:
    """Of out-of-fold predictions that were made by the same folds; of several classes those of each class."""
    if any("fold" not in part.predictions for part in (*reference, *other)):
        return {}
    dealt = [part.predictions["fold"].astype("str").to_numpy(dtype=object) for part in (*reference, *other)]
    if len(set(dealt[0])) < 2 or any((own != dealt[0]).any() for own in dealt[1:]):
        return {}
    folds = np.unique(dealt[0][first[0].rows].astype("str"), return_inverse=True)[1].astype(np.intp)
    groups = first[0].groups
    found: dict[str, Paired] = {}
    for k, own in enumerate(first[0].class_names):
        keys = [f"{FOLD_AUROC}/{own}", *([FOLD_AUROC] if first[0].positive == k else [])]
        if any(_wanted(key, names) for key in keys):
            areas = [[fold_areas(run.findings[k], folds, groups) for run in side] for side in (first, second)]
            known = first[0].findings[k].known
            pair = paired_fold_auroc(areas[0], areas[1], int(known.sum()), len(np.unique(groups[known])))
            found |= {key: pair for key in keys if _wanted(key, names)}
    return found


def _shares(first: Sequence[KnownCases], second: Sequence[KnownCases]) -> Iterator[Share]:
    """Sensitivity, specificity and accuracy: their cases are the same for both models."""
    classes = list(first[0].class_names)
    for k, own in enumerate(classes):
        calls = [[_calls(run, k) for run in side] for side in (first, second)]
        truth, known = _truth(first[0], k)
        yield from _rates(f"/{own}", calls, truth, known, accuracy=isinstance(first[0].cases, MultiLabel))
        if first[0].positive == k:
            yield from _rates("", calls, truth, known)
        chosen = [[_calls_at_point(run, k) for run in side] for side in (first, second)]
        if any(one is None for side in chosen for one in side):
            continue
        there = [[one for one in side if one is not None] for side in chosen]
        present = known & np.all([one[1] for side in there for one in side], axis=0)
        called = [[one[0] for one in side] for side in there]
        if isinstance(first[0].cases, MultiLabel):
            yield from _rates(f"@op/{own}", called, truth, present, accuracy=True)
        elif first[0].positive == k:
            yield from _rates("@op", called, truth, present, accuracy=True)
    if isinstance(first[0].cases, SingleLabel):
        right = [np.mean([_right(run) for run in side], axis=0) for side in (first, second)]
        yield Share("accuracy", right[0], right[1], np.ones(len(right[0])))


def _rates(
    suffix: str,
    calls: Sequence[Sequence[BoolArray]],
    truth: BoolArray,
    known: BoolArray,
    accuracy: bool = False,
) -> Iterator[Share]:
    metrics = [("sensitivity", truth & known, truth), ("specificity", ~truth & known, truth)]
    metrics += [("accuracy", known, truth)] if accuracy else []
    for metric, whole, wanted in metrics:
        right = [np.mean([(call == wanted) & whole for call in side], axis=0) for side in calls]
        point, _, own = suffix.partition("/")
        yield Share(f"{metric}{point}{'/' + own if own else ''}", right[0], right[1], whole.astype(np.float64))


def _truth(run: KnownCases, k: int) -> tuple[BoolArray, BoolArray]:
    finding = run.findings[k]
    return finding.truth, finding.known


def _calls(run: KnownCases, k: int) -> BoolArray:
    if isinstance(run.cases, MultiLabel):
        return run.cases.prediction[:, k]
    assert run.cases is not None
    return np.asarray(run.cases.prediction == k)


def _calls_at_point(run: KnownCases, k: int) -> tuple[BoolArray, BoolArray] | None:
    """Calls at the operating point, and where there are any."""
    if run.cases is None or run.cases.at_operating_point is None:
        return None
    if isinstance(run.cases, MultiLabel):
        return run.cases.at_operating_point[:, k], run.cases.known_at_operating_point[:, k]
    return np.asarray(run.cases.at_operating_point == k), np.asarray(run.cases.at_operating_point >= 0)


def _right(run: KnownCases) -> FloatArray:
    assert isinstance(run.cases, SingleLabel)
    return np.asarray(run.cases.prediction == run.cases.target, dtype=np.float64)


# --- detection


def _detection(
    reference: Sequence[PartTables], other: Sequence[PartTables], names: Names, resamples: int, seed: int
) -> dict[str, Paired]:
    first, second = ([_boxes(part) for part in side] for side in (reference, other))
    groups, classes = first[0].groups, list(first[0].class_names)
    found: dict[str, Paired] = {}
    for k, own in enumerate(["", *classes]):
        name = f"image_auroc/{own}" if own else "image_auroc"
        if _wanted(name, names):
            areas = [[clustered_auroc(run.seen.rankings[k], groups) for run in side] for side in (first, second)]
            found[name] = paired_auroc(areas[0], areas[1], int(first[0].seen.known[:, k].sum()))
    for k, own in enumerate(classes):
        if _wanted(f"sensitivity@op/{own}", names) and all(run.calls is not None for run in (*first, *second)):
            hits = [np.mean([_hits(run, k) for run in side], axis=0) for side in (first, second)]
            calls = first[0].calls
            assert calls is not None
            whole = calls.tp[:, k] + calls.fn[:, k]
            if np.isfinite(hits[0]).all() and np.isfinite(hits[1]).all():
                found[f"sensitivity@op/{own}"] = paired_share(hits[0], hits[1], whole, groups)
    values = [_mean([run.values() for run in side]) for side in (first, second)]
    evidence = [run.evidence(own) for own, side in zip(values, (first, second), strict=True) for run in side]
    return found | _others(first, second, groups, values, evidence, [*found], names, resamples, seed)


def _boxes(part: PartTables) -> EvaluatedBoxes:
    assert part.targets is not None
    task = part.task
    return read_evaluated_boxes(
        part.cases,
        part.targets,
        part.predictions,
        task.class_names,
        task.operating_points,
        task["max_detections"],
        task["froc_iou"],
    )


def _hits(run: EvaluatedBoxes, k: int) -> FloatArray:
    assert run.calls is not None
    return run.calls.tp[:, k]


# --- segmentation


def _segmentation(
    reference: Sequence[PartTables], other: Sequence[PartTables], names: Names, resamples: int, seed: int
) -> dict[str, Paired]:
    first, second = (
        [read_case_metrics(part.predictions, part.task.class_names) for part in side] for side in (reference, other)
    )
    metrics = [metric for metric in first[0].metrics if all(metric in run.metrics for run in (*first, *second))]
    classes = first[0].class_names
    cubes = [np.mean([_cube(run.values, run.metrics, metrics) for run in side], axis=0) for side in (first, second)]
    means: dict[str, list[int]] = {}
    for m, metric in enumerate(metrics):
        means[metric] = [k * len(metrics) + m for k in range(len(classes))]
        means |= {f"{metric}/{own}": [k * len(metrics) + m] for k, own in enumerate(classes)}
    wanted = {name: columns for name, columns in means.items() if _wanted(name, names)}
    flat = [cube.reshape(len(cube), -1) for cube in cubes]
    return paired_means(flat[0], flat[1], reference[0].patients, wanted, resamples, seed)


def _cube(values: FloatArray, own: Sequence[str], metrics: Sequence[str]) -> FloatArray:
    return values[:, :, [own.index(metric) for metric in metrics]]


# --- what is common to classification and detection


def _values(statistics: Sequence[object], n: int) -> dict[str, float]:
    found = mean_statistics(statistics, np.ones((1, n)))  # type: ignore[arg-type]
    return {name: float(value[0]) for name, value in found.items()}


def _mean(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in runs[0] if all(name in run for run in runs)]
    return {name: float(np.mean([run[name] for run in runs])) for name in names}


def _others(
    first: Sequence[KnownCases] | Sequence[EvaluatedBoxes],
    second: Sequence[KnownCases] | Sequence[EvaluatedBoxes],
    groups: IntArray,
    values: Sequence[Mapping[str, float]],
    evidence: Sequence[Mapping[str, Evidence]],
    found: Sequence[str],
    names: Names,
    resamples: int,
    seed: int,
) -> dict[str, Paired]:
    """Of metrics that have no closed form, by the jackknife."""
    differences = {
        name: values[1][name] - values[0][name]
        for name in values[0]
        if name in values[1] and name not in found and _wanted(name, names)
    }
    behind: dict[str, Evidence] = {}
    for own in evidence:
        # What rests on the fewest patients by either model: calls (of precision) are not the same.
        behind |= {name: each for name, each in own.items() if name not in behind or each.rests < behind[name].rests}
    statistics = [[run.statistics for run in side] for side in (first, second)]
    return (
        paired_weighted(statistics[0], statistics[1], groups, behind, differences, resamples, seed)
        if differences
        else {}
    )
