"""The section of uncertainty: is it informative, whom to read again, and sets of stated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import LinePlot, Section, Table
from tasks.evaluation.report.sections.uncertainty import section
from tests.tasks.evaluation.part_tables import KINDS, part_tables, subject_of


def both(kind: str, seed: int = 0, patients: int = 120) -> tuple[PartTables, PartTables]:
    return part_tables(kind, seed, patients, split="val"), part_tables(kind, seed + 1000, patients)


def said_of(*parts: PartTables, **settings: object) -> Section:
    found = section(subject_of(*parts, **settings))
    assert found is not None
    return found


def table(of: Section, name: str) -> Table:
    return next(part for part in of.parts if isinstance(part, Table) and part.name == name)


def test_what_a_reader_is_told_of_a_binary_model() -> None:
    found = said_of(*both("binary"))
    assert found.lines[0].startswith("The model knows where it is wrong: AUROC 0.")
    assert "again meets" in found.lines[1]
    assert "stated coverage of 0.90 hold the true class" in found.lines[2]
    assert not found.flags
    assert any(isinstance(part, LinePlot) and part.name == "risk_coverage" for part in found.parts)
    rows = table(found, "second_reader").rows
    assert [row[0] for row in rows[:3]] == [1, 2, 3]
    uncertainty = [float(str(row[2])) for row in rows]
    assert uncertainty == sorted(uncertainty, reverse=True)
    assert len(rows) <= 500


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_the_coverage_that_is_asked_for_is_reached(coverage: float) -> None:
    reached = []
    for seed in range(10):
        sets = table(said_of(*both("multiclass", seed), coverage=coverage), "conformal")
        assert sets.rows[0][1] == coverage
        assert isinstance(sets.rows[0][2], MetricValue)
        reached.append(sets.rows[0][2].value)
    assert np.mean(reached) >= coverage - 0.02


def test_patients_unlike_those_of_validation_are_flagged_and_like_ones_are_not() -> None:
    shifted, flagged = 0, 0
    for seed in range(10):
        validation, test = both("regression", seed)
        flagged += len(said_of(validation, test).flags)
        test.predictions["prediction"] = (test.predictions["prediction"].astype(float) + 6).astype(str)
        shifted += any("unlike those of validation" in flag for flag in said_of(validation, test).flags)
    assert flagged == 0
    assert shifted == 10


def test_a_model_that_is_wrong_where_it_is_sure_is_flagged() -> None:
    validation, test = both("binary")
    score = test.predictions["score_ill"].to_numpy()
    near = np.abs(score - 0.4) < 0.1
    right = np.where(score >= 0.4, "ill", "healthy")
    turned = np.where(score >= 0.4, "healthy", "ill")
    test.predictions["target"] = np.where(near | (np.arange(len(score)) % 2 == 0), right, turned)
    found = said_of(validation, test)
    assert any("where it is sure" in flag for flag in found.flags)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_section_or_nothing_to_say(kind: str) -> None:
    found = section(subject_of(*both(kind)))
    if kind == "segment":  # masks alone say nothing of their uncertainty
        assert found is None
        return
    assert found is not None
    tables = [part for part in found.parts if isinstance(part, Table)]
    assert all(len(row) == len(part.columns) for part in tables for row in part.rows)
    assert len({part.name for part in found.parts}) == len(found.parts)


@pytest.mark.parametrize("kind", KINDS)
def test_few_patients_and_no_validation(kind: str) -> None:
    for patients in (1, 2, 12):
        section(subject_of(part_tables(kind, patients=patients)))
        section(subject_of(*both(kind, patients=patients)))


def test_too_few_patients_to_promise_anything() -> None:
    validation, test = part_tables("multiclass", 0, 8, split="val"), part_tables("multiclass", 1)
    assert any("8 patients, too few" in line for line in said_of(validation, test).lines)


def test_one_patient_is_one_patient_and_missed_boxes_are_counted() -> None:
    validation, test = part_tables("multiclass", 0, 1, split="val"), part_tables("multiclass", 1)
    assert any("Validation has 1 patient, too few" in line for line in said_of(validation, test).lines)
    boxes = part_tables("detect", 0, 60)
    boxes.predictions["score"] = 0.1  # none is called
    assert boxes.targets is not None
    kept = boxes.cases["case_id"].isin(boxes.targets["case_id"])
    rows = table(said_of(boxes.take(kept.to_numpy())), "savings").rows
    assert rows
    assert all(isinstance(row[2], int) for row in rows)


def test_one_class_equal_scores_and_unknown_targets() -> None:
    validation, test = both("binary", patients=20)
    test.predictions["score_ill"] = test.predictions["score_healthy"] = 0.5
    said_of(validation, test)
    test.predictions["target"] = "ill"
    said_of(validation, test)
    test.predictions["target"] = None
    assert section(subject_of(validation, test)) is None
    nothing = both("detect", patients=20)[1]
    empty = PartTables(nothing.task, "test", nothing.cases, nothing.predictions.iloc[:0], nothing.targets)
    section(subject_of(empty))


def test_names_of_classes_stay_text() -> None:
    validation, test = both("multiclass", patients=30)
    names = {"one": "<script>", "two": "NA", "three": "score_x"}
    for part in (validation, test):
        part.task.class_names[:] = list(names.values())
        part.predictions.rename(columns={f"score_{old}": f"score_{new}" for old, new in names.items()}, inplace=True)
        for column in ("target", "prediction"):
            part.predictions[column] = part.predictions[column].map(names)
    rows = table(said_of(validation, test), "conformal_by_class").rows
    assert [row[0] for row in rows] == ["<script>", "NA", "score_x"]
