"""``--model.teacher``: a checkpoint becomes a teacher, or is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scansuite.errors import SuiteError
from tasks.compression.distillation import Distillation, keep_levels
from tasks.compression.features import equal_levels
from tasks.compression.pruning import tensors_of
from tasks.loading import build_from, open_checkpoint

if TYPE_CHECKING:
    from tasks.base import Task

log = logging.getLogger(__name__)

FLAG = "--model.teacher"


def distillation(student: Task, path: Path) -> Distillation:
    """The callback that lets a model learn from a checkpoint, as its flags say.

    Both are tried on one image of the data's size: outputs must have the same shape, and for
    ``--model.distill_features`` a feature map of the backbone the same height and width.

    Args:
        student: the model that learns.
        path: of the teacher's checkpoint.

    Raises:
        SuiteError: no such checkpoint, or one that this model cannot learn from.
    """
    asked = student.distillation
    if not path.is_file():
        raise SuiteError(f"{FLAG} {path}: no such file")
    checkpoint = open_checkpoint(path, student.name, mend=f"{FLAG} takes a trained model of the same task")
    teacher = build_from(checkpoint, student.name, path)
    mine, its = student.in_channels, teacher.in_channels
    if mine != its:
        raise SuiteError(f"{FLAG} {path}: it takes images of {its} channels, and the data have {mine}: see --data")
    reason = student.unlike(teacher) if asked.alpha else ""
    if reason:
        raise SuiteError(f"{FLAG} {path}: its outputs cannot be compared: {reason}")
    outputs, levels = zip(*(_tried(model, student) for model in (student, teacher)), strict=True)
    if asked.alpha and outputs[0] != outputs[1]:
        raise SuiteError(f"{FLAG} {path}: its outputs have shapes {outputs[1]}, those of the student {outputs[0]}")
    pairs = equal_levels(*levels) if asked.features else []
    if asked.features and not pairs:
        sizes = [", ".join(f"{level.shape[-2]}x{level.shape[-1]}" for level in maps) or "none" for maps in levels]
        raise SuiteError(
            f"--model.distill_features: no feature map of the teacher ({sizes[1]}) is as large as one of the student "
            f"({sizes[0]}): leave it out, or take another network, --model.stem or --model.head"
        )
    _compare_preprocessing(student, teacher)
    temperature = asked.temperature or student.temperature
    log.info("teacher %s: %s", path, teacher.network.name)
    for pair in pairs:
        level = levels[0][pair.own]
        log.info("features of %dx%d px: %d channels against %d", *level.shape[-2:], *pair.channels)
    return Distillation(
        teacher,
        alpha=asked.alpha,
        temperature=temperature,
        features=asked.features,
        pairs=pairs,
    )


@torch.no_grad()
def _tried(model: Task, student: Task) -> tuple[list[tuple[int, ...]], list[Tensor]]:
    """Shapes of what a model says of one image of the student's size, and the maps of its backbone."""
    levels: list[Tensor] = []
    handle = keep_levels(model.backbone, levels, grad=False)
    training = model.training
    model.eval()
    try:
        output = model(*student.trial_inputs(1))
    except RuntimeError as error:
        text = " ".join(str(error).split())[:160]
        raise SuiteError(f"{FLAG}: it cannot take the images of the student ({text}): see --data.image_size") from None
    finally:
        handle.remove()
        model.train(training)
    return [tuple(tensor.shape) for tensor in tensors_of(output)], levels


def _compare_preprocessing(student: Task, teacher: Task) -> None:
    """Warn where the teacher knows images of another kind."""
    specs = [model.preprocess.to_dict() for model in (student, teacher)]
    for name in specs[0].keys() & specs[1].keys():
        if specs[0][name] != specs[1][name]:
            log.warning(
                "the teacher was trained with %s %s, the student sees %s: the teacher sees that too",
                name, specs[1][name], specs[0][name],
            )  # fmt: skip
