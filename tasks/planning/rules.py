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
    segment,
    values,
)

Rule: TypeAlias = Callable[[Draft], "Iterable[str] | None"]

# Of all tasks, once images and model are settled. The average needs the number of steps, and that the batch.
_TRAINING: tuple[Rule, ...] = (
    optimisation.batch,
    optimisation.learning_rate,
    machine.cache,
    folds.folds,
    length.steps,
    optimisation.average,
)

RULES: dict[str, tuple[Rule, ...]] = {
    "classify": (
        network.network,
        frozen.frozen,
        classify.images,
        values.scale,
        classify.augmentation,
        classify.rare_classes,
        classify.evaluation,
        *_TRAINING,
        features.on_features,
    ),
    "segment": (
        network.network,
        segment.volumes,
        segment.images,
        values.scale,
        segment.network,
        segment.rare,
        segment.augmentation,
        *_TRAINING,
        segment.evaluation,
    ),
    "detect": (
        network.network,
        detect.images,
        detect.patches,
        values.scale,
        detect.detector,
        detect.overlaps,
        detect.augmentation,
        *_TRAINING,
    ),
}
