"""The segmentation task without the command line: what it is built from, what it does with a batch, what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from datamodules.preprocess import Preprocess
from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.segment.decoders import SegmentationDecoder
from tasks.segment.task import SegmentationTask
from tests.tasks.segment.batches import small_batch, small_task

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")  # steps called without a trainer
REGIONS: dict[str, Any] = {"overlapping": True, "num_classes": 2, "class_names": ["organ", "lesion"]}


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def trainer(**arguments: Any) -> Trainer:
    given = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False, **arguments}
    return Trainer(enable_progress_bar=False, enable_model_summary=False, **given)


def loader(*batches: Batch) -> DataLoader[Any]:
    return DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]


def saved(task: torch.nn.Module, file: Path) -> str:
    """A checkpoint as far as ``--model.weights`` reads it."""
    hparams = dict(task.hparams)  # type: ignore[arg-type]
    torch.save({"state_dict": task.state_dict(), "hyper_parameters": hparams}, file)
    return str(file)


# What it is built from


@pytest.mark.parametrize("options", [{}, REGIONS, {"decoder": "fpn", "class_weights": [0.1, 1.0, 2.0]}])
def test_checkpoint_holds_plain_values_and_comes_back(options: dict[str, Any], tmp_path: Path) -> None:
    spec = Preprocess(size=(32, 32), channels=1, windows=((40.0, 400.0),)).to_dict()
    task = small_task(input_size=(32, 32), preprocess=spec, normalize="train", statistics=([0.4], [0.3]), **options)
    batch = small_batch(regions=2 if "overlapping" in options else 0)
    runner = trainer(limit_train_batches=1, limit_val_batches=1)
    runner.fit(task, loader(batch), loader(batch))
    assert {"train/loss", "train/dice", "val/loss", "val/dice", "val/dice/lesion"} <= set(runner.callback_metrics)
    runner.save_checkpoint(tmp_path / "a.ckpt")

    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert checkpoint["scansuite"]["task"] == "segment"
    hparams = checkpoint["hyper_parameters"]
    assert Preprocess.from_dict(hparams["preprocess"]) == Preprocess.from_dict(spec)
    assert hparams["stem"] == "standard"
    again = SegmentationTask(**hparams)
    again.load_state_dict(checkpoint["state_dict"])
    assert dict(again.hparams) == dict(task.hparams)
    torch.testing.assert_close(again.eval()(batch["image"]), task.eval()(batch["image"]), rtol=0, atol=0)


def test_facts_are_arguments_of_the_task() -> None:
    assert set(SegmentationTask.facts) <= set(small_task().hparams)
    assert small_task().monitor == ("dice", "max")


@pytest.mark.parametrize("decoder", ["unet", "deeplabv3plus"])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_a_backbone_moves_from_classification_and_back(backbone: str, decoder: str, tmp_path: Path) -> None:
    classify = ClassificationTask(backbone, in_channels=1, normalize="train", statistics=([0.2], [0.1]))
    file = saved(classify, tmp_path / "classify.ckpt")
    given = {"backbone": backbone, "normalize": "auto", "decoder": decoder}
    segment = small_task(**given, weights=file)
    assert segment.backbone.state_dict().keys() == classify.backbone.state_dict().keys()
    for name, tensor in classify.backbone.state_dict().items():
        assert torch.equal(segment.backbone.state_dict()[name], tensor)
    assert segment.normalize.mean.flatten().tolist() == pytest.approx([0.2])

    other = small_task(**given)
    back = ClassificationTask(backbone, in_channels=1, weights=saved(other, tmp_path / "segment.ckpt"))
    for name, tensor in other.backbone.state_dict().items():
        assert torch.equal(back.backbone.state_dict()[name], tensor)


def test_a_small_stem_comes_with_the_checkpoint(tmp_path: Path) -> None:
    classify = ClassificationTask("resnet18", in_channels=1, input_size=(28, 28))
    assert classify.hparams["stem"] == "small"
    segment = small_task(backbone="resnet18", input_size=(28, 28), weights=saved(classify, tmp_path / "small.ckpt"))
    assert segment.hparams["stem"] == "small"
    assert torch.equal(segment.backbone.net.conv1.weight, classify.backbone.net.conv1.weight)
    assert segment.eval()(torch.rand(2, 1, 28, 28)).shape == (2, 3, 28, 28)
    assert small_task(input_size=(28, 28)).hparams["stem"] == "standard"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"class_names": ["a"]}, "3 classes, but 1 class names"),
        ({"num_classes": 1, "class_names": ["a"]}, "1 classes"),
        ({"ignore_index": 2}, "value 2 of the masks"),
        ({"class_weights": [1.0]}, "--model.class_weights"),
        ({"decoder": "unett"}, "did you mean 'unet'"),
        ({"decoder": "fpn", "deep_supervision": True}, "--model.deep_supervision"),
        ({"decoder": "pan", "input_size": (64, 64)}, "--model.decoder pan"),
        ({"backbone": "test_resnett"}, "test_resnet"),
        ({"backbone_args": {"strides": [4]}}, "--model.backbone_args: strides"),
        ({"optimizer": "adamq"}, "--model.optimizer"),
        ({"dropout": 1.0}, "--model.dropout 1.0"),
        ({"unfreeze": 3}, "--model.unfreeze: nothing is frozen"),
        ({"schedule_args": {"power": 2}}, "--model.schedule_args.power: the schedule cosine does not take it"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        small_task(**arguments)


# What it does with a batch


@pytest.mark.parametrize("size", [(32, 32), (50, 71), (9, 40)])
@pytest.mark.parametrize("decoder", ["unet", "unetplusplus", "linknet", "fpn", "pspnet"])
def test_logits_have_the_size_of_the_image(decoder: str, size: tuple[int, int]) -> None:
    task = small_task(decoder=decoder, input_size=size).eval()
    assert task(torch.rand(2, 1, *size)).shape == (2, 3, *size)


def test_padding_does_not_shift_the_image() -> None:
    task = small_task(input_size=(64, 64)).eval()
    image = torch.rand(1, 1, 64, 64)
    image[..., 33:] = image[..., 32:33]  # what padding repeats
    image[..., 40:, :] = image[..., 39:40, :]
    torch.testing.assert_close(task(image[..., :40, :33]), task(image)[..., :40, :33])


@pytest.mark.parametrize("options", [{}, {"deep_supervision": True}, REGIONS, {"freeze": "backbone"}])
def test_every_trainable_parameter_gets_a_gradient(options: dict[str, Any]) -> None:
    task = small_task(**options).train()
    batch = small_batch(size=(40, 50), regions=2 if "overlapping" in options else 0)
    task.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
    missing = [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    frozen = [p for p in task.backbone.parameters() if p.grad is not None]
    assert bool(frozen) is ("freeze" not in options)


def test_dropout_drops_channels_while_training() -> None:
    task, plain = small_task(dropout=0.5).eval(), small_task().eval()
    plain.load_state_dict(task.state_dict())  # the names are the same
    image = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(task(image), plain(image), rtol=0, atol=0)
    assert isinstance(task.decoder, SegmentationDecoder)
    task.decoder.dropout.train()
    outputs = torch.stack([task(image) for _ in range(40)])
    assert outputs.std(dim=0).mean() > 0.01
    torch.testing.assert_close(outputs.mean(), plain(image).mean(), rtol=0.5, atol=0.1)


def test_deep_supervision_counts_in_training_alone() -> None:
    task = small_task(deep_supervision=True)
    batch = small_batch()
    output = task.train()(batch["image"])
    deep = task.loss(output, batch)
    alone = task.loss(output, batch)  # the coarser maps belong to one step
    assert deep.item() != pytest.approx(alone.item(), abs=1e-4)
    output = task.eval()(batch["image"])
    assert task.loss(output, batch).item() == task.criterion(output, batch["mask"]).item()


def test_padding_is_not_evaluated() -> None:
    task = small_task().eval()
    step = task.validation_step(small_batch(3, padding=[1]), 0)
    assert [scan["case_id"] for scan in step["batch"]["scan"]] == ["c0", "c2"]
    assert step["output"].shape[0] == step["batch"]["mask"].shape[0] == 2
    task.validation_step(small_batch(1, padding=[0]), 0)
    assert task.metrics["val_metrics"].images == 2


def test_it_learns_a_bright_square() -> None:
    task = small_task(lr=0.01)
    batch = small_batch(4)
    batch["mask"] = torch.zeros_like(batch["mask"])
    for number in range(4):
        batch["mask"][number, 4 * number : 4 * number + 12, 8:20] = 1 + number % 2
    batch["image"] = 0.3 * batch["image"] + 0.35 * batch["mask"][:, None]
    optimizer = torch.optim.Adam(task.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        loss = task.loss(task(batch["image"]), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    task.update_metrics(task.metrics["train_metrics"], task(batch["image"]), batch)  # type: ignore[arg-type]
    assert task.metrics["train_metrics"].compute()["dice"] > 0.9  # type: ignore[operator]


# What stands in the table


def test_predictions_and_scores_of_classes() -> None:
    output = torch.tensor([0.0, 3.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    task = small_task()
    assert task.predictions(output).dtype == torch.uint8
    assert task.predictions(output).tolist() == [[[1, 1], [1, 1]]]
    torch.testing.assert_close(task.scores(output).sum(dim=1), torch.ones(1, 2, 2))


def test_predictions_and_scores_of_regions() -> None:
    output = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1)
    task = small_task(**REGIONS)
    assert task.predictions(output).tolist() == [[[[0]], [[1]]]]
    torch.testing.assert_close(task.scores(output), output.sigmoid())


@pytest.mark.parametrize("regions", [False, True])
@torch.no_grad()
def test_predict_gives_probabilities_averaged_over_flips(regions: bool) -> None:
    batch = small_batch(2, regions=2 if regions else 0, masks=False)
    task = small_task(tta="flips", **(REGIONS if regions else {})).eval()
    found = task.predict_step(batch, 0)["output"]
    mirrored = batch.copy()
    mirrored["image"] = batch["image"].flip(-1)
    torch.testing.assert_close(task.predict_step(mirrored, 0)["output"], found.flip(-1), atol=1e-4, rtol=1e-4)
    if not regions:
        torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 32, 32))
    single = small_task(**(REGIONS if regions else {})).eval()
    single.load_state_dict(task.state_dict())
    once = single.predict_step(batch, 0)["output"]
    torch.testing.assert_close(once, single.scores(single(batch["image"])))
    assert not torch.allclose(once, found, atol=1e-3)


def test_names_stand_for_classes_where_none_are_given() -> None:
    assert small_task(class_names=None).class_names == ["0", "1", "2"]
