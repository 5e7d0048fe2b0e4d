"""Limits: leaks are found and flagged, a sound run raises none, and what is not known is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.limits import limits_of
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.report.content import ReportSettings, Subject
from tasks.evaluation.report.sections.limits import section
from tasks.evaluation.segmentation.metrics import METRICS
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.documents.folders import run_folder
from tests.tasks.evaluation.drift.scanners import two_parts

FAST = ReportSettings(resamples=0)


def said(run: EvaluatedRun, split: str = "test") -> dict[str, str]:
    subject = Subject(run, split, FAST)
    return {limit.what: limit.why for limit in limits_of(subject, facts_of(subject))}


def test_test_cases_seen_in_training_are_a_flag(tmp_path: Path) -> None:
    lead = "split/test_cases_seen_in_training"
    notes = {lead: (9, 60), f"{lead}/case_id": (0, 60), f"{lead}/patient": (4, 60), f"{lead}/image": (9, 60)}
    found = section(Subject(run_folder(tmp_path / "run", notes), "test", FAST))
    assert found.flags == [
        "9 of 60 test cases are among those that it was trained or chosen on (4 by patient, 9 by identical image): "
        "results flatter."
    ]
    assert found.figures["seen_in_training"] == 9


def test_identical_images_and_patients_in_two_parts_are_flags(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", {"split/images_in_two_parts": (2, 100)})
    split = (tmp_path / "run" / "split.csv").read_text().replace("t3,t1,train", "t3,test4,train")
    (tmp_path / "run" / "split.csv").write_text(split)
    found = section(Subject(run, "test", FAST))
    assert len(found.flags) == 2
    assert any("1 patient has cases in two parts" in flag for flag in found.flags)
    assert any("2 identical images are in two parts" in flag for flag in found.flags)


def test_a_sound_run_raises_no_flag(tmp_path: Path) -> None:
    found = section(Subject(run_folder(tmp_path / "run", looks=1), "test", FAST))
    assert not found.flags
    assert found.figures == {"test_looked_at": 1, "seen_in_training": None}


def test_looks_at_test_are_counted_by_the_model(tmp_path: Path) -> None:
    why = said(run_folder(tmp_path / "run", looks=3))["Results of a first look at test"]
    assert "3 times (index.csv lists 4 evaluations in all)" in why
    assert "Results of a first look at test" not in said(run_folder(tmp_path / "b" / "run", looks=1))


def test_results_of_validation_are_a_flag(tmp_path: Path) -> None:
    found = section(Subject(run_folder(tmp_path / "run"), "val", FAST))
    assert any("they flatter" in flag for flag in found.flags)


def test_tables_of_another_tool_say_little() -> None:
    found = said(two_parts(0))
    assert found["Whether cases were seen in training"] == "The tables are of another tool and do not say."
    assert "How the model does elsewhere" not in found


def test_absent_classes_few_patients_and_no_patients_are_named() -> None:
    run = two_parts(0, (5, 6))
    one = EvaluatedRun("r", run.task, run.cases, run.predictions.assign(target="NA"))
    found = said(one)
    assert found["Anything of some classes"] == "No test case has <b>benign</b>."
    assert found["How sure any result is"] == "6 patients in test: intervals are withheld."
    alone = EvaluatedRun("r", run.task, run.cases.drop(columns=["patient_id", "site", "age", "sex"]), run.predictions)
    found = said(alone)
    for name in ("Intervals by patient", "Whether results differ by age or sex"):
        assert name in found


@pytest.mark.parametrize("what", ["unknown targets", "detection", "segmentation", "multilabel", "regression"])
def test_odd_tables_are_no_error(what: str) -> None:
    run = two_parts(0, (3, 4), scans=2)
    base = run.predictions[["case_id", "split"]]
    count = len(base)
    made = {
        "unknown targets": (run.task, run.predictions.assign(target=np.nan), None),
        "detection": (
            RunTask("detect", ["<script>"], {}, {"max_detections": 100, "froc_iou": 0.5}),
            base.assign(label="<script>", score=0.5, x1=0.0, y1=0.0, x2=1.0, y2=1.0).iloc[:0],
            base.assign(label="<script>", x1=0.0, y1=0.0, x2=1.0, y2=1.0, ignore=False),
        ),
        "segmentation": (
            RunTask("segment", ["NA"], {}, {}),
            base.assign(tp=0, fp=0, fn=0, tn=9, **dict.fromkeys(METRICS, np.nan)).assign(**{"class": "NA"}),
            None,
        ),
        "multilabel": (
            RunTask("classify", ["score_x"], {}, {"target": "multilabel"}),
            base.assign(target_score_x=np.nan, prediction_score_x=0, score_score_x=0.5),
            None,
        ),
        "regression": (
            RunTask("classify", ["age"], {}, {"target": "regression"}),
            base.assign(target=np.arange(count, dtype=float), prediction=1.0),
            None,
        ),
    }
    task, predictions, targets = made[what]
    found = section(Subject(EvaluatedRun("r", task, run.cases, predictions, targets), "test", FAST))
    assert found.parts
