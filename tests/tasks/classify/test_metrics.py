"""Metrics logged in training against the metrics of the predictions table that the same model writes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pandas as pd
import pytest
import torch
from sklearn.metrics import precision_score, r2_score, roc_auc_score
from torch import Tensor
from torchmetrics.functional import classification as F

from tasks.classify.metrics import ClassificationMetrics
from tasks.classify.scores import called_class
from tasks.classify.task import ClassificationTask
from tasks.evaluation.classification.metrics import classification_metrics
from tests.tasks.classify.batches import KINDS, NAMES, random_labels, small_batch, small_task

CLASS_METRICS = {
    "auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "npv", "f1",
}  # fmt: skip
EXPECTED = {
    "binary": CLASS_METRICS,
    "multiclass": CLASS_METRICS,
    "multilabel": CLASS_METRICS,
    "ordinal": CLASS_METRICS | {"qwk"},
    "regression": {"mae", "rmse", "r2"},
}


def logits_for(task: ClassificationTask, label: Tensor) -> Tensor:
    """Outputs that know a little of the truth; rounded, so that there are ties."""
    columns = 1 if task.target == "regression" else len(task.class_names) - (task.criterion.name == "ordinal")
    noise = 1.5 * torch.randn(len(label), columns, generator=torch.Generator().manual_seed(5))
    if task.target == "regression":
        return label[:, None] + 8 * noise
    if task.target == "multilabel":
        return (noise + 2 * label.nan_to_num() - 1).round(decimals=1)
    if task.criterion.name == "ordinal":
        return (noise + label[:, None] - torch.arange(columns)).round(decimals=1)
    return (noise + 1.5 * torch.nn.functional.one_hot(label, columns)).round(decimals=1)


def logged_and_evaluated(
    task: ClassificationTask, label: Tensor, output: Tensor, parts: int = 3
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the training log, and metrics of the table, of the same outputs seen in batches."""
    metric: Any = task.metrics["val_metrics"]
    tables = []
    cases = torch.arange(len(label))
    for chosen in cases.chunk(parts):
        batch = small_batch(
            label[chosen], image=torch.zeros(len(chosen), 1, 1, 1), names=[f"c{int(i)}" for i in chosen]
        )
        task.update_metrics(metric, output[chosen], batch)
        tables.append(pd.DataFrame(task.rows(output[chosen], batch)))
    logged = {name: float(value) for name, value in metric.compute().items()}
    metrics = classification_metrics(
        pd.concat(tables, ignore_index=True), task.target, task.class_names, task.positive_class, resamples=0
    )
    return logged, {name: metrics[name].value for name in logged}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_the_figures_of_the_table(kind: str) -> None:
    task = small_task(kind)
    label = random_labels(kind, 90)
    logged, evaluated = logged_and_evaluated(task, label, logits_for(task, label))
    assert set(logged) == EXPECTED[kind]
    assert not any(math.isnan(value) for value in logged.values())
    assert logged == pytest.approx(evaluated, abs=1e-5)


@pytest.mark.parametrize("positive", ["benign", "malignant"])
def test_binary_figures_are_those_of_the_positive_class(positive: str) -> None:
    task = small_task("binary", positive_class=positive)
    label = random_labels("binary", 60)
    output = logits_for(task, label) + torch.tensor([0.8, 0.0])
    logged, evaluated = logged_and_evaluated(task, label, output)
    assert logged == pytest.approx(evaluated, abs=1e-5)
    number = NAMES["binary"].index(positive)
    called = (output.argmax(dim=1) == number)[label == number]
    assert logged["sensitivity"] == pytest.approx(called.float().mean().item())


@pytest.mark.parametrize("positive", ["benign", "malignant"])
def test_a_network_that_cannot_decide_is_read_alike(positive: str) -> None:
    task = small_task("binary", positive_class=positive)
    logged, evaluated = logged_and_evaluated(task, random_labels("binary", 10), torch.zeros(10, 2))
    assert logged == pytest.approx(evaluated, nan_ok=True)


def test_an_absent_class_is_left_out_of_the_means() -> None:
    task = small_task("multiclass")
    label = random_labels("multiclass", 60)
    label[label == 2] = 0
    output = logits_for(task, label)
    logged, evaluated = logged_and_evaluated(task, label, output)
    assert logged == pytest.approx(evaluated, abs=1e-5)
    scores = output.softmax(dim=1)
    present = [roc_auc_score(label == k, scores[:, k]) for k in (0, 1, 3)]
    assert logged["auroc"] == pytest.approx(sum(present) / 3, abs=1e-5)


def test_the_epoch_equals_torchmetrics_and_scikit_learn() -> None:
    task = small_task("ordinal")
    label = random_labels("ordinal", 200)
    output = logits_for(task, label)
    logged, _ = logged_and_evaluated(task, label, output)
    scores = task.scores(output)
    called = called_class(scores, "ordinal")
    expected = {
        "auroc": F.multiclass_auroc(scores, label, 4),
        "auprc": F.multiclass_average_precision(scores, label, 4),
        "sensitivity": F.multiclass_recall(called, label, 4),
        "specificity": F.multiclass_specificity(called, label, 4),
        "precision": F.multiclass_precision(called, label, 4),
        "f1": F.multiclass_f1_score(called, label, 4),
        "accuracy": F.multiclass_accuracy(called, label, 4, average="micro"),
        "qwk": F.multiclass_cohen_kappa(called, label, 4, weights="quadratic"),
    }
    assert {name: logged[name] for name in expected} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=1e-6
    )


def test_a_class_that_is_never_called_has_no_precision_in_the_epoch_either() -> None:
    task = small_task("multiclass")
    label = random_labels("multiclass", 80)
    output = logits_for(task, label)
    output[:, 2] = -50.0
    logged, evaluated = logged_and_evaluated(task, label, output)
    macro = precision_score(label, output.argmax(dim=1), average="macro", zero_division=0)
    assert logged["precision"] == pytest.approx(evaluated["precision"], abs=1e-6) == pytest.approx(macro, abs=1e-6)


def test_a_label_without_findings_or_known_cells_is_left_out_of_the_means() -> None:
    task = small_task("multilabel")
    label = random_labels("multilabel", 60)
    label[:, 1] = 0
    label[:, 3] = math.nan
    output = logits_for(task, label)
    logged, evaluated = logged_and_evaluated(task, label, output)
    assert logged == pytest.approx(evaluated, abs=1e-5)
    areas = []
    for k in (0, 2):
        known = ~label[:, k].isnan()
        areas.append(roc_auc_score(label[known, k], output[known, k].sigmoid()))
    assert logged["auroc"] == pytest.approx(sum(areas) / 2, abs=1e-5)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal"])
def test_one_class_alone_has_no_area(kind: str) -> None:
    task = small_task(kind)
    label = torch.ones(12, dtype=torch.int64)
    logged, evaluated = logged_and_evaluated(task, label, logits_for(task, label))
    assert math.isnan(logged["auroc"])
    assert logged == pytest.approx(evaluated, abs=1e-5, nan_ok=True)


def test_multilabel_without_any_known_cell_is_undefined_by_name() -> None:
    task = small_task("multilabel")
    metric: Any = task.metrics["val_metrics"]
    task.update_metrics(metric, torch.zeros(3, 4), small_batch(torch.full((3, 4), math.nan)))
    values = metric.compute()
    assert set(values) == CLASS_METRICS
    assert all(math.isnan(value) for value in values.values())


def test_r2_of_numbers_far_from_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    label = 2000 + torch.randn(500, generator=generator)
    output = label + 0.5 * torch.randn(500, generator=generator)
    metric = ClassificationMetrics("regression", 1)
    metric.update(output[:, None], label)
    assert metric.compute()["r2"].item() == pytest.approx(r2_score(label, output), abs=1e-4)


def test_r2_of_equal_targets_is_undefined() -> None:
    for label in (torch.full((5,), 3.0), torch.tensor([3.0])):
        metric = ClassificationMetrics("regression", 1)
        metric.update(torch.rand(len(label), 1), label)
        assert metric.compute()["r2"].isnan()


def test_nothing_seen_is_nothing_said() -> None:
    metric = ClassificationMetrics("binary", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric.compute() == {}
    metric.update(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert metric.compute() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_reset_forgets(kind: str) -> None:
    task = small_task(kind)
    metric: Any = task.metrics["val_metrics"]
    first, second = random_labels(kind, 40, seed=1), random_labels(kind, 24, seed=2)
    output = logits_for(task, second)
    task.update_metrics(metric, logits_for(task, first).flip(0), small_batch(first))
    before = metric.compute()
    metric.reset()
    task.update_metrics(metric, output, small_batch(second))
    again = metric.compute()
    fresh = ClassificationMetrics(task.target, len(task.class_names), 1)
    task.update_metrics(fresh, output, small_batch(second))
    torch.testing.assert_close(again, fresh.compute())
    assert any(not torch.equal(before[name], again[name]) for name in again)


def test_cases_are_no_weights() -> None:
    """Kept scores must not get into checkpoints."""
    task = small_task()
    keys = set(task.state_dict())
    task.update_metrics(task.metrics["val_metrics"], torch.zeros(2, 2), small_batch(torch.tensor([0, 1])))  # type: ignore[arg-type]
    assert set(task.state_dict()) == keys
    assert not any(key.startswith("metrics") for key in keys)


def test_an_absent_class_is_no_reason_to_warn() -> None:
    metric = ClassificationMetrics("multiclass", 3)
    metric.update(torch.rand(6, 3).softmax(dim=1), torch.tensor([0, 1, 0, 1, 0, 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.compute()
