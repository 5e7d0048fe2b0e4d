from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scansuite.errors import SuiteError
from tasks.evaluation.classification.metrics import classification_metrics
from tasks.evaluation.evaluate import evaluate_classification
from tasks.evaluation.metric_values import read_metrics
from tasks.evaluation.tables import write_table
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

NAMES = ["007", "NA", "None"]


def run_folder(folder: Path, predictions: pd.DataFrame, patients: int = 20) -> pd.DataFrame:
    """Write predictions and, in another order and with a case more, the cases; give the cases back."""
    cases = predictions[["case_id"]].assign(patient_id=[f"p{i % patients}" for i in range(len(predictions))], path="x")
    cases.loc[3, "patient_id"] = None
    shuffled = pd.concat([cases, cases.iloc[:1].assign(case_id="never evaluated")]).iloc[::-1]
    write_table(predictions, folder / "predictions.csv")
    write_table(shuffled, folder / "cases.csv")
    return cases


def test_figures_come_from_the_tables_on_disk(tmp_path: Path) -> None:
    predictions = single_label(120, NAMES, 0)
    predictions["split"] = np.where(np.arange(120) < 80, "test", "val")
    cases = run_folder(tmp_path, predictions)
    metrics = evaluate_classification(tmp_path, "test", "test", "multiclass", NAMES, None, 50)
    evaluate_classification(tmp_path, "val", "val", "multiclass", NAMES, None, 50)

    test = predictions[:80].assign(**{f"score_{n}": predictions[f"score_{n}"].astype("float32") for n in NAMES})
    expected = classification_metrics(test, "multiclass", NAMES, None, cases["patient_id"][:80], 50)
    stored = read_metrics(tmp_path / "metrics.json")
    assert metrics.keys() == expected.keys()
    for name, metric in expected.items():
        found = stored[f"test/{name}"]
        assert found == metrics[name]
        ends = (metric.value, metric.low, metric.high)
        assert (found.value, found.low, found.high) == pytest.approx(ends, abs=1e-6, nan_ok=True)
        assert (found.n, found.classes, found.patients) == (metric.n, metric.classes, metric.patients)
        assert (found.positives, found.withheld) == (metric.positives, metric.withheld)
    assert {name.split("/")[0] for name in stored} == {"val", "test"}

    matrix = pd.read_csv(tmp_path / "confusion_matrix_test.csv", dtype={"target": "str"}, keep_default_na=False)
    assert list(matrix.columns) == ["target", *NAMES]
    assert matrix["target"].tolist() == NAMES
    assert int(matrix[NAMES].to_numpy().sum()) == metrics["accuracy"].n
    assert (tmp_path / "confusion_matrix_val.csv").is_file()


def test_multilabel_and_regression_have_no_confusion_matrix(tmp_path: Path) -> None:
    predictions = multilabel(60, 0)
    cases = run_folder(tmp_path, predictions)
    metrics = evaluate_classification(tmp_path, "test", "test", "multilabel", LABELS, None, 30)
    expected = classification_metrics(predictions, "multilabel", LABELS, None, cases["patient_id"], 30)
    for name, metric in expected.items():
        assert metrics[name].low == pytest.approx(metric.low, abs=1e-6, nan_ok=True), name

    numbers = pd.DataFrame(
        {"case_id": ["1", "2", "3"], "split": "val", "target": [1.0, 2, 4], "prediction": [1.5, 2, 3]}
    )
    write_table(numbers, tmp_path / "predictions.csv")
    write_table(numbers[["case_id"]].assign(patient_id=""), tmp_path / "cases.csv")
    assert evaluate_classification(tmp_path, "val", "val", "regression", [])["mae"].value == pytest.approx(0.5)
    assert not list(tmp_path.glob("confusion*"))


def test_mistakes_are_named(tmp_path: Path) -> None:
    predictions = single_label(20, NAMES, 0)
    with pytest.raises(SuiteError, match=r"no predictions\.csv"):
        evaluate_classification(tmp_path, "test", "test", "multiclass", NAMES)
    cases = run_folder(tmp_path, predictions)
    with pytest.raises(SuiteError, match="no case of split 'val'"):
        evaluate_classification(tmp_path, "val", "val", "multiclass", NAMES)
    write_table(cases[1:], tmp_path / "cases.csv")
    with pytest.raises(SuiteError, match="no row for case 'case0'"):
        evaluate_classification(tmp_path, "test", "test", "multiclass", NAMES)
    write_table(pd.concat([predictions, predictions[:1]]), tmp_path / "predictions.csv")
    with pytest.raises(SuiteError, match="'case0' is duplicated"):
        evaluate_classification(tmp_path, "test", "test", "multiclass", NAMES)
    assert not (tmp_path / "metrics.json").exists()


def test_evaluation_needs_no_torch_and_no_task() -> None:
    code = "import sys, tasks.evaluation.evaluate, tasks.evaluation.classification.operating_point; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pytorch_lightning", "sklearn", "scipy", "rich", "tasks.base"} & set(modules)
    assert {".".join(name.split(".")[:2]) for name in modules if name.startswith("tasks.")} == {"tasks.evaluation"}
