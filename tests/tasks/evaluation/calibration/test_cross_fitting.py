"""A calibration of each patient by the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.evaluation.calibration.cross_fitting import cross_fitted
from tasks.evaluation.calibration.fitting import fit_calibration
from tasks.evaluation.calibration.scored import Scored, of_classes
from tests.tasks.evaluation.calibration.simulated import binary, multiclass


def as_labels(scored: Scored) -> Scored:
    return Scored("labels", scored.names[1:], scored.findings)


@pytest.mark.parametrize("kind", ["binary", "classes", "labels"])
def test_a_patient_s_own_outcomes_change_nothing_for_that_patient(kind: str) -> None:
    scored = multiclass(0, factor=2) if kind == "classes" else binary(0, factor=2)
    assert scored.scores is not None
    assert scored.target is not None
    assert scored.groups is not None
    own = scored.groups == 7
    target = np.where(own, (scored.target + 1) % len(scored.names), scored.target)
    positive = None if kind == "classes" else 1
    turned = of_classes(scored.scores, target, scored.groups, scored.names, positive)
    both = [cross_fitted(as_labels(one) if kind == "labels" else one, "platt") for one in (scored, turned)]
    found = [one.findings[0].score for one in both if one is not None]
    assert (found[0][own] == found[1][own]).all()
    assert not np.allclose(found[0][~own], found[1][~own])


def test_it_is_nearly_what_a_fit_on_all_gives_and_never_better_there() -> None:
    scored = multiclass(1, patients=400, factor=3)
    whole, crossed = fit_calibration(scored, "temperature").calibration, cross_fitted(scored, "temperature")
    assert whole is not None
    assert crossed is not None
    assert crossed.scores is not None
    assert scored.scores is not None
    assert scored.target is not None
    fitted, rows = whole.apply(scored.scores), np.arange(len(scored.scores))
    np.testing.assert_allclose(crossed.scores, fitted, atol=0.02)
    losses = [-np.log(scores[rows, scored.target]).mean() for scores in (fitted, crossed.scores)]
    assert losses[0] <= losses[1]


def test_what_cannot_be_fitted() -> None:
    assert cross_fitted(binary(0, patients=11), "platt") is None
    labels = as_labels(binary(0))
    (own,) = labels.findings
    rare = replace(own, name="rare", there=own.groups < 2)
    found = cross_fitted(replace(labels, names=("b", "rare"), findings=(own, rare)), "platt")
    assert found is not None
    assert (found.findings[1].score == rare.score).all()
    assert not (found.findings[0].score == own.score).all()
    assert cross_fitted(replace(labels, findings=(rare,)), "platt") is None
