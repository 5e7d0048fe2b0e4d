"""A student learns from its teacher, and takes nothing of it along."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.compression.distillation import Distillation
from tasks.compression.features import Projections, correlation_loss, equal_levels
from tasks.fitting.callbacks import training_callbacks
from tasks.loading import build_from
from tests.tasks.training.fits import fit, loader, made

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

WIDE: dict[str, Any] = {"backbone": "test_resnet", "backbone_args": {"channels": [32, 64, 64, 64]}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher with more channels than its student, as it comes from the command line."""
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(3)
    model = made(**WIDE, normalize="train", statistics=([0.4], [0.3]))
    fit(model, folder, epochs=1)
    return str(folder / "epoch=0.ckpt")


class Watch(Callback):
    """What was logged, who had gradients, and what the optimiser knows."""

    def __init__(self, teacher: Distillation | None = None) -> None:
        self.logged: dict[str, float] = {}
        self.known: set[int] = set()
        self.without: list[str] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self.without = [name for name, parameter in pl_module.named_parameters() if parameter.grad is None]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.logged = {name: float(value) for name, value in trainer.callback_metrics.items()}


def disagreement(model: ClassificationTask, teacher: str) -> float:
    """How far a student is from its teacher on the training images, with norms as while training."""
    checkpoint = torch.load(teacher, weights_only=True)
    guide = build_from(checkpoint, "classify", Path(teacher)).eval()
    student = copy.deepcopy(model).train()
    with torch.no_grad():
        parts = [student(batch["image"]).softmax(1) - guide(batch["image"]).softmax(1) for batch in loader(1)]
    return float(torch.cat(parts).abs().mean())


def test_the_student_moves_towards_its_teacher_and_takes_nothing_of_it_along(teacher: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0}
    alone, taught = made(**flags), made(**flags, teacher=teacher, distill_alpha=1.0, distill_features=1.0)
    start, watch = disagreement(taught, teacher), Watch()
    taught.train()
    saved = fit(taught, tmp_path / "taught", watch)
    plain = fit(alone, tmp_path / "alone")
    assert disagreement(taught, teacher) < 0.5 * start
    assert disagreement(taught, teacher) < 0.5 * disagreement(alone, teacher)

    # Each student parameter learns, the projections do, and nobody else is known.
    assert watch.without == []
    assert saved["state_dict"].keys() == plain["state_dict"].keys()
    assert {"train/distill_output", "train/distill_features", "train/objective", "train/loss"} <= watch.logged.keys()
    total = watch.logged["train/distill_output"] + watch.logged["train/distill_features"]
    assert watch.logged["train/objective"] == pytest.approx(total, rel=1e-4)

    Path(teacher).rename(Path(teacher).with_suffix(".away"))
    try:
        again = build_from(saved, "classify", tmp_path)
        assert again.hparams["teacher"] == teacher
        image = next(iter(loader(2)))["image"]
        assert torch.equal(again.eval()(image), taught.eval()(image))
    finally:
        Path(teacher).with_suffix(".away").rename(teacher)


def test_the_teacher_stays_as_it_is_with_its_own_normalisation(teacher: str, tmp_path: Path) -> None:
    model = made(teacher=teacher, normalize="train", statistics=([0.1], [0.9]))
    callback = next(one for one in training_callbacks(model, 0) if isinstance(one, Distillation))
    before = {name: tensor.clone() for name, tensor in callback.teacher.state_dict().items()}
    assert isinstance(callback.teacher, ClassificationTask)
    assert float(callback.teacher.normalize.mean) == pytest.approx(0.4)

    class Look(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
            known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            for parameter in callback.teacher.parameters():
                assert id(parameter) not in known
                assert parameter.grad is None
                assert not parameter.requires_grad
            assert not callback.teacher.training

    runner = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, barebones=False,
                     enable_checkpointing=False, enable_model_summary=False, callbacks=[callback, Look()],
                     num_sanity_val_steps=0, default_root_dir=tmp_path)  # fmt: skip
    runner.fit(model, loader(1), loader(2))
    for name, tensor in callback.teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model.objective is None
    assert not hasattr(model, "projections")


def test_averages_mixing_and_a_cut_run_go_with_it(teacher: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"teacher": teacher, "distill_features": 0.5, "ema": 0.9, "mixup": 0.4}
    whole = fit(made(**flags), tmp_path / "whole")
    fit(made(**flags), tmp_path / "cut", epochs=2)
    torch.manual_seed(99)
    again = fit(made(**flags), tmp_path / "cut", resume_after=2)
    for part in ("state_dict", "current_model_state"):
        assert whole[part].keys() == again[part].keys()
        assert not [name for name in whole[part] if "projections" in name]
        for name, tensor in whole[part].items():
            assert torch.equal(tensor, again[part][name]), (part, name)
    kept = [saved["callbacks"]["Distillation"]["projections"] for saved in (whole, again)]
    assert kept[0]
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].items())


def test_correlation_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    own, wanted = torch.rand(2, 3, 4, 5, 5, generator=generator)
    rows = torch.stack([own.transpose(0, 1).flatten(1), wanted.transpose(0, 1).flatten(1)], dim=1)
    expected = torch.stack([1 - torch.corrcoef(pair)[0, 1] for pair in rows]).mean()
    torch.testing.assert_close(correlation_loss(own, wanted), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(correlation_loss(own, 3 * own + 2), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_levels_are_matched_by_size_and_projected_where_channels_differ() -> None:
    own = [torch.rand(2, 8, 8, 8), torch.rand(2, 16, 4, 4)]
    wanted = [torch.rand(2, 4, 16, 16), torch.rand(2, 8, 8, 8), torch.rand(2, 64, 4, 4)]
    pairs = equal_levels(own, wanted)
    assert [(pair.own, pair.wanted) for pair in pairs] == [(0, 1), (1, 2)]
    projections = Projections(pairs)
    assert [tuple(parameter.shape) for parameter in projections.parameters()] == [(64, 16, 1, 1)]
    projections(own, wanted).backward()
    assert next(projections.parameters()).grad is not None
    assert projections.state_dict() == {}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"teacher": "nowhere.ckpt"}, "--model.teacher nowhere.ckpt: no such file"),
        ({"distill_features": 1.0}, "nobody to learn from: give --model.teacher"),
        ({"distill_temperature": 0.0, "teacher": "x"}, "--model.distill_temperature 0.0: must be above 0"),
        ({"distill_alpha": 1.5}, "--model.distill_alpha 1.5"),
        ({"distill_alpha": 0.0, "teacher": "x"}, "nothing is learnt from it"),
        ({"prune_amount": 1.0}, "--model.prune_amount 1.0: must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_refused_at_start(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        training_callbacks(made(**flags), 0)


def test_another_kind_of_student_is_refused(teacher: str) -> None:
    for flags, words in (
        ({"class_names": ["a", "b"]}, "its classes are benign, malignant, those of the data a, b"),
        ({"in_channels": 3}, "images of 1 channels, and the data have 3"),
        ({"head": "native", "distill_features": 1.0}, "no feature map of the teacher .* student \\(none\\)"),
    ):
        with pytest.raises(SuiteError, match=words):
            training_callbacks(made(**flags, teacher=teacher), 0)
