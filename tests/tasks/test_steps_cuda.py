"""Real steps of training on a GPU, in which nobody waits for the other."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.types import Batch
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.fitting.compiling import Compiling
from tasks.hardware import place
from tasks.training.optimizers import build_optimizer, let_clip
from tests.tasks.classify.batches import random_labels, small_batch, small_task
from tests.tasks.step_cases import CASES, WAITING

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
FIRST, LAST = 3, 26  # steps that are watched; the 20th looks at the loss


def on_gpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cuda()
    if isinstance(value, list):
        return [on_gpu(part) for part in value]
    return {key: on_gpu(part) for key, part in value.items()} if isinstance(value, dict) else value


class OnDevice:
    """The same batch again and again, on the device already, as the suite's own loader hands them out."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = on_gpu(dict(batch)), count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.count):
            yield dict(self.batch)


class Watch(Callback):
    """Lets no step wait from one batch to the next, or counts how often they do."""

    def __init__(self, mode: str = "error") -> None:
        self.mode, self.count = mode, 0.0
        self._caught: Any = None
        self._found: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == FIRST:
            self._caught = warnings.catch_warnings(record=True)
            self._found = self._caught.__enter__()
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode(self.mode)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == LAST:
            torch.cuda.set_sync_debug_mode("default")
            self._caught.__exit__(None, None, None)
            waits = [warning for warning in self._found if "synchroniz" in str(warning.message)]
            self.count = len(waits) / (LAST - FIRST + 1)


@pytest.fixture(autouse=True)
def no_watch_is_left() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def fit(model: Task, batch: Batch, *callbacks: Callback, steps: int = LAST + 2, **settings: Any) -> Trainer:
    given: dict[str, Any] = {
        "accelerator": "gpu", "devices": 1, "precision": "bf16-mixed", "max_epochs": 1, "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
        "use_distributed_sampler": False, "callbacks": list(callbacks),
    }  # fmt: skip
    place(model, "auto", "cuda")
    trainer = Trainer(**{**given, **settings})
    trainer.fit(model, OnDevice(batch, steps))
    return trainer


@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_device(name: str) -> None:
    fit(*CASES[name](), Watch())


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ({"ema": 0.99}, {}),
        ({"mixup": 0.4, "cutmix": 1.0}, {}),
        ({"optimizer": "sgd"}, {}),
        ({"optimizer": "rmsprop"}, {}),
        ({}, {"gradient_clip_val": 1.0}),
        ({}, {"accumulate_grad_batches": 2}),
        ({}, {"precision": "32-true"}),
        ({}, {"precision": "16-mixed"}),
        ({"ema": 0.99, "mixup": 0.4}, {"precision": "16-mixed", "accumulate_grad_batches": 2}),
    ],
    ids=str,
)
def test_nor_with_what_trains_beside_it(flags: dict[str, Any], settings: dict[str, Any]) -> None:
    model = small_task("multiclass", input_size=(32, 32), **flags)
    fit(model, small_batch(random_labels("multiclass", 6)), Watch(), **settings)


@pytest.mark.parametrize("name", WAITING)
def test_what_has_to_wait_is_counted(name: str) -> None:
    watch = Watch("warn")
    fit(*WAITING[name](), watch)
    print(f"{name}: {watch.count:.1f} waits a step")
    assert watch.count > 0


class Lines(LightningModule):
    """A network whose gradients are the same in each run."""

    def __init__(self, optimizer: str, args: dict[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
        self.optimizer, self.args = optimizer, args

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        output: Tensor = self.net(batch)
        return output.float().square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self, self.optimizer, 0.01, 0.1, self.args)
        if self.trainer.gradient_clip_val:
            let_clip(optimizer)
        return optimizer


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "momentum"])
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_fused_steps_are_those_of_other_kernels(name: str, clip: float | None, precision: Any) -> None:
    """Scaled gradients are divided again before they are clipped, whoever does it."""
    batches = list(torch.rand(8, 12, 16, generator=torch.Generator().manual_seed(1)))
    ends = []
    for args in ({}, {"foreach": False}):
        model = Lines(name, args)
        trainer = Trainer(
            accelerator="gpu", devices=1, precision=precision, gradient_clip_val=clip, max_epochs=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
        assert bool(trainer.optimizers[0].param_groups[0].get("fused")) == (not args)
        ends.append(list(model.cpu().parameters()))
    start = list(Lines(name, {}).parameters())
    for one, other, before in zip(*ends, start, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert not torch.equal(one, before)


@pytest.mark.parametrize("name", [*CASES, "boundary"])
def test_losses_are_those_of_the_processor(name: str) -> None:
    torch.manual_seed(0)
    model, batch = {**CASES, **WAITING}[name]()
    model.eval()
    with torch.no_grad():
        output = model(batch["image"], *model.further_inputs(batch))
        expected = model.loss(output, batch)
        model.criterion = getattr(model, "criterion", torch.nn.Identity()).cuda()
        there = on_gpu(batch)
        if model.name == "detect":
            model.detector.cuda()
            output = output.apply(lambda tensor: tensor.cuda())
        else:
            output = output.cuda()
        loss = model.loss(output, there)
    torch.testing.assert_close(loss.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_an_infinite_loss_is_refused_though_nobody_waits() -> None:
    model = small_task("regression", input_size=(32, 32))
    batch = small_batch(torch.full((6,), torch.inf))
    with pytest.raises(SuiteError, match=r"the training loss is inf in epoch 1, step 1: lower"):
        fit(model, batch)


def test_the_average_is_that_of_the_processor() -> None:
    from tasks.training.averaging import average

    generator = torch.Generator().manual_seed(0)
    old, new = ([torch.rand(shape, generator=generator) for shape in ((3, 4), (7,), ())] for _ in range(2))
    there = [tensor.cuda() for tensor in old]
    average(old, new, 5, 0.9)
    average(there, [tensor.cuda() for tensor in new], 5, 0.9)
    for one, other in zip(old, there, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", ["multiclass", "dice_ce", "retinanet"])
def test_compiled_steps_learn_the_same(name: str, mode: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    torch.manual_seed(0)
    plain, batch = CASES[name]()
    compiled = copy.deepcopy(plain)
    losses = [
        float(fit(model, batch, *callbacks, steps=6, precision="32-true").callback_metrics["train/loss"])
        for model, callbacks in ((plain, []), (compiled, [Compiling(mode)]))
    ]
    print([record.getMessage() for record in caplog.records if "compil" in record.getMessage()])
    assert f"compiled ({mode})" in caplog.text
    assert compiled.compiled is None
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
