"""Metrics of classification and regression, with intervals, from a predictions table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import Statistics, bootstrap, group_cases
from tasks.evaluation.classification.columns import (
    MultiLabel,
    SingleLabel,
    class_numbers,
    read_multilabel,
    read_regression,
    read_single_label,
)
from tasks.evaluation.classification.evidence import class_evidence, label_evidence
from tasks.evaluation.classification.folds import Finding, class_findings, fold_aurocs, label_findings
from tasks.evaluation.classification.weighted import (
    BoolArray,
    FloatArray,
    count,
    many_class_agreement,
    mean_of_classes,
    quadratic_kappa,
    rates,
    regression_errors,
    two_class_agreement,
)
from tasks.evaluation.classification.weighted_scores import Ranking, brier, calibration_error, rank, ranking_areas
from tasks.evaluation.intervals.calibration import SquaredError
from tasks.evaluation.intervals.evidence import Evidence, interval_of, with_ends
from tasks.evaluation.intervals.jackknife import BLOCKS, jackknife
from tasks.evaluation.intervals.ratios import numbered
from tasks.evaluation.intervals.smooth import CLIPPED
from tasks.evaluation.metric_values import MetricValue, with_interval

Kind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]

# The order in which metrics are written and shown.
METRICS = (
    "auroc", "fold_auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "npv",
    "f1", "mcc", "kappa", "qwk", "brier", "ece", "squared_ece", "mae", "rmse", "r2",
)  # fmt: skip
EPOCH_METRICS = (
    "sensitivity", "specificity", "precision", "npv", "f1", "accuracy", "auroc", "auprc", "balanced_accuracy", "qwk",
    "mae", "rmse", "r2",
)  # fmt: skip
AT_OPERATING_POINT = (
    "sensitivity", "specificity", "precision", "npv", "f1", "accuracy", "balanced_accuracy", "mcc",
)  # fmt: skip


def classification_metrics(
    predictions: pd.DataFrame,
    kind: Kind,
    class_names: Sequence[str],
    positive_class: str | None = None,
    patients: pd.Series | None = None,
    resamples: int = 1000,
    seed: int = 0,
    percentile: bool = False,
) -> dict[str, MetricValue]:
    """Evaluate a predictions table.

    Bare names are the metrics of the whole; ``<metric>/<class>`` is a class against the rest, or a label. The bare
    name of such a metric is the mean over the classes where it is defined, and in binary classification the value of
    the positive class. Undefined values are NaN. ``<metric>@op`` are the metrics of the calls at the operating point,
    where the table has them.

    Args:
        predictions: columns as in the run folder's ``predictions.csv``: ``case_id``; ``target``, ``prediction``
            (names of classes) and ``score_<class>``; multilabel ``target_<c>``, ``prediction_<c>`` (0, 1) and
            ``score_<c>``; regression ``target`` and ``prediction``. An empty target is unknown and left out. Where a
            column ``fold`` tells models apart, ``fold_auroc`` is the mean of their areas.
        kind: of target.
        class_names: in class order; ignored in regression.
        positive_class: in binary classification; None = the last.
        patients: patient of each row, in the order of the rows; NA or None = each case for itself.
        resamples: most times that a metric is computed without some of the patients; 0 = no intervals.
        seed: of the order in which more patients than that are left out.
        percentile: give every metric the percentile bootstrap's interval, as many papers have it; it holds the truth
            too seldom (``docs/intervals.md``).

    Returns:
        Metrics by name, without stage.

    Raises:
        SuiteError: a column is missing or a cell is not what it should be.
        ValueError: ``patients`` has another length than ``predictions``.
    """
    read = read_known_cases(predictions, kind, class_names, positive_class, patients)
    rows, groups, statistics = read.rows, read.groups, read.statistics
    cases = _known_cases(read.cases, class_names) if isinstance(read.cases, MultiLabel) else {}
    values = {name: float(value[0]) for name, value in statistics(np.ones((1, len(rows)))).items()}
    evidence = read.evidence(values)
    variances: Mapping[str, float] | None = None
    if percentile:
        evidence = with_ends(evidence, bootstrap(statistics, groups, resamples, seed), len(np.unique(groups)))
    elif resamples and len(rows):
        variances = jackknife(statistics, groups, min(resamples, BLOCKS), seed)
    else:
        evidence = {name: each.without_ends() for name, each in evidence.items()}
    defined = {} if kind in ("binary", "regression") else _defined_classes(values, class_names)
    behind = len(np.unique(groups))
    found = {}
    for name in sorted(values, key=lambda name: _place(name, class_names)):
        known = evidence.get(name, Evidence(None, behind))
        seen = behind if known.patients is None else known.patients
        ends, missing = interval_of(name, values[name], known, variances, behind)
        # The estimate may come below 0, the error itself is not; NaN stays.
        value = max(values[name], 0.0) if name.partition("/")[0] == CLIPPED else values[name]
        found[name] = with_interval(
            (value, *ends), cases.get(name, len(rows)), seen, defined.get(name),
            rests=known.rests, positives=known.positives, missing=missing,
        )  # fmt: skip
    if kind == "regression" or "fold" not in predictions or predictions["fold"].nunique() < 2 or not len(rows):
        return found
    folds = pd.factorize(predictions["fold"].iloc[rows])[0]
    found |= fold_aurocs(read.findings, folds, groups, class_names, read.positive, intervals=resamples > 0)
    return {name: found[name] for name in sorted(found, key=lambda name: _place(name, class_names))}


@dataclass(frozen=True, eq=False)
class KnownCases:
    """The n cases of a predictions table whose target is known, ready to be evaluated with any weights.

    Attributes:
        rows: ``(n,)`` row numbers of the table.
        groups: ``(n,)`` patient number of each, 0..G-1.
        statistics: the metrics of weighted cases.
        class_names: in class order.
        positive: number of the positive class in binary classification; otherwise None.
        cases: targets and what is said of them; None in regression.
        numbers: in regression targets and predictions, each ``(n,)``; otherwise None.
    """

    rows: NDArray[np.intp]
    groups: NDArray[np.intp]
    statistics: Statistics
    class_names: Sequence[str]
    positive: int | None
    cases: SingleLabel | MultiLabel | None
    numbers: tuple[FloatArray, FloatArray] | None = None

    @cached_property
    def findings(self) -> list[Finding]:
        """Each class against the rest, or each label, in class order; none in regression."""
        if self.cases is None:
            return []
        return label_findings(self.cases) if isinstance(self.cases, MultiLabel) else class_findings(self.cases)

    def evidence(self, values: Mapping[str, float]) -> Mapping[str, Evidence]:
        """What is behind each metric; what is absent rests on all patients.

        Args:
            values: of the metrics.
        """
        if self.cases is None or not len(self.rows):
            return {}
        if isinstance(self.cases, MultiLabel):
            return label_evidence(self.cases, self.class_names, self.groups, values)
        return class_evidence(self.cases, self.class_names, self.positive, self.groups, values)


def read_known_cases(
    predictions: pd.DataFrame,
    kind: Kind,
    class_names: Sequence[str],
    positive_class: str | None = None,
    patients: pd.Series | None = None,
) -> KnownCases:
    """Read a predictions table; arguments and errors as in :func:`classification_metrics`."""
    groups = group_cases(predictions["case_id"], patients)
    if kind == "regression":
        rows, target, prediction = read_regression(predictions)
        statistics: Statistics = lambda weights: regression_errors(weights, target, prediction)  # noqa: E731
        return KnownCases(rows, numbered(groups[rows]), statistics, (), None, None, (target, prediction))
    if kind == "multilabel":
        labels = read_multilabel(predictions, class_names)
        groups = numbered(groups[labels.rows])
        return KnownCases(labels.rows, groups, _multilabel(labels, class_names, groups), class_names, None, labels)
    if kind == "binary" and len(class_names) != 2:
        raise SuiteError(f"binary classification takes two classes, not {len(class_names)}: {', '.join(class_names)}")
    positive = _positive(class_names, positive_class) if kind == "binary" else None
    single = read_single_label(predictions, class_names)
    groups = numbered(groups[single.rows])
    statistics = _single_label(single, class_names, positive, groups, ordered=kind == "ordinal")
    return KnownCases(single.rows, groups, statistics, class_names, positive, single)


def quick_metrics(
    kind: str, target: NDArray[Any], prediction: NDArray[Any], score: FloatArray, positive: int
) -> dict[str, float]:
    """The metrics of an epoch, from arrays, without intervals: the bare names of :data:`EPOCH_METRICS` alone.

    Args:
        kind: of target.
        target: ``(n,)`` class numbers or numbers, or ``(n, L)`` 0, 1 and NaN = unknown.
        prediction: ``(n,)`` class numbers or numbers, or ``(n, L)`` calls of labels.
        score: ``(n, C)`` probabilities; not looked at in regression.
        positive: number of the positive class in binary classification.
    """
    names = [str(number) for number in range(score.shape[1])]
    if kind == "regression":
        numbers, said = target.astype(np.float64), prediction.astype(np.float64)
        values = regression_errors(np.ones((1, len(target))), numbers, said)
    elif kind == "multilabel":
        known: BoolArray = ~np.isnan(target)
        labels = MultiLabel(np.arange(len(target)), target == 1, known, prediction, score, None, known)
        values = _multilabel(labels, names)(np.ones((1, len(target))))
    else:
        single = SingleLabel(np.arange(len(target)), target, prediction, score, None)
        statistics = _single_label(single, names, positive if kind == "binary" else None, ordered=kind == "ordinal")
        values = statistics(np.ones((1, len(target))))
    return {name: float(values[name][0]) for name in EPOCH_METRICS if name in values}


def confusion_matrix(predictions: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Cases by true class (rows) and predicted class (columns); cases without a known target are left out.

    Raises:
        SuiteError: a column is missing, or a name is not among ``class_names``.
    """
    target = class_numbers(predictions, "target", class_names)
    prediction = class_numbers(predictions, "prediction", class_names)
    known = (target >= 0) & (prediction >= 0)
    size = len(class_names)
    cells = np.bincount(target[known] * size + prediction[known], minlength=size * size).reshape(size, size)
    return pd.DataFrame(cells, index=pd.Index(list(class_names), name="target"), columns=list(class_names))


def _positive(class_names: Sequence[str], positive_class: str | None) -> int:
    if positive_class is None:
        return len(class_names) - 1
    if positive_class not in class_names:
        raise SuiteError(f"positive_class {positive_class!r} is none of the classes ({', '.join(class_names)})")
    return list(class_names).index(positive_class)


def _single_label(
    cases: SingleLabel,
    class_names: Sequence[str],
    positive: int | None,
    groups: NDArray[np.intp] | None = None,
    *,
    ordered: bool,
) -> Statistics:
    """Statistics of one class a case.

    Args:
        cases: what is known and said of them.
        class_names: in class order.
        positive: number of the positive class in binary classification.
        groups: patient number of each case; None = no metric that asks for patients.
        ordered: the order of the classes means something, as quadratic kappa takes for granted.
    """
    size = len(class_names)
    truth = cases.target[:, None] == np.arange(size)
    called = cases.prediction[:, None] == np.arange(size)
    known = np.ones_like(truth)
    rankings = _rankings(cases)
    if positive is None:
        error = ((cases.score - truth) ** 2).sum(axis=1, keepdims=True)
        confidence, right = cases.score.max(axis=1), cases.score.argmax(axis=1) == cases.target
    else:
        confidence, right = cases.score[:, positive], truth[:, positive]
        error = ((confidence - right) ** 2)[:, None]
    squared = None if groups is None else SquaredError(confidence, right, known[:, 0], groups)

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        counts = count(weights, truth, called, known)
        by_class = {**_areas(weights, rankings), **rates(counts)}
        values = _named(by_class, class_names, positive)
        values |= many_class_agreement(counts)
        if positive is None:
            values["balanced_accuracy"] = mean_of_classes(by_class["sensitivity"])
        else:
            values["balanced_accuracy"] = two_class_agreement(counts)["balanced_accuracy"][:, positive]
        if ordered:
            values["qwk"] = quadratic_kappa(weights, cases.target, cases.prediction)
        values["brier"] = brier(weights, error, known[:, :1])[:, 0]
        values["ece"] = calibration_error(weights, confidence, right, known[:, 0])
        if squared is not None:
            values["squared_ece"] = squared(weights)
        if positive is not None and cases.at_operating_point is not None:
            present = (cases.at_operating_point >= 0)[:, None]
            there = (cases.at_operating_point == positive)[:, None]
            chosen = _at_operating_point(weights, truth[:, [positive]], there, present)
            values |= {name: value[:, 0] for name, value in chosen.items()}
        return values

    return statistics


def _rankings(cases: SingleLabel) -> list[Ranking]:
    """The cases of each class against the rest."""
    return [rank(*finding) for finding in class_findings(cases)]


def _multilabel(cases: MultiLabel, class_names: Sequence[str], groups: NDArray[np.intp] | None = None) -> Statistics:
    """Statistics of several labels a case, each over the cases where it is known; ``groups`` as in one label."""
    labels = range(len(class_names))
    rankings = [rank(cases.score[:, k], cases.target[:, k], cases.known[:, k]) for k in labels]
    error = (cases.score - cases.target) ** 2
    squared = [
        SquaredError(cases.score[:, k], cases.target[:, k], cases.known[:, k], groups) for k in labels
    ] if groups is not None else []  # fmt: skip

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        counts = count(weights, cases.target, cases.prediction, cases.known)
        by_label = {**_areas(weights, rankings), **rates(counts), **two_class_agreement(counts)}
        by_label["brier"] = brier(weights, error, cases.known)
        columns = [calibration_error(weights, cases.score[:, k], cases.target[:, k], cases.known[:, k]) for k in labels]
        by_label["ece"] = np.stack(columns, axis=1)
        if squared:
            by_label["squared_ece"] = np.stack([each(weights) for each in squared], axis=1)
        if cases.at_operating_point is not None:
            by_label |= _at_operating_point(
                weights, cases.target, cases.at_operating_point, cases.known_at_operating_point
            )
        return _named(by_label, class_names, None)

    return statistics


def _areas(weights: FloatArray, rankings: Sequence[Ranking]) -> dict[str, FloatArray]:
    areas = [ranking_areas(weights, ranking) for ranking in rankings]
    return {
        "auroc": np.stack([auroc for auroc, _ in areas], axis=1),
        "auprc": np.stack([auprc for _, auprc in areas], axis=1),
    }


def _at_operating_point(
    weights: FloatArray, truth: NDArray[np.bool_], called: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, FloatArray]:
    counts = count(weights, truth, called, known)
    values = {**rates(counts), **two_class_agreement(counts)}
    return {f"{name}@op": values[name] for name in AT_OPERATING_POINT}


def _named(
    by_class: Mapping[str, FloatArray], class_names: Sequence[str], positive: int | None
) -> dict[str, FloatArray]:
    """``<metric>/<class>`` from ``(B, L)`` values, and under the bare name their mean or the positive class's."""
    values = {}
    for metric, columns in by_class.items():
        values[metric] = mean_of_classes(columns) if positive is None else columns[:, positive]
        values |= {f"{metric}/{name}": columns[:, k] for k, name in enumerate(class_names)}
    return values


def _known_cases(cases: MultiLabel, class_names: Sequence[str]) -> dict[str, int]:
    """Number of cases behind each value of a label, and behind the means at the operating point."""
    numbers = {}
    for metric in METRICS:
        for name, known in zip(class_names, cases.known.T, strict=True):
            numbers[f"{metric}/{name}"] = int(known.sum())
    for metric in AT_OPERATING_POINT:
        numbers[f"{metric}@op"] = int(cases.known_at_operating_point.any(axis=1).sum())
        for name, known in zip(class_names, cases.known_at_operating_point.T, strict=True):
            numbers[f"{metric}@op/{name}"] = int(known.sum())
    return numbers


def _defined_classes(values: Mapping[str, float], class_names: Sequence[str]) -> dict[str, int]:
    """For each mean over classes, the number of classes where the metric is defined."""
    defined = {}
    for metric in values:
        own = [values[f"{metric}/{name}"] for name in class_names if f"{metric}/{name}" in values]
        if own:
            defined[metric] = int(np.sum(~np.isnan(own)))
    # In multiclass balanced accuracy is the mean sensitivity and has no value of a single class.
    defined.setdefault("balanced_accuracy", defined["sensitivity"])
    return defined


def _place(name: str, class_names: Sequence[str]) -> tuple[int, int, int]:
    """Sort key: bare metrics first, then those at the operating point, then the classes' own, class by class."""
    metric, _, own = name.partition("/")
    bare, _, point = metric.partition("@")
    return (list(class_names).index(own) + 1 if own else 0, int(bool(point)), METRICS.index(bare))
