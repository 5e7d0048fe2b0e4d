"""`fit --folds K`: every case out of fold once, test looked at once and by the ensemble, and going on after a stop."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn import metrics as sk

from scansuite.errors import SuiteError
from tasks.cli.evaluate_checkpoint import OWN_FLAGS as EVALUATION_FLAGS
from tasks.cli.folds import train as folds
from tasks.cli.folds.plan import read_plan
from tasks.cli.folds.tables import finished
from tasks.cli.main import main
from tasks.cli.parser import TaskParser
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.cli.verbs.plan import OWN_FLAGS as PLAN_OWN_FLAGS
from tasks.cli.verbs.predict import parse
from tasks.exported.detection.fusion import fuse_boxes
from tasks.registry.specs import spec_of
from tasks.training.provenance import Provenance
from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line
from tests.tasks.cli.test_processes import finish, start

PATIENTS = ["--data.num_patients", "24", "--data.image_size", "32"]
DETECT = [*TINY, "--data.num_patients", "12", "--data.image_size", "64", "--model.channels", "16"]


def in_process(task: str, words: Sequence[str]) -> None:
    """In place of a process for each fold: the same command, without waiting for the imports."""
    if main(task, list(words)) != 0:
        raise SuiteError("the command failed")


@contextlib.contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(folds, "run_command", in_process)
        patch.delenv("SCANSUITE_RUN_DIR", raising=False)
        yield


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "run_command", in_process)


def table(folder: Path, name: str = "predictions") -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", dtype={"target": "str", "prediction": "str", "patient_id": "str"})


def metrics(folder: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return entries


def command(folder: Path, task: str, *words: object) -> None:
    with standing_in(folder):
        assert main(task, [str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two folds of a classifier were trained as ``f``."""
    folder = tmp_path_factory.mktemp("classified")
    command(folder, "classify", "fit", "--folds", 2, "--run_dir", "f", *TINY, *PATIENTS)
    return folder


def out_of_fold(run_dir: Path) -> pd.DataFrame:
    """The predictions, after a look at what holds for each task: each case once, patients in one fold."""
    split, cases = table(run_dir, "split"), table(run_dir, "cases")
    held = split[split["split"] == "train"]
    assert set(held["fold"]) == {0, 1}
    assert split["fold"][split["split"] == "test"].isna().all()
    assert (split["split"] == "test").any()
    assert held.groupby("patient_id")["fold"].nunique().max() == 1
    assert cases["case_id"].is_unique
    assert dict(zip(cases["case_id"], cases["fold"], strict=True)) == dict(
        zip(held["case_id"], held["fold"], strict=True)
    )
    predictions = table(run_dir)
    assert list(predictions.columns[:3]) == ["case_id", "split", "fold"]
    assert set(predictions["split"]) == set(cases["split"]) == {"val"}
    for fold in (0, 1):
        own = table(run_dir / f"fold_{fold}")
        assert set(own["split"]) == {"val"}, "test is for the end"
        rows = predictions[predictions["fold"] == fold]
        called = [name for name in predictions.columns if name.startswith("prediction_op")]
        pd.testing.assert_frame_equal(
            rows.drop(columns=["fold", *called]).reset_index(drop=True),
            own.drop(columns=called, errors="ignore").sort_values("case_id", kind="stable", ignore_index=True),
        )
        assert not any(name.startswith("test/") for name in metrics(run_dir / f"fold_{fold}"))
    return predictions


def test_each_case_is_predicted_once_by_the_fold_without_it(classified: Path) -> None:
    run_dir = classified / "f"
    predictions = out_of_fold(run_dir)
    assert predictions["case_id"].is_unique
    found = metrics(run_dir)
    truth = predictions["target"] == "malignant"
    assert found["val/auroc"]["value"] == pytest.approx(sk.roc_auc_score(truth, predictions["score_malignant"]))
    assert found["val/auroc"]["low"] < found["val/auroc"]["value"] < found["val/auroc"]["high"]
    # Pooling mixes the scales of two models: the mean of the folds' own stands first.
    folds = [metrics(run_dir / f"fold_{fold}")["val/auroc"]["value"] for fold in (0, 1)]
    assert found["val/fold_auroc"]["value"] == pytest.approx(np.mean(folds))
    spread = pd.read_csv(run_dir / "folds.csv").set_index("metric")
    assert spread.loc["fold_auroc", "mean"] == pytest.approx(spread.loc["fold_auroc", "out_of_fold"])
    assert found["val/selected_on"] is True
    # The operating point is that of all folds together: the largest Youden index.
    record = json.loads((run_dir / "ensemble.json").read_text())
    called = predictions["prediction_op"] == "malignant"
    assert (called == (predictions["score_malignant"] >= record["operating_points"]["malignant"])).all()
    rates = sk.roc_curve(truth, predictions["score_malignant"])
    youden = found["val/sensitivity@op"]["value"] + found["val/specificity@op"]["value"] - 1
    assert youden == pytest.approx((rates[1] - rates[0]).max())
    assert {file.stem for file in (classified / "f").glob("*.png")} == {"confusion_matrix_val", "roc_val", "pr_val"}
    assert (classified / "f/fold_1/learning_curves.png").is_file()


def test_mean_and_deviation_over_folds(classified: Path) -> None:
    spread = pd.read_csv(classified / "f" / "folds.csv").set_index("metric")
    own = [metrics(classified / "f" / f"fold_{fold}") for fold in (0, 1)]
    for name in ("auroc", "accuracy", "brier"):
        values = [one[f"val/{name}"]["value"] for one in own]
        assert spread.loc[name, "mean"] == pytest.approx(np.mean(values))
        assert spread.loc[name, "sd"] == pytest.approx(np.std(values, ddof=1))
        assert spread.loc[name, "out_of_fold"] == pytest.approx(metrics(classified / "f")[f"val/{name}"]["value"])


@pytest.mark.usefixtures("drift")  # the folds of the module had it
def test_a_fold_is_the_run_that_it_would_be_alone(classified: Path) -> None:
    alone = ["fit", "--data.folds", "2", "--data.fold", "1", "--run_dir", "alone", *TINY, *PATIENTS]
    command(classified, "classify", *alone)
    fold, single = classified / "f" / "fold_1", classified / "alone"
    states = [torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True) for folder in (fold, single)]
    for name, tensor in states[0]["state_dict"].items():
        assert torch.equal(tensor, states[1]["state_dict"][name]), name
    seen = [Provenance.from_plain(state["scansuite"].pop("provenance")) for state in states]
    np.testing.assert_equal(seen[0].mine, seen[1].mine)
    assert states[0]["scansuite"] == states[1]["scansuite"]
    whole = metrics(single)
    assert metrics(fold) == {name: entry for name, entry in whole.items() if name.startswith("val/")}
    assert any(name.startswith("test/") for name in whole)
    configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in (fold, single)]
    assert configs[0] == configs[1]


def test_the_ensemble_is_evaluated_on_test_once(classified: Path) -> None:
    run_dir = classified / "f"
    index = pd.read_csv(classified / "index.csv")
    assert (index["run_dir"] == "f/ensemble").sum() == 1
    assert not index["run_dir"].str.contains("fold_").any()
    for fold in (0, 1):
        checkpoint = run_dir / f"fold_{fold}" / "checkpoints" / "best.ckpt"
        command(classified, "classify", "test", "--ckpt_path", checkpoint, "--run_dir", f"member_{fold}")
    mean = [table(classified / f"member_{fold}")["score_malignant"] for fold in (0, 1)]
    together = table(run_dir / "ensemble")
    np.testing.assert_allclose(together["score_malignant"], (mean[0] + mean[1]) / 2, atol=1e-6)
    assert (mean[0] - mean[1]).abs().max() > 1e-4
    point = json.loads((run_dir / "ensemble.json").read_text())["operating_points"]["malignant"]
    assert ((together["prediction_op"] == "malignant") == (together["score_malignant"] >= point)).all()
    truth = together["target"] == "malignant"
    found = metrics(run_dir / "ensemble")["test/auroc"]
    assert found["value"] == pytest.approx(sk.roc_auc_score(truth, together["score_malignant"]))


def test_a_stopped_run_goes_on(classified: Path, tmp_path: Path) -> None:
    with standing_in(tmp_path):
        command = ["fit", "--folds", "2", "--run_dir", "f", *TINY, *PATIENTS]
        stopped = pytest.MonkeyPatch()

        def stop(task: str, words: Sequence[str]) -> None:
            if "f/fold_1" in words:
                raise SuiteError("out of memory")
            in_process(task, words)

        stopped.setattr(folds, "run_command", stop)
        assert main("classify", command) == 2
        assert not any(Path("f", name).exists() for name in ("predictions.csv", "metrics.json", "ensemble.json"))
        stopped.undo()
        with pytest.MonkeyPatch.context() as again:
            again.setattr(folds, "run_command", in_process)
            before = Path("f/fold_0/checkpoints/last.ckpt").stat().st_mtime_ns
            assert main("classify", ["validate", "--ckpt_paths", "f"]) == 2
            assert main("classify", ["fit", "--folds", "2", "--run_dir", "f", "--ckpt_path", "last"]) == 0
            assert Path("f/fold_0/checkpoints/last.ckpt").stat().st_mtime_ns == before
    for name in ("predictions.csv", "metrics.json", "ensemble.json", "ensemble/metrics.json", "folds.csv"):
        assert (tmp_path / "f" / name).read_text() == (classified / "f" / name).read_text(), name


def test_flags_that_came_since_do_not_stop_folds_that_have_all_begun(classified: Path, run: Run) -> None:
    shutil.copytree(classified / "f", "f")
    config = yaml.safe_load(Path("f/config.yaml").read_text())
    for name in ("sided", "new_cases", "readers", "skip_unreadable"):
        del config["data"]["init_args"][name]
    Path("f/config.yaml").write_text(yaml.safe_dump(config))
    again = ["fit", "--folds", "2", "--run_dir", "f", "--ckpt_path", "last"]
    with standing_in(Path.cwd()):
        status, _, err = run(*again)
        assert status == 0, err
        status, _, err = run(*again, "--data.sided", "true")  # folds that have begun would not heed it
        assert status == 2
        assert "--data.sided True: was None when this run began" in one_line(err)
        Path("f/fold_1/checkpoints/last.ckpt").unlink()
        status, _, err = run(*again)
        assert status == 2
        assert "an earlier version began it, and would not train fold 1 as this one does" in one_line(err)


def test_what_failed_is_said_with_its_fold(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(task: str, words: Sequence[str]) -> None:
        raise SuiteError("no space left")

    monkeypatch.setattr(folds, "run_command", fail)
    status, _, err = run("fit", "--folds", "2", "--run_dir", "f", *TINY, *PATIENTS)
    assert status == 2
    assert "fold 0: no space left" in one_line(err)


def test_half_a_fold_is_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "fold_0"
    (folder / "checkpoints").mkdir(parents=True)
    last = folder / "checkpoints" / "last.ckpt"
    last.touch()
    assert not finished(folder, "val")
    entry = {"value": 1.0, "low": None, "high": None, "n": 3}
    (folder / "metrics.json").write_text(json.dumps({"test/auroc": entry}))
    assert not finished(folder, "val")
    assert finished(folder, "test")
    os.utime(last, ns=(10**19 // 5, 10**19 // 5))  # the training was taken up again
    assert not finished(folder, "test")


def test_without_a_test_part_each_fold_is_evaluated(run: Run, own_process: None, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", str(table_root), *KINDS["multilabel"], "--data.test_fraction", "0"]
    status, _, err = run("fit", "--folds", "3", "--run_dir", "f", *TINY, *data)
    assert status == 0, err
    predictions, found = table(Path("f")), metrics(Path("f"))
    assert len(predictions) == 90
    assert set(predictions["split"]) == {"test"}
    assert found["test/selected_on"] is False
    assert not any(name.startswith("val/") for name in found)
    for fold in range(3):  # the calls are those of the fold's own operating points, which never saw its test part
        own = table(Path("f", f"fold_{fold}")).query("split == 'test'").set_index("case_id")
        rows = predictions[predictions["fold"] == fold].set_index("case_id")
        calls = [name for name in own.columns if name.startswith("prediction_op")]
        pd.testing.assert_frame_equal(rows[calls], own[calls], check_dtype=False)
    assert not Path("f/ensemble").exists()
    status, _, err = run("test", "--ckpt_paths", "f")
    assert status == 2
    assert "no member has seen" in one_line(err)


def test_a_validation_part_of_their_own_is_dealt_into_the_folds(run: Run, own_process: None, table_root: Path) -> None:
    frame = pd.read_csv(table_root / "labels.csv", dtype=str)
    frame["case_id"] = frame["path"].str.removesuffix(".png")
    number = frame["patient_id"].astype(int)
    frame["split"] = np.select([number % 5 == 0, number % 5 == 1], ["val", "test"], "train")
    frame[["case_id", "split"]].to_csv("split.csv", index=False)
    data = ["--data", "ImageTable", "--data.root", table_root, *KINDS["binary"], "--data.split_file", "split.csv"]
    status, _, err = run("fit", "--folds", "2", "--run_dir", "folds", *TINY, *data)
    assert status == 0
    own = (frame["split"] == "val").sum()
    assert f"validation part that the data bring ({own} cases) is dealt into the folds" in err
    split = table(Path("folds"), "split").set_index("case_id")
    assert set(split.index[split["split"] == "test"]) == set(frame["case_id"][frame["split"] == "test"])
    outside = frame.loc[frame["split"] != "test"]
    assert set(table(Path("folds"))["case_id"]) == set(outside["case_id"])
    folds_of_patient = split.loc[outside["case_id"]].groupby("patient_id")["fold"].nunique()
    assert (folds_of_patient == 1).all()
    for fold in (0, 1):
        part = table(Path("folds") / f"fold_{fold}", "split").set_index("case_id")["split"]
        assert set(part.index[part == "val"]) == set(split.index[split["fold"] == fold])

    status, _, err = run("fit", "--folds", "2", *TINY, *data, "--data.new_cases", "leave_out")
    assert status == 2
    assert "--data.new_cases leave_out" in one_line(err)


def test_folds_trained_singly_on_parts_that_are_given_are_not_put_together(tmp_path: Path) -> None:
    for fold in (0, 1):
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / "split.csv").write_text("case_id,patient_id,split\na,1,train\nb,2,val\n")
    with pytest.raises(SuiteError, match=r"fold 1 validates on cases of another one: .* trained singly"):
        read_plan(tmp_path, 2)


def test_folds_are_trained_alike(run: Run, classified: Path) -> None:
    folder = classified / "f"
    for flags, said in (
        (["--folds", "2", "--model.lr", "0.5"], "--model.lr 0.5: was 0.001"),
        (["--folds", "3"], "--folds 3: was 2"),
        ([], "give --folds too"),
    ):
        status, _, err = run("fit", "--run_dir", folder, "--ckpt_path", "last", *flags)
        assert status == 2
        assert said in one_line(err)


def test_detection(tmp_path: Path) -> None:
    command(tmp_path, "detect", "fit", "--folds", 2, "--run_dir", "f", *DETECT)
    run_dir = tmp_path / "f"
    predictions, cases, targets = out_of_fold(run_dir), table(run_dir, "cases"), table(run_dir, "targets")
    assert set(predictions["case_id"]) <= set(cases["case_id"])
    assert set(targets["case_id"]) <= set(cases["case_id"])
    assert list(targets.columns[:3]) == ["case_id", "split", "fold"]
    points = json.loads((run_dir / "ensemble.json").read_text())["operating_points"]
    called = predictions["prediction_op"].notna()
    assert (called == (predictions["score"] >= predictions["label"].map(points))).all()
    assert {"val/map", "val/f1@op"} <= metrics(run_dir).keys()

    for fold in (0, 1):
        command(tmp_path, "detect", "test", "--ckpt_paths", f"f/fold_{fold}", "--run_dir", f"m{fold}")
    members = [table(tmp_path / f"m{fold}") for fold in (0, 1)]
    together = table(run_dir / "ensemble")
    names = sorted({str(name) for member in members for name in member["label"]})
    for case in table(run_dir / "ensemble", "cases")["case_id"]:
        own = [member[member["case_id"] == case] for member in members]
        corners = ["x1", "y1", "x2", "y2"]
        boxes, scores, labels = fuse_boxes(
            [
                (one[corners].to_numpy(), one["score"].to_numpy(), one["label"].map(names.index).to_numpy(np.int64))
                for one in own
            ]
        )
        found = together[together["case_id"] == case]
        assert len(found) == min(100, len(scores))
        np.testing.assert_allclose(found["score"], scores[:100], rtol=1e-5)
        highest = found.iloc[:5]
        np.testing.assert_allclose(highest[corners], boxes[:5], atol=1e-3)
        assert highest["label"].tolist() == [names[label] for label in labels[:5]]


@pytest.mark.slow
def test_a_killed_run_goes_on_in_processes_of_its_own(tmp_path: Path) -> None:
    flags = ["fit", "--folds", "2", *TINY, *PATIENTS, "--trainer.max_epochs", "3"]
    finish(start(tmp_path, *flags, "--run_dir", "whole"))
    cut = start(tmp_path, *flags, "--run_dir", "cut")
    epochs = tmp_path / "cut" / "fold_1" / "metrics.csv"
    deadline = time.monotonic() + 240
    while not epochs.is_file():
        assert cut.poll() is None, cut.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    assert not (tmp_path / "cut" / "predictions.csv").exists()
    out = finish(start(tmp_path, "fit", "--folds", "2", "--run_dir", "cut", "--ckpt_path", "last"))
    assert "fold 0 of 2 is finished already" in out
    for name in ("predictions.csv", "metrics.json", "ensemble.json", "folds.csv", "ensemble/predictions.csv"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text(), name
    two = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    finish(start(tmp_path, "test", "--ckpt_paths", "whole", "--run_dir", "two", *two))
    one, other = (table(tmp_path / name) for name in ("whole/ensemble", "two"))
    assert one["case_id"].tolist() == other["case_id"].tolist()
    np.testing.assert_allclose(one["score_malignant"], other["score_malignant"], atol=1e-6)


PAGE = (Path(__file__).resolve().parents[4] / "docs" / "folds.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python -m tasks.")]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_is_right(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, module, verb, *words = shlex.split(command)
    task = module.removeprefix("tasks.")
    if verb == "predict":
        parse(task, words)
        return
    if verb == "plan":  # of which the next commands read what it has written
        TaskParser(task, verb, words, own_flags=PLAN_OWN_FLAGS, builds_model=False)
        return
    monkeypatch.chdir(tmp_path)
    Path("plan.yaml").write_text("plan: none\ndata:\n  class_path: datamodules.segmentation.mask_folder.MaskFolder\n")
    flags = OWN_FLAGS if verb == "fit" else EVALUATION_FLAGS
    builder = partial(TaskParser, task, verb, words, own_flags=flags, builds_model=verb == "fit")
    assert builder().task == spec_of(task).name
    assert any(word.startswith(("--folds", "--ckpt_path", "--data.fold")) for word in words)
