"""Characteristics by part and the flow of the cases, against pandas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.documents.characteristics import characteristics_of, flow_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.report.content import BarPlot, Subject, Table
from tasks.evaluation.report.sections.data import section
from tests.tasks.evaluation.documents.folders import run_folder
from tests.tasks.evaluation.drift.scanners import two_parts


def test_characteristics_are_those_of_pandas() -> None:
    run = two_parts(0)
    rows = {str(row[0]): row[1:] for row in characteristics_of(run).rows}
    val, test = (run.cases[run.cases["split"] == part] for part in ("val", "test"))
    assert rows["cases"] == ("240", "320", None)
    assert rows["patients"] == ("60", "80", None)
    assert rows["cases of a patient, mean (most)"] == ("4.0 (4)", "4.0 (4)", None)
    assert rows["age, mean (SD)"][0] == f"{val['age'].mean():.1f} ({val['age'].std():.1f})"
    share = (test["sex"] == "F").mean()
    assert rows["sex: F, n (%)"][1] == f"{int(share * 320)} ({100 * share:.1f})"
    spread = np.sqrt((val["age"].var() + test["age"].var()) / 2)
    assert rows["age, mean (SD)"][2] == pytest.approx((test["age"].mean() - val["age"].mean()) / spread)
    known = run.predictions[run.predictions["split"] == "test"]["target"] == "<b>benign</b>"
    assert str(rows["target: <b>benign</b>, n (%)"][1]).startswith(f"{known.sum()} (")


def test_of_yes_and_no_the_yes_is_shown_and_what_is_unknown_counted() -> None:
    run = two_parts(0)
    smoker = np.where(np.arange(len(run.cases)) % 3 == 0, np.nan, np.arange(len(run.cases)) % 2)
    changed = EvaluatedRun("r", run.task, run.cases.assign(smoker=smoker), run.predictions)
    rows = {str(row[0]): row[1:] for row in characteristics_of(changed).rows}
    assert "smoker: 1, n (%)" in rows
    assert "smoker: 0, n (%)" not in rows
    assert str(rows["smoker: unknown"][0]).startswith("80 (33.3)")


def test_the_flow_adds_up(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", {"split/unreadable_cases": (3, 110)})
    facts = facts_of(Subject(run, "test"))
    rows = {str(row[0]): row[1:3] for row in flow_of(facts, run)}
    assert rows["found"] == (110, None)
    assert rows["left out: cannot be read"] == (3, None)
    assert rows["left out: in no part"] == (3, None)
    assert rows["in the parts"] == (104, 52)
    assert [rows[name] for name in ("training", "validation", "test")] == [(20, 10), (24, 12), (60, 30)]


def test_unknown_targets_are_in_the_flow(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    gone = run.predictions["case_id"].isin(run.predictions["case_id"].tail(7))
    changed = replace(run, predictions=run.predictions.assign(target=run.predictions["target"].mask(gone)))
    rows = {str(row[0]): row[1] for row in flow_of(facts_of(Subject(changed, "test")), changed)}
    assert rows["test: target unknown"] == 7


def test_the_section_says_source_and_parts_and_no_patient(tmp_path: Path) -> None:
    found = section(Subject(run_folder(tmp_path / "run"), "test"))
    assert found.lines[0] == (
        "ImageTable (scans): training 20 cases of 10 patients; validation 24 cases of 12 patients; test 60 cases of 30 "
        "patients."
    )
    assert "/home/doe" not in repr(found)
    assert "test4'" not in repr(found.parts)
    assert [type(part) for part in found.parts] == [Table, Table, BarPlot]
    assert all(len(row) == len(part.columns) for part in found.parts if isinstance(part, Table) for row in part.rows)


@pytest.mark.parametrize("what", ["one part", "no columns", "no targets"])
def test_odd_tables_are_no_error(what: str) -> None:
    run = two_parts(0, (3, 4), scans=1)
    cases, predictions = run.cases, run.predictions
    if what == "one part":
        cases, predictions = (table[table["split"] == "test"] for table in (cases, predictions))
    elif what == "no columns":
        cases = cases[["case_id", "split"]]
    else:
        predictions = predictions.assign(target=np.nan)
    found = section(Subject(EvaluatedRun("r", run.task, cases, predictions), "test"))
    table = found.parts[1]
    assert isinstance(table, Table)
    assert len(table.columns) == (2 if what == "one part" else 4)


def test_what_is_said_of_patients_is_what_the_tables_show(tmp_path: Path) -> None:
    run = two_parts(0, (3, 4))
    assert "No patient has cases in two parts." in section(Subject(run, "test")).lines
    alone = replace(run, **{name: getattr(run, name).query("split == 'test'") for name in ("cases", "predictions")})
    assert not any("parts" in line for line in section(Subject(alone, "test")).lines)
    unnamed = replace(run, cases=run.cases.assign(patient_id=run.cases["patient_id"].where(np.arange(28) > 0)))
    lines = section(Subject(unnamed, "test")).lines
    assert "No known patient has cases in two parts." in lines
    assert "No patient is given of 1 case: each counts as one of its own." in lines
    one = section(Subject(run_folder(tmp_path / "run", {"split/unreadable_cases": (1, 108)}), "test"))
    assert "1 case was left out because it cannot be read." in one.lines
