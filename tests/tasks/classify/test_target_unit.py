"""Regressions in any unit: the head knows mean and spread of the targets, and so do checkpoints and exported files."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything
from torch import Tensor, nn

import scansuite
from datamodules.classification.target import ClassificationTarget
from datamodules.samples.features import FeatureDataset
from scansuite.errors import SuiteError
from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.explainer import ClassificationExplainer
from tasks.classify.exporter import ClassificationExporter, ClassifierGraph
from tasks.classify.probe import fit_head
from tasks.classify.target_unit import TargetUnit
from tasks.classify.task import ClassificationTask
from tasks.explain.targets import Target
from tasks.export.describe import describe
from tasks.export.exporting import exported, write
from tasks.export.feeding import run_model
from tasks.exported.model_file import open_model
from tasks.loading import build_from, open_checkpoint
from tests.tasks.classify.batches import KINDS, small_batch, small_task

SIDE, CASES, MEAN, SPREAD = 16, 48, 1000.0, 200.0
KNOWN = [MEAN, SPREAD]
IMAGE = torch.rand(5, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


class OwnHead(nn.Module):
    """A head of a user's, whose last layer nobody else knows."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.last = nn.Linear(channels, outputs)

    def forward(self, levels: list[Tensor]) -> Tensor:
        logits: Tensor = self.last(levels[-1].mean(dim=(2, 3)))
        return logits.sinh()


@pytest.fixture(autouse=True)
def _same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.manual_seed(0)


def regression(**flags: Any) -> ClassificationTask:
    return small_task("regression", **{"input_size": (SIDE, SIDE), "target_statistics": KNOWN, **flags})


def grey_images() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images of one grey each with noise, and how bright they are, with ``MEAN`` and ``SPREAD``."""
    rng = np.random.default_rng(0)
    grey = rng.uniform(40, 210, CASES)
    images = (grey[:, None, None] + rng.normal(0, 5, (CASES, SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    return images, MEAN + SPREAD * (grey - grey.mean()) / grey.std()


def trained(
    targets: np.ndarray[Any, Any], epochs: int, **flags: Any
) -> tuple[ClassificationTask, np.ndarray[Any, Any]]:
    """A model after so many epochs of 5 steps, and what it says of all images."""
    images, _ = grey_images()
    seed_everything(0)
    parts = ["train"] * 40 + ["val"] * 8
    data = scansuite.Arrays(
        images, targets, target="regression", parts=parts, batch_size=8, num_workers=0, augment="none"
    )
    task = ClassificationTask.for_data(data, "test_resnet", lr=3e-3, **flags)
    Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0, num_sanity_val_steps=0,
    ).fit(task, data)  # fmt: skip
    with torch.no_grad():
        said = task.eval()(torch.from_numpy(images[:, None]).float() / 255)
    return task, said[:, 0].double().numpy()


def test_a_target_of_any_unit_is_learnt() -> None:
    _, targets = grey_images()
    task, said = trained(targets, 8)
    assert np.abs(said - targets).mean() < SPREAD / 2
    assert task.hparams["target_statistics"] == pytest.approx([targets[:40].mean(), targets[:40].std()], rel=1e-5)
    # Without them, as it was, 40 steps do not even reach the mean.
    _, raw = trained(targets, 8, target_statistics=None)
    assert np.abs(raw - targets).mean() > 2 * SPREAD


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_another_unit_is_another_unit_and_nothing_else(loss: str) -> None:
    """Gradients are clipped and Huber's bend is at 1, which both go by the size of what they see."""
    _, targets = grey_images()
    _, said = trained(targets, 2, loss=loss)
    _, other = trained(targets * 0.01 + 5, 2, loss=loss)
    np.testing.assert_allclose((other - 5) / 0.01, said, atol=SPREAD * 0.01)


# What it says


@pytest.mark.parametrize(
    "flags",
    [
        {}, {"head": "mlp"}, {"head": "levels"}, {"head": "flatten"}, {"head": "native"}, {"head": OwnHead},
        {"aggregate": "topk"}, {"aggregate": "attention"}, {"tta": "mirror", "has_sides": False},
    ],
    ids=str,
)  # fmt: skip
def test_every_head_that_is_trained_speaks_the_unit(flags: dict[str, Any]) -> None:
    task = regression(**flags).eval()
    plain = copy.deepcopy(task)
    plain.unit.take(None)
    sizes = None if "aggregate" not in flags else [2, 3]
    with torch.no_grad():
        torch.testing.assert_close(task(IMAGE, sizes), MEAN + SPREAD * plain(IMAGE, sizes))
        assert task(IMAGE, sizes).std() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_other_targets_and_models_without_statistics_are_left_as_they_are(kind: str) -> None:
    task = small_task(kind, target_statistics=KNOWN if kind != "regression" else None)
    output = torch.randn(3, 2).half()
    assert task.unit(output) is output
    assert task.unit.spread == task.unit.factor == 1


@pytest.mark.parametrize("head", ["kernel", "knn"])
def test_heads_that_give_numbers_by_themselves_are_not_scaled(head: str) -> None:
    task = regression(head=head)
    output = torch.tensor([[900.0], [1300.0]])
    assert task.unit(output) is output
    batch = small_batch(torch.tensor([1100.0, 1300.0]))
    assert task.loss(output, batch).item() == pytest.approx(0.5)  # ((900 - 1100) / 200) ** 2 / 2


def test_half_precision_rounds_what_the_head_says_and_not_the_number() -> None:
    said = regression().unit(torch.tensor([[0.5]], dtype=torch.float16))
    assert said.dtype == torch.float32
    assert TargetUnit("regression", [80000.25, 1.0])(torch.zeros(1, 1).half()).item() == 80000.25


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0, 99.0], [2.0, 1.0]),
        ([0.1, 0.1, 7.0], [0.1, 1.0]),  # nothing to scale by
        ([math.nan, 3.0, 99.0], [3.0, 1.0]),
        ([math.nan, math.nan, 99.0], None),
    ],
)
def test_statistics_are_those_of_known_training_targets(values: list[float], expected: list[float] | None) -> None:
    target = ClassificationTarget("regression", ("age",), np.array(values, np.float32))
    found = target.statistics(np.array([0, 1]))
    assert found == (None if expected is None else pytest.approx(expected))
    classes = ClassificationTarget("binary", ("a", "b"), np.array([0, 1]))
    assert classes.statistics(np.array([0, 1])) is None


@pytest.mark.parametrize("statistics", [[3.0, 0.0], [3.0, -1.0], [math.nan, 1.0], [3.0]])
def test_statistics_that_are_none_are_refused(statistics: list[float]) -> None:
    with pytest.raises(SuiteError, match=r"target_statistics .* expected mean and standard deviation"):
        regression(target_statistics=statistics)


# What it pays


@pytest.mark.parametrize(("loss", "expected"), [("mse", 2.125), ("mae", 1.25), ("huber", 0.8125)])
def test_losses_are_measured_in_spreads(loss: str, expected: float) -> None:
    task = regression(loss=loss)  # half a spread off and two: Huber's bend is at one
    assert task.loss(torch.tensor([[900.0], [1400.0]]), small_batch(torch.tensor([1000.0, 1000.0]))) == expected


def test_a_loss_of_the_users_own_sees_the_numbers() -> None:
    task = regression(loss="torch.nn.L1Loss")
    assert isinstance(task.criterion.module, nn.L1Loss)
    batch = small_batch(torch.tensor([[1000.0], [1000.0]]))
    assert task.loss(torch.tensor([[900.0], [1400.0]]), batch).item() == 250


def test_a_student_pays_for_its_teacher_in_spreads() -> None:
    task = regression()
    cost = task.imitation(torch.tensor([[1200.0]]), torch.tensor([[800.0]]), {}, task, 1.0)
    assert cost.item() == pytest.approx(4)


# Checkpoints


def saved(task: ClassificationTask, path: Path, *, before: bool = False) -> str:
    """A checkpoint; ``before`` there were statistics."""
    checkpoint: dict[str, Any] = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    if before:
        del checkpoint["hyper_parameters"]["target_statistics"]
    task.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


def said_by(task: ClassificationTask) -> Tensor:
    with torch.no_grad():
        return cast("Tensor", task.eval()(IMAGE))


def test_a_checkpoint_keeps_the_unit(tmp_path: Path) -> None:
    task = regression()
    path = Path(saved(task, tmp_path / "a.ckpt"))
    again = build_from(open_checkpoint(path), "classify", path)
    assert torch.equal(said_by(cast("ClassificationTask", again)), said_by(task))


@pytest.mark.parametrize("head", ["pool", "native", "kernel"])
def test_a_checkpoint_of_before_says_what_it_said(head: str, tmp_path: Path) -> None:
    task = regression(target_statistics=None, head=head)
    path = Path(saved(task, tmp_path / "a.ckpt", before=True))
    again = cast("ClassificationTask", build_from(open_checkpoint(path), "classify", path))
    assert torch.equal(said_by(again), said_by(task))
    # So does a model of the same data today into which it is loaded: a run that goes on, a model that is pruned.
    today = regression(head=head)
    checkpoint = open_checkpoint(path)
    today.on_load_checkpoint(checkpoint)
    today.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(said_by(today), said_by(task))
    assert today.hparams["target_statistics"] is None


@pytest.mark.parametrize("head", ["pool", "mlp", "native"])
@pytest.mark.parametrize("before", [False, True])
def test_what_goes_on_from_an_earlier_run_begins_with_its_numbers(head: str, before: bool, tmp_path: Path) -> None:
    parent = regression(head=head, target_statistics=None if before else [130.0, 40.0])
    path = saved(parent, tmp_path / "a.ckpt", before=before)
    child = regression(head=head, weights=path)
    assert torch.equal(said_by(child), said_by(parent))
    assert child.hparams["target_statistics"] == (None if before else [130.0, 40.0])
    other = regression(head="levels", weights=path)  # the backbone alone: a head of its own, in the unit of its data
    assert other.hparams["target_statistics"] == KNOWN


def test_members_of_an_ensemble_have_their_own() -> None:
    members = [regression().eval(), regression(target_statistics=[900.0, 150.0]).eval()]
    with torch.no_grad():
        said = ClassificationEnsemble(members, ["a", "b"]).predict_step(small_batch(None, IMAGE), 0)["output"]
    torch.testing.assert_close(said, torch.stack([said_by(one).double() for one in members]).mean(dim=0))


# Beyond training


@pytest.mark.parametrize("head", ["pool", "native"])
def test_an_exported_file_says_what_the_model_says(head: str, tmp_path: Path) -> None:
    task = regression(head=head).eval()
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    exporter = ClassificationExporter(task, [str(tmp_path / "best.ckpt")])
    model, _ = exported(exporter, describe(exporter, [tmp_path / "best.ckpt"], "mine"), 20)
    write(model, tmp_path / "mine.onnx")
    found = run_model(open_model(tmp_path / "mine.onnx"), IMAGE.numpy())
    np.testing.assert_allclose(found["logits"], said_by(task).numpy(), rtol=1e-5)
    assert abs(found["logits"].mean() - MEAN) < 5 * SPREAD


@pytest.mark.parametrize("in_file", [False, True])
def test_maps_add_up_to_the_number(in_file: bool) -> None:
    """Of two images, so that what is the same for all (bias and mean) falls out."""
    task = regression().eval()
    explainer = ClassificationExplainer(task, IMAGE)
    with torch.no_grad():
        weights = explainer.linear_weights(Target("number", "number"))
        if in_file:
            sums = ClassifierGraph(task).eval()(IMAGE)[1].mean(dim=(2, 3))[:, 0]
        else:
            sums = (explainer.deepest_cells(IMAGE).mean(dim=(2, 3)) * weights).sum(dim=1)
        said = task(IMAGE)[:, 0]
    torch.testing.assert_close(sums - sums[0], said - said[0], rtol=1e-3, atol=1e-2)


def test_a_fitted_linear_head_is_the_same_with_statistics() -> None:
    labels = 1000 + 200 * torch.randn(40, generator=torch.Generator().manual_seed(1))
    found = []
    for statistics in (None, [1000.0, 200.0]):
        task = regression(target_statistics=statistics, freeze="backbone", l2=1.0)
        features = torch.randn(40, 1, task.feature_width, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        data: Any = _Features(FeatureDataset(features, [{}] * 40, labels))
        fit_head(task, data)
        with torch.no_grad():
            found.append(task.eval()(features[:, 0]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=0.1)
    assert (found[0][:, 0] - labels).abs().mean() < 100


class _Features:
    """Features as a data module gives them, the same for training and validation."""

    def __init__(self, part: FeatureDataset) -> None:
        self.part_ = part

    def part(self, split: str) -> FeatureDataset:
        return self.part_

    def rows(self, split: str) -> np.ndarray[Any, Any]:
        return np.arange(len(self.part_))

    def sampler_weights(self, rows: np.ndarray[Any, Any]) -> None:
        return None
