"""What a student's outputs cost beside a teacher's, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.classify.distillation import imitation
from tasks.classify.scores import rank_probabilities
from tests.tasks.classify.batches import KINDS, small_task


def test_two_classes_by_hand() -> None:
    # Softmax at temperature 2 of logits (2 ln 3, 0) is (3/4, 1/4), of (0, 0) is (1/2, 1/2).
    wanted, output = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    value = imitation(output, wanted, "binary", ordinal=False, temperature=2.0)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    # Cases are averaged: one that agrees halves it.
    more = imitation(torch.cat([output, output]), torch.cat([wanted, output]), "binary", ordinal=False, temperature=2.0)
    assert more.item() == pytest.approx(expected / 2, rel=1e-5)


def test_labels_and_numbers_by_hand() -> None:
    wanted, output = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)  # sigmoid 3/4 and 1/2
    expected = (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)) / 2
    value = imitation(output, wanted, "multilabel", ordinal=False, temperature=1.0)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    numbers = imitation(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]]), "regression", ordinal=False,
                        temperature=7.0)  # fmt: skip
    assert numbers.item() == pytest.approx(2.0)  # (4 + 0) / 2, whatever the temperature


def test_grades_are_compared_as_distributions_over_grades() -> None:
    own, wanted = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    p, q = rank_probabilities(wanted), rank_probabilities(own)
    expected = (p * (p.log() - q.log())).sum(dim=1).mean()
    value = imitation(own, wanted, "ordinal", ordinal=True, temperature=1.0)
    torch.testing.assert_close(value, expected)


def test_the_gradient_keeps_its_size_as_the_temperature_rises() -> None:
    """Hinton's reason for the square: towards high temperatures it is (own - wanted) / classes, centred."""
    own = torch.tensor([[1.0, -1.0, 0.5]], requires_grad=True)
    wanted = torch.tensor([[0.0, 2.0, -0.5]])
    imitation(own, wanted, "multiclass", ordinal=False, temperature=1000.0).backward()  # type: ignore[no-untyped-call]
    far = own.detach() - wanted
    torch.testing.assert_close(own.grad, (far - far.mean()) / 3, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_an_equal_student_pays_nothing(kind: str) -> None:
    model = small_task(kind)
    outputs = {"regression": 1, "binary": 2, "ordinal": 3}.get(kind, 4)
    output = torch.randn(5, outputs, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = model.imitation(output, output.detach(), {}, model, model.temperature)
    loss.backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert output.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("student", "teacher", "words"),
    [
        (small_task("binary"), small_task("multiclass"), "multiclass target"),
        (small_task("multilabel"), small_task("multilabel", class_names=["a", "b", "c", "d"]), "its classes are a, b"),
        (small_task("ordinal"), small_task("ordinal", loss="cross_entropy"), "same --model.loss"),
        (small_task("binary"), small_task("binary", aggregate="mean"), "--model.aggregate"),
    ],
    ids=["target", "classes", "loss", "cases"],
)
def test_outputs_of_another_kind_are_not_compared(student: object, teacher: object, words: str) -> None:
    assert words in student.unlike(teacher)  # type: ignore[attr-defined]
    assert student.unlike(student) == ""  # type: ignore[attr-defined]
