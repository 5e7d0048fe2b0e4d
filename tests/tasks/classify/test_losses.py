"""Losses against torch's own, torchvision's, and cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from scansuite.errors import SuiteError
from tasks.classify.losses import LOSSES, ClassificationLoss, balanced_class_weights
from tasks.classify.scores import rank_probabilities
from tests.tasks.classify.batches import KINDS, NAMES, random_labels

COMBINATIONS = [(kind, name) for kind in KINDS for name in LOSSES[kind]]


def logits_for(kind: str, name: str, n: int, scale: float = 2.0) -> Tensor:
    columns = len(NAMES[kind]) - (1 if name == "ordinal" else 0)
    generator = torch.Generator().manual_seed(7)
    return (scale * torch.randn(n, columns, generator=generator)).requires_grad_()


def assert_same_with_gradient(loss: ClassificationLoss, label: Tensor, logits: Tensor, reference: Any) -> None:
    """Value and gradient; ``reference`` maps logits to the expected loss."""
    value = loss(logits, label)
    expected = reference(logits)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    gradient, wanted = (torch.autograd.grad(each, logits)[0] for each in (value, expected))
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_that_of_torch(kind: str, smoothing: float, weighted: bool) -> None:
    weights = [0.5, 2.0, 1.0, 3.5][: len(NAMES[kind])] if weighted else None
    label = random_labels(kind, 13)
    assert_same_with_gradient(
        ClassificationLoss(kind, class_weights=weights, label_smoothing=smoothing),
        label,
        logits_for(kind, "cross_entropy", 13),
        lambda x: F.cross_entropy(x, label, torch.tensor(weights) if weights else None, label_smoothing=smoothing),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 3.5]])
def test_multilabel_cross_entropy_is_that_of_torch_on_the_known_cells(
    smoothing: float, weights: list[float] | None
) -> None:
    label = random_labels("multilabel", 11)
    known = ~label.isnan()
    assert not known.all()
    positive = torch.ones(4) if weights is None else torch.tensor(weights)

    def reference(x: Tensor) -> Tensor:
        soft = label.nan_to_num() * (1 - smoothing) + smoothing / 2
        cells = F.binary_cross_entropy_with_logits(x, soft, pos_weight=positive, reduction="none")
        return cells[known].mean()

    loss = ClassificationLoss("multilabel", class_weights=weights, label_smoothing=smoothing)
    assert_same_with_gradient(loss, label, logits_for("multilabel", "cross_entropy", 11), reference)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "ordinal"])
def test_focal_loss_with_gamma_0_is_cross_entropy(kind: str) -> None:
    label = random_labels(kind, 12)
    options: dict[str, Any] = {"class_weights": [0.5, 2.0, 1.0, 3.5][: len(NAMES[kind])], "label_smoothing": 0.1}
    entropy = ClassificationLoss(kind, "cross_entropy", **options)
    focal = ClassificationLoss(kind, "focal", gamma=0.0, **options)
    assert_same_with_gradient(focal, label, logits_for(kind, "focal", 12), lambda x: entropy(x, label))


def test_focal_loss_worked_by_hand() -> None:
    # softmax(0, ln 3) = (1/4, 3/4). True class 1: (1/4)^2 * ln(4/3). True class 0: (3/4)^2 * ln 4.
    right, wrong = 0.0625 * math.log(4 / 3), 0.5625 * math.log(4)
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = ClassificationLoss("binary", "focal", gamma=2.0)
    assert loss(logits, torch.tensor([1, 0])).item() == pytest.approx((right + wrong) / 2, rel=1e-6)
    weighted = ClassificationLoss("binary", "focal", class_weights=[3.0, 1.0], gamma=2.0)
    assert weighted(logits, torch.tensor([1, 0])).item() == pytest.approx((right + 3 * wrong) / 4, rel=1e-6)
    # The same two chances as labels: sigmoid(ln 3) = 3/4; the unknown cell counts nowhere.
    cells = torch.full((1, 3), math.log(3))
    multilabel = ClassificationLoss("multilabel", "focal", gamma=2.0)
    value = multilabel(cells, torch.tensor([[1.0, 0.0, math.nan]])).item()
    assert value == pytest.approx((right + wrong) / 2, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
def test_multilabel_focal_loss_is_that_of_torchvision(gamma: float) -> None:
    label = random_labels("multilabel", 20).nan_to_num()
    assert_same_with_gradient(
        ClassificationLoss("multilabel", "focal", gamma=gamma),
        label,
        logits_for("multilabel", "focal", 20),
        lambda x: sigmoid_focal_loss(x, label, alpha=-1, gamma=gamma, reduction="mean"),
    )


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_regression_losses_are_those_of_torch(name: Any) -> None:
    references: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
    label = torch.tensor([0.1, -2.0, 3.0, 0.4, 10.0])
    logits = logits_for("regression", name, 5)
    loss = ClassificationLoss("regression", name)
    assert_same_with_gradient(loss, label, logits, lambda x: references[name](x.squeeze(1), label))


def test_squared_error_of_probabilities_worked_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])
    assert ClassificationLoss("binary", "mse")(logits, torch.tensor([0])).item() == pytest.approx(2 * 0.75**2)
    cells = torch.tensor([[math.log(3), math.log(3), 0.0]])
    value = ClassificationLoss("multilabel", "mse")(cells, torch.tensor([[1.0, 0.0, math.nan]])).item()
    assert value == pytest.approx((0.25**2 + 0.75**2) / 2)


def test_corn_worked_by_hand() -> None:
    # Chances of being above class 0 and, given that, above class 1: sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2.
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), -math.log(3)], [0.0, math.log(3)]])
    label = torch.tensor([0, 1, 2])
    # Class 0 is asked the first question alone (no: 1/4), class 1 both (yes 3/4, no 3/4), class 2 both (1/2, 3/4).
    expected = -(math.log(0.25) + 2 * math.log(0.75) + math.log(0.5) + math.log(0.75)) / 5
    assert ClassificationLoss("ordinal")(logits, label).item() == pytest.approx(expected, rel=1e-6)


def test_a_question_that_a_case_is_not_asked_gives_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    ClassificationLoss("ordinal")(logits, torch.tensor([0, 2])).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[True, False, False], [True, True, True]]


def test_rank_probabilities_worked_by_hand() -> None:
    # Above 0: 3/4; above 1: 3/4 * 1/2; above 2: 3/8 * 1/4.
    probabilities = rank_probabilities(torch.tensor([[math.log(3), 0.0, -math.log(3)]]))
    torch.testing.assert_close(probabilities, torch.tensor([[1 / 4, 3 / 8, 9 / 32, 3 / 32]]))


def test_rank_probabilities_are_consistent() -> None:
    logits = 6 * torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    probabilities = rank_probabilities(logits)
    assert probabilities.shape == (500, 6)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(500))
    above = 1 - probabilities.cumsum(dim=1)
    assert (above.diff(dim=1) <= 1e-6).all()
    # Plain sigmoids of the same logits, without CORN's product, do break the order.
    assert (logits.sigmoid().diff(dim=1) > 0).any()


@pytest.mark.parametrize(("kind", "name"), COMBINATIONS)
def test_float32_under_autocast(kind: str, name: Any) -> None:
    label = random_labels(kind, 9)
    half = logits_for(kind, name, 9).detach().bfloat16()
    loss = ClassificationLoss(kind, name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, label)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(half.float(), label), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", LOSSES["multilabel"])
def test_unknown_cells_give_no_gradient(name: Any) -> None:
    label = random_labels("multilabel", 10)
    logits = logits_for("multilabel", name, 10)
    ClassificationLoss("multilabel", name)(logits, label).backward()
    assert logits.grad is not None
    assert (logits.grad[label.isnan()] == 0).all()
    assert (logits.grad[~label.isnan()] != 0).all()


@pytest.mark.parametrize(("kind", "name"), COMBINATIONS)
def test_nothing_known_is_a_loss_of_0_with_gradients_of_0(kind: str, name: Any) -> None:
    loss = ClassificationLoss(kind, name)
    nothing = [(logits_for(kind, name, 6)[:0], random_labels(kind, 6)[:0])]
    if kind == "multilabel":
        nothing.append((logits_for(kind, name, 6), torch.full((6, 4), math.nan)))
    for logits, label in nothing:
        logits = logits.detach().requires_grad_()
        value = loss(logits, label)
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert (logits.grad == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_focal_loss_of_a_certain_network_has_finite_gradients(kind: str, gamma: float) -> None:
    for scale in (10.0, 60.0, 500.0):
        logits = logits_for(kind, "focal", 16, scale=scale)
        ClassificationLoss(kind, "focal", gamma=gamma)(logits, random_labels(kind, 16)).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    label = np.repeat([0, 1, 2], [50, 30, 5])
    reference = compute_class_weight("balanced", classes=np.arange(3), y=label)
    assert balanced_class_weights("multiclass", [50, 30, 5], [85, 85, 85]) == pytest.approx(reference.tolist())


def test_balanced_weights_of_labels_make_both_sides_weigh_the_same() -> None:
    weights = balanced_class_weights("multilabel", [10, 50, 0], [100, 100, 100])
    assert weights == pytest.approx([9.0, 1.0, 1.0])
    label = torch.zeros(100, 3)
    label[:10, 0] = 1
    logits = torch.zeros(100, 3, requires_grad=True)
    ClassificationLoss("multilabel", class_weights=weights)(logits, label).backward()
    assert logits.grad is not None
    assert logits.grad[:, 0].sum().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_the_first_of_the_kind(kind: str) -> None:
    assert ClassificationLoss(kind).name == LOSSES[kind][0]


@pytest.mark.parametrize(
    ("kind", "arguments", "flag"),
    [
        ("regression", {"name": "cross_entropy"}, "--model.loss"),
        ("binary", {"name": "huber"}, "--model.loss"),
        ("multilabel", {"name": "ordinal"}, "--model.loss"),
        ("binary", {"label_smoothing": 1.0}, "--model.label_smoothing"),
        ("binary", {"label_smoothing": -0.1}, "--model.label_smoothing"),
        ("binary", {"name": "focal", "gamma": -1.0}, "--model.focal_gamma"),
        ("binary", {"name": "mse", "class_weights": [1.0, 2.0]}, "--model.class_weights"),
        ("ordinal", {"class_weights": [1.0, 2.0, 1.0, 1.0]}, "--model.class_weights"),
        ("regression", {"class_weights": [1.0]}, "--model.class_weights"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(kind: str, arguments: dict[str, Any], flag: str) -> None:
    with pytest.raises(SuiteError, match=flag):
        ClassificationLoss(kind, **arguments)


def test_weights_follow_the_module_but_are_not_saved() -> None:
    loss = ClassificationLoss("binary", class_weights=[1.0, 2.0])
    assert loss.state_dict() == {}
    assert loss.to("meta").weights.is_meta  # type: ignore[union-attr]
