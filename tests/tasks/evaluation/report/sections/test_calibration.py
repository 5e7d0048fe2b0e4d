"""The section of calibration: of models that are calibrated, that are not, and of which too little is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.calibration.applying import calibrate_boxes, calibrate_cases
from tasks.evaluation.calibration.scored import Scored, of_classes
from tasks.evaluation.calibration.tables import fit_on
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import LinePlot, ReportSettings, Section, Subject, Table
from tasks.evaluation.report.plain import report_json
from tasks.evaluation.report.sections.calibration import section
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.box_data import as_tables, names, random_images
from tests.tasks.evaluation.calibration.simulated import binary, multiclass
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel

Tables = list[tuple[pd.DataFrame, pd.DataFrame]]


def cases_of(scored: Scored, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``cases`` and ``predictions`` of simulated scores."""
    assert scored.scores is not None
    assert scored.target is not None
    assert scored.groups is not None
    case_ids, classes = [f"{split}{number}" for number in range(len(scored.target))], np.array(scored.names)
    cases = pd.DataFrame({"case_id": case_ids, "split": split})
    cases["patient_id"] = [f"{split}{number}" for number in scored.groups]
    predictions = pd.DataFrame({"case_id": case_ids, "split": split, "target": classes[scored.target]})
    predictions["prediction"] = classes[scored.scores.argmax(axis=1)]
    for k, name in enumerate(scored.names):
        predictions[f"score_{name}"] = scored.scores[:, k]
    return cases, predictions


def run_of(tables: Tables, classes: list[str], kind: str, **facts: object) -> EvaluatedRun:
    own = {"target": kind, "positive_class": classes[-1] if kind == "binary" else None, **facts}
    cases, predictions = (pd.concat(frames, ignore_index=True) for frames in zip(*tables, strict=True))
    return EvaluatedRun("run", RunTask("classify", classes, {}, own), cases, predictions)


def said(run: EvaluatedRun, split: str = "test", **settings: object) -> Section:
    found = section(Subject(run, split, ReportSettings(**settings)))  # type: ignore[arg-type]
    assert found is not None
    report_json([], [], [found])  # all of it is plain
    return found


def table(found: Section, name: str) -> Table:
    return next(part for part in found.parts if isinstance(part, Table) and part.name == name)


def figure(found: Section, name: str, column: int) -> float:
    cell = next(row for row in table(found, "figures").rows if row[0] == name)[column]
    return cell.value if isinstance(cell, MetricValue) else float(cell)  # type: ignore[arg-type]


def test_an_over_confident_model_is_flagged_and_what_would_mend_it_shown() -> None:
    run = run_of(
        [cases_of(binary(seed, 300, factor=3), split) for seed, split in enumerate(("val", "test"))],
        ["a", "b"],
        "binary",
    )
    found = said(run)
    assert found.lines[0].startswith("The scores are over-confident: score and outcome are 0.")
    assert list(found.flags) == [found.lines[0]]
    assert "Temperature scaling fitted on validation would give" in found.lines[1]
    assert "the scores of the run are as they were" in found.lines[1]
    assert table(found, "figures").columns[1:3] == ("as the model gives them", "temperature, not applied")
    assert figure(found, "slope", 1) == pytest.approx(1 / 3, abs=0.06)
    assert figure(found, "slope", 2) == pytest.approx(1, abs=0.15)
    assert figure(found, "Brier score", 2) < figure(found, "Brier score", 1)
    plot = next(part for part in found.parts if isinstance(part, LinePlot))
    assert [line.name for line in plot.lines] == ["", "as the model gives them", "temperature, not applied"]
    assert found.figures["in_use"] == "as the model gives them"


def test_figures_are_those_of_metrics_json() -> None:
    run = run_of([cases_of(multiclass(2), "test")], [f"class {k}" for k in range(4)], "multiclass")
    found, metrics = said(run), Subject(run, "test").metrics
    rows = {row[0]: row for row in table(found, "figures").rows}
    for name, metric in (("Brier score", "brier"), ("ECE", "ece"), ("squared ECE", "squared_ece")):
        assert rows[name][1] == metrics[metric]
    predictions = multilabel(300, 1)
    cases = pd.DataFrame({"case_id": predictions["case_id"], "split": "test"})
    run = run_of([(cases, predictions)], list(LABELS), "multilabel")
    found, metrics = said(run), Subject(run, "test").metrics
    for row in table(found, "by_class").rows:
        assert metrics[f"brier/{row[0]}"] in row
        assert metrics[f"ece/{row[0]}"] in row


def test_a_method_is_fitted_anew_by_setting_and_none_shows_nothing_else() -> None:
    run = run_of([cases_of(multiclass(seed, factor=2), split) for seed, split in enumerate(("val", "test"))],
                 [f"class {k}" for k in range(4)], "multiclass")  # fmt: skip
    found = said(run, calibration="dirichlet")
    assert table(found, "figures").columns[2] == "dirichlet, not applied"
    assert "slope, dirichlet, not applied" in table(found, "by_class").columns
    assert len(table(said(run, calibration="none"), "figures").columns) == 3


def test_of_validation_alone_a_fit_is_shown_on_patients_that_it_did_not_see() -> None:
    run = run_of([cases_of(binary(0, 300, factor=3), "val")], ["a", "b"], "binary")
    found = said(run, "val")
    assert "fitted on the other patients, a fifth of all left out at a time, would give" in found.lines[1]
    assert figure(found, "slope", 2) == pytest.approx(1, abs=0.15)
    few = said(run_of([cases_of(binary(0, 11, factor=3), "val")], ["a", "b"], "binary"), "val")
    assert few.lines[1] == "No calibration could be fitted on four fifths of these cases."


@pytest.mark.parametrize("kind", ["binary", "boxes"])
def test_the_run_s_own_calibration_is_shown_before_and_after(kind: str) -> None:
    if kind == "binary":
        run = run_of(
            [cases_of(binary(seed, 300, factor=3), split) for seed, split in enumerate(("val", "test"))],
            ["a", "b"],
            kind,
        )
    else:
        run = boxes_of(range(2))
    fit = fit_on(run.part("val"), "platt").calibration
    assert fit is not None
    calibrated = (
        calibrate_cases(run.predictions, fit, kind, ["a", "b"])
        if kind == "binary"
        else calibrate_boxes(run.predictions, fit)
    )
    own = {**run.task.own, "calibration": "platt", "calibrated_by": fit.to_dict()}
    after = replace(run, predictions=calibrated, task=replace(run.task, own=own))
    found, before = said(after), said(run, calibration="platt")
    assert table(found, "figures").columns[1:3] == ("as the model gives them", "calibrated (platt)")
    assert f"fitted on validation on {fit.cases} {'boxes' if kind == 'boxes' else 'cases'}" in found.lines[1]
    for name in ("slope", "Brier score", "reliability", "mean score"):
        for column in (1, 2):
            assert figure(found, name, column) == pytest.approx(figure(before, name, column))
    assert found.figures["in_use"] == "calibrated (platt)"
    assert "flatters it" in " ".join(said(after, "val").lines)
    assert not any("flatters" in line for line in found.lines)


def boxes_of(seeds: range) -> EvaluatedRun:
    parts = []
    for seed, split in zip(seeds, ("val", "test"), strict=False):
        frames = as_tables(*random_images(seed, images=60), names())
        parts.append([frame.assign(case_id=split + frame["case_id"], split=split) for frame in frames])
    cases, targets, predictions = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    task = RunTask("detect", names(), {}, {"max_detections": 100, "froc_iou": 0.5})
    return EvaluatedRun("run", task, cases, predictions, targets)


def test_several_classes_are_flagged_once() -> None:
    scored = multiclass(0, 300, factor=3)
    found = said(run_of([cases_of(scored, "test")], list(scored.names), "multiclass"))
    assert len(found.flags) == 1
    whole, by_class = (part for part in found.parts if isinstance(part, LinePlot))
    assert whole.y_name == "share of cases whose highest-scoring class is right"
    assert [line.name for line in by_class.lines] == ["", *scored.names]
    assert [row[-1] for row in table(found, "by_class").rows] == ["over-confident"] * 4


def told_apart(high: float, noise: float) -> Section:
    there = np.arange(120) % 2
    score = np.where(there == 1, high, 1 - high) + np.random.default_rng(0).uniform(-noise, noise, 120)
    scored = of_classes(np.stack([1 - score, score], axis=1), there.astype(np.intp), np.arange(120), ("a", "b"), 1)
    return said(run_of([cases_of(scored, "test")], ["a", "b"], "binary"))


def test_what_cannot_be_tested_is_not_said_to_be_calibrated() -> None:
    assert told_apart(0.6, 0.0).lines[0].startswith("Whether the scores are calibrated could not be tested: ")


@pytest.mark.parametrize(("high", "direction"), [(0.6, "under-confident"), (0.2, "over-confident")])
def test_told_apart_without_a_mistake_the_direction_is_that_of_the_order(high: float, direction: str) -> None:
    found = told_apart(high, 0.05)
    assert len(found.flags) == 1
    assert found.lines[0].startswith(f"The scores are {direction}: ")
    assert "told apart without a mistake" in found.lines[0]


def test_boxes_are_right_or_not() -> None:
    found = said(boxes_of(range(2)))
    assert "right boxes" in found.lines[0]
    whole, by_class = (part for part in found.parts if isinstance(part, LinePlot))
    assert whole.y_name == by_class.y_name == "share of boxes that are right"
    assert [line.name for line in by_class.lines[1:]] == [*names()[:3], "never true"]
    assert len(table(found, "by_class").rows) == 4  # one is never found


def test_labels_are_told_one_by_one() -> None:
    predictions = multilabel(400, 0)
    cases = pd.DataFrame({"case_id": predictions["case_id"], "split": "test"})  # each a patient
    found = said(run_of([(cases, predictions)], list(LABELS), "multilabel"))
    assert found.lines[0].startswith("Scores of ")
    assert "There is no validation part" in found.lines[1]
    assert len(table(found, "by_class").rows) == len(LABELS)
    (plot,) = (part for part in found.parts if isinstance(part, LinePlot))
    assert [line.name for line in plot.lines] == ["", *LABELS]


def test_of_few_patients_nothing_is_claimed() -> None:
    found = said(run_of([cases_of(binary(0, 12, factor=5), "test")], ["a", "b"], "binary"))
    assert found.lines[0].startswith("Whether the scores are calibrated cannot be said: it takes 20 patients")
    assert not found.flags


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("targets", [["b"], ["a", "b"], [None, "b"]])
@pytest.mark.parametrize("cases", [1, 50])
def test_poor_tables_do_not_end_a_report(score: float, targets: list[str | None], cases: int) -> None:
    names = [f"{split}{number}" for split in ("val", "test") for number in range(cases)]
    splits = ["val"] * cases + ["test"] * cases
    target = [targets[number % len(targets)] for number in range(2 * cases)]
    predictions = pd.DataFrame({"case_id": names, "split": splits, "target": pd.Series(target, dtype="str")})
    predictions = predictions.assign(prediction="a", score_a=1 - score, score_b=score)
    run = run_of([(pd.DataFrame({"case_id": names, "split": splits}), predictions)], ["a", "b"], "binary")
    found = section(Subject(run, "test"))
    assert found is not None
    if score == 0.5 and targets == ["a", "b"] and cases == 50:
        assert "(no slope: all scores are the same)" in found.lines[0]
    assert bool(found.flags) == (cases == 50 and targets == ["a", "b"] and score != 0.5)
    unknown = replace(run, predictions=predictions.assign(target=pd.Series([None] * len(names), dtype="str")))
    assert section(Subject(unknown, "test")) is None


def test_nothing_is_said_of_segmentation_regression_and_a_detector_that_finds_nothing() -> None:
    boxes = boxes_of(range(2))
    assert section(Subject(replace(boxes, predictions=boxes.predictions.iloc[:0]), "test")) is None
    predictions = pd.DataFrame({"case_id": ["a"], "split": "test", "target": "1", "prediction": "2"})
    run = run_of([(predictions[["case_id", "split"]], predictions)], ["size"], "regression")
    assert section(Subject(run, "test")) is None
    assert section(Subject(replace(run, task=RunTask("segment", ["organ"], {}, {})), "test")) is None


@pytest.mark.parametrize("classes", [["NA", "<script>"], ["score_x", "x"]])
def test_a_class_may_be_called_anything(classes: list[str]) -> None:
    renamed = replace(binary(0, 200, factor=3), names=tuple(classes))
    found = said(run_of([cases_of(renamed, split) for split in ("val", "test")], classes, "binary"))
    assert len(found.flags) == 1
    assert len(found.parts) == 3
