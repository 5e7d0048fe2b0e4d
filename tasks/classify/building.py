"""Loss, head and pooling of a classifier, made from its flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import Part, is_path, path_of, refuse_arguments
from tasks.classify.head_names import HeadName
from tasks.classify.heads import Head, needs_norm
from tasks.classify.kernel_head import KernelHead
from tasks.classify.losses import ClassificationLoss, LossName
from tasks.classify.neighbours import NeighbourHead
from tasks.classify.own_head import OwnHead
from tasks.classify.pooling import AttentionPooling
from tasks.own.loss import OwnLoss

if TYPE_CHECKING:
    from tasks.classify.task import ClassificationTask


def build_loss(
    task: ClassificationTask,
    name: LossName | Part,
    args: dict[str, Any] | None,
    weights: list[float] | None,
    smoothing: float,
    gamma: float,
) -> ClassificationLoss | OwnLoss:
    """Make the loss; one of the user's sees numbers of a regression in the unit of the targets.

    Args:
        task: that is being built, with its target and the unit of it.
        name: see ``--model.loss``; likewise ``args``.
        args: of a loss of the user's.
        weights: of the classes; None: all alike.
        smoothing: see ``--model.label_smoothing``.
        gamma: see ``--model.focal_gamma``.

    Raises:
        SuiteError: there is no such loss, or it does not fit.
    """
    if is_path(name):
        offered = {"num_classes": task.num_classes, "target": task.target}
        asked = {"class_weights": weights, "label_smoothing": smoothing}
        return OwnLoss(name, args, offered=offered, asked=asked)
    refuse_arguments("loss", name, args)
    return ClassificationLoss(task.target, str(name), weights, smoothing, gamma, task.unit)


def build_attention(task: ClassificationTask, hidden: int, gated: bool) -> AttentionPooling | None:
    """Make what weighs the images of a case; None where none is asked for.

    Args:
        task: with its head.
        hidden: see ``--model.attention_hidden``.
        gated: see ``--model.attention_gated``.

    Raises:
        SuiteError: a head of the user's gives no features to weigh.
    """
    head = task.head
    if task.aggregate != "attention" or head is None:
        return None
    if isinstance(head, OwnHead) and not head.pools:
        raise SuiteError(
            f"--model.aggregate attention: {path_of(type(head.module))} has no width, features and classify: "
            "give it these, or take aggregate mean, max or topk"
        )
    return AttentionPooling(head.width, hidden, gated)


def build_head(
    task: ClassificationTask,
    name: HeadName | Part,
    args: dict[str, Any] | None,
    outputs: int,
    dropout: float,
    hidden: int,
) -> Head | OwnHead | NeighbourHead | KernelHead | None:
    """Make the head; None where the network's own classifier is the head.

    Args:
        task: with its backbone.
        name: see ``--model.head``; likewise ``args``, ``dropout`` and ``hidden``.
        args: of a head of the user's.
        outputs: number of logits.
        dropout: chance.
        hidden: width.

    Raises:
        SuiteError: there is no such head, or it does not fit.
    """
    if is_path(name):
        trial = _levels_of(task, torch.zeros(2, task.in_channels, *(task.input_size or (64, 64))))
        offered = {"dropout": dropout, "grid": (trial[-1].shape[-2], trial[-1].shape[-1])}
        return OwnHead(name, args, outputs=outputs, trial=trial, offered=offered)
    if name not in get_args(HeadName):
        raise SuiteError(f"--model.head {name!r} is unknown: {nearest(str(name), get_args(HeadName))}")
    refuse_arguments("head", name, args)
    if name == "native":
        return None
    if name == "knn":
        return NeighbourHead(
            task.backbone.channels[-1],
            outputs,
            neighbours=task.neighbours,
            target=task.target,
            ordinal=task.criterion.name == "ordinal",
            norm=needs_norm(task.backbone),
        )
    if name == "kernel":
        return KernelHead(task.backbone.channels, outputs)
    grid = None
    if name == "flatten" and task.input_size is not None:
        height, width = _levels_of(task, torch.zeros(1, task.in_channels, *task.input_size))[-1].shape[-2:]
        grid = (height, width)
    return Head(
        name,  # type: ignore[arg-type]
        task.backbone.channels,
        outputs,
        dropout=dropout,
        hidden=hidden,
        grid=grid,
        norm=needs_norm(task.backbone),
    )


@torch.no_grad()
def _levels_of(task: ClassificationTask, image: Tensor) -> list[Tensor]:
    """What the backbone makes of a trial image, with its statistics left alone."""
    task.backbone.eval()
    levels: list[Tensor] = task.backbone(image)
    task.backbone.train()
    return levels
