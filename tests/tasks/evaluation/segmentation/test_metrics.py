from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import group_cases, resample_weights
from tasks.evaluation.evaluate import evaluate_segmentation
from tasks.evaluation.metric_values import NO_SPREAD, read_metrics
from tasks.evaluation.segmentation.lesions import match_lesions
from tasks.evaluation.segmentation.metrics import METRICS, case_rows, segmentation_metrics
from tasks.evaluation.segmentation.overlap import count_overlap, overlap_metrics
from tasks.evaluation.segmentation.surface import assd, hd95, nsd, surface_distances
from tasks.evaluation.tables import write_table
from tests.tasks.evaluation.masks import blobs

NAMES = ["background", "None", "007", "tail"]
SPACING = (0.7, 1.2)


def label_map(seed: int, shape: tuple[int, ...] = (24, 30), classes: int = 3) -> NDArray[np.uint8]:
    """Classes 1 to ``classes`` in blobs, each over the ones before it."""
    labels = np.zeros(shape, dtype=np.uint8)
    for k in range(1, classes + 1):
        labels[blobs(shape, 10 * seed + k, share=0.2)] = k
    return labels


def cases(n: int = 12, lesions: bool = True) -> pd.DataFrame:
    """Rows of n cases; ``tail`` is in no truth and no prediction, and absent here and there are the others."""
    rows = []
    for i in range(n):
        truth, prediction = label_map(i, classes=2), label_map(i + (i % 3), classes=2)
        if i % 4 == 0:
            truth[truth == 2] = 0
        if i % 8 == 0:
            prediction[prediction == 2] = 0
        if i % 5 == 0:
            prediction[prediction == 1] = 0
        rows += case_rows(f"case{i}", truth, prediction, NAMES, SPACING, lesions=lesions)
    return pd.DataFrame(rows)


def test_a_row_for_each_class_but_the_background() -> None:
    truth, prediction = label_map(0), label_map(1)
    rows = case_rows("a/1", truth, prediction, NAMES, SPACING, 2.0, lesions=True)
    assert [list(row) for row in rows] == [["case_id", "class", "tp", "fp", "fn", "tn", *METRICS]] * 3
    assert [(row["case_id"], row["class"]) for row in rows] == [("a/1", name) for name in NAMES[1:]]
    for k, row in enumerate(rows, start=1):
        pair = truth == k, prediction == k
        counts, distances = count_overlap(*pair), surface_distances(*pair, SPACING)
        lesions = match_lesions(*pair, connectivity="full")
        assert [row[name] for name in ("tp", "fp", "fn", "tn")] == list(counts)
        expected = overlap_metrics(counts) | {
            "hd95": hd95(distances),
            "assd": assd(distances),
            "hd95_penalised": hd95(distances),
            "assd_penalised": assd(distances),
            "nsd": nsd(distances, 2.0),
            "lesion_sensitivity": lesions.sensitivity,
            "lesion_f1": lesions.f1,
        }
        assert {metric: row[metric] for metric in METRICS} == expected
        assert all(type(value) in (str, int, float) for value in row.values())
    without = case_rows("a/1", truth, prediction, NAMES, SPACING, 2.0)
    assert without == [{key: row[key] for key in row if not key.startswith("lesion")} for row in rows]


def test_volumes_and_unknown_spacing() -> None:
    truth, prediction = label_map(0, (12, 10, 8)), label_map(1, (12, 10, 8))
    millimetres = case_rows("v", truth, prediction, NAMES, (2.0, 2.0, 2.0), 2.0)
    pixels = case_rows("v", truth, prediction, NAMES, None, 1.0)
    for there, here in zip(millimetres, pixels, strict=True):
        assert there["hd95"] == pytest.approx(2 * float(here["hd95"]))
        assert (there["nsd"], there["dice"]) == (here["nsd"], here["dice"])


def test_what_is_ignored_changes_nothing() -> None:
    truth, prediction = label_map(0), label_map(1)
    unknown = np.zeros(truth.shape, bool)
    unknown[:, 20:] = True
    truth[unknown] = 255
    rows = case_rows("c", truth, prediction, NAMES, SPACING, ignore_index=255, lesions=True)
    prediction[unknown] = 77  # not even a class
    assert case_rows("c", truth, prediction, NAMES, SPACING, ignore_index=255, lesions=True) == rows
    assert case_rows("c", truth[:, :20], prediction[:, :20], NAMES, SPACING, lesions=True) == rows
    everything = case_rows("c", np.full((4, 4), -1), np.ones((4, 4), int), NAMES, ignore_index=-1)
    assert all(np.isnan([row[metric] for metric in METRICS[:12]]).all() for row in everything)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64])
def test_overlapping_regions(kind: type[np.generic]) -> None:
    truth, prediction = np.stack([label_map(0), label_map(2)]) > 0, np.stack([label_map(1), label_map(3)]) > 0
    rows = case_rows("r", truth.astype(kind), prediction.astype(kind), ["whole", "core"], SPACING, overlapping=True)
    for k, name in enumerate(("whole", "core")):
        (alone,) = case_rows("r", truth[k].astype(int), prediction[k].astype(int), ["", name], SPACING)
        assert rows[k] == alone
    unknown = truth.astype(np.int16)
    unknown[1, :, 20:] = -1  # of the core only
    partly = case_rows("r", unknown, prediction, ["whole", "core"], SPACING, ignore_index=-1, overlapping=True)
    assert partly[0] == rows[0]
    assert sum(int(partly[1][name]) for name in ("tp", "fp", "fn", "tn")) == 24 * 20


def test_wrong_masks_are_refused() -> None:
    labels = label_map(0)
    with pytest.raises(SuiteError, match="case 9: the true mask holds 3, and classes go from 0 to 2"):
        case_rows("case 9", labels, labels * 0, NAMES[:3])
    with pytest.raises(SuiteError, match="predicted mask holds -1"):
        case_rows("c", labels, labels.astype(int) - 1, NAMES)
    with pytest.raises(ValueError, match="evaluate on one grid"):
        case_rows("c", labels, labels.T, NAMES)
    with pytest.raises(ValueError, match="2 layers of regions, but 4 class names"):
        case_rows("c", np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), NAMES, overlapping=True)


def test_figures_are_means_over_cases_then_over_classes() -> None:
    table = cases()
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    metrics = segmentation_metrics(shuffled, NAMES, resamples=0)
    assert list(metrics) == [*METRICS, *(f"{metric}/{name}" for name in NAMES[1:] for metric in METRICS)]
    for metric in METRICS:
        by_class = [table.loc[table["class"] == name, metric].dropna() for name in NAMES[1:]]
        for name, values in zip(NAMES[1:], by_class, strict=True):
            entry = metrics[f"{metric}/{name}"]
            assert entry.value == pytest.approx(values.mean(), abs=1e-12, nan_ok=True)
            assert (entry.n, entry.classes) == (len(values), None)
        bare, known = metrics[metric], [values for values in by_class if len(values)]
        assert bare.value == pytest.approx(np.mean([values.mean() for values in known]), abs=1e-12)
        assert bare.n == table.dropna(subset=metric)["case_id"].nunique()
        assert bare.classes == len(known)
        assert np.isnan([bare.low, bare.high]).all()
    assert metrics["dice"].classes == 2  # empty and empty, tail has none
    assert metrics["specificity"].classes == 3
    assert metrics["hd95/007"].n < metrics["dice/007"].n < len(table) / 3
    assert np.isnan(metrics["dice/tail"].value)


def test_percentile_intervals_are_those_of_patients_drawn_one_by_one() -> None:
    table = cases(24)
    patients = table["case_id"].map(lambda case: f"p{int(case[4:]) // 2}").where(table["case_id"] != "case3")
    metrics = segmentation_metrics(table, NAMES, patients, resamples=60, seed=5, percentile=True)
    ids = table["case_id"].drop_duplicates()
    groups = group_cases(ids, patients[ids.index])
    assert groups.max() == 12  # twelve pairs, one of them parted
    drawn: dict[str, list[float]] = {"dice": [], "dice/None": [], "hd95/007": []}
    for weights in np.concatenate(list(resample_weights(groups, 60, seed=5))):
        again = pd.concat(
            [table[table["case_id"] == case] for case, w in zip(ids, weights, strict=True) for _ in range(int(w))]
        )
        by_class = again.groupby("class")[["dice", "hd95"]].mean()
        drawn["dice"].append(by_class["dice"].mean())
        drawn["dice/None"].append(by_class.loc["None", "dice"])
        drawn["hd95/007"].append(by_class.loc["007", "hd95"])
    for name, values in drawn.items():
        assert metrics[name].low == pytest.approx(np.nanpercentile(values, 2.5), abs=1e-9)
        assert metrics[name].high == pytest.approx(np.nanpercentile(values, 97.5), abs=1e-9)
        assert metrics[name].low < metrics[name].value < metrics[name].high


def test_distances_say_how_many_cases_were_missed_and_how_many_are_empty() -> None:
    table = cases(40)
    metrics = segmentation_metrics(table, NAMES)
    for name in ("None", "007", "tail"):
        own = table[table["class"] == name]
        there, called = own["tp"] + own["fn"] > 0, own["tp"] + own["fp"] > 0
        for metric in ("hd95", "assd"):
            entry = metrics[f"{metric}/{name}"]
            assert (entry.missed, entry.empty) == ((there & ~called).sum(), (~there).sum())
            assert entry.n == (there & called).sum()
        assert metrics[f"dice/{name}"].positives == there.sum()
        assert metrics[f"dice/{name}"].missed is None
    both = table[table["class"] != "tail"]  # which has no distance, and is in no mean
    empty = both[both["tp"] + both["fn"] == 0]["case_id"].nunique()
    assert metrics["hd95"].empty == empty
    assert metrics["hd95"].missed == both[both["tp"] + both["fn"] > 0].query("tp + fp == 0")["case_id"].nunique() > 0
    plain = segmentation_metrics(table.drop(columns=["tp", "fp", "fn", "tn"]), NAMES)["hd95"]
    assert (plain.value, plain.missed, plain.patients) == (metrics["hd95"].value, None, 38)


def test_penalised_distances_leave_no_case_out() -> None:
    table = cases(40)
    metrics = segmentation_metrics(table, NAMES)
    diagonal = math.hypot(*np.multiply(label_map(0).shape, SPACING))
    for name in ("None", "007", "tail"):
        own = table[table["class"] == name]
        there, called = own["tp"] + own["fn"] > 0, own["tp"] + own["fp"] > 0
        expected = own["hd95"].where(there & called, diagonal).where(there | called, 0.0)
        entry = metrics[f"hd95_penalised/{name}"]
        assert entry.value == pytest.approx(expected.mean())
        assert entry.n == 40
        assert entry.missed is None
    assert metrics["hd95_penalised"].value > metrics["hd95"].value
    assert metrics["hd95_penalised"].low < metrics["hd95_penalised"].value < metrics["hd95_penalised"].high
    older = segmentation_metrics(table.drop(columns=["hd95_penalised", "assd_penalised"]), NAMES)
    assert repr(older) == repr({name: value for name, value in metrics.items() if "penalised" not in name})


def test_perfect_masks_have_no_width_of_zero() -> None:
    table = cases(40).assign(dice=1.0, iou=0.75, hd95=0.0)
    metrics = segmentation_metrics(table, NAMES)
    assert metrics["dice"].high == 1
    assert 0.85 < metrics["dice"].low < 0.95
    assert metrics["iou"].low < 0.75 < metrics["iou"].high
    assert metrics["hd95"].withheld == NO_SPREAD


def test_tables_without_lesions() -> None:
    metrics = segmentation_metrics(cases(4, lesions=False), NAMES, resamples=5)
    assert "dice" in metrics
    assert not [name for name in metrics if name.startswith("lesion")]


def test_mistakes_in_the_table_are_named() -> None:
    table = cases(4)
    with pytest.raises(SuiteError, match="no column 'nsd'"):
        segmentation_metrics(table.drop(columns="nsd"), NAMES)
    with pytest.raises(SuiteError, match=r"class 'tail' in row 3 \(case0\) is none of the model's classes"):
        segmentation_metrics(table, NAMES[:3])
    with pytest.raises(SuiteError, match="case 'case1' has no row of class '007'"):
        segmentation_metrics(table.drop(index=4), NAMES)
    with pytest.raises(SuiteError, match="case 'case1' has two rows of class '007': each has one"):
        segmentation_metrics(pd.concat([table, table[4:5]]), NAMES)
    with pytest.raises(SuiteError, match=r"dice 'good' in row 2 \(case0\) is no finite number"):
        segmentation_metrics(table.astype({"dice": object}).replace({"dice": {table["dice"][1]: "good"}}), NAMES)
    with pytest.raises(SuiteError, match=r"hd95 .*inf.* in row 1 \(case0\)"):
        segmentation_metrics(table.assign(hd95=[np.inf] + [0.0] * 11), NAMES)
    with pytest.raises(ValueError, match="3 patients for 12 rows"):
        segmentation_metrics(table, NAMES, pd.Series(["a"] * 3))


def test_evaluated_from_the_tables_on_disk(tmp_path: Path) -> None:
    table = cases()
    table["split"] = np.where(np.arange(len(table)) < 24, "test", "val")
    ids = table["case_id"].drop_duplicates().to_numpy()
    known = pd.DataFrame({"case_id": ids[::-1], "patient_id": [f"p{i // 2}" for i in range(len(ids))]})
    write_table(table, tmp_path / "predictions.csv")
    write_table(known, tmp_path / "cases.csv")
    metrics = evaluate_segmentation(tmp_path, "test", "test", NAMES, 40)
    evaluate_segmentation(tmp_path, "val", "val", NAMES[1:], 0)

    patients = table["case_id"].map(known.set_index("case_id")["patient_id"])
    expected = segmentation_metrics(table[:24], NAMES, patients[:24], 40)
    stored = read_metrics(tmp_path / "metrics.json")
    assert {name.split("/")[0] for name in stored} == {"val", "test"}
    assert list(metrics) == list(expected)
    for name, entry in expected.items():
        found = stored[f"test/{name}"]
        numbers = (entry.value, entry.low, entry.high)
        assert (found.value, found.low, found.high) == pytest.approx(numbers, abs=1e-6, nan_ok=True), name
        assert (found.n, found.classes) == (entry.n, entry.classes)

    with pytest.raises(SuiteError, match="no case of split 'train'"):
        evaluate_segmentation(tmp_path, "train", "train", NAMES)
    write_table(known[1:], tmp_path / "cases.csv")
    with pytest.raises(SuiteError, match="no row for case 'case11'"):
        evaluate_segmentation(tmp_path, "val", "val", NAMES)
    write_table(table.drop(columns="split"), tmp_path / "predictions.csv")
    with pytest.raises(SuiteError, match="no column 'split'"):
        evaluate_segmentation(tmp_path, "test", "test", NAMES)
