"""The section on cases: from a run folder alone, for each task, with what its tables say today."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.gallery.choice import choose_cases
from tasks.evaluation.gallery.measures import case_measures
from tasks.evaluation.gallery.store import CasePicture, write_gallery
from tasks.evaluation.gallery.thumbnails import mask_picture, scan_thumbnail
from tasks.evaluation.report.content import Gallery, Section, Subject
from tasks.evaluation.report.sections.gallery import section
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.box_data import as_tables, names, random_images
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

EVIL = "<script>"


def stored(run: EvaluatedRun, masks: bool = False) -> EvaluatedRun:
    """The run with pictures in its folder, as an evaluation leaves them."""
    assert run.folder is not None
    part = run.part("test")
    pictures = []
    for row, kinds in choose_cases(case_measures(part), part.patients):
        array = np.full((150, 200), row % 200, np.uint8)
        mask = mask_picture(np.eye(150, 200, dtype=np.uint8), 1, (150, 200)) if masks else b""
        scan = scan_thumbnail(Scan(array), Preprocess(channels=1))
        pictures.append(CasePicture(str(part.cases["case_id"][row]), scan, (150, 200), mask, mask, kinds))
    write_gallery(run.folder, "test", pictures)
    return run


def classified(folder: Path, kind: str, table: pd.DataFrame, classes: list[str]) -> EvaluatedRun:
    cases = table[["case_id", "split"]].assign(
        patient_id=[f"PATIENT{row // 2}" for row in range(len(table))],
        sex=np.where(np.arange(len(table)) % 4 < 2, "F", EVIL),
    )
    task = RunTask("classify", classes, {}, {"target": kind, "positive_class": classes[-1]})
    return EvaluatedRun("r", task, cases, table, None, folder)


def gallery(run: EvaluatedRun) -> tuple[Section, Gallery]:
    found = section(Subject(run, "test"))
    assert found is not None
    (part,) = found.parts
    assert isinstance(part, Gallery)
    return found, part


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "multilabel", "regression"])
def test_classification_says_truth_prediction_and_score(tmp_path: Path, kind: str) -> None:
    classes = ["NA", EVIL] if kind == "binary" else ["NA", "score_x", EVIL]
    if kind == "multilabel":
        table, classes = multilabel(80, 0), list(LABELS)
    elif kind == "regression":
        rng = np.random.default_rng(0)
        table = pd.DataFrame(
            {"case_id": [f"case{i}" for i in range(80)], "split": "test", "target": rng.normal(size=80)}
        )
        table["prediction"] = table["target"] + rng.normal(size=80)
    else:
        table = single_label(80, classes, 0)
    found, shown = gallery(stored(classified(tmp_path, kind, table, classes)))
    assert found.lines[0].startswith(f"{len(shown.cases)} cases of 80 (test), chosen because they tell most")
    assert not found.flags
    first = shown.cases[0]
    assert "worst" in first.kinds
    facts = dict(first.facts)
    assert {"truth", "prediction"} <= facts.keys()
    own = table.set_index("case_id").loc[first.case_id]
    if kind in ("binary", "multiclass", "ordinal"):
        assert facts["truth"] == own["target"]
        assert first.groups["class"] == [own["target"]]
        assert first.values["score of the true class"] == own[f"score_{own['target']}"]
        assert 0 <= first.values["entropy of the scores"] <= 1
    elif kind == "regression":
        assert facts["absolute error"] == pytest.approx((table["prediction"] - table["target"]).abs().max())
    assert all(set(case.groups) == set(first.groups) for case in shown.cases)
    assert all(set(case.values) == set(first.values) for case in shown.cases)
    assert {case.groups["sex"][0] for case in shown.cases} <= {"F", EVIL}
    assert "PATIENT" not in repr(found)
    assert shown.legend == []


@pytest.mark.parametrize("overlapping", [False, True])
def test_masks_come_with_dice_by_class(tmp_path: Path, overlapping: bool) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"c{n}", "test", name, rng.random(), 5, 5, 5) for n in range(20) for name in ("a", "b")]
    table = pd.DataFrame(rows, columns=["case_id", "split", "class", "dice", "tp", "fp", "fn"])
    cases = table[["case_id", "split"]].drop_duplicates().reset_index(drop=True)
    task = RunTask("segment", ["a", "b"] if overlapping else ["0", "a", "b"], {}, {"overlapping": overlapping})
    _, shown = gallery(stored(EvaluatedRun("r", task, cases, table, None, tmp_path), masks=True))
    first = shown.cases[0]
    assert first.truth.startswith(b"\x89PNG")
    assert first.prediction
    own = table[table["case_id"] == first.case_id]["dice"]
    assert dict(first.facts) == pytest.approx({"Dice": own.mean(), "Dice a": own.iloc[0], "Dice b": own.iloc[1]})
    assert first.groups["class"] == ["a", "b"]
    assert shown.legend == [("a", "#009e73"), ("b", "#cc79a7")]


def test_boxes_come_as_shares_of_the_image_and_say_which_are_wrong(tmp_path: Path) -> None:
    cases, targets, predictions = (table.assign(split="test") for table in as_tables(*random_images(5), names()))
    points = dict.fromkeys(names(), 0.5)
    task = RunTask("detect", names(), points, {"max_detections": 100})
    run = stored(EvaluatedRun("r", task, cases, predictions, targets, tmp_path))
    _, shown = gallery(run)
    measures = case_measures(run.part("test"))
    place = {case: row for row, case in enumerate(cases["case_id"])}
    for case in shown.cases:
        true = targets[targets["case_id"] == case.case_id]
        calls = predictions[(predictions["case_id"] == case.case_id) & (predictions["score"] >= 0.5)]
        boxes = {kind: [box for box in case.boxes if box.kind == kind] for kind in ("truth", "prediction")}
        assert (len(boxes["truth"]), len(boxes["prediction"])) == (len(true), len(calls))
        assert any(box.wrong for box in case.boxes) == (
            measures.false_positive[place[case.case_id]] or measures.false_negative[place[case.case_id]]
        )
        if len(true):
            x1, y1, x2, y2 = boxes["truth"][0].edges
            expected = true.iloc[0][["x1", "y1", "x2", "y2"]].to_numpy(float) / [200, 150, 200, 150]
            np.testing.assert_allclose([x1, y1, x2, y2], np.clip(expected, 0, 1))
            assert case.groups["class"] == list(dict.fromkeys(true["label"]))
        else:
            assert case.groups["class"] == ["none"]
    empty = replace(run, predictions=predictions.iloc[:0])
    assert all(box.kind == "truth" for case in gallery(empty)[1].cases for box in case.boxes)


def test_without_pictures_there_is_no_section(tmp_path: Path) -> None:
    run = classified(tmp_path, "binary", single_label(20, ["a", "b"], 0), ["a", "b"])
    assert section(Subject(run, "test")) is None
    stored(run)
    assert section(Subject(run, "test")) is not None
    assert section(Subject(replace(run, folder=None), "test")) is None


def test_what_the_tables_say_today_counts_and_lost_cases_are_left_out(tmp_path: Path) -> None:
    table = single_label(20, ["a", "b"], 0)
    run = stored(classified(tmp_path, "binary", table, ["a", "b"]))
    first = gallery(run)[1].cases[0].case_id
    mended = table.assign(target=table["target"].mask(table["case_id"] == first))
    again = gallery(replace(run, predictions=mended))[1].cases[0]
    assert dict(again.facts)["truth"] == "unknown"
    assert dict(again.facts)["score of the true class"] is None
    some = (table["case_id"] != first).to_numpy()
    fewer = replace(run, cases=run.cases[some], predictions=table[some])
    assert first not in [case.case_id for case in gallery(fewer)[1].cases]


def test_errors_are_those_at_the_operating_point_of_today(tmp_path: Path) -> None:
    table = single_label(60, ["a", "b"], 0)
    run = stored(classified(tmp_path, "binary", table.assign(prediction_op="a"), ["a", "b"]))
    kinds = {kind for case in gallery(run)[1].cases for kind in case.kinds}
    assert "false negative" in kinds
    assert "false positive" not in kinds
    _, shown = gallery(replace(run, predictions=table.assign(prediction_op="b")))
    target = table.set_index("case_id")["target"]
    for case in shown.cases:
        assert "false negative" not in case.kinds
        assert ("false positive" in case.kinds) == (target[case.case_id] == "a")
        assert dict(case.facts)["prediction"] == "b"


@pytest.mark.parametrize("odd", ["one class", "equal", "one patient", "nothing known", "one case"])
def test_odd_tables_are_no_error(tmp_path: Path, odd: str) -> None:
    table = single_label(20, ["a", "b"], 0)
    if odd == "one class":
        table["target"] = "a"
    elif odd == "equal":
        table["score_a"] = table["score_b"] = 0.5
    elif odd == "nothing known":
        table["target"] = pd.Series([None] * 20, dtype="str")
    elif odd == "one case":
        table = table.iloc[[1]].reset_index(drop=True)
    run = classified(tmp_path, "binary", table, ["a", "b"])
    run = replace(run, cases=run.cases.assign(patient_id="p")) if odd == "one patient" else run
    stored(run)
    found = section(Subject(run, "test"))
    assert (found is None) == (odd == "nothing known")
