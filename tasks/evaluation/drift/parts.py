"""Drift between parts of a run: what differs between validation, or training, and the part that is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.evaluation.drift.differences import Difference, adjust, compare
from tasks.evaluation.drift.variables import (
    Kind,
    Variable,
    category,
    column_variable,
    geometry,
    intensities_of,
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
    kinds, left_out = user_columns(together, patients)
    for name in list(kinds)[_MOST_COLUMNS:]:
        left_out[name] = f"more than {_MOST_COLUMNS} columns are compared already"
        del kinds[name]
    sides = [_variables(part, kinds, intensities) for part in (reference, new)]
    for name in copies_of_target(sides):
        left_out[name] = "it says the same as the target"
        for side in sides:
            side.pop(name, None)
    shared = [name for name in sides[0] if name in sides[1]]
    found = [compare(sides[0][name], sides[1][name], seed) for name in shared]
    found += [one for name in shared if (one := _unknown(sides[0][name], sides[1][name], seed)) is not None]
    rows = [len(one_a_patient(part.cases["case_id"], part.patients)) for part in (reference, new)]
    return Drift(adjust(found), (rows[0], rows[1]), left_out, *sides)


def _variables(part: PartTables, kinds: Mapping[str, Kind], intensities: pd.DataFrame | None) -> dict[str, Variable]:
    """All variables of a part, one case a patient."""
    rows = one_a_patient(part.cases["case_id"], part.patients)
    columns = [column_variable(name, kind, part.cases[name]) for name, kind in kinds.items() if name in part.cases]
    every = [
        *geometry(part.cases), *intensities_of(part.cases, intensities), *outputs_of(part), *targets_of(part), *columns
    ]  # fmt: skip
    found: dict[str, Variable] = {}
    for variable in every:
        # A column of the user's may be called as one of ours is shown.
        name = variable.name if variable.name not in found else f"{variable.name} (column)"
        found[name] = Variable(name, variable.group, variable.kind, variable.values).take(rows)
    return found


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
