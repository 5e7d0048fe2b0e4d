"""Passes with dropout at work: their mean is what is said, their spread stands beside it, and nothing else moves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.trainer.states import TrainerFn, TrainerStatus
from torch import nn

from scansuite.errors import SuiteError
from tasks.classify.mc_dropout import dropouts, mean_output, several, stochastic_passes
from tasks.classify.scores import probabilities, spread
from tests.tasks.classify.batches import KINDS, random_labels, small_batch, small_task


def task_of(kind: str = "binary", **more: Any) -> Any:
    torch.manual_seed(0)
    return small_task(kind, **{"dropout": 0.5, "mc_dropout": 6, **more}).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_the_passes_is_what_is_said(kind: str) -> None:
    task = task_of(kind)
    batch = small_batch(random_labels(kind, 5), padding={4})
    said = task.test_step(batch, 0)
    names = [scan["case_id"] for scan in said["batch"]["scan"]]
    image = batch["image"][:4]
    with torch.no_grad():
        passes = stochastic_passes(task, lambda: task(image), 6, names)
    scores = torch.stack([task.scores(one) for one in passes])
    torch.testing.assert_close(task.scores(said["output"]), scores.mean(dim=0))
    torch.testing.assert_close(said["spread"], spread(scores, kind))
    assert (said["spread"] > 0).all()
    assert not torch.allclose(passes[0], passes[1])


@pytest.mark.parametrize(
    ("target", "classes", "ordinal"),
    [
        ("binary", 2, False),
        ("ordinal", 4, False),
        ("ordinal", 4, True),
        ("multilabel", 3, False),
        ("regression", 1, False),
    ],
)
def test_the_mean_output_has_the_mean_scores(target: str, classes: int, ordinal: bool) -> None:
    outputs = 4 * torch.randn(5, 7, classes - ordinal, dtype=torch.float64)
    outputs[:, 0] = 60.0  # as sure as can be
    scores = torch.stack([probabilities(one, target, ordinal=ordinal) for one in outputs])
    mean = mean_output(scores, target, ordinal=ordinal)
    torch.testing.assert_close(probabilities(mean, target, ordinal=ordinal), scores.mean(dim=0))


def test_the_same_batch_says_the_same_and_no_other_random_number_moves() -> None:
    task, batch = task_of(), small_batch(random_labels("binary", 4))
    torch.manual_seed(7)
    first = task.predict_step(batch, 0)
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(first["output"], task.predict_step(batch, 1)["output"])
    assert not any(module.training for module in task.modules())


def test_only_dropout_is_as_in_training() -> None:
    task = task_of()
    seen: list[bool] = []
    norms = [module for module in task.modules() if isinstance(module, nn.BatchNorm2d)]
    hook = dropouts(task)[0].register_forward_hook(
        lambda module, *_: seen.append(module.training and not any(norm.training for norm in norms))
    )
    task.predict_step(small_batch(random_labels("binary", 2)), 0)
    hook.remove()
    assert sum(seen) == 6


def test_while_training_goes_on_there_is_one_pass() -> None:
    task, batch = task_of(), small_batch(random_labels("binary", 4))
    said: Any = {"output": task(batch["image"]).detach(), "batch": batch}
    task._trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.FITTING, status=TrainerStatus.RUNNING))
    assert several(task, said) is said
    task._trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.TESTING, status=TrainerStatus.RUNNING))
    assert "spread" in several(task, said)


def test_without_the_flag_there_is_no_spread() -> None:
    said = task_of(mc_dropout=None).predict_step(small_batch(random_labels("binary", 2)), 0)
    assert "spread" not in said


def test_a_case_of_several_images_keeps_its_weights() -> None:
    task = task_of("multiclass", aggregate="attention", attention_hidden=4)
    cases: Any = small_batch(None, torch.rand(2, 1, 32, 32)) | {"image": torch.rand(5, 1, 32, 32)}
    cases["bags"] = [[0, 1], [0, 1, 2]]
    said = task.predict_step(cases, 0)
    assert len(said["weights"]) == 5
    assert len(said["spread"]) == len(said["output"]) == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"mc_dropout": 10, "dropout": 0.0}, "--model.mc_dropout 10: the network has no dropout"),
        ({"mc_dropout": 1}, "--model.mc_dropout 1: must be 2 or more"),
        ({"mc_dropout": 0}, "--model.mc_dropout 0: must be 2 or more"),
    ],
)
def test_passes_that_would_be_alike_are_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        task_of(**flags)
