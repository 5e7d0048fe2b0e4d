"""What is refused of a classifier's flags at its start, before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scansuite.errors import SuiteError
from scansuite.own_parts import Part
from tasks.evaluation.operating_rules import YOUDEN
from tasks.training.settings import within

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask


def check_flags(task: ClassificationTask, head: Part, dropout: float, label_smoothing: float) -> None:
    """Refuse flags that exclude each other.

    Args:
        task: that is being built, before its network.
        head: as given.
        dropout: likewise.
        label_smoothing: likewise.

    Raises:
        SuiteError: names them.
    """
    if task.num_classes < 2 and task.target not in ("multilabel", "regression"):
        raise SuiteError(
            f"num_classes {task.num_classes} ({', '.join(task.class_names)}): there is nothing to tell apart: give "
            "two classes, or target='regression' for a number, or target='multilabel' for one label"
        )
    if head == "native" and task.network.freeze == "backbone":
        raise SuiteError(
            "--model.freeze backbone: with --model.head native nothing is left to train: take another head"
        )
    if head == "native" and task.aggregate == "attention":
        raise SuiteError(
            "--model.aggregate attention: with --model.head native there are no features to weigh: take head pool, "
            "or aggregate mean, max or topk"
        )
    if label_smoothing and task.target == "regression":
        raise SuiteError("--model.label_smoothing: a regression target has no classes to smooth")
    if task.operating_rule is not YOUDEN and task.target not in ("binary", "multilabel"):
        raise SuiteError(
            f"--model.operating_point {task.operating_rule.text}: a {task.target} target is called by its "
            f"{'value' if task.target == 'regression' else 'most likely class'}, not from a score on: leave it out"
        )
    if task.calibration_method != "none" and task.target == "regression":
        raise SuiteError(
            f"--model.calibration {task.calibration_method}: a regression target has numbers, and no scores to "
            "calibrate: leave it out"
        )
    for flag, value in (("mixup", task.mixup), ("cutmix", task.cutmix)):
        within(flag, value, "at least 0", value is None or value >= 0)
        if value and task.aggregate != "none":
            raise SuiteError(
                f"--model.{flag} {value}: with --model.aggregate {task.aggregate} a label belongs to many images, "
                "which are not mixed: leave it out"
            )
    within("dropout", dropout, "at least 0 and below 1", 0 <= dropout < 1)
