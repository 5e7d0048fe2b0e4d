from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tasks.evaluation.evaluate import evaluate_classification
from tasks.evaluation.evaluated import read_evaluated
from tasks.evaluation.metric_values import read_metrics
from tasks.evaluation.report.content import Section, Subject, Table
from tasks.evaluation.report.header import header
from tasks.evaluation.report.sections import all_metrics, data, limits
from tasks.evaluation.report.sections.results import section
from tasks.evaluation.report.verdict import verdict
from tests.tasks.evaluation.part_tables import part_tables, subject_of
from tests.tasks.evaluation.run_folders import CLASSES, write_binary_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_binary_run(tmp_path_factory.mktemp("runs") / "mine")


def table(of: Section, name: str) -> Table:
    return next(part for part in of.parts if isinstance(part, Table) and part.name == name)


def test_results_are_those_of_metrics_json(folder: Path) -> None:
    evaluate_classification(folder, "test", "test", "binary", CLASSES, "ill")
    kept = {name.partition("/")[2]: value for name, value in read_metrics(folder / "metrics.json").items()}
    every = table(all_metrics.section(Subject(read_evaluated(folder), "test")), "all")
    assert all(str(row[2]) == str(kept[str(row[0])]) for row in every.rows)  # as text: NaN differs from itself
    assert len(every.rows) == len(kept)


def test_validation_stands_below_test_and_says_that_it_flatters(folder: Path) -> None:
    subject = Subject(read_evaluated(folder), "test")
    assert "flatter" in table(section(subject), "validation").note
    alone = section(Subject(read_evaluated(folder), "val"))
    assert [part.name for part in alone.parts] == ["main", "by_class"]


def test_the_verdict_has_the_headline_the_calls_and_the_count_of_flags(folder: Path) -> None:
    subject = Subject(read_evaluated(folder), "test")
    metrics = subject.metrics
    said = verdict(subject, [Section("a", "A", flags=["one", "two"]), Section("b", "B", flags=["three"])])
    assert f"AUROC {metrics['auroc'].value:.3f} ({metrics['auroc'].low:.3f} to {metrics['auroc'].high:.3f})" in said[0]
    assert "120 cases of 60 patients (test)" in said[0]
    assert f"sensitivity is {metrics['sensitivity@op'].value:.3f}" in said[1]
    assert said[2] == "3 findings below need attention."
    assert "None of the checks" in verdict(subject, [])[2]


def test_the_head_names_no_folder_of_the_users(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        "seed_everything: 3\ndata:\n  class_path: datamodules.classification.tables.ImageTable\n  init_args:\n"
        "    root: /home/someone/secret/scans\n    split_seed: 0\n"
    )
    facts = {"version": "9.9", "commit": "abc1234", "model": {"network": "resnet18", "weights": None, "parameters": 7}}
    (folder / "run.json").write_text(json.dumps(facts))
    head = dict(header(Subject(read_evaluated(folder), "test")))
    assert head["Data"] == "ImageTable (scans)"
    assert head["Model"] == "resnet18, 7 parameters, from scratch"
    assert head["Seed"] == "3"
    assert "scansuite 9.9 (abc1234)" in head["Software"]
    assert head["Run"] == "mine"
    assert not any("someone" in value or "secret" in value for value in head.values())


def test_withheld_intervals_say_why(tmp_path: Path) -> None:
    run = read_evaluated(write_binary_run(tmp_path / "few", patients=6))
    main = table(section(Subject(run, "test")), "main")
    assert "fewer than 10 patients" in main.note
    assert all(math.isnan(row[1].low) for row in main.rows)  # type: ignore[union-attr]


def test_predictions_of_folds_are_out_of_fold(tmp_path: Path) -> None:
    folder = write_binary_run(tmp_path / "folds")
    cases, predictions = (pd.read_csv(folder / f"{name}.csv") for name in ("cases", "predictions"))
    kept = cases["split"] == "val"
    for name, rows in (("cases", cases), ("predictions", predictions)):
        own = rows[rows["split"] == "val"]
        own.assign(fold=(own["case_id"].factorize()[0] // 4) % 2).to_csv(folder / f"{name}.csv", index=False)
    split = cases[["case_id", "patient_id", "split"]]
    pd.concat([split, split[kept].assign(split="train")]).to_csv(folder / "split.csv", index=False)
    facts = {"version": "9.9", "model": {"network": "resnet18", "weights": None, "parameters": 7, "folds": 2}}
    (folder / "run.json").write_text(json.dumps(facts))
    subject = Subject(read_evaluated(folder), "val")
    head = dict(header(subject))
    assert head["Evaluated"].startswith(f"out of fold: {kept.sum()} cases")
    assert head["Model"].endswith("2 models, one a fold")
    assert "(out of fold)" in section(subject).lines[0]
    found = data.section(subject)
    steps = {row[0]: row[1] for row in table(found, "flow").rows}
    assert "training" not in steps  # the same cases: none is counted twice
    assert steps["in the parts"] == len(cases)
    assert "did not train on it" in " ".join(found.lines)
    (flag,) = (flag for flag in limits.section(subject).flags if "flatter" in flag)
    assert flag.startswith("The results are out of fold: no model has trained on the cases")


def test_of_another_tool_s_calls_it_is_not_said_where_they_were_chosen() -> None:
    part = part_tables("binary", patients=30)
    assert "At its operating point, chosen on validation, its sensitivity is" in " ".join(verdict(subject_of(part), []))
    other = replace(part, task=replace(part.task, operating_points={}))
    assert "At its operating point its sensitivity is" in " ".join(verdict(subject_of(other), []))


def test_cases_without_patients_are_not_called_patients(folder: Path) -> None:
    run = read_evaluated(folder)
    assert " patients" in section(Subject(run, "test")).lines[0]
    unknown = replace(run, cases=run.cases.assign(patient_id=None))
    assert " patients" not in section(Subject(unknown, "test")).lines[0]
