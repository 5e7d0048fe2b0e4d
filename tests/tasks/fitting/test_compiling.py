"""``--compile``: networks compiled for training alone, without a trace in checkpoints, and left out by name."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from tasks.compression.pruning import tensors_of
from tasks.fitting import compiling
from tasks.fitting.compiling import Compiling
from tests.tasks.classify.batches import random_labels, small_batch
from tests.tasks.step_cases import CASES, WAITING
from tests.tasks.training.fits import fit, loader, made

REAL = torch.compile


class Compiler:
    """Takes the place of ``torch.compile``, which is slow: gives what it got, or fails; counts its calls."""

    def __init__(self, fails: str = "", backend: str | None = None) -> None:
        self.fails, self.backend, self.calls = fails, backend, 0
        self.asked: list[dict[str, Any]] = []

    def __call__(self, forward: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.asked.append(options)
        run = forward if self.backend is None else REAL(forward, backend=self.backend, dynamic=False)

        def compiled(*inputs: Any) -> Any:
            self.calls += 1
            if self.fails:
                raise RuntimeError(self.fails)
            return run(*inputs)

        return compiled


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Compiler]]:
    def use(**options: Any) -> Compiler:
        made = Compiler(**options)
        monkeypatch.setattr(torch, "compile", made)
        return made

    yield use
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger=compiling.__name__)
    return caplog


def same(one: dict[str, Any], other: dict[str, Any], *, exactly: bool) -> None:
    assert list(one["state_dict"]) == list(other["state_dict"])
    relative, absolute = (0.0, 0.0) if exactly else (1e-3, 1e-4)
    for name, tensor in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], tensor, rtol=relative, atol=absolute, msg=name)


@pytest.mark.slow
def test_a_compiled_training_learns_the_same_and_leaves_no_trace(
    tmp_path: Path, compiler: Any, told: pytest.LogCaptureFixture
) -> None:
    flags: dict[str, Any] = {"ema": 0.9, "dropout": 0.2}
    plain = fit(made(**flags), tmp_path / "plain", epochs=2)
    used, model = compiler(backend="aot_eager"), made(**flags)
    compiled = fit(model, tmp_path / "compiled", Compiling("default"), epochs=2)
    same(plain, compiled, exactly=False)
    assert not any("_orig_mod" in name for part in ("state_dict", "current_model_state") for name in compiled[part])
    assert "classify with test_resnet compiled (default) in" in told.text
    assert "forward and backward take" in told.text
    assert model.compiled is None
    assert used.calls == 1 + compiling.WARM + compiling.TIMED + 6  # a trial, and the steps of two epochs; no validation


def test_what_cannot_be_compiled_is_named_and_trains_as_ever(
    tmp_path: Path, compiler: Any, told: pytest.LogCaptureFixture
) -> None:
    """To the bit: the trial has drawn no random number and moved no statistic."""
    plain = fit(made(dropout=0.2), tmp_path / "plain", epochs=1)
    compiler(fails="no such\nkernel")
    same(plain, fit(made(dropout=0.2), tmp_path / "failed", Compiling("default"), epochs=1), exactly=True)
    assert "classify with test_resnet cannot be compiled (RuntimeError: no such kernel): it trains without" in told.text
    assert "Traceback" not in told.text


def test_what_fails_later_goes_on_without(tmp_path: Path, compiler: Any, told: pytest.LogCaptureFixture) -> None:
    used, model = compiler(), made()

    class Breaks(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            used.fails = "recompile" if trainer.current_epoch == 1 else ""

    plain = fit(made(), tmp_path / "plain", epochs=2)
    same(plain, fit(model, tmp_path / "late", Compiling("default"), Breaks(), epochs=2), exactly=False)
    assert told.text.count("cannot be compiled any more (RuntimeError: recompile): training goes on without") == 1


def test_a_smaller_last_batch_goes_through_the_model_as_it_is(compiler: Any) -> None:
    used, model = compiler(), made()
    batches = [small_batch(random_labels("binary", count), torch.rand(count, 1, 32, 32)) for count in (4, 4, 3)]
    trainer(Compiling("default")).fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    assert used.calls == 1 + compiling.WARM + compiling.TIMED + 2
    assert used.asked == [{"mode": None, "dynamic": False}]


def trainer(*callbacks: Callback, **settings: Any) -> Trainer:
    given: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    return Trainer(
        callbacks=list(callbacks), enable_progress_bar=False, enable_model_summary=False, **{**given, **settings}
    )


@pytest.mark.parametrize("name", ["native head", "bags, attention", "deep supervision", "retinanet", "faster_rcnn"])
def test_networks_of_every_task_are_one_graph(name: str) -> None:
    """Nothing between the image and the output goes back to Python, and the output is that of the model."""
    model, batch = {**CASES, **WAITING}[name]()
    model.train()
    inputs = batch["image"], *model.further_inputs(batch)
    compiled = REAL(model.forward, backend="eager", fullgraph=True)
    outputs = [tensors_of(forward(*inputs)) for forward in (model.forward, compiled)]
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("mode", "settings", "bags", "chosen", "words"),
    [
        ("reduce-overhead", {}, False, "reduce-overhead", ""),
        ("reduce-overhead", {"accumulate_grad_batches": 2}, False, None, "gradients are accumulated"),
        ("max-autotune", {}, True, None, "bags differ in size"),
        ("default", {"accumulate_grad_batches": 2}, False, None, ""),
    ],
)
def test_graphs_are_for_fixed_shapes_and_no_accumulation(
    mode: Any, settings: dict[str, Any], bags: bool, chosen: str | None, words: str, compiler: Any,
    told: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    used = compiler()
    model, batch = CASES["bags, mean" if bags else "binary"]()
    batches: DataLoader[Any] = DataLoader([batch] * 2, batch_size=None)  # type: ignore[arg-type]
    trainer(Compiling(mode), **settings).fit(model, batches)
    assert used.asked == [{"mode": chosen, "dynamic": bags}]
    assert words in told.text


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_without_a_gpu_nothing_is_tried_unless_asked_for(mode: Any, compiler: Any) -> None:
    used = compiler()
    trainer(Compiling(mode)).fit(made(), loader(1))
    assert used.asked == []


@pytest.mark.parametrize(
    ("plain", "fast", "left", "kept", "words"),
    [
        (0.02, 0.01, 10**6, True, "compiled (reduce-overhead) in"),
        (0.02, 0.0199, 10**6, False, "--compile auto: does not pay"),
        (0.02, 0.01, 10**3, False, "--compile auto: not tried: 20 s of forward and backward passes are to come"),
        (0.02, 0.01, 10, False, ""),
    ],
)
def test_auto_keeps_what_pays(
    plain: float, fast: float, left: int, kept: bool, words: str, compiler: Any, told: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    compiler()
    model = made()
    monkeypatch.setattr(compiling, "_on_one_gpu", lambda trainer, model: True)
    monkeypatch.setattr(compiling, "_batches_left", lambda trainer: left)
    taken = iter([plain, fast])
    monkeypatch.setattr(compiling.Passes, "seconds", lambda self, forward: next(taken))

    class Look(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            assert (pl_module.compiled is not None) == kept

    trainer(Compiling(), Look()).fit(model, loader(1))
    assert words in told.text


def test_copies_of_a_model_are_not_compiled() -> None:
    model = made()
    model.compiled = compiling.CompiledForward(model, "default", (4, 1, 32, 32))
    twin = copy.deepcopy(model)
    assert twin.compiled is None
    assert model.compiled.takes(torch.rand(4, 1, 32, 32))
    assert not model.compiled.takes(torch.rand(3, 1, 32, 32))


def test_the_trial_leaves_numbers_and_statistics_alone() -> None:
    model = made(dropout=0.5).train()
    model.trainer = trainer()
    passes = compiling.Passes(model.trainer, model, small_batch(random_labels("binary", 4)))
    state, before = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    with passes.without_trace():
        passes.run(model.forward)
        passes.run(partial(model.forward))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
