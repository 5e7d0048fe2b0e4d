"""What a calibration would give on cases like those that it is fitted on: each is calibrated without its own patient.

For runs with validation alone, and out of fold, where there are no other cases to show a fitted calibration on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.evaluation.calibration.calibration import Calibration, Method
from tasks.evaluation.calibration.fitting import fit_calibration
from tasks.evaluation.calibration.scored import BoolArray, Finding, IntArray, Scored, finding, of_classes

FOLDS = 5


def cross_fitted(scored: Scored, method: Method, seed: int = 0) -> Scored | None:
    """The same with scores that are calibrated on the cases of other patients; None where a part cannot be fitted.

    Args:
        scored: scores beside the truth.
        method: by which parts of four fifths of the patients are fitted.
        seed: of the dealing of patients to parts.
    """
    if scored.scores is None:
        calibrated = [_one(scored, own, method, seed) for own in scored.findings]
        if all(fitted is None for fitted in calibrated):
            return None
        # A label that cannot be fitted stays as it is, as in a calibration.
        kept = (own if fitted is None else fitted for own, fitted in zip(scored.findings, calibrated, strict=True))
        return replace(scored, findings=tuple(kept))
    assert scored.target is not None
    assert scored.groups is not None
    positive = scored.names.index(scored.findings[0].name) if scored.kind == "binary" else None
    scores = scored.scores.copy()
    for held in _parts(scored.groups, seed):
        rest = of_classes(scored.scores[~held], scored.target[~held], scored.groups[~held], scored.names, positive)
        fitted = _fitted(rest, method)
        if fitted is None:
            return None
        scores[held] = fitted.apply(scored.scores[held])
    return of_classes(scores, scored.target, scored.groups, scored.names, positive)


def _one(scored: Scored, own: Finding, method: Method, seed: int) -> Finding | None:
    """One score that is calibrated for itself."""
    score = own.score.copy()
    for held in _parts(own.groups, seed):
        rest = finding(own.name, own.score[~held], own.there[~held], own.groups[~held])
        fitted = _fitted(Scored(scored.kind, (own.name,), (rest,)), method)
        if fitted is None:
            return None
        score[held] = fitted.apply_to(own.name, own.score[held])
    return replace(own, score=score, rest=1 - score)


def _fitted(rest: Scored, method: Method) -> Calibration | None:
    return fit_calibration(rest, method).calibration


def _parts(groups: IntArray, seed: int) -> list[BoolArray]:
    """``(n,)`` cases of each part, patients whole."""
    patients = int(groups.max()) + 1 if len(groups) else 0
    part = np.random.default_rng(seed).permutation(patients)[groups] % FOLDS if patients else groups
    return [part == number for number in np.unique(part)]
