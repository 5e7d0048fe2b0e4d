"""Averaged weights: what they are, that they are evaluated, and what they leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch.optim.swa_utils import update_bn

from scansuite.errors import SuiteError
from tests.tasks.classify.batches import small_task
from tests.tasks.training.fits import fit, loader, made

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")


def copied(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class Watch(Callback):
    """Weights after each step of training, and those that are evaluated."""

    def __init__(self) -> None:
        self.trained: list[dict[str, torch.Tensor]] = []
        self.evaluated: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.trained.append(copied(pl_module))

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.evaluated.append(copied(pl_module))


def test_ema_is_that_of_the_formula_and_is_evaluated_and_kept(tmp_path: Path) -> None:
    watch, model = Watch(), made(ema=0.5, normalize="train", statistics=([0.3], [0.2]))
    saved = fit(model, tmp_path, watch, epochs=2)
    for name in ("head.linear.weight", "backbone.layer4.0.conv1.weight", "backbone.bn1.running_mean"):
        average = watch.trained[0][name]
        for count, weights in enumerate(watch.trained[1:], start=1):
            decay = min(0.5, (1 + count) / (10 + count))
            average = decay * average + (1 - decay) * weights[name]
        torch.testing.assert_close(saved["state_dict"][name], average, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(watch.evaluated[-1][name], average, rtol=1e-5, atol=1e-7)
        assert torch.equal(saved["current_model_state"][name], watch.trained[-1][name])
        assert not torch.equal(saved["state_dict"][name], watch.trained[-1][name])
    # What never moves has not been rounded away.
    assert torch.equal(saved["state_dict"]["normalize.mean"], model.normalize.mean)


def test_what_is_evaluated_after_the_training_is_the_model_given(tmp_path: Path) -> None:
    from pytorch_lightning.callbacks import ModelCheckpoint

    from tasks.training.averaging import Ema

    watch = Watch()
    runner = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Ema(0.9), watch, ModelCheckpoint(tmp_path)],
    )  # fmt: skip
    runner.fit(made(), loader(1), loader(2))
    other = small_task(input_size=(32, 32))
    before = copied(other)
    runner.validate(other, loader(2), verbose=False)
    for name, tensor in watch.evaluated[-1].items():
        assert torch.equal(tensor, before[name]), name


def test_swa_is_the_mean_of_the_epochs_with_statistics_of_its_own(tmp_path: Path) -> None:
    watch = Watch()
    flags: dict[str, Any] = {"swa": 0.5, "schedule": "constant"}
    saved = fit(made(**flags), tmp_path, watch)
    ends = [watch.trained[3 * epoch + 2] for epoch in range(4)]
    early = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)
    assert "current_model_state" not in early  # averaging begins after half of the four epochs
    assert torch.equal(early["state_dict"]["head.linear.weight"], ends[1]["head.linear.weight"])
    assert torch.equal(watch.evaluated[3]["head.linear.weight"], ends[1]["head.linear.weight"])

    name = "backbone.layer4.0.conv1.weight"
    torch.testing.assert_close(saved["state_dict"][name], (ends[2][name] + ends[3][name]) / 2)
    torch.testing.assert_close(watch.evaluated[-1][name], saved["state_dict"][name])
    reference = made(**flags)
    reference.load_state_dict(saved["state_dict"])
    update_bn([batch["image"] for batch in loader(1)], reference)
    for key, tensor in reference.state_dict().items():
        torch.testing.assert_close(saved["state_dict"][key], tensor, rtol=1e-4, atol=1e-6, msg=key)


def test_swa_leaves_frozen_statistics_alone(tmp_path: Path) -> None:
    model = made(swa=0.25, schedule="constant", freeze="backbone")
    before = copied(model.backbone)
    saved = fit(model, tmp_path)
    for name, tensor in before.items():
        assert torch.equal(saved["state_dict"][f"backbone.{name}"], tensor), name


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"ema": 1.0}, "--model.ema 1.0: must be above 0 and below 1"),
        ({"swa": 1.5}, "--model.swa 1.5: must be at least 0"),
        ({"swa": 0.5}, "--model.swa: the schedule cosine ends at 0.*--model.schedule constant"),
        ({"swa": 0.5, "ema": 0.9, "schedule": "constant"}, "--model.swa and --model.ema"),
        ({"early_stopping": 0}, "--model.early_stopping 0"),
        ({"lr": -1.0}, "--model.lr -1.0: must be at least 0"),
        ({"weight_decay": -1.0}, "--model.weight_decay -1.0"),
        ({"layer_decay": 1.5}, "--model.layer_decay 1.5"),
        ({"backbone_lr_factor": 0.0}, "--model.backbone_lr_factor 0.0"),
        ({"drop_path": 1.0}, "--model.drop_path 1.0"),
        ({"drop_path": 0.1, "backbone": "vgg11"}, "--model.drop_path 0.1: vgg11 has no stochastic depth"),
        ({"schedule_args": {"gamma": 1}}, "--model.schedule_args.gamma: the schedule cosine does not take it"),
        ({"mixup": -1.0}, "--model.mixup -1.0"),
        ({"dropout": 1.0}, "--model.dropout 1.0"),
    ],
)
def test_what_cannot_be_is_refused_at_start(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        small_task(**flags)


def test_early_stopping_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    class Still(Callback):
        """Puts the validation metric to what it was."""

        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            pl_module.backbone.eval()

    model = made(early_stopping=1, lr=0.0)
    assert fit(model, tmp_path, Still())["epoch"] == 1  # the first epoch is the best, the second one too many


def test_drop_path_reaches_the_network() -> None:
    backbone = made(drop_path=0.3).backbone
    rates: list[Any] = [module.drop_prob for module in backbone.modules() if type(module).__name__ == "DropPath"]
    assert rates
    assert max(rates) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "length", [{"max_epochs": 4}, {"max_epochs": -1, "max_steps": 12}, {"max_epochs": 9, "max_steps": 12}]
)
def test_swa_begins_after_its_share_of_the_training_however_that_is_counted(
    length: dict[str, int], tmp_path: Path
) -> None:
    """Counted in steps, it began with the first epoch."""
    saved = fit(made(swa=0.5, schedule="constant"), tmp_path, **length)  # of three batches an epoch
    assert int(saved["averaging_state"]["n_averaged"]) == 2


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_the_average_is_to_the_bit_what_it_was_tensor_by_tensor(decay: float) -> None:
    from tasks.training.averaging import average

    generator = torch.Generator().manual_seed(0)
    old, new = ([torch.randn(shape, generator=generator) for shape in ((3, 4, 2), (7,), ())] for _ in range(2))
    expected = [tensor.clone() for tensor in old]
    for count in range(12):
        share = 1 - min(decay, (1 + count) / (10 + count))
        expected = [b.clone() if count == 0 else a.lerp(b, share) for a, b in zip(expected, new, strict=True)]
        average(old, new, count, decay)
        assert all(map(torch.equal, old, expected))
        new = [tensor + 0.1 for tensor in new]


def test_whole_numbers_are_copied_and_updates_counted(tmp_path: Path) -> None:
    watch, model = Watch(), made(ema=0.9)
    saved = fit(model, tmp_path, watch, epochs=2)
    assert int(saved["averaging_state"]["n_averaged"]) == 6
    name = "backbone.bn1.num_batches_tracked"
    assert torch.equal(saved["state_dict"][name], watch.trained[-1][name])
