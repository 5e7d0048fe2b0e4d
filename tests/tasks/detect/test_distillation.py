"""What a student's classification maps cost beside a teacher's, and which teachers are refused."""

from __future__ import annotations

import math

import pytest
import torch

from tasks.detect.dense import DenseRaw
from tasks.detect.distillation import imitation, unlike
from tests.tasks.detect.drawn import detector_of, drawn, levels_of


def raw(logits: list[list[float]], centerness: float | None = None) -> DenseRaw:
    scores = torch.tensor([logits])
    middle = None if centerness is None else torch.full((1, len(logits), 1), centerness)
    return DenseRaw((32, 32), ((1, len(logits)),), scores, torch.zeros(1, len(logits), 4), middle)


@pytest.mark.parametrize(("name", "centerness"), [("retinanet", None), ("fcos", 0.0)])
def test_two_places_by_hand(name: str, centerness: float | None) -> None:
    teacher = detector_of(name)
    student = raw([[0.0, -40.0], [-40.0, -40.0]], centerness)
    wanted = raw([[math.log(3), -40.0], [-40.0, -40.0]], centerness)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = imitation(student, wanted, teacher, temperature=1.0)  # at most 1 of quality: divided by 1
    assert loss.item() == pytest.approx(0.25 * divergence, rel=1e-4)
    # Ten such places: their quality is 10 x 3/4, in FCOS 10 x sqrt(3/4 x 1/2).
    ten = imitation(raw([[0.0, -40.0]] * 10, centerness), raw([[math.log(3), -40.0]] * 10, centerness), teacher,
                    temperature=1.0)  # fmt: skip
    quality = 7.5 if centerness is None else 10 * math.sqrt(0.375)
    assert ten.item() == pytest.approx(10 * 0.25 * divergence / quality, rel=1e-4)


def test_an_equal_student_pays_nothing_and_another_learns() -> None:
    detector = detector_of("retinanet")
    image, _, _ = drawn([0, 1])
    output = detector(image, levels_of("retinanet", [0, 1]))
    assert imitation(output, output.detach(), detector, temperature=1.0).item() == 0
    loss = imitation(output, output.detach().apply(lambda tensor: tensor + 1), detector, temperature=1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = detector.classification_head.cls_logits.weight.grad  # type: ignore[union-attr]
    assert isinstance(gradient, torch.Tensor)
    assert gradient.abs().sum() > 0


def test_which_teachers_are_refused() -> None:
    student = detector_of("retinanet")
    assert unlike(student, detector_of("retinanet")) == ""
    assert "the student a RetinaNet: take the same --model.detector" in unlike(student, detector_of("fcos"))
    assert "--model.distill_alpha 0 with --model.distill_features 1" in unlike(student, detector_of("faster_rcnn"))
    fine = detector_of("retinanet", small_lesions=True)
    assert "strides [4, 8, 16, 32, 64, 128]" in unlike(student, fine)
    assert "--model.anchors '" in unlike(student, detector_of("retinanet", anchors=[8, 16, 32, 64, 96]))
