"""The rules of planning, in their order. This file is meant to be read; what each does is in ``settle``.

A rule takes the draft, asks it for what is settled, and plans; it returns what else is to be said. No rule names a
data set. A flag that the user gave is never planned: :meth:`~tasks.planning.draft.Draft.plan` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from tasks.planning.draft import Draft
from tasks.planning.settle import (
    classify,
    detect,
    features,
    folds,
    frozen,
    length,
    machine,
    network,
    optimisation,
    presets,
    segment,
    values,
)

Rule: TypeAlias = Callable[[Draft], "Iterable[str] | None"]

# Of all tasks, once images and model are settled: the number of steps needs the batch, and the average that number.
_BATCH: tuple[Rule, ...] = (
    optimisation.batch, optimisation.learning_rate, machine.memory, machine.cache, folds.folds,
)  # fmt: skip
_LENGTH: tuple[Rule, ...] = (length.steps, optimisation.average)

RULES: dict[str, tuple[Rule, ...]] = {
    "classify": (
        values.scale,
        network.network,
        frozen.frozen,
        classify.images,
        classify.augmentation,
        classify.rare_classes,
        classify.evaluation,
        classify.cautions,
        *_BATCH,
        *_LENGTH,
        features.on_features,
    ),
    "segment": (
        values.scale,
        network.network,
        segment.volumes,
        segment.images,
        values.hounsfield,
        segment.network,
        segment.rare,
        presets.sides,
        segment.augmentation,
        *_BATCH,
        segment.evaluation,
        *_LENGTH,
    ),
    "detect": (
        values.scale,
        network.network,
        detect.images,
        detect.patches,
        detect.detector,
        detect.overlaps,
        presets.sides,
        detect.augmentation,
        *_BATCH,
        *_LENGTH,
    ),
}
