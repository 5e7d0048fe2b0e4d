"""What is refused of a classifier's flags at its start, before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scansuite.errors import SuiteError
from scansuite.own_parts import Part, is_path
from tasks.classify.losses import ClassificationLoss
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
    within("l2", task.l2, "above 0", task.l2 is None or task.l2 > 0)
    within("dropout", dropout, "at least 0 and below 1", 0 <= dropout < 1)


def unfit_for_features(task: ClassificationTask) -> str:
    """Why a classifier cannot be trained on features that are kept; empty where it can."""
    head, loss = task.head_name, task.criterion.name
    if task.aggregate != "none":
        return f"--model.aggregate {task.aggregate} evaluates many images of a case together: leave one of the two out"
    if head == "native" or is_path(head):
        return (
            f"--model.head {head} is more than a head on one vector of an image: take pool, levels, kernel, mlp, "
            "flatten or knn"
        )
    if task.tta == "auto" and (not task.fits_head or head == "knn"):
        return f"--model.tta auto: a head {head} has no loss to choose by: take none, mirror or flips"
    if not task.fits_head:
        return ""
    plain = {"multilabel": "cross_entropy", "regression": "mse", "ordinal": "ordinal"}
    wanted = {plain.get(task.target, "cross_entropy"), *(["cross_entropy"] if task.target == "ordinal" else [])}
    if not isinstance(task.criterion, ClassificationLoss) or loss not in wanted:
        return f"--model.loss {loss}: a head {head} is fitted by {' or '.join(sorted(wanted))}: take --model.head mlp"
    if task.criterion.smoothing:
        return f"--model.label_smoothing: a head {head} is fitted to labels as they are: take --model.head mlp"
    averaged = next((flag for flag in ("ema", "swa") if getattr(task.averaging, flag) is not None), None)
    if averaged is not None:
        return f"--model.{averaged}: a head {head} is fitted at once, and there is nothing to average: leave it out"
    if head == "knn" and task.criterion.weights is not None:
        return "--model.class_weights: neighbours vote alike: leave it out"
    return ""
