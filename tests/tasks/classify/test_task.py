"""The classification task without the command line: what it is built from, what it does with a batch, what it keeps."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import timm
import torch
from pytorch_lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from datamodules.preprocess import Preprocess
from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.classify.losses import LOSSES
from tasks.classify.task import ClassificationTask
from tests.tasks.classify.batches import KINDS, NAMES, random_labels, small_batch, small_task

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")  # steps called without a trainer


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


def batches(kind: str, sizes: tuple[int, ...] = (6, 5)) -> list[Batch]:
    return [small_batch(random_labels(kind, n, seed=n)) for n in sizes]


# What it is built from


@pytest.mark.parametrize("kind", KINDS)
def test_built_again_from_its_hyperparameters(kind: str) -> None:
    task = small_task(
        kind,
        input_size=(32, 32),
        head="flatten",
        dropout=0.3,
        normalize="train",
        statistics=([0.3], [0.2]),
        class_weights=[1.0] * len(NAMES[kind]) if kind not in ("ordinal", "regression") else None,
    )
    again = ClassificationTask(**dict(task.hparams))
    again.load_state_dict(task.state_dict())
    image = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(again.eval()(image), task.eval()(image), rtol=0, atol=0)
    assert dict(again.hparams) == dict(task.hparams)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoint_holds_plain_values_and_comes_back(kind: str, tmp_path: Path) -> None:
    spec = Preprocess(size=(32, 32), channels=1, windows=((40.0, 400.0),)).to_dict()
    task = small_task(kind, input_size=(32, 32), preprocess=spec, normalize="train", statistics=([0.4], [0.3]))
    runner = trainer(limit_train_batches=1, limit_val_batches=1)
    runner.fit(task, loader(*batches(kind)), loader(*batches(kind)))
    task.operating_points = {"malignant": 0.25}
    runner.save_checkpoint(tmp_path / "a.ckpt")

    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert checkpoint["scansuite"] == {"task": "classify", "operating_points": {"malignant": 0.25}}
    hparams = checkpoint["hyper_parameters"]
    assert Preprocess.from_dict(hparams["preprocess"]) == Preprocess.from_dict(spec)
    assert hparams["stem"] == "small"
    again = ClassificationTask(**hparams)
    again.load_state_dict(checkpoint["state_dict"])
    again.on_load_checkpoint(checkpoint)
    assert again.operating_points == {"malignant": 0.25}
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(again.eval()(image), task.eval()(image), rtol=0, atol=0)
    # Cases do not get into a checkpoint.
    assert not any("c0" in str(key) for key in checkpoint["state_dict"])


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("binary", {"class_weights": [1.0]}, r"--model.class_weights: 1 number for 2 classes \(benign, malignant\)"),
        ("multilabel", {"class_weights": [1.0] * 5}, "--model.class_weights: 5 numbers for 4 classes"),
        ("multiclass", {"class_weights": "balanced"}, "--model.class_weights balanced"),
        ("regression", {"class_weights": "balanced"}, "--model.class_weights balanced.*regression"),
        ("regression", {"loss": "cross_entropy"}, "--model.loss cross_entropy: a regression target takes mse"),
        ("binary", {"loss": "ordinal"}, "--model.loss ordinal"),
        ("binary", {"class_names": ["a", "b", "c"]}, "2 classes, but 3 class names"),
        ("binary", {"num_classes": 3, "class_names": ["a", "b"]}, "3 classes, but 2 class names"),
        ("regression", {"calibration": "platt"}, "--model.calibration platt: a regression target has numbers"),
        ("binary", {"calibration": "plat"}, "calibration 'plat' is unknown: did you mean 'platt'"),
        ("binary", {"backbone": "test_resnett"}, "test_resnet"),
        ("binary", {"backbone_args": {"image_size": [32, 32]}}, "--model.backbone_args: image_size"),
        ("binary", {"backbone_args": {"bogus": 1}}, "bogus"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        small_task(kind, **arguments)


def test_balanced_weights_come_from_the_counts() -> None:
    task = small_task("binary", class_weights="balanced", class_counts=[30, 10], known_counts=[40, 40])
    assert isinstance(task.criterion.weights, torch.Tensor)
    assert task.criterion.weights.tolist() == pytest.approx([40 / 60, 2.0])
    assert task.hparams["class_weights"] == "balanced"


@pytest.mark.parametrize(
    ("arguments", "stem"),
    [
        ({"input_size": (32, 32)}, "small"),
        ({"input_size": (63, 200)}, "small"),
        ({"input_size": (64, 64)}, "standard"),
        ({}, "standard"),
        ({"input_size": (32, 32), "stem": "standard"}, "standard"),
        ({"input_size": (128, 128), "stem": "small"}, "small"),
    ],
)
def test_small_images_get_a_small_stem(arguments: dict[str, Any], stem: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tasks.building"):
        task = small_task(**arguments)
    assert task.hparams["stem"] == stem
    plain = timm.create_model("test_resnet", in_chans=1)
    side = 128 if stem == "standard" else 64
    wide, usual = task.backbone(torch.rand(1, 1, side, side))[-1], plain.forward_features(torch.rand(1, 1, 128, 128))
    assert task.backbone.stem_note.startswith("small stem") == (stem == "small")
    assert (wide.shape[-1] >= usual.shape[-1]) if stem == "small" else (wide.shape == usual.shape)
    assert ("small stem" in caplog.text) == (stem == "small")  # said in the log


def test_weights_keep_the_stem_they_were_trained_with(tmp_path: Path) -> None:
    source = small_task(stem="standard")
    torch.save(source.backbone.state_dict(), tmp_path / "w.pth")
    task = small_task(input_size=(32, 32), weights=str(tmp_path / "w.pth"))
    assert task.hparams["stem"] == "standard"
    for name, tensor in source.backbone.state_dict().items():
        torch.testing.assert_close(task.backbone.state_dict()[name], tensor)


def test_normalisation_by_mode() -> None:
    statistics = ([0.4], [0.3])
    own = timm.get_pretrained_cfg("test_resnet")
    for mode, expected in {
        "none": (0.0, 1.0),
        "train": (0.4, 0.3),
        "auto": (0.4, 0.3),
        "imagenet": (sum(own.mean) / 3, sum(own.std) / 3),
    }.items():
        layer = small_task(normalize=mode, statistics=statistics).normalize
        assert (layer.mean.item(), layer.std.item()) == pytest.approx(expected), mode
        assert not layer.per_image
    assert small_task(normalize="image").normalize.per_image
    assert small_task(normalize="auto").normalize.std.item() == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_best_checkpoint_is_chosen_without_a_threshold(kind: str) -> None:
    assert small_task(kind).monitor == (("mae", "min") if kind == "regression" else ("auroc", "max"))


# What it does with a batch


@pytest.mark.parametrize(("kind", "loss"), [(kind, loss) for kind in KINDS for loss in LOSSES[kind]])
def test_a_few_steps_lower_the_loss(kind: str, loss: Any) -> None:
    task = small_task(kind, loss=loss, input_size=(32, 32), lr=5e-3)
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    batch = small_batch(random_labels(kind, 8) / (20 if kind == "regression" else 1))
    if kind not in ("multilabel", "regression"):
        batch["label"] = batch["label"].long()
    losses = []
    for step in range(10):
        optimizer.zero_grad()
        value = task.training_step(batch, step)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.8 * losses[0]


def test_a_frozen_backbone_does_not_learn_nor_count() -> None:
    task = small_task(freeze="backbone", input_size=(32, 32))
    task.train()
    before = {name: tensor.clone() for name, tensor in task.backbone.state_dict().items()}
    task.training_step(small_batch(torch.tensor([0, 1, 1])), 0).backward()  # type: ignore[no-untyped-call]
    for name, tensor in task.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    trained = {name for name, p in task.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in task.named_parameters() if name.startswith("head.")}


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_left_out_of_loss_metrics_and_rows(kind: str) -> None:
    task = small_task(kind).eval()
    label = random_labels(kind, 7)
    image = torch.rand(7, 1, 32, 32)
    plain = task.validation_step(small_batch(label[:5], image[:5]), 0)
    expected = task.metrics["val_metrics"].compute()  # type: ignore[operator]
    task.metrics["val_metrics"].reset()  # type: ignore[operator]

    order = torch.tensor([5, 0, 1, 2, 6, 3, 4])  # padding may stand anywhere
    names = [f"c{int(i)}" for i in order]
    padded = task.validation_step(small_batch(label[order], image[order], padding=(0, 4), names=names), 0)
    torch.testing.assert_close(task.metrics["val_metrics"].compute(), expected, equal_nan=True)  # type: ignore[operator]
    rows = pd.DataFrame(task.rows(padded["output"], padded["batch"]))
    pd.testing.assert_frame_equal(rows, pd.DataFrame(task.rows(plain["output"], plain["batch"])), rtol=1e-5)
    assert rows["case_id"].tolist() == ["c0", "c1", "c2", "c3", "c4"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_padding_alone_works(kind: str) -> None:
    task = small_task(kind)
    batch = small_batch(random_labels(kind, 2), padding=(0, 1))
    loss = task.training_step(batch, 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert all(p.grad is not None and (p.grad == 0).all() for p in task.parameters())
    task.eval()
    step = task.test_step(batch, 0)
    assert step["batch"]["scan"] == []
    assert len(pd.DataFrame(task.rows(step["output"], step["batch"]))) == 0
    assert task.metrics["test_metrics"].compute() == {}  # type: ignore[operator]


def test_padding_through_the_trainer_gives_the_figures_without_it() -> None:
    task = small_task("binary", input_size=(32, 32))
    label, image = random_labels("binary", 8), torch.rand(8, 1, 32, 32)
    runner = trainer()
    (plain,) = runner.test(task, loader(small_batch(label[:5], image[:5])), verbose=False)
    first = small_batch(label[:4], image[:4])
    second = small_batch(label[4:6], image[4:6], padding=(1,), names=["c4", "c0"])
    third = small_batch(label[6:], image[6:], padding=(0, 1))
    (padded,) = runner.test(task, loader(first, second, third), verbose=False)
    assert set(plain) > {"test/loss", "test/auroc", "test/sensitivity"}
    assert padded == pytest.approx(plain, abs=1e-6, nan_ok=True)


def test_a_run_forgets_the_cases_of_the_one_before() -> None:
    task, runner = small_task("binary", input_size=(32, 32)), trainer()
    one, other = batches("binary")
    (before,) = runner.test(task, loader(one), verbose=False)
    (between,) = runner.test(task, loader(other), verbose=False)
    (after,) = runner.test(task, loader(one), verbose=False)
    assert after == pytest.approx(before, nan_ok=True)
    assert between != pytest.approx(before, nan_ok=True)


def test_predict_takes_a_batch_of_which_nothing_could_be_read() -> None:
    task = small_task()
    step = task.predict_step(Batch(image=torch.empty(0), scan=[], unreadable=[("a.png", "broken")]), 0)
    assert step["batch"]["unreadable"] == [("a.png", "broken")]
    full = task.eval().predict_step(small_batch(None, image=torch.rand(2, 1, 32, 32)), 0)
    assert full["output"].shape == (2, 2)


def test_a_diverged_training_stops_with_advice() -> None:
    task = small_task()
    assert task.head is not None
    with torch.no_grad():
        next(task.head.parameters()).fill_(math.nan)
    with pytest.raises(SuiteError, match=r"training loss is nan .*--model.lr"):
        task.training_step(small_batch(torch.tensor([0, 1])), 0)


def test_endless_training_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"--trainer.max_epochs"):
        trainer(max_epochs=-1).fit(
            small_task(input_size=(32, 32)), loader(*batches("binary")), loader(*batches("binary"))
        )


# What stands in the table


def test_rows_of_one_class_a_case() -> None:
    task = small_task("multiclass")
    output = torch.tensor([[0.0, 2.0, 1.0, -1.0], [3.0, 0.0, 0.0, 0.0]])
    rows = task.rows(output, small_batch(torch.tensor([1, 3])))
    assert list(rows) == ["case_id", "target", "prediction", "score_a", "score_b", "score_c", "score_d"]
    assert rows["case_id"] == ["c0", "c1"]
    assert rows["target"] == ["b", "d"]
    assert rows["prediction"] == ["b", "a"]
    scores = torch.tensor([rows[f"score_{name}"] for name in "abcd"]).T
    torch.testing.assert_close(scores, output.softmax(dim=1))


def test_rows_of_labels_keep_the_unknown_empty() -> None:
    task = small_task("multilabel")
    label = torch.tensor([[1.0, 0.0, math.nan, math.nan], [0.0, 1.0, math.nan, 1.0]])
    rows = task.rows(torch.tensor([[0.1, -0.1, 0.0, 5.0]] * 2), small_batch(label))
    frame = pd.DataFrame(rows)
    assert frame["target_mass"].tolist() == [1, 0]
    assert frame["target_hernia"].isna().all()
    assert frame["target_effusion"].isna().tolist() == [True, False]
    assert all(frame[f"target_{name}"].dtype == "float64" for name in NAMES["multilabel"])
    assert [frame[f"prediction_{name}"].iloc[0] for name in NAMES["multilabel"]] == [1, 0, 0, 1]
    assert frame["score_mass"].iloc[0] == pytest.approx(1 / (1 + math.exp(-0.1)))


def test_rows_of_ordinal_classes_are_those_of_their_ranks() -> None:
    rows = small_task("ordinal").rows(torch.tensor([[math.log(3), 0.0, -math.log(3)]]), small_batch(torch.tensor([2])))
    assert [rows[f"score_{k}"][0] for k in range(4)] == pytest.approx([1 / 4, 3 / 8, 9 / 32, 3 / 32])
    assert (rows["target"], rows["prediction"]) == (["2"], ["1"])


def test_rows_of_regression_are_numbers() -> None:
    rows = small_task("regression").rows(torch.tensor([[3.5]]), small_batch(torch.tensor([4.0])))
    assert rows == {"case_id": ["c0"], "target": [4.0], "prediction": [3.5]}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_labels_have_no_targets(kind: str) -> None:
    task = small_task(kind)
    columns = 3 if kind == "ordinal" else len(NAMES[kind])
    batch = small_batch(None, image=torch.rand(2, 1, 32, 32))
    rows = task.rows(torch.randn(2, columns), batch)
    full = task.rows(torch.randn(2, columns), small_batch(random_labels(kind, 2)))
    assert set(rows) == {name for name in full if not name.startswith("target")}


def test_scores_are_double_from_any_precision() -> None:
    for kind in KINDS:
        task = small_task(kind)
        columns = 3 if kind == "ordinal" else len(NAMES[kind])
        scores = task.scores(torch.randn(4, columns, dtype=torch.bfloat16))
        assert scores.dtype == torch.float64
        if kind not in ("multilabel", "regression"):
            torch.testing.assert_close(scores.sum(dim=1), torch.ones(4, dtype=torch.float64))


def test_no_batch_norm_is_left_in_double_use() -> None:
    """The backbone lends its network's registries: each module must be found once."""
    task = small_task()
    modules = [m for m in task.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(modules) == len({id(m) for m in modules})
    assert all(key.startswith(("backbone.", "head.", "normalize.")) for key in task.state_dict())
