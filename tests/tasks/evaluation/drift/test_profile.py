"""A profile of training: what it holds and what it does not, and how new cases are compared with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.drift.parts import profile_drift
from tasks.evaluation.drift.profile import FILE, Profile, read_profile, write_profile
from tests.tasks.evaluation.drift.profiles import profile_of
from tests.tasks.evaluation.drift.scanners import two_parts


def test_it_comes_back_from_a_file_as_it_was(tmp_path: Path) -> None:
    profile = profile_of(two_parts(0))
    write_profile(tmp_path, profile)
    found = read_profile(tmp_path)
    assert found is not None
    assert found.to_plain() == profile.to_plain()
    assert (found.cases, found.patients) == (240, 60)


def test_it_names_no_case_and_no_patient_and_a_checkpoint_no_column() -> None:
    profile = profile_of(two_parts(0))
    text = json.dumps(profile.to_plain())
    assert "val0" not in text
    groups = {one.group for one in profile.training}
    assert groups == {"image", "target", "column"}
    assert {one.group for one in profile.without_columns().training} == {"image", "target"}
    values = profile.to_plain()["training"]["age"]["values"]
    assert values == sorted(values)


def test_fair_cases_raise_a_flag_in_three_of_sixty_seeds_at_most() -> None:
    profile = profile_of(two_parts(1000, (200, 1)))
    flags = [profile_drift(profile, two_parts(seed, (1, 80)).part("test")).flagged for seed in range(60)]
    assert sum(map(bool, flags)) <= 3


def test_a_shifted_site_is_found_and_scores_are_compared_with_validation() -> None:
    profile = profile_of(two_parts(3))
    found = profile_drift(profile, two_parts(4, shift=1.0, site=0.9).part("test"))
    names = {one.name for one in found.flagged}
    assert {"age", "site", "width (pixels)", "score of NA"} <= names


def test_predictions_without_truth_are_compared_too() -> None:
    part = two_parts(4, shift=1.0).part("test")
    columns = ["case_id", "patient_id", "width", "height"]
    new = replace(part, cases=part.cases[columns], predictions=part.predictions.drop(columns="target"))
    found = profile_drift(profile_of(two_parts(3)), new)
    assert {one.name for one in found.differences} >= {"width (pixels)", "score of NA", "predicted class"}
    assert "target" not in {one.name for one in found.differences}
    assert "score of NA" in {one.name for one in found.flagged}


@pytest.mark.parametrize(
    "plain",
    [
        None, {}, {"cases": 1, "patients": 1}, {"cases": "x", "patients": 1, "training": {}, "validation": {}},
        {"cases": 1, "patients": 1, "training": {"x": {"group": "image", "kind": "number", "unknown": 0,
                                                       "values": ["a"]}}, "validation": {}},
        {"cases": 1, "patients": 1, "training": {"x": {"group": "?", "kind": "number", "unknown": 0, "values": []}},
         "validation": {}},
    ],
)  # fmt: skip
def test_what_is_no_profile_is_refused(plain: Any, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="damaged"):
        Profile.from_plain(plain)
    (tmp_path / FILE).write_text(json.dumps(plain))
    with pytest.raises(SuiteError, match=r"training_profile.json.*: remove it"):
        read_profile(tmp_path)
    assert read_profile(tmp_path / "elsewhere") is None
