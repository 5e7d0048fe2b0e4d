from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import group_cases, resample_weights
from tasks.evaluation.detection.boxes import join_boxes
from tasks.evaluation.detection.calls import choose_thresholds
from tasks.evaluation.detection.coco_map import coco_metrics, named
from tasks.evaluation.detection.matching import match_boxes
from tasks.evaluation.detection.metrics import METRICS, detection_operating_points, evaluate_boxes, quick_map
from tasks.evaluation.evaluate import evaluate_detection
from tasks.evaluation.metric_values import TOO_FEW_REST, read_metrics
from tasks.evaluation.operating_rules import read_rule
from tasks.evaluation.tables import read_table, write_table
from tests.tasks.evaluation.box_data import Tables, as_tables, drawn, names, random_images, random_tables

NAMES = names()


def test_every_figure_stands_in_its_place() -> None:
    tables = random_tables(0)
    points = detection_operating_points(*tables, NAMES)
    metrics = evaluate_boxes(*tables, NAMES, points, resamples=20).metrics
    assert list(metrics) == [*METRICS, *(f"{metric}/{name}" for name in NAMES for metric in METRICS)]
    for name, entry in metrics.items():
        metric = name.split("/")[0]
        pooled = "fp" in metric or "froc" in metric or metric == "image_auroc"
        if "/" in name or pooled:
            assert entry.classes is None
        else:
            own = [metrics[f"{name}/{each}"].value for each in NAMES]
            assert entry.value == pytest.approx(np.nanmean(own))
            assert entry.classes == np.isfinite(own).sum()
        if metric != "image_auroc":
            assert entry.n == 12
    assert metrics["map"].classes == 4
    assert np.isnan(metrics["map/never true"].value)
    exact = named(coco_metrics(drawn(tables, np.ones(12), NAMES)), tuple(NAMES))
    assert {name: metrics[name].value for name in exact} == pytest.approx(exact, nan_ok=True, abs=1e-12)


def test_percentile_intervals_are_those_of_patients_drawn_one_by_one() -> None:
    tables = random_tables(3, images=24, ties=False)
    metrics = evaluate_boxes(*tables, NAMES, resamples=30, seed=5, percentile=True).metrics
    (weights,) = resample_weights(group_cases(tables[0]["case_id"], tables[0]["patient_id"]), 30, seed=5)
    values: dict[str, list[float]] = {}
    for counts in weights:
        for name, value in named(coco_metrics(drawn(tables, counts, NAMES)), tuple(NAMES)).items():
            values.setdefault(name, []).append(value)
    for name, own in values.items():
        known = np.array(own)[~np.isnan(own)]
        few = metrics[name].withheld is not None
        ends = tuple(np.percentile(known, [2.5, 97.5])) if len(known) and not few else (np.nan, np.nan)
        assert (metrics[name].low, metrics[name].high) == pytest.approx(ends, abs=1e-9, nan_ok=True), name
    for name in ("map", "froc", "patient_froc", "image_auroc", "sensitivity@1fp"):
        assert metrics[name].low < metrics[name].high


def test_what_is_behind_a_figure_of_boxes() -> None:
    tables = random_tables(3, images=48, ties=False)
    points = detection_operating_points(*tables, NAMES)
    metrics = evaluate_boxes(*tables, NAMES, points).metrics
    counted = tables[1][~tables[1]["ignore"]]
    patient = tables[0].set_index("case_id")["patient_id"]
    for name in ("k0", "never found"):
        own = counted[counted["label"] == name]
        assert metrics[f"map/{name}"].positives == metrics[f"sensitivity@op/{name}"].positives == len(own)
    assert metrics["froc"].positives == len(counted)
    assert metrics["map"].patients == patient.nunique() == 24
    for name, metric in metrics.items():
        if not np.isnan(metric.low):
            assert 0 <= metric.low <= metric.value <= metric.high <= 1, name
            assert metric.high > metric.low, name
    assert metrics["sensitivity@op/never found"].value == 0
    assert metrics["sensitivity@op/never found"].high > 0.1
    assert metrics["precision@op/never found"].withheld == TOO_FEW_REST
    assert metrics["map_small/k0"].withheld is None or np.isnan(metrics["map_small/k0"].low)


def best_f1(tables: Tables, name: str) -> tuple[float, float]:
    """Threshold and F1 of a class, by trying every score."""
    cases, targets, predictions = tables
    best = (np.nan, -1.0)
    for threshold in np.unique(predictions["score"]):
        kept = predictions[predictions["score"] >= threshold]
        metrics = evaluate_boxes(cases, targets, kept, NAMES, dict.fromkeys(NAMES, 0.0), resamples=0).metrics
        if metrics[f"f1@op/{name}"].value > best[1]:
            best = (float(threshold), metrics[f"f1@op/{name}"].value)
    return best


def test_the_operating_point_has_the_best_f1() -> None:
    tables = random_tables(1)
    points = detection_operating_points(*tables, NAMES)
    assert list(points) == ["k0", "k1", "k2", "never found"]
    assert points["never found"] == 0.5
    metrics = evaluate_boxes(*tables, NAMES, points, resamples=0).metrics
    for name in ("k0", "k1"):
        threshold, f1 = best_f1(tables, name)
        assert metrics[f"f1@op/{name}"].value == pytest.approx(f1)
        assert threshold - 0.1 < points[name] < threshold + 0.1
        sensitivity, precision = metrics[f"sensitivity@op/{name}"].value, metrics[f"precision@op/{name}"].value
        assert f1 == pytest.approx(2 * sensitivity * precision / (sensitivity + precision))
    assert metrics["f1@op/never found"].value == 0
    assert metrics["precision@op/never found"].value == 0
    assert metrics["precision@op"].classes == 4


def test_operating_point_worked_out_by_hand() -> None:
    true: dict[str, Any] = {
        "boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]],
        "labels": [0] * 4,
    }
    true["ignore"] = [False, False, False, True]
    # Found, false, found, the ignored one, false: F1 is 2/4, 2/5, 4/6, -, 4/7.
    found: dict[str, Any] = {
        "boxes": [*true["boxes"][:1], [0, 50, 9, 59], *true["boxes"][1:2], *true["boxes"][3:], [0, 70, 9, 79]]
    }
    found |= {"labels": [0] * 5, "scores": [0.9, 0.8, 0.6, 0.5, 0.2]}
    matches = match_boxes(join_boxes([true], [found], ["k"]), 100, np.array([0.5]))
    assert choose_thresholds(matches, ["k"], 0) == pytest.approx({"k": 0.4})  # between 0.6 and the next that counts
    by_rule = {
        rule: choose_thresholds(matches, ["k"], 0, read_rule(rule, "boxes"))["k"]
        for rule in ("fp<=0.5", "fp<=1", "precision>=0.6", "sensitivity>=0.9", "cost 1:1")
    }
    # None calls both; of the last two, which find two of three, the one with fewer false calls; each costs 2.
    assert by_rule == pytest.approx(
        {"fp<=0.5": 0.85, "fp<=1": 0.4, "precision>=0.6": 0.4, "sensitivity>=0.9": 0.4, "cost 1:1": 0.4}
    )
    metrics = quick_map([true], [found], ["k"])
    called = [metrics[f"{name}@op"] for name in ("sensitivity", "precision", "f1")]
    assert called == pytest.approx([2 / 3] * 3)
    everything = {**found, "scores": [0.9, 0.8, 0.6, 0.5, 0.6]}
    matches = match_boxes(join_boxes([true], [everything], ["k"]), 100, np.array([0.5]))
    # 2/4 with one call, 4/7 with all of them: half the lowest score.
    assert choose_thresholds(matches, ["k"], 0) == pytest.approx({"k": 0.3})


def test_classes_without_an_operating_point_have_no_figures_at_it() -> None:
    tables = random_tables(1)
    metrics = evaluate_boxes(*tables, NAMES, {"k0": 0.5, "k2": 0.5}, resamples=5).metrics
    assert np.isnan(metrics["f1@op/k1"].value)
    assert metrics["f1@op"].classes == 2
    assert not [name for name in evaluate_boxes(*tables, NAMES, {}, resamples=0).metrics if "@op" in name]


def test_image_auroc_is_that_of_the_highest_box() -> None:
    cases, targets, predictions = random_tables(2, images=40)
    metrics = evaluate_boxes(cases, targets, predictions, NAMES, resamples=10).metrics
    for name in (*NAMES[:2], None):
        own, called = (table if name is None else table[table["label"] == name] for table in (targets, predictions))
        truth = cases["case_id"].isin(own.loc[~own["ignore"], "case_id"])
        score = cases["case_id"].map(called.groupby("case_id")["score"].max()).fillna(0.0)
        known = truth | ~cases["case_id"].isin(own["case_id"])
        entry = metrics["image_auroc" if name is None else f"image_auroc/{name}"]
        assert entry.value == pytest.approx(roc_auc_score(truth[known], score[known]))
        assert entry.n == known.sum()


def test_training_shows_what_evaluation_finds() -> None:
    targets, predictions = random_images(4)
    tables = as_tables(targets, predictions, NAMES)
    points = detection_operating_points(*tables, NAMES)
    metrics = evaluate_boxes(*tables, NAMES, points, max_detections=100, resamples=0).metrics
    quick = quick_map(targets, predictions, NAMES, 100)
    assert {"map", "map50", "map75", "mar", "f1@op", "map/k0"} <= quick.keys()
    assert quick == pytest.approx({name: metrics[name].value for name in quick}, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize(("images", "found", "classes"), [(72, 100, 3), (33, 400, 1)])
def test_a_thousand_resamples_take_seconds(images: int, found: int, classes: int) -> None:
    tables = as_tables(*random_images(0, images, found, classes), names(classes))
    start = time.process_time()
    evaluate_boxes(*tables, names(classes), max_detections=400)
    assert time.process_time() - start < 20


def test_the_hit_rule_of_froc_is_a_choice() -> None:
    tables = random_tables(0)
    strict, mild = (evaluate_boxes(*tables, NAMES, resamples=0, froc_iou=iou).metrics for iou in (0.5, 0.1))
    assert mild["froc"].value > strict["froc"].value > 0
    assert mild["map50"].value == strict["map50"].value
    with pytest.raises(SuiteError, match="froc_iou 0 is not above 0"):
        evaluate_boxes(*tables, NAMES, froc_iou=0.0)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    parts = [random_tables(seed) for seed in (0, 1)]
    for name, tables in zip(("cases", "targets", "predictions"), zip(*parts, strict=True), strict=True):
        marked = [table.assign(split=split) for table, split in zip(tables, ("val", "test"), strict=True)]
        for table in marked[1:]:
            table["case_id"] += "/test"
        write_table(pd.concat(marked, ignore_index=True), tmp_path / f"{name}.csv")
    return tmp_path


def test_evaluated_from_the_tables_on_disk(run_dir: Path) -> None:
    points = detection_operating_points(*random_tables(0), NAMES)
    metrics = evaluate_detection(run_dir, "test", "test", NAMES, points, 100, 40)
    evaluate_detection(run_dir, "val", "val", NAMES, points, 100, 0)
    expected, curves = evaluate_boxes(*random_tables(1), NAMES, points, 100, 40)
    assert list(metrics) == list(expected)
    stored = read_metrics(run_dir / "metrics.json")
    assert {name.split("/")[0] for name in stored} == {"val", "test"}
    for name, entry in expected.items():
        for found in (metrics[name], stored[f"test/{name}"]):
            numbers = (entry.value, entry.low, entry.high)
            assert (found.value, found.low, found.high) == pytest.approx(numbers, abs=1e-9, nan_ok=True), name
            assert (found.n, found.classes) == (entry.n, entry.classes)
    table = read_table(run_dir / "froc_test.csv")
    pd.testing.assert_frame_equal(table, curves, rtol=1e-8)
    assert table["class"].isna().any()
    assert (run_dir / "froc_val.csv").is_file()


def test_a_model_that_finds_nothing_is_evaluated(run_dir: Path) -> None:
    predictions = read_table(run_dir / "predictions.csv")
    for kept in (predictions[predictions["split"] == "val"], predictions[:0]):
        write_table(kept, run_dir / "predictions.csv")
        metrics = evaluate_detection(run_dir, "test", "test", NAMES, {"k0": 0.5}, resamples=20)
        zero = (
            "map",
            "map50",
            "mar",
            "froc",
            "patient_froc",
            "sensitivity@1fp",
            "sensitivity@op",
            "precision@op",
            "f1@op",
        )
        assert [metrics[name].value for name in zero] == [0.0] * len(zero)
        assert metrics["image_auroc"].value == 0.5


def test_a_part_without_true_boxes_is_evaluated(run_dir: Path) -> None:
    targets = read_table(run_dir / "targets.csv")
    write_table(targets[targets["split"] == "val"], run_dir / "targets.csv")
    metrics = evaluate_detection(run_dir, "test", "test", NAMES, resamples=5)
    assert np.isnan([entry.value for entry in metrics.values()]).all()
    assert metrics["map"].classes == 0


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("targets", None, "no targets.csv"),
        ("predictions", None, "no predictions.csv"),
        ("cases", {"split": "train"}, "no case of split 'test'"),
        ("targets", {"label": "gnome"}, "targets table: label 'gnome' in row 1 .* is none of the model's classes"),
        ("predictions", {"score": np.nan}, r"predictions table: score \(empty\) in row 1 .* is no finite number"),
        ("predictions", {"x1": "wide"}, "predictions table: x1 'wide' in row 1"),
        ("targets", {"y2": -5.0}, "y2 -5 in row 1 .* is less than y1: boxes are x1,y1,x2,y2"),
        ("predictions", {"case_id": "elsewhere"}, "case 'elsewhere' in row 1 is not in the cases table"),
        ("cases", {"case_id": "c0"}, "case 'c0' is duplicated"),
        ("targets", {"ignore": "perhaps"}, "ignore 'perhaps' in row 1 .* is neither true nor false"),
        ("targets", ["x2"], "targets table: no column 'x2'"),
        ("predictions", ["split"], "no column 'split'"),
    ],
)
def test_mistakes_are_named(run_dir: Path, table: str, change: dict[str, Any] | list[str] | None, message: str) -> None:
    file = run_dir / f"{table}.csv"
    if change is None:
        file.unlink()
    elif isinstance(change, list):
        write_table(read_table(file).drop(columns=change), file)
    else:
        write_table(read_table(file).assign(**change), file)
    with pytest.raises(SuiteError, match=message) as caught:
        evaluate_detection(run_dir, "test", "test", NAMES, resamples=0)
    assert "\n" not in str(caught.value)
