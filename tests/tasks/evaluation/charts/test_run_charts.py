from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.evaluation.charts.learning_curves import best_epoch
from tasks.evaluation.charts.run_charts import draw_charts, draw_training
from tasks.evaluation.charts.style import shortened
from tasks.evaluation.classification.metrics import confusion_matrix
from tasks.evaluation.tables import counted, read_table, write_table
from tests.tasks.evaluation.tables_of_predictions import LABELS, multilabel, single_label

AWKWARD = ["a$b_{c}$", "_hidden", "폐렴", "line\nbreak", "a very long name of a class that no chart has room for", ""]


def write_run(folder: Path, target: str, names: Sequence[str], frame: pd.DataFrame, **facts: object) -> Path:
    """A run folder with the tables that charts are drawn from."""
    folder.mkdir(exist_ok=True)
    write_table(frame, folder / "predictions.csv")
    ids = frame["case_id"].drop_duplicates()
    cases = pd.DataFrame({"case_id": ids, "split": "test", "patient_id": [f"p{row // 2}" for row in range(len(ids))]})
    write_table(cases, folder / "cases.csv")
    entries: dict[str, object] = {
        "task": "x",
        "class_names": list(names),
        "operating_points": {},
        "target": target,
        "positive_class": None,
    }
    (folder / "task.json").write_text(json.dumps({**entries, **facts}))
    if target in ("binary", "multiclass", "ordinal"):
        matrix = confusion_matrix(read_table(folder / "predictions.csv"), names)
        matrix.to_csv(folder / "confusion_matrix_test.csv", index_label="target")
    return folder


def numbers(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 80, count)
    columns = {"case_id": [f"case{row}" for row in range(count)], "split": "test"}
    return pd.DataFrame({**columns, "target": truth, "prediction": truth + rng.normal(0, 4, count)})


def dice(cases: int, names: Sequence[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"case_id": f"case{case}", "split": "test", "class": name, "dice": rng.random() if rng.random() > 0.2 else None}
        for case in range(cases)
        for name in names
    ]
    return pd.DataFrame(rows)


def epochs(count: int, **columns: object) -> pd.DataFrame:
    fall = np.exp(-np.arange(count) / 5)
    return pd.DataFrame({"epoch": range(count), "train/loss": fall, "val/loss": fall + 0.1, "lr": 0.1 * fall} | columns)


def froc(lesions: float = 1.0) -> pd.DataFrame:
    rows = [(name, 1 - step / 10, step / 2, step / 10 * lesions) for name in (None, "a", "b") for step in range(1, 9)]
    frame = pd.DataFrame(rows, columns=["class", "threshold", "fp_per_image", "sensitivity"])
    return frame.assign(patient_sensitivity=frame["sensitivity"])


def whole(file: Path) -> bool:
    """A picture as wide as all, with something on it."""
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("L"))
    return bool(pixels.shape[1] == 896 and pixels.min() < 100 and 0.004 < np.mean(pixels < 250) < 0.9)


def test_each_kind_of_target_has_its_charts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scores, matrix = ["roc_test", "pr_test"], "confusion_matrix_test"
    four = ["a", "b", "c", "d"]
    runs = {
        "binary": (write_run(tmp_path / "1", "binary", four[:2], single_label(40, four[:2], 0)), [matrix, *scores]),
        "multiclass": (write_run(tmp_path / "2", "multiclass", four, single_label(40, four, 0)), [matrix, *scores]),
        "multilabel": (write_run(tmp_path / "3", "multilabel", LABELS, multilabel(40, 0)), scores),
        "ordinal": (write_run(tmp_path / "4", "ordinal", four, single_label(40, four, 0)), [matrix]),
        "regression": (
            write_run(tmp_path / "5", "regression", [], numbers(40)),
            ["predicted_test", "bland_altman_test"],
        ),
        "masks": (write_run(tmp_path / "6", "", ["background", "a", "b"], dice(9, ["a", "b"])), ["dice_test"]),
    }
    for kind, (folder, expected) in runs.items():
        files = draw_charts(folder)
        assert [file.stem for file in files] == expected, kind
        assert all(whole(file) for file in files), kind
    assert not caplog.records


def test_a_run_is_drawn_again_as_it_was(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", "binary", ["a", "b"], single_label(40, ["a", "b"], 0), operating_points={"b": 0.4}
    )
    write_table(epochs(12), run / "metrics.csv")
    first = {file.name: file.read_bytes() for file in draw_charts(run)}
    assert len(first) == 4
    other = Path(shutil.copytree(run, tmp_path / "other"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):  # a user's own style
        again = {file.name: file.read_bytes() for file in draw_charts(other)}
    assert again == first
    moved = json.loads((run / "task.json").read_text()) | {"operating_points": {"b": 0.7}}
    (run / "task.json").write_text(json.dumps(moved))
    changed = {file.name for file in draw_charts(run) if file.read_bytes() != first[file.name]}
    assert changed == {"roc_test.png", "pr_test.png"}  # the operating point is marked in them


@pytest.mark.parametrize("count", [1, 6, 45])
def test_many_classes_and_awkward_names(count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"class {number}" for number in range(count - min(count, 5))] + AWKWARD[: min(count, 5)]
    folders = [
        write_run(tmp_path / "1", "multiclass", names, single_label(150, names, 0)),
        write_run(tmp_path / "2", "", ["background", *names], dice(12, names)),
    ]
    for folder in folders:
        assert all(whole(file) for file in draw_charts(folder))
    columns = {f"val/dice/{name}": np.linspace(0, 1, 4) for name in names}
    write_table(epochs(4, **{"val/dice": 0.5}, **columns), tmp_path / "metrics.csv")
    assert [whole(file) for file in draw_training(tmp_path, class_names=names)] == [True]
    assert not caplog.records


@pytest.mark.parametrize(
    ("target", "frame"),
    [
        ("binary", single_label(2, ["a", "b"], 0).tail(1)),
        ("binary", single_label(30, ["a", "b"], 0, absent=("b",))),
        ("binary", single_label(30, ["a", "b"], 0).assign(target=pd.Series([None] * 30, dtype="str"))),
        ("multiclass", single_label(30, ["a", "b"], 0).assign(score_a=0.5, score_b=0.5)),
        ("regression", numbers(1)),
        ("regression", numbers(3).assign(target=None)),
        ("regression", numbers(5).assign(target=2.0, prediction=2.0)),
        ("", dice(1, ["a", "b"]).assign(dice=None)),
    ],
)
def test_what_is_undefined_fails_no_chart(
    target: str, frame: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = draw_charts(write_run(tmp_path / "run", target, ["a", "b"], frame))
    assert files
    assert all(Image.open(file).width == 896 for file in files)
    assert not caplog.records


@pytest.mark.parametrize(
    "table",
    [
        epochs(1),
        epochs(1).assign(lr=np.nan),
        epochs(3, **{"val/auroc": [np.nan, 0.7, np.nan]}),
        epochs(3, **{"val/auroc": np.nan, "train/loss": np.nan}),
        epochs(200, **{"val/map": 0.5, "val/map/a": 0.5, "val/map/b": np.nan}),
        epochs(3, **{"train/loss": [1e6, 1.0, 1e-3], "val/loss": [np.inf, 0.0, -1.0]}),
    ],
)
def test_short_and_broken_trainings(table: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_table(table, tmp_path / "metrics.csv")
    assert [whole(file) for file in draw_charts(tmp_path)] == [True]
    assert not caplog.records


def test_the_best_epoch_is_that_of_the_checkpoint() -> None:
    values, losses = np.array([np.nan, 0.5, 0.7, 0.7, 0.7]), np.array([0.0, 1.0, 0.9, 0.8, 0.8])
    assert best_epoch(values, losses, "max") == 3
    assert best_epoch(values, losses, "min") == 1
    assert best_epoch(values, np.full(5, np.nan), "max") == 2


def test_froc_of_lesions_and_of_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, curves in (("some", froc()), ("none", froc(np.nan)), ("empty", froc().iloc[:0])):
        folder = tmp_path / name
        folder.mkdir()
        write_table(curves, folder / "froc_val.csv")
        assert [whole(file) for file in draw_charts(folder)] == [True], name
    assert not caplog.records


def test_a_chart_that_fails_is_one_chart_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = write_run(tmp_path / "run", "binary", ["a", "b"], single_label(40, ["a", "b"], 0))
    write_table(epochs(3), run / "metrics.csv")
    assert len(draw_charts(run)) == 4
    (run / "metrics.csv").write_text("no,table\n1\n2,3,4\n")
    (run / "confusion_matrix_test.csv").write_text("target,a,b\na,1,2\n")
    with caplog.at_level(logging.WARNING):
        assert [file.stem for file in draw_charts(run)] == ["roc_test", "pr_test"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("not drawn: " in line and "\n" not in line for line in lines)
    assert not (run / "learning_curves.png").exists()  # the old one would pass for that of the new table


def test_a_folder_without_tables_has_no_charts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert draw_charts(tmp_path) == []
    assert not caplog.records


def test_no_torch_is_needed(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "binary", ["a", "b"], single_label(40, ["a", "b"], 0))
    code = (
        "import sys; from tasks.evaluation.charts.run_charts import draw_charts; "
        f"print(len(draw_charts({str(tmp_path / 'run')!r})), "
        "'torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["3", "False", "False"]


def test_words() -> None:
    cases = pd.DataFrame({"case_id": ["a", "b", "c"], "patient_id": ["p", "p", None]})
    assert counted(["a"], cases) == "1 case of 1 patient"
    assert counted(["a", "b"], cases) == "2 cases of 1 patient"
    assert counted(["a", "c"], cases) == "2 cases"  # a patient is unknown
    assert counted(["a", "b"], None) == "2 cases"
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert [len(shortened("x" * 50, longest)) for longest in (4, 7, 20)] == [4, 7, 20]
    assert not shortened("_a", 5).startswith("_")
