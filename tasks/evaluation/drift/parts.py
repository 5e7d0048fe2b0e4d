"""Drift between parts of a run: what differs between validation, or training, and the part that is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.drift.differences import Difference, adjust, compare
from tasks.evaluation.drift.profile import Profile
from tasks.evaluation.drift.variables import (
    Kind,
    Variable,
    category,
    column_variable,
    geometry,
    intensities_of,
    named_apart,
    one_a_patient,
    outputs_of,
    targets_of,
    user_columns,
)
from tasks.evaluation.evaluated import PartTables

_LEAST_UNKNOWN = 5  # patients; from then on it is compared who has no value
_MOST_COLUMNS = 40


@dataclass(frozen=True, eq=False)
class Drift:
    """Differences between two parts.

    Attributes:
        differences: a variable each, in order of their groups; p-values adjusted over all of them.
        patients: compared: of the reference, of the new part.
        left_out: columns of the user's that were not compared, and why.
        reference: variables of the reference, one case a patient, by name.
        new: likewise.
    """

    differences: Sequence[Difference]
    patients: tuple[int, int]
    left_out: Mapping[str, str]
    reference: Mapping[str, Variable]
    new: Mapping[str, Variable]

    @property
    def flagged(self) -> list[Difference]:
        """What differs beyond chance, the largest difference first."""
        return sorted((one for one in self.differences if one.flagged), key=lambda one: -one.distance)


def part_drift(reference: PartTables, new: PartTables, intensities: pd.DataFrame | None = None, seed: int = 0) -> Drift:
    """Compare two parts by one case of each patient.

    Args:
        reference: validation.
        new: the part that is reported.
        intensities: ``case_id,mean,sd,p5,p95`` of images as the model sees them; None = not known.
        seed: of random tables.
    """
    together = pd.concat([reference.cases, new.cases], ignore_index=True)
    patients = np.concatenate([reference.patients, new.patients + 1 + int(reference.patients.max(initial=-1))])
    kinds, left_out = compared_columns(together, patients)
    sides = [variables_of(part, kinds, intensities) for part in (reference, new)]
    for name in copies_of_target(sides):
        left_out[name] = "it says the same as the target"
        for side in sides:
            side.pop(name, None)
    rows = [len(one_a_patient(part.cases["case_id"], part.patients)) for part in (reference, new)]
    return _drift(sides[0], sides[1], (rows[0], rows[1]), left_out, seed)


def profile_drift(profile: Profile, new: PartTables, intensities: pd.DataFrame | None = None, seed: int = 0) -> Drift:
    """Compare a part, or what was predicted without truth, with training; its scores with those of validation.

    Args:
        profile: of the training data.
        new: its cases; ``targets`` and targets of its predictions are compared where they are there.
        intensities: see :func:`part_drift`.
        seed: of random tables.
    """
    known = profile.by_name
    kinds = {one.name: one.kind for one in profile.training if one.group == "column"}
    own = variables_of(new, kinds, intensities)
    copies = copies_of_target([own])
    own = {
        name: one for name, one in own.items() if name in known and one.kind == known[name].kind and name not in copies
    }
    reference = {name: known[name] for name in own}
    compared = max((len(one.values) for one in reference.values()), default=0)
    rows = len(one_a_patient(new.cases["case_id"], new.patients))
    return _drift(reference, own, (compared, rows), {}, seed)


def adjusted_together(drifts: Sequence[Drift]) -> list[Drift]:
    """The same, p-values adjusted over all that they compare together."""
    every = adjust([one for drift in drifts for one in drift.differences])
    ends = np.cumsum([0, *(len(drift.differences) for drift in drifts)])
    return [
        replace(drift, differences=every[start:end])
        for drift, start, end in zip(drifts, ends[:-1], ends[1:], strict=True)
    ]


def _drift(
    reference: Mapping[str, Variable],
    new: Mapping[str, Variable],
    patients: tuple[int, int],
    left_out: Mapping[str, str],
    seed: int,
) -> Drift:
    shared = [name for name in reference if name in new]
    found = [compare(reference[name], new[name], seed) for name in shared]
    found += [one for name in shared if (one := _unknown(reference[name], new[name], seed)) is not None]
    return Drift(adjust(found), patients, left_out, reference, new)


def compared_columns(cases: pd.DataFrame, patients: NDArray[np.intp]) -> tuple[dict[str, Kind], dict[str, str]]:
    """Columns of the user's that are compared, and why others are not; see :func:`user_columns`."""
    kinds, left_out = user_columns(cases, patients)
    for name in list(kinds)[_MOST_COLUMNS:]:
        left_out[name] = f"more than {_MOST_COLUMNS} columns are compared already"
        del kinds[name]
    return kinds, left_out


def variables_of(part: PartTables, kinds: Mapping[str, Kind], intensities: pd.DataFrame | None) -> dict[str, Variable]:
    """All variables of a part by name, one case a patient.

    Args:
        part: its tables.
        kinds: of the user's columns that are wanted.
        intensities: see :func:`part_drift`.
    """
    rows = one_a_patient(part.cases["case_id"], part.patients)
    columns = [column_variable(name, kind, part.cases[name]) for name, kind in kinds.items() if name in part.cases]
    every = [
        *geometry(part.cases), *intensities_of(part.cases, intensities), *outputs_of(part), *targets_of(part), *columns
    ]  # fmt: skip
    return {variable.name: variable.take(rows) for variable in named_apart(every)}


def copies_of_target(sides: Sequence[Mapping[str, Variable]]) -> list[str]:
    """Columns of the user's that are the target under another name: one difference is not two."""
    targets = [side.get("target") for side in sides]
    if not targets or targets[0] is None or any(target is None for target in targets):
        return []
    kind = targets[0].kind
    names = [name for name, variable in sides[0].items() if variable.group == "column" and variable.kind == kind]
    return [name for name in names if all(name in side and _same(side[name], side["target"]) for side in sides)]


def _same(first: Variable, second: Variable) -> bool:
    both = first.known & second.known
    return bool(both.any()) and bool(np.all(first.values[both] == second.values[both]))


def _unknown(first: Variable, second: Variable, seed: int) -> Difference | None:
    """Whether values are missing more often in one part; None where hardly any are, or a part was not looked at."""
    missing = [~first.known, ~second.known]
    if sum(int(one.sum()) for one in missing) < _LEAST_UNKNOWN or any(one.all() for one in missing):
        return None
    sides = [category(f"{first.name}: unknown", first.group, np.where(one, "yes", "no")) for one in missing]
    return compare(sides[0], sides[1], seed)
