"""``--compile``: networks compiled for the steps of training, where a trial on this machine shows that it pays."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor

from datamodules.types import Batch
from tasks.compression.pruning import tensors_of

if TYPE_CHECKING:
    from tasks.base import Task

log = logging.getLogger(__name__)

CompileMode = Literal["auto", "none", "default", "reduce-overhead", "max-autotune"]
GRAPHS = ("reduce-overhead", "max-autotune")  # modes that record CUDA graphs

WORTH = 600.0  # seconds of forward and backward passes to come from which auto tries
FEW = 200  # of them, which are never so long
GAIN = 1.05  # times as fast as without from which it is kept
WARM, TIMED = 3, 10  # passes before, and passes that are timed


class CompiledForward:
    """A model's ``forward``, compiled; copies of the model do not take it with them.

    What is compiled is a function: the modules, and with them the names in a checkpoint, stay what they are.

    Args:
        model: whose ``forward`` it is.
        mode: of ``torch.compile``.
        shape: (B, C, H, W) of the images that it is for; others, such as those of the last batch of an epoch, which is
            smaller, go through the model as it is. None: of any.
    """

    def __init__(self, model: Task, mode: str, shape: tuple[int, ...] | None) -> None:
        chosen = None if mode == "default" else mode
        self.shape, self.graphs = shape, mode in GRAPHS
        self._plain = model.forward
        self._run: Callable[..., Any] | None = torch.compile(model.forward, mode=chosen, dynamic=shape is None)

    def takes(self, image: Tensor) -> bool:
        """Whether images are of the shape that it is for, and nothing has failed."""
        return self._run is not None and (self.shape is None or tuple(image.shape) == self.shape)

    def strictly(self, image: Tensor, *further: Any) -> Any:
        """The model's output; errors of the compiler are raised."""
        assert self._run is not None
        if self.graphs and image.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self._run(image, *further)

    def __call__(self, image: Tensor, *further: Any) -> Any:
        """The model's output; where it cannot be compiled once more, as after parts of it were unfrozen, without."""
        try:
            return self.strictly(image, *further)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # the compiler raises all there is; a mistake of the model's own comes again
            self._run = None
            output = self._plain(image, *further)
            log.warning("--compile: cannot be compiled any more (%s): training goes on without", reason_of(error))
            return output

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


class Compiling(Callback):
    """Compiles the networks of a model before its first training step; evaluation sees them as they are.

    Before the first batch is trained on, it goes forward and backward a few times without and with the compiler. That
    leaves no trace: gradients, statistics of norms and random numbers are afterwards what they were before.

    ``auto`` does this on a GPU, one alone, where at least :data:`WORTH` seconds of training are left, and goes on with
    what was at least :data:`GAIN` times as fast. Fixed shapes are recorded as CUDA graphs (``reduce-overhead``). A
    compiled network rounds elsewhere than a plain one: ``none`` (or ``--trainer.deterministic true``) lets the same
    training be repeated to the bit.

    Args:
        mode: ``auto``, ``none``, or a mode of ``torch.compile``, which is taken whatever the trial says.
    """

    def __init__(self, mode: CompileMode = "auto") -> None:
        self.mode = mode
        self._looked = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier training."""
        self._looked = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Compile with the first batch."""
        if not self._looked:
            self._looked = True
            self._look(trainer, cast("Task", pl_module), batch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the model as it was."""
        self._leave(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was."""
        self._leave(pl_module)

    def _leave(self, model: LightningModule) -> None:
        if getattr(model, "compiled", None) is not None:
            cast("Task", model).compiled = None
            torch._dynamo.reset()  # gives the memory of CUDA graphs back

    def _look(self, trainer: Trainer, model: Task, batch: Batch) -> None:
        auto, single = self.mode == "auto", trainer.world_size == 1
        if self.mode == "none" or not len(batch["image"]):
            return
        if auto and (not _on_one_gpu(trainer, model) or torch.are_deterministic_algorithms_enabled()):
            return
        if auto and _batches_left(trainer) < FEW:
            return
        name = f"{model.name} with {model.network.name}"
        if isinstance(trainer.strategy, ModelParallelStrategy):
            log.warning(
                "--compile %s: not where weights are shared out among devices: %s trains without", self.mode, name
            )
            return
        fixed = "bags" not in batch
        mode = _mode(self.mode, fixed=fixed, accumulates=trainer.accumulate_grad_batches > 1)
        passes = Passes(trainer, model, batch)
        with passes.without_trace():
            plain = passes.seconds(model.forward) if single else 0.0
            left = plain * _batches_left(trainer)
            if auto and left < WORTH:
                log.info("--compile auto: not tried: %.0f s of forward and backward passes are to come", left)
                return
            shape = tuple(batch["image"].shape) if fixed else None
            compiled = CompiledForward(model, mode, shape)
            start, failed = time.perf_counter(), ""
            try:
                with _quiet():
                    passes.run(compiled.strictly)
                    took = time.perf_counter() - start
                    fast = passes.seconds(compiled.strictly) if single else 0.0
            except Exception as error:  # the compiler raises all there is
                failed = reason_of(error)
        if trainer.strategy.reduce_boolean_decision(bool(failed), all=False):
            torch._dynamo.reset()
            log.warning("--compile %s: %s cannot be compiled (%s): it trains without", self.mode, name, failed)
            return
        gain = f": forward and backward take {1000 * fast:.1f} ms instead of {1000 * plain:.1f}" if single else ""
        if auto and fast * GAIN > plain:
            torch._dynamo.reset()
            log.info("--compile auto: does not pay (%s, %.0f s)%s: left out", mode, took, gain)
            return
        log.info("%s compiled (%s) in %.0f s%s", name, mode, took, gain)
        model.compiled = compiled


def _mode(asked: CompileMode, *, fixed: bool, accumulates: bool) -> str:
    """Mode of ``torch.compile``."""
    if asked == "auto":
        return "reduce-overhead" if fixed and not accumulates else "default"
    if asked in GRAPHS and accumulates:
        # What a graph has written into gradients is overwritten by its next run.
        log.warning("--compile %s: gradients are accumulated, which CUDA graphs cannot: default is taken", asked)
        return "default"
    if asked in GRAPHS and not fixed:
        log.warning("--compile %s: bags differ in size, and CUDA graphs are for one: default is taken", asked)
        return "default"
    return asked


def _on_one_gpu(trainer: Trainer, model: Task) -> bool:
    return model.device.type == "cuda" and trainer.world_size == 1


def _batches_left(trainer: Trainer) -> int:
    steps = int(trainer.estimated_stepping_batches) - trainer.global_step
    return max(steps, 0) * trainer.accumulate_grad_batches


class Passes:
    """Forward and backward passes of one batch, outside of the training.

    Args:
        trainer: that trains.
        model: in training mode.
        batch: on its device.
    """

    def __init__(self, trainer: Trainer, model: Task, batch: Batch) -> None:
        self.trainer, self.model = trainer, model
        self.inputs = batch["image"], *model.further_inputs(batch)
        self.cuda = model.device.type == "cuda"

    def run(self, forward: Callable[..., Any]) -> None:
        """One pass, waited for."""
        with self.trainer.precision_plugin.forward_context():
            output = forward(*self.inputs)
        parts = [part.float().mean() for part in tensors_of(output) if part.requires_grad]
        if not parts:  # nothing of it learns in this epoch
            return
        total = torch.stack(parts).sum()
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        torch.autograd.grad(total, learning, allow_unused=True)

    def seconds(self, forward: Callable[..., Any]) -> float:
        """Seconds of a pass."""
        for _ in range(WARM):
            self.run(forward)
        self._wait()
        start = time.perf_counter()
        for _ in range(TIMED):
            self.run(forward)
        self._wait()
        return (time.perf_counter() - start) / TIMED

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.model.device)

    @contextmanager
    def without_trace(self) -> Iterator[Self]:
        """Random numbers, buffers and modes are afterwards as before."""
        kept = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        devices = [self.model.device] if self.cuda else []
        try:
            with torch.random.fork_rng(devices), torch.enable_grad():
                yield self
        finally:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)
            if self.cuda:
                torch.cuda.empty_cache()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the compiler's own remarks, which are many lines."""
    loggers = [logging.getLogger(name) for name in ("torch._dynamo", "torch._inductor", "torch._functorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason_of(error: BaseException) -> str:
    """An error of the compiler in one line."""
    inner = getattr(error, "inner_exception", None) or error
    text = " ".join(str(inner).split())
    return f"{type(inner).__name__}: {text[:160]}" if text else type(inner).__name__
