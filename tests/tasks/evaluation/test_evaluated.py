from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.evaluate import evaluate_classification
from tasks.evaluation.evaluated import EvaluatedRun, read_evaluated
from tasks.evaluation.tables import write_table
from tests.tasks.evaluation.run_folders import CLASSES, binary_tables, write_binary_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_binary_run(tmp_path / "run")


def test_metrics_are_those_of_metrics_json(folder: Path) -> None:
    run = read_evaluated(folder)
    expected = evaluate_classification(folder, "test", "test", "binary", CLASSES, "ill")
    assert run.parts == ["val", "test"]
    assert run.part("test").metrics() == expected


def test_predictions_come_in_the_order_of_the_cases(folder: Path) -> None:
    predictions = pd.read_csv(folder / "predictions.csv").iloc[::-1]
    write_table(predictions, folder / "predictions.csv")
    part = read_evaluated(folder).part("val")
    assert list(part.predictions["case_id"]) == list(part.cases["case_id"])


def test_some_of_the_cases_have_their_own_tables(folder: Path) -> None:
    part = read_evaluated(folder).part("test")
    women = (part.cases["sex"] == "F").to_numpy()
    own = part.take(women)
    assert len(own.cases) == len(own.predictions) == women.sum()
    assert len(np.unique(own.patients)) == part.cases.loc[women, "patient_id"].nunique()


def broken(run: EvaluatedRun, table: str, change: str) -> pd.DataFrame:
    frame: pd.DataFrame = getattr(run, table)
    if change == "duplicate":
        return pd.concat([frame, frame.iloc[:1]])
    return frame.iloc[1:] if change == "missing" else frame.drop(columns="split")


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("cases", "duplicate", "cases table: case 'val000_0' is duplicated in split 'val'"),
        ("predictions", "duplicate", "predictions table: case 'val000_0' is duplicated"),
        ("cases", "missing", "cases table: no row for case 'val000_0' of split 'val', which the predictions table has"),
        ("predictions", "missing", "predictions table: no row for case 'val000_0'"),
        ("cases", "column", "cases table: no column 'split'"),
    ],
)
def test_tables_that_are_not_of_the_same_cases_are_refused(folder: Path, table: str, change: str, said: str) -> None:
    write_table(broken(read_evaluated(folder), table, change), folder / f"{table}.csv")
    with pytest.raises(SuiteError, match=said):
        read_evaluated(folder)


def test_a_part_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(SuiteError, match="no case of split 'external': there are val, test"):
        read_evaluated(folder).part("external")


def test_scores_of_the_made_up_tables_are_calibrated() -> None:
    _, predictions = binary_tables(patients=4000)
    ill, score = predictions["target"] == "ill", predictions["score_ill"]
    for low in (0.1, 0.3, 0.5, 0.7, 0.9):
        near = (score - low).abs() < 0.05
        assert abs(ill[near].mean() - score[near].mean()) < 0.06
