"""Mixup and CutMix by hand, and with every kind of target."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tasks.training.mixing import Mixing, mix
from tests.tasks.classify.batches import KINDS, random_labels, small_batch, small_task

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


def flat(values: list[float], side: int = 8) -> torch.Tensor:
    """An image of each value: what was mixed can be read from it."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, side, side).contiguous()


def mixed(seed: int, mixup: float, cutmix: float, n: int = 5) -> Any:
    batch: Any = small_batch(torch.arange(n), flat([float(k) for k in range(n)]))
    mix(batch, np.random.default_rng(seed), mixup, cutmix)
    return batch


@pytest.mark.parametrize("seed", range(8))
def test_mixup_is_the_weighted_mean_of_two(seed: int) -> None:
    batch = mixed(seed, 0.4, 0.0)
    share = float(batch["label_share"][0])
    assert 0.5 <= share <= 1
    assert (batch["label_share"] == share).all()
    expected = share * batch["label"] + (1 - share) * batch["label_other"]
    torch.testing.assert_close(batch["image"], flat(expected.tolist()), rtol=1e-5, atol=1e-5)
    assert sorted(batch["label"].tolist()) == sorted(batch["label_other"].tolist()) == list(range(5))


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_lays_a_box_of_the_stated_area_into_another(seed: int) -> None:
    batch = mixed(seed, 0.0, 1.0)
    share = float(batch["label_share"][0])
    assert 0.5 <= share <= 1
    for image, own, other in zip(batch["image"], batch["label"], batch["label_other"], strict=True):
        if own != other:
            assert (image == own).float().mean().item() == pytest.approx(share)
            assert (image == other).float().mean().item() == pytest.approx(1 - share)
    if share < 1:
        minor = [image == other for image, own, other in
                 zip(batch["image"], batch["label"], batch["label_other"], strict=True) if own != other]  # fmt: skip
        rows, columns = minor[0][0].any(1).sum(), minor[0][0].any(0).sum()
        box = minor[0].sum() if minor[0].sum() == rows * columns else 64 - minor[0].logical_not().sum()
        assert box == minor[0].sum()  # a box, or what is left around one


def test_weights_are_those_of_the_beta_distribution() -> None:
    shares = torch.tensor([float(mixed(seed, 0.2, 0.0, n=2)["label_share"][0]) for seed in range(400)])
    # Of Beta(a, a): mean of max(x, 1 - x) is 1/2 + E|x - 1/2|, and the variance of x is 1 / (4 (2a + 1)).
    assert ((shares - 0.5) ** 2).mean().item() == pytest.approx(1 / (4 * 1.4), rel=0.08)


def test_both_are_taken_in_turn_by_chance() -> None:
    def cut(seed: int) -> bool:
        batch = mixed(seed, 1.0, 1.0)
        return all(value in range(5) for value in batch["image"].unique().tolist())

    assert 60 < sum(cut(seed) for seed in range(200)) < 140


def drawn(seed: int, epoch: int, rank: int, number: int) -> torch.Tensor:
    batch: Any = small_batch(torch.arange(6), flat([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    torch.rand(3)  # the state of the global generators does not matter
    Mixing(0.4, None, seed).on_train_batch_start(trainer, pl_module=None, batch=batch, batch_idx=number)  # type: ignore[arg-type]
    image: torch.Tensor = batch["image"]
    return image


def test_repeats_with_seed_epoch_rank_and_batch() -> None:
    places = [(1, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    images = [drawn(*place) for place in places]
    assert all(torch.equal(image, drawn(*place)) for image, place in zip(images, places, strict=True))
    assert not any(torch.equal(images[0], image) for image in images[1:])


def pair(kind: str) -> tuple[Any, torch.Tensor]:
    label = random_labels(kind, 6)
    batch: Any = small_batch(label, torch.rand(6, 1, 32, 32))
    batch |= {"label_other": label.flip(0), "label_share": torch.full((6,), 0.75)}
    return batch, label


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_loss_is_that_of_soft_targets(kind: str) -> None:
    task, (batch, label) = small_task(kind), pair(kind)
    logits = torch.randn(6, len(task.class_names))
    one = F.one_hot(label, len(task.class_names)).float()
    expected = F.cross_entropy(logits, 0.75 * one + 0.25 * one.flip(0))
    torch.testing.assert_close(task.loss(logits, batch), expected)


def test_loss_of_labels_is_that_of_soft_targets_where_both_are_known() -> None:
    task, (batch, _) = small_task("multilabel"), pair("multilabel")
    label = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    batch |= {"label": label, "label_other": label.flip(0), "label_share": torch.full((2,), 0.75)}
    logits = torch.randn(2, 4)
    soft = 0.75 * label + 0.25 * label.flip(0)
    torch.testing.assert_close(task.loss(logits, batch), F.binary_cross_entropy_with_logits(logits, soft))
    batch["label_other"] = torch.full((2, 4), math.nan)  # nothing is known of the partner
    expected = 0.75 * F.binary_cross_entropy_with_logits(logits, label)
    torch.testing.assert_close(task.loss(logits, batch), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_trains_on_mixed_images(kind: str) -> None:
    task, (batch, _) = small_task(kind, input_size=(32, 32)), pair(kind)
    mix(batch, np.random.default_rng(0), 0.4, 0.0)
    loss = task.training_step(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)
