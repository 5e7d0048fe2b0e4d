from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from scansuite.errors import SuiteError
from tasks.evaluation.other_tables import TableFiles, read_other_tables
from tests.tasks.evaluation.run_folders import binary_tables


def write(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    file = folder / name
    frame.to_csv(file, index=False)
    return file


@pytest.fixture
def scores() -> pd.DataFrame:
    """One score a case, as most tools write it."""
    cases, predictions = binary_tables()
    return pd.DataFrame(
        {
            "case_id": cases["case_id"],
            "patient_id": cases["patient_id"],
            "sex": cases["sex"],
            "target": (predictions["target"] == "ill").astype(int),
            "score": predictions["score_ill"],
        }
    )


def test_one_score_a_case_is_enough(scores: pd.DataFrame, tmp_path: Path) -> None:
    run = read_other_tables("classify", TableFiles(write(tmp_path, "p.csv", scores)))
    part = run.part("test")
    assert (run.task.class_names, part.kind, part.positive_class) == (["0", "1"], "binary", "1")
    assert list(part.cases.columns) == ["case_id", "split", "patient_id", "sex"]
    metrics = part.metrics()
    assert metrics["auroc"].value == pytest.approx(roc_auc_score(scores["target"], scores["score"]), abs=1e-12)
    assert metrics["auroc"].patients == 60


def test_the_positive_class_can_be_the_first(scores: pd.DataFrame, tmp_path: Path) -> None:
    named = scores.assign(target=np.where(scores["target"] == 1, "a ill", "b healthy"))
    run = read_other_tables("classify", TableFiles(write(tmp_path, "p.csv", named), positive_class="a ill"))
    expected = roc_auc_score(scores["target"], scores["score"])
    assert run.part("test").metrics()["auroc"].value == pytest.approx(expected, abs=1e-12)


def test_several_classes_several_labels_and_numbers_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"c{number}" for number in range(30)]
    three = rng.dirichlet(np.ones(3), 30)
    many = pd.DataFrame({"case_id": ids, "target": rng.choice(list("abc"), 30)})
    many = many.assign(**{f"score_{name}": three[:, k] for k, name in enumerate("abc")})
    labels = pd.DataFrame({"case_id": ids, "split": "validation"})
    for name in "xy":
        labels = labels.assign(**{f"target_{name}": rng.integers(0, 2, 30), f"score_{name}": rng.random(30)})
    numbers = pd.DataFrame({"case_id": ids, "target": rng.normal(size=30), "prediction": rng.normal(size=30)})
    found = {
        name: read_other_tables("classify", TableFiles(write(tmp_path, f"{name}.csv", table)))
        for name, table in (("many", many), ("labels", labels), ("numbers", numbers))
    }
    assert found["many"].part("test").kind == "multiclass"
    assert list(found["many"].part("test").predictions["prediction"]) == [list("abc")[k] for k in three.argmax(axis=1)]
    assert found["labels"].parts == ["val"]
    assert found["labels"].part("val").kind == "multilabel"
    assert found["numbers"].part("test").kind == "regression"
    assert all("auroc" in found[name].part(part).metrics() for name, part in (("many", "test"), ("labels", "val")))


def test_overlap_is_worked_out_from_counts(tmp_path: Path) -> None:
    counts = pd.DataFrame({"case_id": ["a", "b"], "tp": [5, 0], "fp": [5, 0], "fn": [0, 4], "tn": [90, 96]})
    run = read_other_tables("segment", TableFiles(write(tmp_path, "p.csv", counts)))
    metrics = run.part("test").metrics()
    assert run.task.class_names == ["foreground"]
    assert metrics["dice/foreground"].value == pytest.approx((2 / 3 + 0) / 2)
    assert np.isnan(metrics["hd95"].value)
    alone = pd.DataFrame({"case_id": ["a", "b"], "class": "liver", "dice": [0.5, 0.7]})
    run = read_other_tables("segment", TableFiles(write(tmp_path, "d.csv", alone)))
    assert run.part("test").metrics()["dice/liver"].value == pytest.approx(0.6)


def test_uncertainty_is_of_the_prediction_and_makes_no_subgroups(scores: pd.DataFrame, tmp_path: Path) -> None:
    counts = pd.DataFrame({"case_id": ["a", "b"], "tp": 9, "fp": 1, "fn": 2, "tn": 50, "scanner": ["x", "y"]})
    for task, table in (("classify", scores.assign(scanner="x")), ("segment", counts)):
        table["uncertainty"] = 0.5
        run = read_other_tables(task, TableFiles(write(tmp_path, f"{task}.csv", table)))
        assert "scanner" in run.cases
        assert "uncertainty" not in run.cases
        assert "uncertainty" in run.predictions


def test_boxes_count_images_without_any(tmp_path: Path) -> None:
    box = {"x1": 0, "y1": 0, "x2": 10, "y2": 10}
    targets = write(tmp_path, "t.csv", pd.DataFrame([{"case_id": "a", **box}]))
    found = write(tmp_path, "p.csv", pd.DataFrame([{"case_id": "a", "score": 0.9, **box}]))
    cases = write(tmp_path, "c.csv", pd.DataFrame({"case_id": ["a", "b", "c"], "patient_id": [1, 1, 2]}))
    run = read_other_tables("detect", TableFiles(found, cases, targets))
    metrics = run.part("test").metrics()
    assert (metrics["map50"].value, metrics["map50"].n, metrics["map50"].patients) == (1.0, 3, 2)


def bad(scores: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, str]]:
    nan = scores.assign(score=scores["score"].mask(scores.index == 2))
    logit = scores.assign(score=scores["score"] * 10 - 5)
    return {
        "no case": (scores.drop(columns="case_id"), "no column 'case_id'"),
        "empty case": (scores.assign(case_id=scores["case_id"].mask(scores.index == 1)), "case_id in row 2 is empty"),
        "nan": (nan, "in row 3 .test001_0. is no probability"),
        "logit": (logit, "is no probability"),
        "duplicate": (pd.concat([scores, scores.iloc[:1]]), "case 'test000_0' is duplicated in split 'test'"),
        "one class": (scores.assign(target=1), "the column 'target' has 1"),
        "no target": (scores.drop(columns="target"), "the column 'target' has 0"),
        "no split": (scores.assign(split=None), "split in row 1 is empty"),
    }


@pytest.mark.parametrize(
    "what", ["no case", "empty case", "nan", "logit", "duplicate", "one class", "no target", "no split"]
)
def test_what_is_wrong_is_named_with_file_and_row(what: str, scores: pd.DataFrame, tmp_path: Path) -> None:
    table, said = bad(scores)[what]
    file = write(tmp_path, "p.csv", table)
    with pytest.raises(SuiteError, match=said) as caught:
        read_other_tables("classify", TableFiles(file))
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_class_that_a_case_has_twice_is_named_with_file_and_row(tmp_path: Path) -> None:
    rows = pd.DataFrame({"case_id": ["a", "a", "b", "a"], "class": "liver", "dice": 0.5})
    rows.loc[1, "class"] = "NA"
    file = write(tmp_path, "dice.csv", rows)
    with pytest.raises(SuiteError, match=r"dice\.csv: case 'a' has class 'liver' once more in row 4: keep one"):
        read_other_tables("segment", TableFiles(file))
    parts = write(tmp_path, "parts.csv", rows[["case_id", "dice"]][1:].assign(split=["val", "val", "test"]))
    assert read_other_tables("segment", TableFiles(parts)).parts == ["val", "test"]


@pytest.mark.parametrize(("mark", "named"), [(";", "';' between its cells"), ("\t", "tabs between its cells")])
def test_cells_that_are_not_between_commas_are_named(
    mark: str, named: str, scores: pd.DataFrame, tmp_path: Path
) -> None:
    scores.to_csv(tmp_path / "p.csv", index=False, sep=mark)
    with pytest.raises(SuiteError, match=named):
        read_other_tables("classify", TableFiles(tmp_path / "p.csv"))
