"""The section on drift: an answer for each state of the data, and no crash for odd tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.drift.profile import FILE, write_profile
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.report.content import Section, Subject, Table
from tasks.evaluation.report.sections.drift import section
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.drift.profiles import profile_of
from tests.tasks.evaluation.drift.scanners import two_parts


def said(run: EvaluatedRun) -> Section:
    found = section(Subject(run, "test"))
    assert found is not None
    return found


def test_a_shift_is_the_answer_and_a_flag() -> None:
    found = said(two_parts(0, shift=1.0, site=0.9))
    assert found.lines[0].startswith("The test cases differ from those of validation: ")
    assert len(found.flags) == 1
    table = found.parts[0]
    assert isinstance(table, Table)
    first = table.rows[0]
    assert first[0] in found.figures["validation"]["differ"]
    assert first[list(table.columns).index("verdict")] == "differs"
    assert all(len(row) == len(table.columns) for row in table.rows)
    names = [part.name for part in found.parts]
    assert len(set(names)) == len(names)
    assert "validation_numbers_1" in names
    assert "validation_categories_1" in names


def test_what_is_alike_is_said_without_a_flag() -> None:
    found = said(two_parts(3))
    assert found.lines[0].startswith("Between the test cases and those of validation no difference beyond chance")
    assert found.lines[1] == "Compared were 60 and 80 patients, one case of each."
    assert not found.flags


def test_no_validation_part_no_section() -> None:
    run = two_parts(0)
    assert section(Subject(run, "val")) is None
    alone = run.cases["split"] == "test"
    own = run.predictions["split"] == "test"
    assert section(Subject(EvaluatedRun("r", run.task, run.cases[alone], run.predictions[own]), "test")) is None


@pytest.mark.parametrize("what", ["patients", "scores", "targets", "columns", "patient"])
def test_odd_tables_are_no_error(what: str) -> None:
    run = two_parts(0, (12, 12), scans=2)
    cases, predictions = run.cases, run.predictions
    if what == "patients":
        cases = cases.drop(columns="patient_id")
    elif what == "scores":
        predictions = predictions.assign(**{"score_NA": 0.5, "score_<b>benign</b>": 0.5})
    elif what == "targets":
        predictions = predictions.assign(target=np.nan)
    elif what == "columns":
        cases = cases[["case_id", "patient_id", "split"]]
    else:
        cases = cases.assign(patient_id="one")
    found = said(EvaluatedRun("r", run.task, cases, predictions))
    if what == "patients":
        assert found.lines[1] == "Compared were 24 and 24 cases: no patients are given."
    if what == "patient":
        assert found.lines == [
            "Whether the test cases resemble those of validation was not tested: it takes 10 patients in each."
        ]


def test_a_detector_that_finds_nothing() -> None:
    run = two_parts(0, scans=1)
    task = RunTask("detect", ["<script>", "score_x"], {"<script>": 0.5}, {})
    predictions = run.predictions[["case_id", "split"]].assign(label="", score=0.0).iloc[:0]
    targets = run.cases[["case_id", "split"]].assign(label="<script>", ignore=False)
    found = said(EvaluatedRun("r", task, run.cases, predictions, targets))
    table = found.parts[0]
    assert isinstance(table, Table)
    assert {"boxes of <script>", "<script> called", "highest score of score_x"} <= {row[0] for row in table.rows}


def test_a_profile_of_training_in_the_folder_is_compared_with(tmp_path: Path) -> None:
    run = replace(two_parts(1, shift=1.0), folder=tmp_path)
    write_profile(tmp_path, profile_of(two_parts(2)))
    found = said(run)
    assert found.lines[0].startswith("The test cases differ from those of training: ")
    assert any("those of validation" in line for line in found.lines)
    assert len(found.flags) == 2
    names = [part.name for part in found.parts]
    assert len(set(names)) == len(names)
    assert {"training", "validation"} <= set(names)
    of_validation = section(Subject(run, "val"))
    assert of_validation is not None
    assert not of_validation.flags
    (tmp_path / FILE).write_text("{}")
    assert len(said(run).flags) == 1
