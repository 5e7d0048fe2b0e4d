"""`fit`, `test` and `validate` as a user runs them, for every kind of target."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn import metrics as sk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules import augmented_sheet
from tasks.evaluation.gallery.store import read_gallery
from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table


def fitted(run: Run, root: Path, kind: str, run_dir: str = "run", *more: str) -> dict[str, Any]:
    status, out, err = run(
        "fit", "--data", "ImageTable", "--data.root", root, "--run_dir", run_dir, *KINDS[kind], *TINY, *more
    )
    assert status == 0, err
    assert f"written to {run_dir}" in out
    metrics: dict[str, Any] = json.loads((Path(run_dir) / "metrics.json").read_text())
    return metrics


def predictions(run_dir: str, split: str) -> pd.DataFrame:
    frame = pd.read_csv(Path(run_dir) / "predictions.csv", dtype={"target": str, "prediction": str})
    return frame[frame["split"] == split]


def close(metrics: dict[str, Any], name: str, expected: float) -> None:
    assert metrics[f"test/{name}"]["value"] == pytest.approx(expected, abs=1e-6), name


def test_binary_figures_are_those_of_sklearn(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "binary")
    frame = predictions("run", "test")
    truth, call, score = frame["target"] == "ill", frame["prediction"] == "ill", frame["score_ill"]
    close(metrics, "auroc", sk.roc_auc_score(truth, score))
    close(metrics, "auprc", sk.average_precision_score(truth, score))
    close(metrics, "accuracy", sk.accuracy_score(truth, call))
    close(metrics, "sensitivity", sk.recall_score(truth, call))
    close(metrics, "specificity", sk.recall_score(~truth, ~call))
    close(metrics, "f1", sk.f1_score(truth, call, zero_division=np.nan))
    close(metrics, "brier", sk.brier_score_loss(truth, score))
    at = frame["prediction_op"] == "ill"
    close(metrics, "sensitivity@op", sk.recall_score(truth, at))
    close(metrics, "specificity@op", sk.recall_score(~truth, ~at))
    entry = metrics["test/auroc"]
    assert entry["n"] == len(frame)
    assert entry["positives"] == truth.sum()
    cases = pd.read_csv("run/cases.csv", dtype="str")
    assert entry["patients"] == cases[cases["split"] == "test"]["patient_id"].nunique()
    # So few patients withhold an interval, and the file says so.
    assert (entry["low"], entry["high"]) == (None, None)
    assert " fewer than " in f" {entry['withheld']}"


def test_multiclass_figures_are_those_of_sklearn(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "multiclass")
    frame = predictions("run", "test")
    classes = ["brain", "heart", "lung"]
    scores = frame[[f"score_{name}" for name in classes]].to_numpy()
    close(metrics, "auroc", np.mean([sk.roc_auc_score(frame["target"] == c, frame[f"score_{c}"]) for c in classes]))
    close(metrics, "auroc/lung", sk.roc_auc_score(frame["target"] == "lung", frame["score_lung"]))
    close(metrics, "accuracy", sk.accuracy_score(frame["target"], frame["prediction"]))
    close(metrics, "balanced_accuracy", sk.balanced_accuracy_score(frame["target"], frame["prediction"]))
    f1 = sk.f1_score(frame["target"], frame["prediction"], average="macro", zero_division=np.nan)
    close(metrics, "f1", f1)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert "test/kappa" in metrics
    assert "test/qwk" not in metrics  # organs have no order


def test_multilabel_figures_leave_unknown_cells_out(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "multilabel")
    frame = predictions("run", "test")
    areas = []
    for name in ("mass", "edema", "nodule"):
        known = frame[frame[f"target_{name}"].notna()]
        assert len(known) < len(frame)
        areas.append(sk.roc_auc_score(known[f"target_{name}"], known[f"score_{name}"]))
        close(metrics, f"auroc/{name}", areas[-1])
        assert metrics[f"test/auroc/{name}"]["n"] == len(known)
    close(metrics, "auroc", np.mean(areas))


def test_ordinal_figures_are_those_of_sklearn(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "ordinal")
    frame = predictions("run", "test")
    truth, call = frame["target"].astype(int), frame["prediction"].astype(int)
    with np.errstate(invalid="ignore"):
        expected = sk.cohen_kappa_score(truth, call, weights="quadratic", labels=[0, 1, 2, 3])
    close(metrics, "qwk", expected)
    # CORN's call: how many grades the case is above with a chance of more than a half.
    upto = frame[[f"score_{grade}" for grade in range(4)]].cumsum(axis=1).to_numpy()[:, :3]
    assert call.tolist() == (upto < 0.5).sum(axis=1).tolist()
    close(metrics, "accuracy", sk.accuracy_score(truth, call))
    checkpoint = torch.load("run/checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["head.linear.weight"].shape[0] == 3  # CORN: one logit a step between classes


def test_regression_figures_are_those_of_sklearn(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "regression")
    frame = predictions("run", "test").astype({"target": float, "prediction": float})
    close(metrics, "mae", sk.mean_absolute_error(frame["target"], frame["prediction"]))
    close(metrics, "rmse", sk.root_mean_squared_error(frame["target"], frame["prediction"]))
    close(metrics, "r2", sk.r2_score(frame["target"], frame["prediction"]))


@pytest.mark.usefixtures("charts")
def test_the_run_folder_holds_what_the_design_promises(run: Run, table_root: Path) -> None:
    fitted(run, table_root, "binary")
    names = {path.relative_to("run").as_posix() for path in Path("run").rglob("*")}
    assert {
        "config.yaml", "split.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "metrics.json",
        "predictions.csv", "cases.csv", "augmented.png", "learning_curves.png",
        *(f"{chart}_{part}.png" for chart in ("confusion_matrix", "roc", "pr") for part in ("val", "test")),
    } <= names  # fmt: skip
    shown = read_gallery(Path("run"), "test")
    scores = predictions("run", "test").set_index("case_id")
    of_truth = np.where(scores["target"] == "ill", scores["score_ill"], scores["score_healthy"])
    assert shown[0].case_id == scores.index[int(of_truth.argmin())]
    assert shown[0].kinds[0] == "worst"
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert all(f'data-id="{one.case_id}"' in page for one in shown)
    assert {one.scan.size for one in [*shown, *read_gallery(Path("run"), "val")]} == {(24, 24)}
    assert any(name.startswith("events.out.tfevents") for name in names)
    cases = pd.read_csv("run/cases.csv", dtype={"patient_id": str})
    assert list(cases.columns[:7]) == ["case_id", "patient_id", "path", "split", "width", "height", "spacing"]
    assert "sex" in cases
    assert set(cases["width"]) == {24}
    split = pd.read_csv("run/split.csv", dtype=str)
    assert split.groupby("patient_id")["split"].nunique().max() == 1
    evaluated = split[split["split"].isin(["val", "test"])]
    assert sorted(pd.read_csv("run/predictions.csv")["case_id"]) == sorted(evaluated["case_id"])
    assert pd.read_csv("index.csv")["cases"].tolist() == [(split["split"] == "test").sum()]
    epochs = pd.read_csv("run/metrics.csv")
    assert {"epoch", "train/loss", "val/auroc", "train/auroc", "lr", "seconds"} <= set(epochs)


def shown_in_tensorboard(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return set(events.Tags()["images"])


@pytest.mark.usefixtures("charts")
def test_pictures_go_to_tensorboard_and_a_failing_one_fails_no_fit(
    run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no\nroom")

    monkeypatch.setattr("tasks.evaluation.charts.roc.draw_roc", fails)
    flags = ["--data", "ImageTable", "--data.root", table_root, "--run_dir", "run", *KINDS["ordinal"], *TINY]
    status, _, err = run("fit", *flags)
    assert status == 0, err
    charts = {"learning_curves", "confusion_matrix_val", "confusion_matrix_test"}
    assert shown_in_tensorboard(Path("run")) == {"augmented", *charts}
    assert {file.stem for file in Path("run").glob("*.png")} == {"augmented", *charts}

    status, _, err = run("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "tested")
    assert status == 0, err
    assert {file.stem for file in Path("tested").glob("*.png")} == {"confusion_matrix_test"}

    monkeypatch.setattr(augmented_sheet, "write_augmented_sheet", fails)
    flags = ["--data", "ImageTable", "--data.root", table_root, "--run_dir", "binary", *KINDS["binary"], *TINY]
    status, _, err = run("fit", *flags)
    assert status == 0, err
    assert err.count("not drawn: no room") == 3
    assert Path("binary/pr_test.png").is_file()


def test_what_was_logged_equals_the_tables(run: Run, table_root: Path) -> None:
    metrics = fitted(run, table_root, "multiclass")
    epoch = pd.read_csv("run/metrics.csv").iloc[0]
    for name in ("auroc", "auprc", "accuracy", "sensitivity", "specificity", "f1"):
        assert metrics[f"val/{name}"]["value"] == pytest.approx(epoch[f"val/{name}"], abs=1e-5), name


def test_its_own_config_and_split_repeat_a_run(run: Run, table_root: Path) -> None:
    first = fitted(run, table_root, "binary")
    status, _, err = run(
        "fit", "--config", "run/config.yaml", "--data.split_file", "run/split.csv", "--run_dir", "again"
    )
    assert status == 0, err
    assert json.loads(Path("again/metrics.json").read_text()) == first
    assert "run_dir" not in yaml.safe_load(Path("run/config.yaml").read_text())


def test_a_checkpoint_is_evaluated_again_on_its_own_and_on_other_data(
    run: Run, table_root: Path, tmp_path: Path
) -> None:
    first = fitted(run, table_root, "binary")
    status, _, err = run(
        "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "t", "--data.num_workers", "0"
    )
    assert status == 0, err
    again = json.loads(Path("t/metrics.json").read_text())
    assert {name: entry for name, entry in first.items() if name.startswith("test/")} == again
    status, _, err = run("validate", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "v")
    assert status == 0, err
    assert json.loads(Path("v/metrics.json").read_text())["val/auroc"] == first["val/auroc"]

    other = draw_table(tmp_path / "other", cases=30, seed=7, site="b")
    frame = pd.read_csv(other / "labels.csv")
    frame["finding"] = frame["finding"].replace({"ill": "krank", "healthy": "gesund"})
    frame.to_csv(other / "labels.csv", index=False)
    flags = ["--ckpt_path", "run/checkpoints/best.ckpt", "--data", "ImageTable", "--data.root", other,
             "--data.label_columns", "finding", "--data.split", "all_test"]  # fmt: skip
    status, _, err = run("test", *flags, "--run_dir", "x")
    assert status == 2
    assert "class 'krank'" in err or "class 'gesund'" in err
    assert not Path("x").exists()
    names = '{"krank": "ill", "gesund": "healthy"}'
    status, _, err = run("test", *flags, "--run_dir", "x", "--data.class_map", names)
    assert status == 0, err
    assert json.loads(Path("x/metrics.json").read_text())["test/auroc"]["n"] == 30


def test_predict_needs_no_labels_and_passes_over_broken_files(run: Run, table_root: Path, tmp_path: Path) -> None:
    fitted(run, table_root, "binary")
    folder = tmp_path / "new"
    folder.mkdir()
    for file in sorted((table_root / "images").iterdir())[:5]:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but not really")
    status, out, err = run("predict", "--ckpt_path", "best", "--input", folder, "--output", "out")
    assert status == 2  # the run was given its own folder: there is no newest one below runs/
    assert "runs/classify" in err
    flags = ["--ckpt_path", "run/checkpoints/best.ckpt", "--data.num_workers", "0"]
    status, out, err = run("predict", *flags, "--input", folder, "--output", "out")
    assert status == 1, err
    assert "5 cases predicted, 1 files unreadable" in out
    frame = pd.read_csv("out/predictions.csv")
    assert len(frame) == 5
    assert {"case_id", "split", "prediction", "prediction_op", "score_ill", "score_healthy"} <= set(frame)
    errors = pd.read_csv("out/errors.csv")
    assert "broken.png" in errors["path"].iloc[0]
    assert "broken.png" in errors["error"].iloc[0]

    status, _, err = run("predict", *flags, "--input", table_root / "labels.csv", "--output", "table")
    assert status == 0, err
    by_case = pd.read_csv("table/predictions.csv").set_index("case_id")["score_ill"]
    assert len(by_case) == 90
    # The same scans get the same scores from `test` and from `predict`: one preprocessing serves both.
    evaluated = predictions("run", "test").set_index("case_id")["score_ill"]
    assert np.allclose(by_case[evaluated.index], evaluated, atol=1e-6)


def test_weights_of_a_run_start_another(run: Run, table_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(run, table_root, "binary")
    opened: list[str] = []
    load = torch.load

    def counted(file: Any, **more: Any) -> Any:
        opened.append(str(file))
        return load(file, **more)

    monkeypatch.setattr(torch, "load", counted)
    flags = ["--data", "ImageTable", "--data.root", table_root, *KINDS["regression"], *TINY]
    weights = ["--model.weights", "run/checkpoints/best.ckpt"]
    same = ["--data.split_file", "run/split.csv"]  # drawn by classes there, by numbers here: its test cases would train
    status, _, err = run("fit", *flags, *same, "--run_dir", "second", *weights)
    assert status == 0, err
    assert re.search(r"(\d+) of \1 tensors loaded", err)
    # Stem, normalisation, sizes, what it was trained on and weights: one reading.
    assert opened.count("run/checkpoints/best.ckpt") == 1


@pytest.mark.parametrize("config", ["trainer/cpu", "trainer/debug", "trainer/overfit"])
def test_shipped_trainer_configs_run(run: Run, table_root: Path, config: str) -> None:
    fitted(run, table_root, "binary", "run", "--config", config, "--trainer.max_epochs", "1")
