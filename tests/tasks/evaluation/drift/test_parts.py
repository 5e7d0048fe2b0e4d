"""Drift between parts: a shifted site is found, fair parts are quiet, identifiers are no columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.drift.parts import part_drift
from tasks.evaluation.drift.variables import one_a_patient, user_columns
from tasks.evaluation.evaluated import EvaluatedRun
from tests.tasks.evaluation.drift.scanners import two_parts


def drift_of(run: EvaluatedRun) -> list[str]:
    return [one.name for one in part_drift(run.part("val"), run.part("test")).flagged]


def test_fair_parts_raise_a_flag_in_three_of_sixty_seeds_at_most() -> None:
    assert sum(bool(drift_of(two_parts(seed))) for seed in range(60)) <= 3


def test_a_shifted_site_is_found() -> None:
    found = [drift_of(two_parts(seed, shift=1.0, site=0.9)) for seed in range(10)]
    assert all({"site", "age", "width (pixels)"} <= set(names) for names in found)


def test_by_scan_fair_parts_would_raise_flags() -> None:
    """Why one case of each patient is compared."""
    flags = 0
    for seed in range(20):
        run = two_parts(seed, scans=15)
        alone = EvaluatedRun(run.name, run.task, run.cases.drop(columns="patient_id"), run.predictions)
        flags += bool(drift_of(alone))
    assert flags >= 10


def test_one_case_of_each_patient_whatever_the_order() -> None:
    cases = pd.Series([f"case{i}" for i in range(50)])
    patients = np.arange(50) // 7
    chosen = one_a_patient(cases, patients)
    assert sorted(patients[chosen]) == list(range(8))
    shuffled = np.random.default_rng(0).permutation(50)
    again = one_a_patient(cases[shuffled].reset_index(drop=True), patients[shuffled])
    assert set(cases[chosen]) == set(cases[shuffled].to_numpy()[again])


def test_columns_that_name_somebody_are_left_out() -> None:
    count = 40
    cases = pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(count)],
            "patient_name": ["Doe", "Roe"] * 20,
            "number": np.arange(count),
            "remark": [f"text {i}" for i in range(count)],
            "nurse": [f"nurse {i % 30}" for i in range(count)],
            "constant": "x",
            "empty": np.nan,
            "age": np.arange(count) % 30,
            "weight": np.linspace(50, 90, count),
            "smoker": [0.0, 1.0, np.nan, 1.0] * 10,
            "site": ["A", "B"] * 20,
        }
    )
    kinds, left_out = user_columns(cases, np.arange(count))
    assert kinds == {"age": "number", "weight": "number", "smoker": "category", "site": "category"}
    assert set(left_out) == {"patient_name", "number", "remark", "nurse", "constant", "empty"}


def test_values_missing_in_one_part_are_found_and_copies_of_the_target_are_not_counted() -> None:
    run = two_parts(1)
    test = run.cases["split"] == "test"
    gone = test & (np.arange(len(run.cases)) % 8 < 6)
    cases = run.cases.assign(age=run.cases["age"].where(~gone), again=run.predictions["target"].to_numpy())
    changed = EvaluatedRun("r", run.task, cases, run.predictions)
    drift = part_drift(changed.part("val"), changed.part("test"))
    assert "age: unknown" in [one.name for one in drift.flagged]
    assert drift.left_out["again"] == "it says the same as the target"


@pytest.mark.parametrize("patients", [(1, 1), (3, 60), (12, 12)])
def test_few_patients_are_no_error(patients: tuple[int, int]) -> None:
    run = two_parts(0, patients, scans=2)
    drift = part_drift(run.part("val"), run.part("test"))
    assert drift.patients == patients
    assert all(np.isnan(one.p) for one in drift.differences) == (min(patients) < 10)


def test_a_column_with_an_infinite_number_is_no_error() -> None:
    run = two_parts(0)
    odd = run.cases.assign(dose=np.where(np.arange(len(run.cases)) % 3 == 0, np.inf, 1.0))
    drift_of(EvaluatedRun("r", run.task, odd, run.predictions))


def test_intensities_are_those_of_the_part_where_both_have_cases_of_one_name() -> None:
    run = two_parts(0, (60, 60))
    names = run.cases["case_id"].str.removeprefix("val").str.removeprefix("test")
    cases, predictions = (table.assign(case_id=names) for table in (run.cases, run.predictions))
    same = EvaluatedRun("r", run.task, cases, predictions)
    mean = np.where(cases["split"] == "test", 0.9, 0.1) + np.linspace(0, 0.05, len(cases))
    intensities = cases[["case_id", "split"]].assign(mean=mean)
    flagged = part_drift(same.part("val"), same.part("test"), intensities).flagged
    assert "mean intensity" in [one.name for one in flagged]
