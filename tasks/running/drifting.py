"""The profile of a training, and whether new cases are like it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import group_cases
from tasks.evaluation.drift.differences import Difference
from tasks.evaluation.drift.parts import compared_columns, profile_drift
from tasks.evaluation.drift.profile import MOST_PATIENTS, Profile, read_profile
from tasks.evaluation.drift.variables import (
    Variable,
    category,
    column_variable,
    geometry,
    intensities_of,
    named_apart,
    number,
    one_a_patient,
    outputs_of,
)
from tasks.evaluation.drift.words import change
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.task_file import RunTask
from tasks.running.looking import chosen, chosen_rows, look_at_part

log = logging.getLogger(__name__)

_NAMED = 4  # differences in a line


def profile_of(data: ScanDataModule, task: RunTask, validation: PartTables | None) -> Profile:
    """Profile of the training part of a data set, and of what the model says of validation.

    Args:
        data: with the model's preprocessing.
        task: of the model.
        validation: its tables; None = there is none.
    """
    rows = data.rows("train")
    cases = data.table.cases.iloc[rows].reset_index(drop=True)
    seen = look_at_part(data, "train")
    mine = data.table.cases.iloc[chosen_rows(data, "train")].reset_index(drop=True)
    patients = group_cases(cases["case_id"], cases["patient_id"])
    kinds, _ = compared_columns(cases, patients)
    columns = [column_variable(name, kind, mine[name]) for name, kind in kinds.items()]
    images = [*geometry(seen), *intensities_of(seen[["case_id"]], seen)] if len(seen) else []
    training = named_apart([*images, *_targets(data, task, mine), *columns])
    return Profile(len(cases), int(patients.max(initial=-1)) + 1, training, _outputs(validation))


def _targets(data: ScanDataModule, task: RunTask, cases: pd.DataFrame) -> list[Variable]:
    """Targets of chosen training cases, named as :func:`~tasks.evaluation.drift.variables.targets_of` names them."""
    if task.task != "classify":
        return []
    place = pd.Series(np.arange(len(data.table)), index=data.table.cases["case_id"])
    labels = data.case_labels(place.loc[cases["case_id"]].to_numpy())
    if labels is None:
        return []
    values = labels.numpy().astype(np.float64)
    if task["target"] == "regression":
        return [number("target", "target", values.reshape(-1))]
    if task["target"] == "multilabel":
        return [
            category(f"{name} present", "target", values[:, column]) for column, name in enumerate(task.class_names)
        ]
    names = np.array(task.class_names, dtype=object)
    return [category("target", "target", names[values.astype(int)])]


def _outputs(validation: PartTables | None) -> list[Variable]:
    """What the model says of one case of each patient of validation."""
    if validation is None:
        return []
    rows = one_a_patient(validation.cases["case_id"], validation.patients)
    rows = rows[np.isin(rows, chosen(validation.cases["case_id"], validation.cases.get("patient_id")))]
    assert len(rows) <= MOST_PATIENTS
    return [variable.take(rows) for variable in outputs_of(validation)]


def differing(profile: Profile, new: PartTables, seen: pd.DataFrame) -> list[Difference]:
    """What differs between training and new cases beyond chance, the largest difference first.

    Args:
        profile: of the training.
        new: tables of the new cases.
        seen: as :func:`~tasks.running.looking.look_at` gives it.
    """
    return profile_drift(profile, new, seen).flagged


def said(found: Sequence[Difference], what: str) -> str:
    """A line about new cases that differ from training.

    Args:
        found: what differs; at least one.
        what: are the new cases: ``test cases``.
    """
    named = ", ".join(f"{one.name} {change(one)}" for one in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"the {what} differ from those of training: {named}{more}: results may not hold for them"


def profile_text(profile: Profile) -> str:
    """The profile as a checkpoint keeps it: columns of the user's own stay out of what may go to others."""
    return json.dumps(profile.without_columns().to_plain(), allow_nan=False)


def known_profile(model: Any, checkpoints: Sequence[Path]) -> Profile | None:
    """The profile of a model, or of the first member of an ensemble that has one.

    That in its run folder goes first, for it has columns of the user's table, and then that in its checkpoint.

    Args:
        model: with its weights.
        checkpoints: of it, or of each member.
    """
    members = list(getattr(model, "members", [model]))
    for member, path in zip(members, checkpoints, strict=True):
        text = getattr(member, "training_profile", None)
        if text is None:
            continue
        try:
            return read_profile(path.parent.parent) or Profile.from_plain(json.loads(text))
        except (SuiteError, ValueError) as error:
            log.warning("%s: whether the cases are like those of training cannot be told: %s", path, error)
    return None
