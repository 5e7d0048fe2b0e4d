"""Flags of training that travel together, checked: what ``--model.lr`` and its like say, in one object a subject."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scansuite.errors import SuiteError
from tasks.training.optimizers import check_optimizer
from tasks.training.schedules import Schedule

PruningMethod = Literal["magnitude", "channels"]


def within(flag: str, value: float | None, words: str, fits: bool) -> None:
    """Refuse a number out of its range.

    Args:
        flag: of ``--model``.
        value: what was given.
        words: what it must be.
        fits: whether it is.

    Raises:
        SuiteError: names the flag.
    """
    if not fits:
        raise SuiteError(f"--model.{flag} {value}: must be {words}")


@dataclass(frozen=True)
class OptimizerSettings:
    """Optimiser, and learning rate of each layer; the flags are documented in ``Task``."""

    name: str = "adamw"
    args: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3
    weight_decay: float = 0.05
    backbone_lr_factor: float = 1.0
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        check_optimizer(self.name, self.args)
        within("lr", self.lr, "at least 0", self.lr >= 0)
        within("weight_decay", self.weight_decay, "at least 0", self.weight_decay >= 0)
        within("backbone_lr_factor", self.backbone_lr_factor, "above 0", self.backbone_lr_factor > 0)
        decay = self.layer_decay
        within("layer_decay", decay, "above 0 and at most 1", decay is None or 0 < decay <= 1)


@dataclass(frozen=True)
class ScheduleSettings:
    """Learning-rate schedule; see :func:`~tasks.training.schedules.check_schedule`."""

    name: Schedule = "cosine"
    args: dict[str, Any] = field(default_factory=dict)
    warmup: float = 0.05

    @property
    def ends_at_zero(self) -> bool:
        """Whether the learning rate falls to 0 over the whole training."""
        falls = self.name in ("onecycle", "polynomial") or (self.name == "cosine" and not self.args.get("min_lr"))
        return falls and "t_max" not in self.args


@dataclass(frozen=True)
class AveragingSettings:
    """Average of the weights that is evaluated and kept; None: of that kind none."""

    ema: float | None = None
    swa: float | None = None

    def __post_init__(self) -> None:
        ema, swa = self.ema, self.swa
        within("ema", ema, "above 0 and below 1", ema is None or 0 < ema < 1)
        within("swa", swa, "at least 0 and below 1, a share of the epochs", swa is None or 0 <= swa < 1)
        if ema is not None and swa is not None:
            raise SuiteError("--model.swa and --model.ema both average the weights: give one of them")

    def check(self, schedule: ScheduleSettings) -> None:
        """Refuse to average weights that have stopped to move.

        Raises:
            SuiteError: the schedule ends at a learning rate of 0.
        """
        if self.swa is not None and schedule.ends_at_zero:
            raise SuiteError(
                f"--model.swa: the schedule {schedule.name} ends at 0, where there is nothing to average: give "
                "--model.schedule constant or cyclic, or --model.schedule_args.min_lr with cosine"
            )


@dataclass(frozen=True)
class DistillationSettings:
    """Distillation: what is learnt from a teacher, and how much of it; ``teacher`` None: nothing."""

    teacher: str | None = None
    alpha: float = 0.5
    temperature: float | None = None
    features: float = 0.0

    def __post_init__(self) -> None:
        within("distill_alpha", self.alpha, "at least 0 and at most 1", 0 <= self.alpha <= 1)
        within("distill_temperature", self.temperature, "above 0", self.temperature is None or self.temperature > 0)
        within("distill_features", self.features, "at least 0", self.features >= 0)
        if self.teacher is None and (self.features or self.temperature is not None):
            raise SuiteError("--model.distill_*: there is nobody to learn from: give --model.teacher CKPT too")
        if self.teacher is not None and not (self.alpha or self.features):
            raise SuiteError(
                "--model.teacher: nothing is learnt from it: give a --model.distill_alpha or --model.distill_features "
                "above 0"
            )


@dataclass(frozen=True)
class PruningSettings:
    """Pruning: how the model in ``--model.weights`` is made smaller; ``method`` None: not at all."""

    method: PruningMethod | None = None
    amount: float = 0.5

    def __post_init__(self) -> None:
        within("prune_amount", self.amount, "at least 0 and below 1", 0 <= self.amount < 1)
