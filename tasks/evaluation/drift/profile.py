"""Profile of a model's training data, by which new cases are compared with it where its own are not at hand.

Of each property it holds the sorted values of some patients: its quantiles. Values of one case cannot be put together
again, and no case or patient is named; columns of the user's own stay in the run folder, and out of the checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.evaluation.drift.variables import Variable

FILE = "training_profile.json"
# Patients whose values are kept: enough to see a shift of half a standard deviation among twenty properties.
MOST_PATIENTS = 300
_GROUPS = ("image", "score", "prediction", "target", "column")


@dataclass(frozen=True, eq=False)
class Profile:
    """What training, and the scores of validation, looked like.

    Attributes:
        cases: of training.
        patients: of training.
        training: images, targets and columns of training cases, one case of each of at most :data:`MOST_PATIENTS`.
        validation: scores and predictions of as many validation cases.
    """

    cases: int
    patients: int
    training: Sequence[Variable] = field(default_factory=tuple)
    validation: Sequence[Variable] = field(default_factory=tuple)

    @property
    def by_name(self) -> dict[str, Variable]:
        """All variables."""
        return {variable.name: variable for variable in (*self.training, *self.validation)}

    def without_columns(self) -> Profile:
        """The same without columns of the user's own, for a checkpoint that may go to others."""
        return replace(self, training=[one for one in self.training if one.group != "column"])

    def to_plain(self) -> dict[str, Any]:
        """Plain values, for JSON and a checkpoint."""
        plain: dict[str, Any] = {"cases": self.cases, "patients": self.patients}
        for name in ("training", "validation"):
            plain[name] = {one.name: _plain(one) for one in getattr(self, name)}
        return plain

    @classmethod
    def from_plain(cls, plain: Any) -> Profile:
        """Undo :meth:`to_plain`.

        Raises:
            SuiteError: it is nothing that :meth:`to_plain` gives.
        """
        try:
            parts = [[_variable(str(name), one) for name, one in plain[part].items()] for part in PARTS]
            return cls(int(plain["cases"]), int(plain["patients"]), *parts)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise SuiteError("its profile of the training data is damaged") from None


PARTS = ("training", "validation")


def _plain(variable: Variable) -> dict[str, Any]:
    """Sorted values, or counts of the levels, and how many are unknown."""
    known = variable.values[variable.known]
    entry: dict[str, Any] = {
        "group": variable.group,
        "kind": variable.kind,
        "unknown": len(variable.values) - len(known),
    }
    if variable.kind == "number":
        return entry | {"values": np.sort(known.astype(np.float64)).tolist()}
    levels, counts = np.unique(known.astype(str), return_counts=True)
    return entry | {"counts": dict(zip(levels.tolist(), counts.tolist(), strict=True))}


def _variable(name: str, entry: Mapping[str, Any]) -> Variable:
    group, kind, unknown = entry["group"], entry["kind"], int(entry["unknown"])
    if group not in _GROUPS or unknown < 0:
        raise ValueError(group)
    if kind == "number":
        values = np.array([float(value) for value in entry["values"]], dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError(name)
        return Variable(name, group, "number", np.concatenate([values, np.full(unknown, math.nan)]))
    if kind != "category":
        raise ValueError(kind)
    levels = [str(level) for level, count in entry["counts"].items() for _ in range(int(count))]
    return Variable(name, group, "category", np.array([*levels, *[None] * unknown], dtype=object))


def write_profile(run_dir: Path, profile: Profile) -> None:
    """Write ``training_profile.json`` into a run folder.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    write_text(run_dir / FILE, json.dumps(profile.to_plain(), allow_nan=False) + "\n")


def read_profile(run_dir: Path) -> Profile | None:
    """The profile in a run folder; None where there is none.

    Raises:
        SuiteError: it is damaged.
    """
    file = run_dir / FILE
    if not file.is_file():
        return None
    try:
        return Profile.from_plain(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        raise SuiteError(f"{file}: is damaged: remove it") from None
    except SuiteError as error:
        raise SuiteError(f"{file}: {error}: remove it") from None
