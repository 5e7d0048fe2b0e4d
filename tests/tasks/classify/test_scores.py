"""Probabilities that keep the rank of a case, and the grade that an ordinal target is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from torch import Tensor

from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.heads import Head
from tasks.classify.scores import called_class, probabilities, rank_probabilities
from tasks.classify.task import ClassificationTask
from tasks.evaluation.calibration.calibration import Calibration
from tasks.evaluation.calibration.maps import LogitMap
from tasks.evaluation.classification.metrics import classification_metrics
from tasks.evaluation.tables import read_table, write_table
from tests.tasks.classify.batches import NAMES, small_batch, small_task

Logits = st.lists(
    st.lists(st.floats(-60, 60, allow_subnormal=False, width=32), min_size=4, max_size=4), min_size=1, max_size=8
)


def test_a_step_of_a_loader_of_the_user_s_own_gives_calibrated_scores() -> None:
    task, batch = small_task("binary"), small_batch(torch.zeros(4))
    task.calibration = Calibration("platt", tuple(task.class_names), True, {task.class_names[1]: LogitMap(1, 1, 2.0)})
    output = torch.randn(4, 2)
    said, raw = task.meaning(output, batch)["scores"], task.scores(output)
    torch.testing.assert_close(said.logit()[:, 1], raw.logit()[:, 1] + 2)
    torch.testing.assert_close(said.sum(dim=1), torch.ones(4, dtype=torch.float64))


def as_in_the_paper(logits: Tensor) -> Tensor:
    """The rank of Shi, Cao and Raschka (2021), section 3: one more for each conditional-chain chance above 0.5."""
    chances = torch.cumprod(torch.sigmoid(logits.double()), dim=1)
    return (chances > 0.5).sum(dim=1)


def chance_at_a_half(logits: Tensor) -> Tensor:
    """Cases that rounding may call either way."""
    chances = torch.cumprod(torch.sigmoid(logits.double()), dim=1)
    return ((chances - 0.5).abs() < 1e-12).any(dim=1)


@given(Logits)
def test_an_ordinal_call_is_the_count_of_chances_above_a_half(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows)
    called = called_class(rank_probabilities(logits.double()), "ordinal")
    clear = ~chance_at_a_half(logits)
    assert torch.equal(called[clear], as_in_the_paper(logits)[clear])


def test_a_chance_of_exactly_a_half_is_not_above_it() -> None:
    assert called_class(rank_probabilities(torch.zeros(1, 3).double()), "ordinal").tolist() == [0]
    assert as_in_the_paper(torch.zeros(1, 3)).tolist() == [0]


def test_the_count_agrees_better_with_the_truth_than_the_most_probable_grade() -> None:
    """An ideal model: its chances are those that the grades are drawn with."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -0.5]) + 1.5 * torch.randn(20_000, 1, generator=generator)
    scores = rank_probabilities(logits.double())
    truth = torch.multinomial(scores, 1, generator=generator)[:, 0]

    def agreement(called: Tensor) -> float:
        return float(cohen_kappa_score(truth, called, weights="quadratic"))

    assert agreement(called_class(scores, "ordinal")) > agreement(scores.argmax(dim=1)) + 0.02


def ordinal_cases() -> tuple[ClassificationTask, Tensor, Tensor]:
    """A task, and outputs of which the most probable grade is often not the median."""
    generator = torch.Generator().manual_seed(3)
    output = torch.tensor([0.4, 0.8, 0.2]) + torch.randn(120, 3, generator=generator)
    return small_task("ordinal"), output, torch.randint(4, (120,), generator=generator)


def test_epoch_and_table_call_an_ordinal_target_alike() -> None:
    task, output, label = ordinal_cases()
    batch = small_batch(label, image=torch.zeros(120, 1, 1, 1))
    table = pd.DataFrame(task.rows(output, batch))
    expected = as_in_the_paper(output)
    assert table["prediction"].tolist() == [NAMES["ordinal"][int(grade)] for grade in expected]
    assert (task.scores(output).argmax(dim=1) != expected).float().mean() > 0.1
    metric: Any = task.metrics["val_metrics"]
    task.update_metrics(metric, output, batch)
    kappa = cohen_kappa_score(label, expected, weights="quadratic")
    assert float(metric.compute()["qwk"]) == pytest.approx(kappa, abs=1e-6)
    metrics = classification_metrics(table, "ordinal", NAMES["ordinal"], resamples=0)
    assert metrics["qwk"].value == pytest.approx(kappa)


def test_an_ensemble_calls_by_the_mean_of_its_members_chances() -> None:
    torch.manual_seed(0)
    members = [small_task("ordinal").eval() for _ in range(2)]
    for member in members:
        assert isinstance(member.head, Head)
        torch.nn.init.normal_(member.head.linear.weight, std=1.0)
        member.operating_points = {}
    ensemble = ClassificationEnsemble(members, ["a", "b"])
    batch = small_batch(torch.arange(24) % 4)
    with torch.no_grad():
        said = ensemble.predict_step(batch, 0)
        above = torch.stack([member(batch["image"]).double().sigmoid().cumprod(dim=1) for member in members]).mean(0)
    rows = ensemble.rows(said["output"], said["batch"])
    assert rows["prediction"] == [NAMES["ordinal"][int(count)] for count in (above > 0.5).sum(dim=1)]


def confident(kind: str, scale: float) -> tuple[ClassificationTask, Tensor, Tensor]:
    """Outputs that know something of the truth, with logits so large that half of the scores round to 1 in float32."""
    generator = torch.Generator().manual_seed(7)
    task = small_task(kind)
    label = torch.randint(len(task.class_names), (400,), generator=generator)
    if kind == "multilabel":
        label = (torch.rand(400, len(task.class_names), generator=generator) < 0.4).float()
        return task, scale * (torch.randn(label.shape, generator=generator) + 1.3 * label), label
    noise = torch.randn(400, len(task.class_names), generator=generator)
    return task, scale * (noise + 1.2 * torch.nn.functional.one_hot(label, len(task.class_names))), label


def table_of(task: ClassificationTask, output: Tensor, label: Tensor) -> pd.DataFrame:
    batch = small_batch(label, image=torch.zeros(len(label), 1, 1, 1))
    return pd.DataFrame(task.rows(output, batch)).assign(split="test")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_the_ranks_of_a_confident_model_survive_epoch_and_table(
    kind: Literal["binary", "multiclass", "multilabel"], suffix: str, tmp_path: Path
) -> None:
    """In float32 or nine digits half of the scores are 1, and tie."""
    task, output, label = confident(kind, 12.0 if kind == "multilabel" else 20.0)
    table = read_table(write_table(table_of(task, output, label), tmp_path / f"predictions{suffix}"))
    assert (output.softmax(dim=1).amax(dim=1) == 1).float().mean() > 0.3 or kind == "multilabel"
    expected = []
    for k in range(output.shape[1]):
        exact = output.double()
        if kind == "multilabel":
            expected.append(roc_auc_score(label[:, k], exact[:, k]))
        else:
            others = torch.cat([exact[:, :k], exact[:, k + 1 :]], dim=1).logsumexp(dim=1)
            expected.append(roc_auc_score(label == k, exact[:, k] - others))
    metrics = classification_metrics(table, kind, task.class_names, task.positive_class, resamples=0)
    for name, area in zip(task.class_names, expected, strict=True):
        assert metrics[f"auroc/{name}"].value == pytest.approx(area, abs=1e-9)

    metric: Any = task.metrics["val_metrics"]
    task.update_metrics(metric, output, small_batch(label, image=torch.zeros(len(label), 1, 1, 1)))
    assert float(metric.compute()["auroc"]) == pytest.approx(metrics["auroc"].value, abs=1e-7)


@pytest.mark.parametrize("positive", ["benign", "malignant"])
def test_ranks_survive_where_double_precision_rounds_to_one(positive: str) -> None:
    """A difference of 40 between two logits: the score is 1, and the other class's says how far from 1 it was."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (300,), generator=generator)
    sign = 1 if positive == "malignant" else -1
    margin = 60 + 10 * torch.randn(300, generator=generator) + 8 * label
    output = torch.stack([torch.zeros(300), sign * margin], dim=1)
    task = small_task("binary", positive_class=positive)
    table = table_of(task, output, label)
    assert (table[f"score_{positive}"] == 1).mean() > 0.9
    metrics = classification_metrics(table, "binary", NAMES["binary"], positive, resamples=0)
    expected = roc_auc_score(label == NAMES["binary"].index(positive), margin)
    assert metrics["auroc"].value == pytest.approx(expected, abs=1e-9)


def test_a_tie_stays_a_tie() -> None:
    """Only what rounding made equal is told apart by the other classes."""
    scores = np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3], [0.2, 0.4, 0.4], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    table = pd.DataFrame({"case_id": list("vwxyz"), "target": list("abcab"), "prediction": "a"})
    table[["score_a", "score_b", "score_c"]] = scores
    metrics = classification_metrics(table, "multiclass", list("abc"), resamples=0)
    truth = np.array(list("abcab")) == "a"
    assert metrics["auroc/a"].value == pytest.approx(roc_auc_score(truth, scores[:, 0]))


def test_scores_of_grades_keep_what_is_near_nothing() -> None:
    """A difference of two numbers near 1 would be 0, or noise."""
    logits = torch.tensor([[40.0, 40.0, 2.0], [50.0, 40.0, 2.0]])
    scores = probabilities(logits, "ordinal", ordinal=True)
    assert (scores[:, 0] > 0).all()
    assert scores[0, 0] / scores[1, 0] == pytest.approx(np.exp(10.0))
    assert scores.sum(dim=1).tolist() == pytest.approx([1.0, 1.0])
