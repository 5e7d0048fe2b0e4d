"""Choice of the slice of a volume, or the part of a large image, that a map is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from datamodules.types import Batch
from tasks.base import Task

_AT_ONCE = 8  # images


def most_telling(model: Task, images: Iterable[Tensor], wanted: Sequence[str]) -> int:
    """Number of the image on which there is most of a class, or where it scores highest; of equal ones the first.

    Args:
        model: of a task.
        images: (C, H, W) each, of one size; looked at one after the other.
        wanted: names of classes; empty: of a binary target the positive class, else all, the background left out.
    """
    measured = [value for some in _batches(images) for value in _measured(model, torch.stack(some), wanted)]
    return max(range(len(measured)), key=measured.__getitem__)


@torch.no_grad()
def _measured(model: Task, images: Tensor, wanted: Sequence[str]) -> list[float]:
    model.eval()
    said = model.predict_step(Batch(image=images.to(model.device)), 0)
    if "boxes" in said:
        return [_highest_box(found, _numbers(model, wanted)) for found in said["boxes"]]
    scores = said["scores"].double()
    if "masks" not in said:
        numbers = _numbers(model, wanted)
        columns = scores[:, numbers] if scores.shape[1] > max(numbers, default=0) else scores
        values: list[float] = columns.max(dim=1).values.tolist()
        return values
    numbers = _numbers(model, wanted)
    masks = said["masks"]
    called = torch.stack([masks[:, one] if masks.ndim == 4 else masks == one for one in numbers], dim=1)
    # Where nothing is called, the class's probability decides: it is below 1, and one pixel counts 1.
    mean = scores[:, numbers].mean(dim=(1, 2, 3))
    counted: list[float] = (called.double().sum(dim=(1, 2, 3)) + mean).tolist()
    return counted


def _highest_box(found: Any, numbers: Sequence[int]) -> float:
    scores = [float(score) for score, label in zip(found.scores, found.labels, strict=True) if int(label) in numbers]
    return max(scores, default=0.0)


def _numbers(model: Task, wanted: Sequence[str]) -> list[int]:
    """Class numbers that are looked at."""
    names = model.class_names
    asked = [names.index(one) for one in wanted if one in names]
    if asked:
        return asked
    positive = getattr(model, "positive_class", None)
    if positive is not None:
        return [names.index(positive)]
    if model.name == "segment" and not getattr(model, "overlapping", False):
        return list(range(1, len(names)))
    return list(range(len(names)))


def _batches(images: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    waiting = iter(images)
    while some := list(islice(waiting, _AT_ONCE)):
        yield some
