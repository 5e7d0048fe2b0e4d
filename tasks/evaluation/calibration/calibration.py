"""A fitted calibration: from the scores of a model to shares of cases, in plain numbers, kept in its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scansuite.errors import SuiteError, nearest
from scansuite.words import number_of
from tasks.evaluation.calibration.maps import FloatArray, LogitMap, ScoreMap, logarithms, map_from_dict

Method: TypeAlias = Literal["none", "temperature", "platt", "isotonic", "dirichlet"]
METHODS: tuple[Method, ...] = get_args(Method)
MEAN = "mean of members"


@dataclass(frozen=True)
class Calibration:
    """Calibration of the scores of a model, fitted on cases that it did not train on.

    Attributes:
        method: by which it was fitted: ``temperature``, ``platt``, ``isotonic``, ``dirichlet``, ``beta``; or that it is
            the mean of those of an ensemble's members.
        names: of the classes, labels or classes of boxes, in class order.
        exclusive: the scores of a case sum to 1, as of one class a case; otherwise each is calibrated for itself.
        maps: calibration of one score by name. Of two exclusive classes that of the positive one alone. What is not
            there stays as it is.
        matrix: ``(K, K)`` of exclusive classes: logits = ``matrix`` @ ln(scores) + ``intercept``; None = by ``maps``.
        intercept: ``(K,)``; None likewise.
        cases: that it was fitted on; in detection boxes.
        patients: that these are of.
        members: calibrations whose mean it is; None = a member's scores stay as they are.
    """

    method: str
    names: tuple[str, ...]
    exclusive: bool
    maps: Mapping[str, ScoreMap] = field(default_factory=dict)
    matrix: tuple[tuple[float, ...], ...] | None = None
    intercept: tuple[float, ...] | None = None
    cases: int = 0
    patients: int = 0
    members: tuple[Calibration | None, ...] = ()

    def apply(self, scores: ArrayLike) -> FloatArray:
        """Calibrated scores; where a case's sum to 1 they do so afterwards.

        Args:
            scores: ``(n, K)`` in [0, 1], in class order.

        Raises:
            ValueError: there are not as many columns as classes.
        """
        given = np.asarray(scores, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self.names):
            raise ValueError(f"scores of shape {given.shape} for {len(self.names)} classes")
        if self.members:
            each = [given if member is None else member.apply(given) for member in self.members]
            mean: FloatArray = np.mean(each, axis=0)
            return mean
        if self.matrix is not None:
            return _softmax(logarithms(given)[0] @ np.array(self.matrix).T + np.array(self.intercept))
        if self.exclusive and len(self.names) == 2:
            return self._of_two(given)
        calibrated = given.copy()
        for column, name in enumerate(self.names):
            if name in self.maps:
                rest = given.sum(axis=1) - given[:, column] if self.exclusive else None
                calibrated[:, column] = self.maps[name](given[:, column], rest)[0]
        return _shares(calibrated) if self.exclusive else calibrated

    def _of_two(self, given: FloatArray) -> FloatArray:
        (name, own), = self.maps.items()  # fmt: skip
        column = self.names.index(name)
        both = own(given[:, column], given[:, 1 - column])
        return np.stack(both if column == 0 else both[::-1], axis=1)

    def apply_to(self, name: str, scores: ArrayLike) -> FloatArray:
        """Calibrated scores of one class that is calibrated for itself: of a label, or of a class of boxes.

        Args:
            name: of the class.
            scores: ``(n,)`` in [0, 1].
        """
        given = np.asarray(scores, dtype=np.float64)
        if self.members:
            each = [given if member is None else member.apply_to(name, given) for member in self.members]
            mean: FloatArray = np.mean(each, axis=0)
            return mean
        return self.maps[name](given)[0] if name in self.maps else given

    def __str__(self) -> str:
        one = next(iter(self.maps.values())) if len(self.maps) == 1 else None
        number = ""
        if self.method == "temperature" and (self.matrix is not None or isinstance(one, LogitMap)):
            sharpness = (
                self.matrix[0][0] if self.matrix is not None else one.present if isinstance(one, LogitMap) else 1.0
            )
            number = f" {1 / sharpness:.3g}"
        cases = f", fitted on {self.cases} scores of {number_of(self.patients, 'patient')}" if self.cases else ""
        return f"{self.method}{number}{cases}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and names, as JSON and checkpoints keep them."""
        return {
            "method": self.method,
            "names": list(self.names),
            "exclusive": self.exclusive,
            "maps": {name: one.to_dict() for name, one in self.maps.items()},
            "matrix": None if self.matrix is None else [list(row) for row in self.matrix],
            "intercept": None if self.intercept is None else list(self.intercept),
            "cases": self.cases,
            "patients": self.patients,
            "members": [None if member is None else member.to_dict() for member in self.members],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Calibration:
        """What :meth:`to_dict` gave.

        Raises:
            SuiteError: it is something else.
        """
        try:
            matrix, intercept = plain.get("matrix"), plain.get("intercept")
            return cls(
                method=str(plain["method"]),
                names=tuple(str(name) for name in plain["names"]),
                exclusive=bool(plain["exclusive"]),
                maps={str(name): map_from_dict(one) for name, one in plain["maps"].items()},
                matrix=None if matrix is None else tuple(tuple(float(cell) for cell in row) for row in matrix),
                intercept=None if intercept is None else tuple(float(cell) for cell in intercept),
                cases=int(plain["cases"]),
                patients=int(plain["patients"]),
                members=tuple(None if one is None else cls.from_dict(one) for one in plain.get("members", ())),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise SuiteError("its calibration is damaged: fit it again, or evaluate another checkpoint") from None


def read_method(method: str) -> Method:
    """The method that a flag names.

    Raises:
        SuiteError: there is none of that name.
    """
    for known in METHODS:
        if method == known:
            return known
    raise SuiteError(f"calibration {method!r} is unknown: {nearest(method, METHODS)}")


def mean_calibration(members: Sequence[Calibration | None]) -> Calibration | None:
    """The mean of what members' calibrations make of a score; None where none has one."""
    some = [member for member in members if member is not None]
    if not some:
        return None
    first = some[0]
    return Calibration(MEAN, first.names, first.exclusive, members=tuple(members))


def _softmax(logits: FloatArray) -> FloatArray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: FloatArray = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _shares(scores: NDArray[np.float64]) -> FloatArray:
    """Scores divided by their sum; where all are 0, each the same."""
    total = scores.sum(axis=1, keepdims=True)
    even = np.full_like(scores, 1 / scores.shape[1])
    return np.where(total > 0, np.divide(scores, total, out=even.copy(), where=total > 0), even)
