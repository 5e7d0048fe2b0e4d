"""Models in Python, with a plain trainer: what the command line would do for them they do themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from datamodules.phantoms import boxes, labels, masks
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.cli.main import main
from tasks.compression.distillation import Distillation
from tasks.compression.sparsity import Sparsity
from tasks.detect.task import DetectionTask
from tasks.loading import build_from, open_checkpoint
from tasks.segment.task import SegmentationTask
from tasks.training.averaging import Ema, Swa
from tasks.training.early_stopping import SmoothedStopping
from tasks.training.mixing import Mixing
from tasks.training.seeding import SeedEpochs
from tasks.training.stopping.resuming import Resuming
from tasks.training.unfreezing import Unfreezing
from tests.tasks.classify.batches import small_task
from tests.tasks.training.fits import SIDE, loader

PHANTOMS: dict[str, Any] = {"num_patients": 14, "image_size": 32, "num_workers": 0, "batch_size": 8}


@pytest.fixture(autouse=True)
def _without_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def trainer_of(epochs: int = 1, callbacks: Sequence[Callback] = (), **more: Any) -> Trainer:
    return Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), **more,
    )  # fmt: skip


def fitted(model: LightningModule, **more: Any) -> Trainer:
    trainer = trainer_of(**more)
    trainer.fit(model, loader(1), loader(2))
    return trainer


def small(**flags: Any) -> ClassificationTask:
    return small_task(**{"input_size": (SIDE, SIDE), "lr": 0.01, **flags})


def kinds(trainer: Any) -> list[type]:
    return [type(callback) for callback in trainer.callbacks if type(callback).__module__.startswith("tasks.")]


def test_arguments_of_training_work_with_a_plain_trainer() -> None:
    model = small(ema=0.9, mixup=0.5, freeze="backbone", unfreeze=1, early_stopping=2)
    trainer = fitted(model, epochs=2)
    assert kinds(trainer) == [Resuming, Unfreezing, Mixing, Ema, SmoothedStopping]
    assert not model.backbone.waiting
    # Again with the same trainer, and for another purpose: nothing is made twice.
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, loader(1), loader(2))
    trainer.validate(model, loader(2), verbose=False)
    assert kinds(trainer) == [Resuming, Unfreezing, Mixing, Ema, SmoothedStopping]
    assert kinds(fitted(small(swa=0.5, schedule="constant"))) == [Resuming, Swa]


def test_what_bf16_spoils_on_a_cpu_is_put_into_float32() -> None:
    data = boxes.Phantoms(**{**PHANTOMS, "image_size": 64})
    model: Any = DetectionTask.for_data(data, "test_resnet", detector="retinanet", anchors="default")
    trainer_of(precision="bf16-mixed", limit_train_batches=1).fit(model, data)
    last = model.detector.neck.fpn.extra_blocks.p7
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, two = (last(torch.rand(1, last.in_channels, side, side)).dtype for side in (1, 2))
    assert (one, two) == (torch.float32, torch.bfloat16)


def test_averages_and_mixed_images_change_what_is_learnt() -> None:
    torch.manual_seed(0)
    start = small().state_dict()

    def learnt(**flags: Any) -> tuple[float, torch.Tensor]:
        model = small(**flags)
        model.load_state_dict(start)
        trainer = fitted(model)
        weights = torch.cat([parameter.detach().ravel() for parameter in model.parameters()])
        return float(trainer.callback_metrics["train/loss"]), weights

    (loss, weights), (mixed_loss, _), (same_loss, average) = learnt(), learnt(mixup=0.5), learnt(ema=0.9)
    assert mixed_loss != loss
    assert same_loss == loss
    assert not torch.allclose(average, weights)


def test_seeds_are_those_of_the_command_line() -> None:
    seed_everything(3)
    data = labels.Phantoms(**PHANTOMS)
    trainer = trainer_of()
    trainer.fit(ClassificationTask.for_data(data, "small_cnn", mixup=0.5), data)
    seeds = [callback.seed for callback in trainer.callbacks if isinstance(callback, (SeedEpochs, Mixing))]  # type: ignore[attr-defined]
    assert [*seeds, data.seed] == [3, 3, 3]


def test_the_same_weights_as_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {"backbone": "small_cnn", "ema": 0.9, "mixup": 0.5, "lr": 0.01, "dropout": 0.2}
    words = [
        *(f"--data.{name}={value}" for name, value in PHANTOMS.items()),
        *(f"--model.{name}={value}" for name, value in flags.items()),
        *("--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.max_epochs=2", "--run_dir=run"),
    ]
    assert main("classify", ["fit", *words]) == 0
    expected = torch.load("run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    seed_everything(0)
    data = labels.Phantoms(**PHANTOMS)
    model = ClassificationTask.for_data(data, **flags)
    trainer = trainer_of(2)
    trainer.fit(model, data)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (ClassificationTask, labels.Phantoms),
        (SegmentationTask, masks.Phantoms),
        (DetectionTask, boxes.Phantoms),
    ],
)
def test_a_model_for_data_fits_and_says_what_it_is(cls: type[Task], data: Any, tmp_path: Path) -> None:
    of_data = data(**PHANTOMS)
    model = cls.for_data(of_data, "test_resnet")
    assert model.class_names == list(of_data.class_names)
    assert model.preprocess == of_data.preprocess
    text = repr(model)
    assert text.startswith(f"{cls.__name__}(test_resnet, ")
    assert "\n" not in text
    assert "1 channel, 32 x 32 pixels; classes: " in text
    assert len(str(model.backbone).splitlines()) > 20  # the whole tree is a word away


def test_a_model_for_other_data_is_refused_or_said(caplog: pytest.LogCaptureFixture) -> None:
    data = labels.Phantoms(**PHANTOMS)
    facts: dict[str, Any] = {"num_classes": data.num_classes, "in_channels": 1, "input_size": (32, 32)}
    with pytest.raises(SuiteError, match=r"the model has num_classes 4, but Phantoms has .*\.for_data\(data"):
        trainer_of().fit(ClassificationTask("small_cnn", **{**facts, "num_classes": 4}), data)
    with pytest.raises(SuiteError, match="the model has in_channels 3, but Phantoms has 1"):
        trainer_of().fit(ClassificationTask("small_cnn", **{**facts, "in_channels": 3}), data)
    with pytest.raises(SuiteError, match="SegmentationTask: Phantoms is no data module of segment"):
        trainer_of().fit(SegmentationTask("test_resnet", in_channels=1), data)
    assert "prepares images otherwise" not in caplog.text
    trainer_of(fast_dev_run=True).fit(ClassificationTask("small_cnn", **facts), data)
    assert "Phantoms prepares images otherwise than the model" in caplog.text
    with pytest.raises(SuiteError, match="the model has num_classes 4"):
        trainer_of().test(ClassificationTask("small_cnn", **{**facts, "num_classes": 4}), data)


@pytest.mark.parametrize("data", [None, labels.Phantoms, np.zeros((4, 8, 8)), masks.Phantoms(**PHANTOMS)])
def test_a_model_is_made_for_data_of_its_task_alone(data: Any) -> None:
    with pytest.raises(SuiteError, match=r"ClassificationTask\.for_data: expected a data module of classify, not"):
        ClassificationTask.for_data(data, "small_cnn")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"loss": torch.nn.CrossEntropyLoss()}, "a CrossEntropyLoss was given as a part: give its class"),
        ({"loss": torch.nn.functional.cross_entropy}, "a function was given as a part"),
        ({"metrics": [torch.nn.Linear(2, 2)]}, "--model.metrics: a Linear was given as a part"),
        ({"backbone": torch.nn.Linear}, "--model.backbone: expected a name, not type"),
        ({"class_names": "ab"}, "class_names 'ab': expected a list of different names"),
        ({"class_names": ["a", "a"]}, "expected a list of different names"),
    ],
)
def test_objects_in_the_place_of_names_are_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(SuiteError, match=line):
        ClassificationTask(**{"backbone": "small_cnn", "in_channels": 1, "input_size": (32, 32), **given})


def test_what_a_model_means_for_its_data_is_handed_on_or_refused() -> None:
    data = labels.Phantoms(**{**PHANTOMS, "image_size": None})
    model = ClassificationTask.for_data(data, "test_resnet", aggregate="mean")
    assert data.bags
    assert model.bag_limit
    read = labels.Phantoms(**PHANTOMS)
    assert len(read.table)
    with pytest.raises(SuiteError, match=r"aggregate 'mean': Phantoms was read already .* with bags=True"):
        ClassificationTask.for_data(read, "test_resnet", aggregate="mean")
    assert ClassificationTask.for_data(read, "test_resnet", bag_limit=7).bag_limit == 7  # what is given goes before


def test_a_teacher_and_pruning_work_with_a_plain_trainer(tmp_path: Path) -> None:
    fitted(parent := small()).save_checkpoint(tmp_path / "parent.ckpt")
    weights = str(tmp_path / "parent.ckpt")
    assert Distillation in kinds(fitted(small(teacher=weights)))
    sparse = small(prune="magnitude", prune_amount=0.5, weights=weights)
    trainer = fitted(sparse)
    assert kinds(trainer) == [Resuming, Sparsity]
    zeros = sum(int((parameter == 0).sum()) for parameter in sparse.parameters())
    assert zeros > 0.4 * sum(parameter.numel() for parameter in sparse.parameters())
    trainer.save_checkpoint(tmp_path / "sparse.ckpt")
    smaller = small(prune="channels", prune_amount=0.3, weights=weights)
    fitted(smaller).save_checkpoint(tmp_path / "smaller.ckpt")
    count, whole = (sum(p.numel() for p in model.parameters()) for model in (smaller, parent))
    assert count < whole
    # What was pruned once is not pruned once more where training goes on.
    again = ClassificationTask.load_from_checkpoint(tmp_path / "smaller.ckpt")
    fitted(again)
    assert sum(p.numel() for p in again.parameters()) == count
    for flags, line in (
        ({"teacher": "gone.ckpt"}, "--model.teacher gone.ckpt: no such file"),
        ({"prune": "magnitude"}, "--model.prune: prunes what has been trained"),
    ):
        with pytest.raises(SuiteError, match=line):
            fitted(small(**flags))


def test_weights_need_not_exist_any_more(tmp_path: Path) -> None:
    fitted(small()).save_checkpoint(tmp_path / "first.ckpt")
    model = small(weights=str(tmp_path / "first.ckpt"))
    fitted(model).save_checkpoint(tmp_path / "second.ckpt")
    (tmp_path / "first.ckpt").unlink()
    found = ClassificationTask.load_from_checkpoint(tmp_path / "second.ckpt", map_location="cpu", lr=0.5)
    assert found.optimization.lr == 0.5
    assert found.network.weights == str(tmp_path / "first.ckpt")  # it is remembered
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    with pytest.raises(SuiteError, match="a checkpoint of the task 'classify', not of 'segment'"):
        SegmentationTask.load_from_checkpoint(tmp_path / "second.ckpt")
    with pytest.raises(SuiteError, match=r"ClassificationTask takes no argument 'dropuot': did you mean 'dropout'\?"):
        ClassificationTask.load_from_checkpoint(tmp_path / "second.ckpt", dropuot=0.5)
    (tmp_path / "bad.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(SuiteError, match=r"bad\.ckpt: cannot be read as a checkpoint: it is damaged, or none"):
        ClassificationTask.load_from_checkpoint(tmp_path / "bad.ckpt")
    path = tmp_path / "second.ckpt"
    assert build_from(open_checkpoint(path), "classify", path).network.weights == found.network.weights


@pytest.mark.parametrize("target", [None, "multiclass", "ordinal"])
def test_one_class_is_refused(target: Any) -> None:
    with pytest.raises(SuiteError, match=r"num_classes 1 \(0\): there is nothing to tell apart"):
        ClassificationTask("test_resnet", num_classes=1, target=target)


@pytest.mark.parametrize("target", ["regression", "multilabel"])
def test_one_number_and_one_label_are_not(target: Any) -> None:
    model = ClassificationTask("test_resnet", num_classes=1, target=target, in_channels=1)
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 1)


@pytest.mark.parametrize(
    ("cls", "data"),
    [
        (ClassificationTask, labels.Phantoms),
        (SegmentationTask, masks.Phantoms),
        (DetectionTask, boxes.Phantoms),
    ],
)
def test_a_plain_trainer_predicts_by_case(cls: type[Task], data: Any) -> None:
    of_data = data(**PHANTOMS)
    model = cls.for_data(of_data, "test_resnet", **({"channels": 16} if cls is DetectionTask else {}))
    said: Any = trainer_of().predict(model, of_data.val_dataloader())
    ids = of_data.table.cases["case_id"].iloc[of_data.rows("val")].tolist()
    assert [case for one in said for case in one["case_id"]] == ids
    assert all("image" not in one["batch"] for one in said)
    first, count = said[0], len(said[0]["case_id"])
    if cls is ClassificationTask:
        assert first["scores"].shape == (count, 2)
        torch.testing.assert_close(first["scores"].sum(dim=1), torch.ones(count, dtype=torch.float64))
    elif cls is SegmentationTask:
        assert first["scores"].shape == (count, 4, 32, 32)
        assert torch.equal(first["masks"].long(), first["scores"].argmax(dim=1))
    else:
        assert [found.boxes.shape[1] for found in first["boxes"]] == [4] * count
        assert all(bool((found.boxes >= 0).all() and (found.boxes <= 32).all()) for found in first["boxes"])
    images = model.predict_step({"image": torch.rand(2, 1, 32, 32)}, 0)  # a batch that knows no cases
    assert "case_id" not in images
    assert len(images.get("boxes", images.get("scores", []))) == 2
