"""Losses of masks against torch, brute force and hand-worked cases, and where they tend to break."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from scansuite.errors import SuiteError
from tasks.segment.losses import LossName, SegmentationLoss, signed_distance

NAMES = get_args(LossName)
IGNORED = 255


def case(regions: bool, seed: int = 0, classes: int = 3, size: int = 12) -> tuple[Tensor, Tensor]:
    """Random logits, and masks of which a tenth is without annotation."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, classes, size, size, generator=generator)
    shape, values = ((2, classes, size, size), 2) if regions else ((2, size, size), classes)
    mask = torch.randint(values, shape, generator=generator)
    mask[torch.rand(shape, generator=generator) < 0.1] = IGNORED
    return logits, mask


def loss_of(name: str, logits: Tensor, mask: Tensor, regions: bool = False, **options: Any) -> Tensor:
    loss: Tensor = SegmentationLoss(logits.shape[1], name, overlapping=regions, **options)(logits, mask)
    return loss


def probabilities(logits: Tensor, regions: bool) -> Tensor:
    return logits.sigmoid() if regions else logits.softmax(dim=1)


def brute_tversky(logits: Tensor, mask: Tensor, regions: bool, batch: bool, alpha: float) -> np.ndarray[Any, Any]:
    """1 - index by image (or batch) and class, pixel by pixel."""
    p = probabilities(logits, regions).double().numpy()
    groups = [range(len(mask))] if batch else [[image] for image in range(len(mask))]
    values = []
    for group in groups:
        for k in range(0 if regions else 1, logits.shape[1]):
            tp = fp = fn = 0.0
            for image in group:
                for y in range(mask.shape[-2]):
                    for x in range(mask.shape[-1]):
                        value = int(mask[image, k, y, x]) if regions else int(mask[image, y, x])
                        if value != IGNORED:
                            true = value == (1 if regions else k)
                            tp += p[image, k, y, x] * true
                            fp += p[image, k, y, x] * (not true)
                            fn += (1 - p[image, k, y, x]) * true
            values.append(1 - (tp + 0.5) / (tp + alpha * fp + (1 - alpha) * fn + 0.5))
    return np.array(values)


# Against references


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
def test_cross_entropy_is_that_of_torch(weights: list[float] | None) -> None:
    logits, mask = case(regions=False)
    given = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(logits, mask, weight=given, ignore_index=IGNORED)
    torch.testing.assert_close(loss_of("cross_entropy", logits, mask, class_weights=weights), expected)


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
def test_smoothed_cross_entropy_is_that_of_torch(weights: list[float] | None) -> None:
    logits, mask = case(regions=False)
    given = None if weights is None else torch.tensor(weights)
    expected = F.cross_entropy(logits, mask, weight=given, ignore_index=IGNORED, label_smoothing=0.2)
    result = loss_of("cross_entropy", logits, mask, class_weights=weights, label_smoothing=0.2)
    torch.testing.assert_close(result, expected)
    both = loss_of("dice_ce", logits, mask, class_weights=weights, label_smoothing=0.2)
    torch.testing.assert_close(both, expected + loss_of("dice", logits, mask, class_weights=weights))


def test_smoothed_cross_entropy_of_regions_is_that_of_torch() -> None:
    logits, mask = case(regions=True)
    soft = (mask == 1).float() * 0.8 + 0.1
    cells = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    result = loss_of("cross_entropy", logits, mask, regions=True, label_smoothing=0.2)
    torch.testing.assert_close(result, cells[mask != IGNORED].mean())


def test_cross_entropy_of_regions_is_that_of_torch() -> None:
    logits, mask = case(regions=True)
    weights = torch.tensor([0.5, 1.0, 4.0])
    cells = F.binary_cross_entropy_with_logits(
        logits, (mask == 1).float(), reduction="none", pos_weight=weights[:, None, None]
    )
    result = loss_of("cross_entropy", logits, mask, regions=True, class_weights=weights.tolist())
    torch.testing.assert_close(result, cells[mask != IGNORED].mean())


def test_focal_loss_of_regions_is_that_of_torchvision() -> None:
    logits, mask = case(regions=True)
    cells = sigmoid_focal_loss(logits, (mask == 1).float(), alpha=-1, gamma=2)
    torch.testing.assert_close(loss_of("focal", logits, mask, regions=True), cells[mask != IGNORED].mean())


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_weighs_the_cross_entropy(gamma: float) -> None:
    logits, mask = case(regions=False)
    cells = F.cross_entropy(logits, mask, ignore_index=IGNORED, reduction="none")
    expected = ((1 - (-cells).exp()) ** gamma * cells)[mask != IGNORED].mean()
    torch.testing.assert_close(loss_of("focal", logits, mask, gamma=gamma), expected)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_overlap_is_that_of_brute_force(batch: bool, regions: bool) -> None:
    logits, mask = case(regions, size=7)
    dice = brute_tversky(logits, mask, regions, batch, alpha=0.5)
    tversky = brute_tversky(logits, mask, regions, batch, alpha=0.2)
    options: dict[str, Any] = {"regions": regions, "batch_dice": batch}
    assert loss_of("dice", logits, mask, **options).item() == pytest.approx(dice.mean(), abs=1e-6)
    options["alpha"] = 0.2
    assert loss_of("tversky", logits, mask, **options).item() == pytest.approx(tversky.mean(), abs=1e-6)
    focal = loss_of("focal_tversky", logits, mask, gamma=0.6, **options).item()
    assert focal == pytest.approx((tversky**0.6).mean(), abs=1e-6)


def test_dice_by_hand() -> None:
    """Half of four pixels called for sure, one of them rightly, two true: (2 * 1 + 1) / (2 + 2 + 1)."""
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 1] = torch.tensor([[50.0, 50.0], [-50.0, -50.0]])
    mask = torch.tensor([[[1, 0], [1, 0]]])
    assert loss_of("dice", logits, mask).item() == pytest.approx(1 - 3 / 5)
    assert loss_of("dice", logits, torch.tensor([[[1, IGNORED], [IGNORED, 0]]])).item() == pytest.approx(0)


def test_dice_ce_is_the_sum() -> None:
    logits, mask = case(regions=False)
    both = loss_of("dice", logits, mask) + loss_of("cross_entropy", logits, mask)
    torch.testing.assert_close(loss_of("dice_ce", logits, mask), both)


@pytest.mark.parametrize("regions", [False, True])
def test_lovasz_is_one_minus_iou_of_a_sure_call(regions: bool) -> None:
    _, mask = case(regions, seed=1)
    logits, _ = case(regions, seed=2)
    values = []
    for image in range(2):
        for k in range(0 if regions else 1, 3):
            plane = mask[image, k] if regions else mask[image]
            known, true = plane != IGNORED, plane == (1 if regions else k)
            called = logits[image, k] > 0 if regions else logits[image].argmax(dim=0) == k
            union = (known & (called | true)).sum()
            values.append(1 - (known & called & true).sum() / union)
    result = loss_of("lovasz", 1e6 * logits, mask, regions)
    torch.testing.assert_close(result, torch.stack(values).mean(), rtol=0, atol=1e-5)


def test_lovasz_between_corners_is_that_of_its_authors() -> None:
    from segmentation_models_pytorch.losses.lovasz import _lovasz_softmax_flat

    logits, mask = case(regions=False)
    p = logits.softmax(dim=1)
    values = []
    for image in range(2):
        known = mask[image] != IGNORED
        values.append(_lovasz_softmax_flat(p[image][:, known].T, mask[image][known], classes=[1, 2]))
    torch.testing.assert_close(loss_of("lovasz", logits, mask), torch.stack(values).mean())


def test_distance_to_the_boundary_by_hand() -> None:
    mask = torch.zeros(1, 3, 1, 6, dtype=torch.bool)
    mask[0, 0, 0, 2:5] = True
    mask[0, 2] = True
    row = signed_distance(mask)[0, :, 0].tolist()
    assert row[0] == [2, 1, 0, -1, 0, 1]
    assert row[1] == row[2] == [0] * 6  # neither an empty nor a full mask has a boundary


def test_boundary_loss_adds_the_distance_of_what_is_called() -> None:
    mask = torch.tensor([[[0, 0, 1, 1, 1, 0]]])
    logits = torch.zeros(1, 2, 1, 6)
    plain = loss_of("dice_ce", logits, mask).item()
    # Every pixel is called by half: (2 + 1 + 0 - 1 + 0 + 1) / 2, the mean of 6, as a share of 6.
    expected = plain + 0.7 * (3 / 2 / 6 / 6)
    assert loss_of("boundary", logits, mask, boundary_weight=0.7).item() == pytest.approx(expected, abs=1e-6)


# Where losses tend to break


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_false_calls_on_an_empty_mask_cost(name: str, regions: bool, batch: bool) -> None:
    empty = torch.zeros((2, 2, 8, 8) if regions else (2, 8, 8), dtype=torch.int64)
    losses = []
    for called in (0, 4, 40):
        logits = torch.full((2, 2, 8, 8), -9.0)
        if not regions:
            logits[:, 0] = 9.0
        logits[:, 1].view(2, -1)[:, :called] = 9.0 if regions else 18.0
        losses.append(loss_of(name, logits, empty, regions, batch_dice=batch).item())
    assert losses[0] < 0.05
    assert losses[0] + 0.05 < losses[1]
    assert losses[1] <= losses[2]
    logits = torch.zeros(2, 2, 8, 8, requires_grad=True)
    loss_of(name, logits, empty, regions, batch_dice=batch).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    pushed = logits.grad[:, 1] > 0
    assert pushed.any() if name == "lovasz" else pushed.all()


MASKS = ["empty", "full", "all ignored", "one image ignored"]


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite(name: str, regions: bool, kind: str, scale: float) -> None:
    logits, mask = case(regions, seed=3, size=6)
    if kind == "one image ignored":
        mask[0] = IGNORED
    else:
        mask[:] = {"empty": 0, "full": 1, "all ignored": IGNORED}[kind]
    for batch in (False, True):
        leaf = (scale * logits).requires_grad_()
        loss = loss_of(name, leaf, mask, regions, batch_dice=batch)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.isfinite()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        ignored = (mask == IGNORED) if regions else (mask == IGNORED)[:, None].expand_as(leaf)
        assert not leaf.grad[ignored].any()
        if kind == "all ignored":
            assert loss.item() == 0


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_computed_in_float32_under_autocast(name: str, regions: bool) -> None:
    logits, mask = case(regions, size=40)
    half = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(name, half, mask, regions)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, loss_of(name, half.float(), mask, regions), rtol=0, atol=0)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_image_no_loss(name: str, regions: bool) -> None:
    for batch in (False, True):
        logits = torch.zeros(0, 3, 8, 8, requires_grad=True)
        mask = torch.zeros((0, 3, 8, 8) if regions else (0, 8, 8), dtype=torch.int64)
        loss = loss_of(name, logits, mask, regions, batch_dice=batch)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_sure_and_right_call_costs_nothing(name: str) -> None:
    _, mask = case(regions=False, size=8)
    logits = 40 * F.one_hot(mask % IGNORED, 3).permute(0, 3, 1, 2).float()
    # Kervadec's term goes below 0 inside, and is taken out here.
    assert loss_of(name, logits, mask, boundary_weight=0.0).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", ["dice", "tversky", "lovasz"])
def test_a_class_of_weight_0_bears_on_nothing(name: str) -> None:
    logits, mask = case(regions=True)
    other = mask.clone()
    other[:, 1] = 1 - (other[:, 1] > 0).long()
    weights = [1.0, 0.0, 2.0]
    values = [
        SegmentationLoss(3, name, overlapping=True, class_weights=weights)(logits, m).item() for m in (mask, other)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_deep_supervision_halves_from_scale_to_scale() -> None:
    logits, mask = case(regions=False, size=10)
    coarser = [torch.randn(2, 3, 16, 16), torch.randn(2, 3, 8, 8)]  # of an image padded to 32
    loss = SegmentationLoss(3, "dice_ce")
    parts = [loss(logits, mask)]
    parts += [loss(coarser[0][..., :5, :5], mask[:, ::2, ::2]), loss(coarser[1][..., :3, :3], mask[:, ::4, ::4])]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    torch.testing.assert_close(loss(logits, mask, coarser), expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "dise"}, "--model.loss 'dise' is unknown: did you mean 'dice'"),
        ({"name": "dice", "gamma": 2.0}, "--model.focal_gamma 2.0"),
        ({"name": "focal", "gamma": -1.0}, "--model.focal_gamma -1.0"),
        ({"alpha": 1.0}, "--model.tversky_alpha 1.0"),
        ({"label_smoothing": 1.0}, "--model.label_smoothing 1.0"),
        ({"name": "dice", "label_smoothing": 0.1}, "--model.label_smoothing: the dice loss takes none; cross_entropy"),
        ({"boundary_weight": -1.0}, "--model.boundary_weight"),
        ({"class_weights": [1.0]}, "--model.class_weights"),
        ({"class_weights": [1.0, -1.0, 1.0]}, "--model.class_weights"),
        ({"class_weights": [1.0, 0.0, 0.0]}, "--model.class_weights"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        SegmentationLoss(3, **options)


def test_the_weights_move_with_the_model_and_stay_out_of_checkpoints() -> None:
    loss = SegmentationLoss(2, class_weights=[1.0, 2.0])
    assert not loss.state_dict()
    assert loss.double().weights.dtype == torch.float64
    assert math.isclose(float(loss.weights.sum()), 3.0)
