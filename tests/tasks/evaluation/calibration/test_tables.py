"""Calibration of predictions tables, fitted on those of a run and applied to any."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.calibration.applying import calibrate_boxes, calibrate_cases
from tasks.evaluation.calibration.scored import scored, uncalibrated
from tasks.evaluation.calibration.tables import fit_on, fit_on_frames
from tasks.evaluation.evaluated import PartTables
from tasks.evaluation.task_file import RunTask
from tests.tasks.evaluation.box_data import as_tables, random_images
from tests.tasks.evaluation.box_data import names as box_names
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label


def part(predictions: pd.DataFrame, kind: str, names: list[str], patients: int = 40) -> PartTables:
    cases = pd.DataFrame({"case_id": predictions["case_id"], "split": "val"})
    cases["patient_id"] = [f"p{number % patients}" for number in range(len(cases))]
    task = RunTask("classify", names, {}, {"target": kind, "positive_class": names[-1] if kind == "binary" else None})
    return PartTables(task, "val", cases, predictions)


def box_part(seed: int = 0) -> PartTables:
    cases, targets, predictions = as_tables(*random_images(seed, images=30), box_names())
    return PartTables(RunTask("detect", box_names(), {}, {"max_detections": 100}), "val", cases, predictions, targets)


@pytest.mark.parametrize(
    ("kind", "names"), [("binary", ["no", "NA"]), ("multiclass", ["a", "<b>", "c"]), ("ordinal", ["0", "1", "2"])]
)
def test_cases_are_calibrated_and_the_raw_scores_kept(kind: str, names: list[str]) -> None:
    table = single_label(300, names, 0)
    fit = fit_on(part(table, kind, names), "platt").calibration
    assert fit is not None
    found = calibrate_cases(table, fit, kind, names)
    scores = [f"score_{name}" for name in names]
    raw = [f"uncalibrated_{name}" for name in names]
    assert list(found.columns) == ["case_id", "split", "target", "prediction", *scores, *raw]
    np.testing.assert_allclose(found[scores].sum(axis=1), 1)
    np.testing.assert_array_equal(found[raw], table[scores])
    np.testing.assert_allclose(found[scores], fit.apply(table[scores]))
    numbers = found["prediction"].map(names.index)
    median = (found[scores].cumsum(axis=1).iloc[:, :-1] < 0.5).sum(axis=1)
    expected = median if kind == "ordinal" else found[scores].to_numpy().argmax(axis=1)
    assert (numbers == expected).all()
    # Once more it is the same, and the raw scores are what is fitted on.
    pd.testing.assert_frame_equal(calibrate_cases(found, fit, kind, names), found)
    assert fit_on(part(found, kind, names), "platt").calibration == fit
    back = uncalibrated(part(found, kind, names))
    assert back is not None
    np.testing.assert_array_equal(back.predictions[scores], table[scores])
    assert uncalibrated(part(table, kind, names)) is None


def test_labels_are_calibrated_each_for_itself() -> None:
    table, names = multilabel(400, 0), list(LABELS)
    found = fit_on(part(table, "multilabel", names), "temperature")
    assert found.calibration is not None
    assert set(found.calibration.maps) == {"mass", "oedema", "007"}
    assert "of hernia stay as they are" in found.said[0]
    calibrated = calibrate_cases(table, found.calibration, "multilabel", names)
    assert (calibrated["score_hernia"] == table["score_hernia"]).all()
    assert (calibrated["prediction_007"] == (calibrated["score_007"] > 0.5)).all()
    assert not np.allclose(calibrated["score_007"], table["score_007"])


def test_boxes_are_calibrated_by_class() -> None:
    tables = box_part()
    own = scored(tables)
    assert own is not None
    assert own.whole is not None
    assert len(own.whole.score) == sum(len(one.score) for one in own.findings)
    found = fit_on(tables, "platt")
    assert found.calibration is not None
    calibrated = calibrate_boxes(tables.predictions, found.calibration)
    columns = list(tables.predictions.columns)
    place = columns.index("score") + 1
    assert list(calibrated.columns) == [*columns[:place], "uncalibrated_score", *columns[place:]]
    raw = calibrated["uncalibrated_score"].to_numpy()
    for name in box_names():
        rows = (calibrated["label"] == name).to_numpy()
        np.testing.assert_allclose(calibrated["score"][rows], found.calibration.apply_to(name, raw[rows]))
    falls = calibrated.groupby("case_id", sort=False)["score"].diff().dropna()
    assert (falls <= 0).all()
    assert sorted(raw) == sorted(tables.predictions["score"])
    pd.testing.assert_frame_equal(calibrate_boxes(calibrated, found.calibration), calibrated)
    assert len(calibrate_boxes(tables.predictions.iloc[:0], found.calibration)) == 0
    assert calibrate_boxes(tables.predictions, None) is tables.predictions


def test_frames_that_are_not_written_yet() -> None:
    table, classes = single_label(200, ["a", "b"], 1), ["a", "b"]
    tables = part(table, "binary", classes)
    facts = {"target": "binary", "positive_class": "b"}
    shuffled = tables.cases.sample(frac=1, random_state=0)
    assert fit_on_frames("classify", classes, facts, table, shuffled, None, "platt") == fit_on(tables, "platt")
    alone = fit_on_frames("classify", classes, facts, table, None, None, "platt").calibration
    assert alone is not None
    assert alone.patients == alone.cases


def test_what_has_no_scores_is_refused() -> None:
    table = pd.DataFrame({"case_id": ["a"], "target": ["1"], "prediction": ["2"]})
    with pytest.raises(SuiteError, match="regression has no scores by case"):
        fit_on(part(table, "regression", ["size"]), "temperature")
    with pytest.raises(SuiteError, match="no column 'score_b'"):
        calibrate_cases(
            pd.DataFrame({"case_id": ["x"], "score_a": [0.5]}),
            fit_on(part(single_label(200, ["a", "b"], 1), "binary", ["a", "b"]), "platt").calibration,
            "binary",
            ["a", "b"],
        )
