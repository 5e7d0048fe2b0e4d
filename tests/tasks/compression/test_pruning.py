"""Pruned amounts are exact, zeros stay zeros, and a pruned network is built again as it was."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import nn

from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.cli.training.pruning import prune_parent as prune
from tasks.compression.latency import paired_latency
from tasks.compression.pruning import multiply_adds, prunable_weights, prune_channels, prune_magnitude, tensors_of
from tasks.detect.task import DetectionTask
from tasks.loading import build_from
from tasks.training.settings import PruningSettings
from tests.tasks.segment.batches import small_task as small_segmenter
from tests.tasks.training.fits import fit, loader, made

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("trained")
    fit(made(), folder, epochs=1)
    return str(folder / "epoch=0.ckpt")


def zeros(model: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in prunable_weights(model).values())


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable_weights(model).values())


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.77])
def test_exactly_the_smallest_weights_become_zero(amount: float) -> None:
    model = made()
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    prune_magnitude(model, amount)
    assert zeros(model) == round(amount * size(model))
    after = prunable_weights(model)
    gone = torch.cat([before[name][weight == 0].abs() for name, weight in after.items()])
    left = torch.cat([weight[weight != 0].abs() for weight in after.values()])
    assert gone.numel() == 0 or gone.max() <= left.min()
    for name, weight in after.items():
        assert torch.equal(weight[weight != 0], before[name][weight != 0])
    # Once more, further: what is 0 counts.
    prune_magnitude(model, 0.9)
    assert zeros(model) == round(0.9 * size(model))


def test_the_weakest_channels_go() -> None:
    """Channels that do nothing are taken out, and the output stays what it was."""

    def chain(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3),
            nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 2),
        )  # fmt: skip

    torch.manual_seed(0)
    model, image = chain(8), torch.rand(2, 1, 12, 12)
    with torch.no_grad():
        for layer, dead in ((0, [1, 2, 5, 7]), (3, [0, 3, 4, 6])):
            for tensor in (*model[layer].parameters(), *model[layer + 1].parameters()):
                tensor[dead] = 0.0
    before = model.eval()(image)
    share = 1 - multiply_adds(chain(4), (image,)) / multiply_adds(model, (image,))
    smaller, gone = prune_channels(model, (image,), [model[8]], share)
    assert gone == pytest.approx(share)
    assert smaller.state_dict()["3.weight"].shape == (4, 4, 3, 3)
    torch.testing.assert_close(smaller(image), before)


class Count(Callback):
    """Zeros after each step, as averages see them."""

    def __init__(self) -> None:
        self.zeros: list[int] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.zeros.append(zeros(pl_module))


@pytest.mark.parametrize("way", [{"optimizer": "sgd", "ema": 0.5}, {"optimizer": "lamb", "mixup": 0.4}])
def test_zeros_stay_through_training_averages_and_a_cut(way: dict[str, Any], trained: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"weights": trained, "prune": "magnitude", "prune_amount": 0.6, **way}

    def pruned() -> ClassificationTask:
        model = made(**flags)
        prune(model, "classify")
        return model

    watch, start = Count(), pruned()
    expected = round(0.6 * size(start))
    first = prunable_weights(start)["backbone.layer4.0.conv1.weight"].detach().clone()
    whole = fit(start, tmp_path / "whole", watch)
    assert set(watch.zeros) == {expected}
    assert zeros(build_from(whole, "classify", tmp_path)) == expected
    assert not torch.equal(prunable_weights(start)["backbone.layer4.0.conv1.weight"], first)  # the others have trained

    fit(pruned(), tmp_path / "cut", epochs=2)
    again = fit(made(**flags), tmp_path / "cut", resume_after=2)  # without pruning once more
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, again["state_dict"][name]), name


MODELS: dict[str, Any] = {
    "classify": lambda: made(input_size=(48, 48)),
    "classify native": lambda: made(backbone="small_cnn", head="native"),
    "classify bag": lambda: made(aggregate="attention", head="pool"),
    "segment": lambda: small_segmenter(input_size=(64, 64)),
    "segment convnext": lambda: small_segmenter(input_size=(64, 64), backbone="test_convnext"),
    "segment fpn": lambda: small_segmenter(input_size=(64, 64), decoder="fpn"),
    "retinanet": lambda: DetectionTask("test_resnet", input_size=(64, 64), channels=32),
    "faster_rcnn": lambda: DetectionTask("test_resnet", detector="faster_rcnn", input_size=(64, 64), channels=32),
}


@pytest.mark.parametrize("name", MODELS)
def test_half_of_the_multiply_adds_go_and_the_checkpoint_is_built_again(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Task = MODELS[name]()
    checkpoint = saved(model)
    path = tmp_path / "whole.ckpt"
    torch.save(checkpoint, path)
    before = multiply_adds(model, model.trial_inputs())
    parameters = sum(p.numel() for p in model.backbone.parameters())

    model.pruning, model.network = PruningSettings("channels", 0.5), replace(model.network, weights=str(path))
    prune(model, model.name)
    gone = 1 - multiply_adds(model, model.trial_inputs()) / before
    assert 0.5 <= gone < 0.65, gone  # group norms lose channels by groups
    assert sum(p.numel() for p in model.backbone.parameters()) < 0.8 * parameters
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training

    small = tmp_path / "small.ckpt"
    torch.save(saved(model), small)
    again = build_from(torch.load(small, weights_only=True), model.name, small)
    assert again.backbone.channels == model.backbone.channels
    torch.manual_seed(1)
    inputs = model.trial_inputs()
    inputs = (torch.rand_like(inputs[0]), *inputs[1:])
    outputs = [tensors_of(one.eval()(*inputs)) for one in (model, again)]
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)

    # Every parameter of what is left can learn.
    model.train()
    sum(tensor.float().square().sum() for tensor in tensors_of(model(*inputs))).backward()  # type: ignore[union-attr]
    later = ("detector.roi_heads", "detector.neck.fpn.extra")  # not in forward
    assert not [n for n, p in model.named_parameters() if p.grad is None and not n.startswith(later)]


def saved(model: Task) -> dict[str, Any]:
    """A checkpoint as Lightning writes it."""
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_smaller_network_trains_goes_on_and_is_pruned_again(trained: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"weights": trained, "prune": "channels", "prune_amount": 0.4, "ema": 0.5}

    def pruned(**more: Any) -> ClassificationTask:
        model = made(**{**flags, **more})
        prune(model, "classify")
        return model

    whole = fit(pruned(), tmp_path / "whole")
    fit(pruned(), tmp_path / "cut", epochs=2)
    going_on = made(**flags)
    going_on.on_load_checkpoint(torch.load(tmp_path / "cut" / "epoch=1.ckpt", weights_only=True))
    again = fit(going_on, tmp_path / "cut", resume_after=2)
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, again["state_dict"][name]), name

    last = str(tmp_path / "whole" / "epoch=3.ckpt")
    kept = build_from(whole, "classify", tmp_path)
    more = pruned(weights=last, prune_amount=0.5)
    ratio = multiply_adds(more, more.trial_inputs()) / multiply_adds(kept, kept.trial_inputs())
    assert 0.35 < ratio <= 0.5
    image = next(iter(loader(2)))["image"]
    same = pruned(weights=last, prune_amount=0.0)  # train on, nothing more goes
    assert torch.equal(same.eval()(image), kept.eval()(image))
    assert torch.equal(build_from(saved(more), "classify", tmp_path).eval()(image), more.eval()(image))
    with pytest.raises(SuiteError, match=r"its channels were pruned.*--model.prune_amount 0"):
        made(weights=last)


def test_what_cannot_be_pruned_is_refused_by_name(trained: str) -> None:
    vit = made(backbone="vit_tiny_patch16_224")
    with pytest.raises(SuiteError, match=r"vit_tiny_patch16_224 has attention.*take magnitude"):
        prune_channels(vit, vit.trial_inputs(), vit.output_layers(), 0.5)
    model = made()
    with pytest.raises(SuiteError, match=r"--model.prune_amount 0.999: of test_resnet only .* can go"):
        prune_channels(model, model.trial_inputs(), model.output_layers(), 0.999)
    for weights in (None, "imagenet"):
        model = made(prune="channels")
        model.network = replace(model.network, weights=weights)
        with pytest.raises(SuiteError, match=r"give the checkpoint of a run of this task as --model.weights"):
            prune(model, "classify")
    other = made(backbone="small_cnn", prune="magnitude", weights=trained)
    with pytest.raises(SuiteError, match="the weights do not fit"):
        prune(other, "classify")


def test_frozen_parameters_stay_frozen(trained: str) -> None:
    model = made(weights=trained, freeze="backbone", prune="channels", prune_amount=0.3)
    prune(model, "classify")
    assert model.backbone.frozen
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert model.head is not None
    assert all(parameter.requires_grad for parameter in model.head.parameters())


def test_latency_is_measured() -> None:
    class Sleep(nn.Module):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert not self.training
            time.sleep(self.seconds)
            return image

    slow, fast = paired_latency(Sleep(0.02), Sleep(0.005), (torch.zeros(1),), seconds=0.1)
    assert slow >= 20
    assert 5 <= fast < slow
