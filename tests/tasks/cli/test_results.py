"""What a training says before it begins and after it has ended."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scansuite.words import number_of
from tasks.cli.results import folds_text, results_text
from tasks.cli.runs.run_dir import count_test, index_of
from tasks.evaluation.metric_names import distance_unit
from tasks.evaluation.metric_values import (
    TOO_FEW_REST,
    WITHHELD,
    MetricValue,
    read_metrics,
    with_interval,
    write_metrics,
)
from tasks.evaluation.spread import spread
from tests.tasks.cli.conftest import TINY, Run, one_line


def test_an_interval_of_nine_patients_is_withheld_with_its_reason(tmp_path: Path) -> None:
    nine, ten = (with_interval((0.5, 0.4, 0.6), n=20, patients=patients) for patients in (9, 10))
    assert (nine.value, nine.withheld, ten) == (0.5, WITHHELD, MetricValue(0.5, 0.4, 0.6, 20, patients=10))
    file = tmp_path / "metrics.json"
    write_metrics(file, {"test/dice": nine, "test/iou": ten})
    entries = json.loads(file.read_text())
    left_out = {"value": 0.5, "low": None, "high": None, "n": 20, "patients": 9, "withheld": WITHHELD}
    assert entries["test/dice"] == left_out
    assert "withheld" not in entries["test/iou"]
    again = read_metrics(file)["test/dice"]
    assert (again.withheld, again.patients, math.isnan(again.low)) == (WITHHELD, 9, True)


def test_few_patients_on_one_side_withhold_an_interval_too() -> None:
    four, five = (with_interval((0.5, 0.4, 0.6), 90, 60, rests=rests, positives=rests) for rests in (4, 5))
    assert (four.withheld, math.isnan(four.low), four.positives) == (TOO_FEW_REST, True, 4)
    assert (five.withheld, five.low, five.positives) == (None, 0.4, 5)
    assert with_interval((math.nan, 0.4, 0.6), 90, 2).withheld is None  # an undefined value says so itself


def test_first_metrics_and_classes_with_units_are_shown_and_the_rest_is_not() -> None:
    metrics = {
        "dice": MetricValue(0.5, 0.4, 0.6, 9),
        "f1": MetricValue(0.5, 0.4, 0.6, 9),
        "hd95": replace(with_interval((7.25, 7, 8), 2, 2), missed=6, empty=1),
        "dice/organ": MetricValue(0.75, 0.7, 0.8, 9),
        "hd95/organ": MetricValue(7.25, 7, 8, 2),
    }
    text = results_text(metrics, "test: 9 cases", task="segment", class_names=["background", "organ"], distance="mm")
    lines = [line.split() for line in text.splitlines()]
    assert ["dice", "0.500", "0.400", "to", "0.600", "9"] in lines
    assert ["hd95", "(mm)", "7.250", "withheld:", *WITHHELD.split(), "2", "(6", "missed,", "1", "empty)"] in lines
    assert ["organ", "0.750", "7.250", "(n=2)"] in lines
    assert "f1" not in text
    assert "background" not in text


def test_many_classes_are_cut_off_and_counted() -> None:
    names = [f"kind{number}" for number in range(50)]
    metrics = {"map": MetricValue(0.1, 0, 1, 9)} | {f"map/{name}": MetricValue(0.1, 0, 1, 9) for name in names}
    text = results_text(metrics, "val", task="detect", class_names=names)
    assert "kind19" in text
    assert "kind20" not in text
    assert text.endswith("30 classes more, in metrics.json")


def test_folds_are_shown_with_their_spread_by_the_same_metrics() -> None:
    values = [0.7, 0.9, math.nan]
    folds = [{"dice": MetricValue(value, 0, 1, 9), "dice/organ": MetricValue(value, 0, 1, 9)} for value in values]
    for fold in folds:
        fold |= {"f1": MetricValue(0.5, 0, 1, 9), "hd95": MetricValue(math.nan, math.nan, math.nan, 0)}
    title, *lines = folds_text(spread(folds, {}), task="segment", distance="px").splitlines()
    assert title == "by fold"
    assert [line.split() for line in lines] == [
        ["metric", "mean", "sd", "lowest", "highest", "folds"],
        ["dice", "0.800", "0.141", "0.700", "0.900", "2"],
        ["hd95", "(px)", *["undefined"] * 4, "0"],
    ]


def test_counts_and_units_in_words() -> None:
    assert (number_of(1, "case"), number_of(2, "patient"), number_of(0, "case")) == ("1 case", "2 patients", "0 cases")
    spacings = (["1 1", "2 2"], [None, None], ["1 1", None])
    assert [distance_unit(pd.DataFrame({"spacing": each})) for each in spacings] == ["mm", "px", "mm or px"]


def test_the_list_of_runs_lies_with_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numbered, named = Path("runs/classify/1"), Path("elsewhere/mine")
    for folder in (numbered, named):
        folder.mkdir(parents=True)
        count_test("classify", folder, "best.ckpt", 3)
    count_test("classify", named, "best.ckpt", 4)
    assert pd.read_csv("runs/index.csv")["cases"].tolist() == [3]
    assert pd.read_csv("elsewhere/index.csv")["cases"].tolist() == [3, 4]
    own = tmp_path / "data" / "index.csv"  # a table of the user's
    own.parent.mkdir()
    own.write_text("path,label\n")
    assert index_of("classify", own.parent / "run") == own.parent / "run" / "index.csv"


def test_fit_says_what_it_chose_and_the_commands_it_names_run(run: Run, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "finding"]
    status, out, err = run("fit", *data, *TINY, "--run_dir", "my run")
    assert status == 0, err
    begins = [line.partition(": ")[0] for line in err.splitlines()]
    assert begins[begins.index("classes") :][:5] == ["classes", "images", "model", "training", "writes to"]
    assert "stored are 24 x 24 pixels, grey" in err
    assert "from scratch" in err
    assert "FLOPs" not in out + err
    assert len(out.splitlines()) < 60
    typed = [shlex.split(line) for line in out.partition("next:")[2].splitlines() if "#" not in line]
    verbs = []
    for words in filter(None, typed):
        at = next(at for at, word in enumerate(words) if word in ("test", "predict", "fit"))
        verbs.append(words[at])
        status, _, err = run(*words[at:])
        assert status == 0, err
    assert verbs == ["test", "predict", "fit"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_is_refused_before_a_folder_is_made(
    run: Run, table_root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.cli.loggers.find_spec", lambda package: None)
    data = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "finding"]
    status, _, err = run("fit", *data, *TINY, "--run_dir", "run", "--logger", name)
    assert status == 2
    assert one_line(err).startswith(f"error: --logger {name}: needs the package {name}, which is missing: pip install")
    assert not Path("run").exists()
    assert "--logger" in one_line(run("fit", *data, *TINY, "--logger", "excel")[2])


def test_a_csv_logger_writes_its_table_and_a_longer_training_is_told_how(run: Run, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "finding"]
    status, _, err = run("fit", *data, *TINY, "--run_dir", "run", "--logger", "csv", "--judge_test", "false")
    assert status == 0, err
    assert "train/loss" in pd.read_csv("run/csv_logs/metrics.csv").columns.str.removesuffix("_epoch")
    assert not list(Path("run").glob("events.out*"))
    status, _, err = run("fit", "--ckpt_path", "last", "--run_dir", "run", "--trainer.max_epochs", "2")
    assert status == 2
    mend = one_line(err).partition("to train on from what is there: ")[2]
    status, _, err = run(*shlex.split(mend), "--run_dir", "longer")
    assert status == 0, err
    assert len(pd.read_csv("longer/metrics.csv")) == 2
