"""A profile of a run whose validation part stands for training."""

from __future__ import annotations

from tasks.evaluation.drift.parts import compared_columns, variables_of
from tasks.evaluation.drift.profile import Profile
from tasks.evaluation.evaluated import EvaluatedRun

OUTPUTS = ("score", "prediction")


def profile_of(run: EvaluatedRun) -> Profile:
    part = run.part("val")
    kinds, _ = compared_columns(part.cases, part.patients)
    every = list(variables_of(part, kinds, run.intensities).values())
    training = [one for one in every if one.group not in OUTPUTS]
    validation = [one for one in every if one.group in OUTPUTS]
    return Profile(len(part.cases), int(part.patients.max()) + 1, training, validation)
