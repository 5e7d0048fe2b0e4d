"""Cases of many images through the command line: one row a case, whatever puts its images together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pytorch_lightning import Trainer

from tasks.training.seeding import SeedEpochs
from tests.datamodules.volumes_on_disk import write_nifti
from tests.tasks.cli.conftest import TINY, Run, one_line
from tests.tasks.cli.test_processes import finish, start

FEW = ["--data.batch_size", "8", "--data.bag_size", "3", "--data.bag_limit", "5", "--data.folds", "3"]


@pytest.fixture(scope="session")
def volume_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes of which the ill ones have a bright spot in two slices."""
    root = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(25):
        depth = int(rng.integers(4, 9))
        array = rng.normal(300, 60, (24, 20, depth))
        if number % 2:
            array[8:14, 6:12, 1:3] += 500
        write_nifti(root / f"scan{number:02d}.nii.gz", array.clip(0).astype(np.int16))
        rows.append(
            {"path": f"scan{number:02d}.nii.gz", "label": ["healthy", "ill"][number % 2], "sex": "FM"[number % 3 % 2]}
        )
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)
    return root


def flags(root: Path, aggregate: str) -> list[object]:
    return ["--data", "ImageTable", "--data.root", root, *TINY, *FEW, "--model.aggregate", aggregate]


@pytest.mark.parametrize("aggregate", ["mean", "max", "topk", "attention"])
def test_hippocampi_are_classified_by_volume(aggregate: str, run: Run, shared_data: Path, tmp_path: Path) -> None:
    import nibabel

    source = shared_data / "msd_hippocampus"
    names = sorted(path.name for path in (source / "labelsTr").iterdir() if path.name.endswith(".nii.gz"))[:18]
    sizes = [int((np.asarray(nibabel.load(source / "labelsTr" / name).dataobj) > 0).sum()) for name in names]
    table = pd.DataFrame({"path": names, "label": np.where(np.array(sizes) > np.median(sizes), "large", "small")})
    table.to_csv(tmp_path / "sizes.csv", index=False)
    status, _, err = run(
        "fit", *flags(source / "imagesTr", aggregate), "--data.table", tmp_path / "sizes.csv",
        "--data.axis", "sagittal", "--data.neighbors", "1", "--data.image_size", "32", "--run_dir", "run",
    )  # fmt: skip
    assert status == 0, err
    assert "3 of each in training, up to 5 in evaluation" in err
    predictions, cases = pd.read_csv("run/predictions.csv"), pd.read_csv("run/cases.csv")
    split = pd.read_csv("run/split.csv")
    assert sorted(split["case_id"]) == [name.removesuffix(".nii.gz") for name in names]
    evaluated = split[split["split"] != "train"]
    assert sorted(predictions["case_id"]) == sorted(evaluated["case_id"]) == sorted(cases["case_id"])
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["test/auroc"]["n"] == (evaluated["split"] == "test").sum()
    epoch = pd.read_csv("run/metrics.csv").iloc[-1]
    assert epoch["val/auroc"] == pytest.approx(metrics["val/auroc"]["value"])


def test_volumes_are_predicted_as_they_were_evaluated(run: Run, volume_root: Path) -> None:
    status, _, err = run("fit", *flags(volume_root, "attention"), "--run_dir", "run")
    assert status == 0, err
    inputs = Path("new")
    inputs.mkdir()
    tested = pd.read_csv("run/predictions.csv").query("split == 'test'")
    for case in tested["case_id"]:
        (inputs / f"{case}.nii.gz").write_bytes((volume_root / f"{case}.nii.gz").read_bytes())
    (inputs / "broken.nii.gz").write_bytes(b"\x1f\x8bno")
    status, out, err = run(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", inputs, "--output", "out",
        "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert status == 1, err
    assert f"{len(tested)} cases predicted, 1 files unreadable" in out
    predicted = pd.read_csv("out/predictions.csv")
    assert predicted["case_id"].tolist() == tested["case_id"].tolist()
    np.testing.assert_allclose(predicted["score_ill"], tested["score_ill"], atol=1e-5)
    assert predicted["path"].tolist() == [str(inputs / f"{case}.nii.gz") for case in tested["case_id"]]
    weights = pd.read_csv("out/attention.csv")
    assert weights.columns.tolist() == ["case_id", "path", "slice", "weight"]
    np.testing.assert_allclose(weights.groupby("case_id")["weight"].sum(), 1, rtol=1e-5)
    assert weights.groupby("case_id").size().between(4, 5).all()

    status, _, err = run(
        "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--run_dir", "again", "--trainer.accelerator", "cpu"
    )
    assert status == 0, err
    again = pd.read_csv("again/predictions.csv")
    np.testing.assert_allclose(again["score_ill"], tested["score_ill"], atol=1e-6)


def test_without_aggregate_there_is_one_row_a_slice(run: Run, volume_root: Path) -> None:
    status, _, err = run("fit", *flags(volume_root, "none"), "--run_dir", "run")
    assert status == 0, err
    case = pd.read_csv("run/predictions.csv")["case_id"]
    assert case.is_unique
    assert case.str.fullmatch(r"scan\d\d/000\d").all()
    status, _, err = run(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", volume_root / "scan03.nii.gz", "--output",
        "out", "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert status == 0, err
    predicted = pd.read_csv("out/predictions.csv")
    assert predicted["case_id"].tolist() == [f"scan03/{index:04d}" for index in range(len(predicted))]
    assert predicted["path"].unique().tolist() == [str(volume_root / "scan03.nii.gz")]


def test_several_files_a_case(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for case in range(24):
        for view in range(1 + case % 3):
            path = tmp_path / "data" / f"{case:02d}" / f"{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 120 + 100 * (case % 2), (24, 24)).astype(np.uint8)).save(path)
            rows.append({"path": f"{case:02d}/{view}.png", "case_id": f"s{case:02d}", "label": "ab"[case % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "data" / "labels.csv", index=False)
    status, _, err = run("fit", *flags(tmp_path / "data", "max"), "--run_dir", "run")
    assert status == 0, err
    predictions = pd.read_csv("run/predictions.csv")
    assert predictions["case_id"].is_unique
    assert predictions["case_id"].str.fullmatch(r"s\d\d").all()

    (tmp_path / "data/02/1.png").write_bytes(b"")  # one of three views
    (tmp_path / "data/00/0.png").write_bytes(b"")  # the only one
    status, out, err = run(
        "predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--input", tmp_path / "data", "--output", "out",
        "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert status == 1, err
    assert "23 cases predicted, 2 files unreadable" in out
    assert pd.read_csv("out/predictions.csv", dtype=str)["case_id"].tolist() == [f"{case:02d}" for case in range(1, 24)]
    assert len(pd.read_csv("out/errors.csv")) == 2


def test_one_image_a_case_is_allowed_and_said(run: Run, table_root: Path) -> None:
    data = ["--data", "ImageTable", "--data.root", table_root, "--data.label_columns", "finding"]
    status, _, err = run("fit", *data, *TINY, "--model.aggregate", "attention", "--trainer.fast_dev_run", "true")
    assert status == 0, err
    assert "each case has one image" in err
    status, _, err = run("fit", *data, *TINY, "--model.aggregate", "attention", "--model.head", "native")
    assert status == 2
    assert "--model.aggregate attention: with --model.head native" in one_line(err)
    status, _, err = run("fit", *data, *TINY, "--data.bags", "true")
    assert status == 2
    assert "--data.bags" in one_line(err)


@pytest.mark.slow
def test_two_processes_train_and_evaluate_like_one(volume_root: Path, tmp_path: Path) -> None:
    # A frozen backbone has no batch statistics, which depend on what stands in a batch.
    words = [*flags(volume_root, "attention"), "--model.freeze", "backbone", "--trainer.max_epochs", "2"]
    words += ["--data.augment", "light", "--model.optimizer", "sgd", "--model.lr", "0.05"]  # AdamW enlarges rounding
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "4"]
    finish(start(tmp_path, "fit", *words, "--run_dir", "one"))
    finish(start(tmp_path, "fit", *words, *two, "--run_dir", "two"))
    one, two_ranks = (pd.read_csv(tmp_path / name / "predictions.csv") for name in ("one", "two"))
    assert two_ranks["case_id"].is_unique
    pd.testing.assert_frame_equal(one, two_ranks, rtol=1e-4, atol=1e-5)
    one, two_ranks = (pd.read_csv(tmp_path / name / "metrics.csv").drop(columns="seconds") for name in ("one", "two"))
    pd.testing.assert_frame_equal(one, two_ranks, rtol=1e-4, atol=1e-5)
    for name, tensor in weights_of(tmp_path / "one").items():
        torch.testing.assert_close(tensor, weights_of(tmp_path / "two")[name], rtol=1e-4, atol=1e-5)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def test_a_resumed_run_is_equal(run: Run, volume_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["fit", *flags(volume_root, "topk"), "--trainer.max_epochs", "2", "--data.augment", "light"]
    status, _, err = run(*words, "--run_dir", "whole")
    assert status == 0, err

    def cut_off(self: SeedEpochs, trainer: Trainer, *_: object) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SeedEpochs, "on_train_batch_start", cut_off)
        status, _, err = run(*words, "--run_dir", "cut")
        assert status != 0
    status, _, err = run(*words, "--run_dir", "cut", "--ckpt_path", "last")
    assert status == 0, err
    whole, cut = weights_of(Path("whole")), weights_of(Path("cut"))
    for name, tensor in whole.items():
        assert torch.equal(tensor, cut[name]), name
    first, second = (pd.read_csv(f"{name}/predictions.csv") for name in ("whole", "cut"))
    pd.testing.assert_frame_equal(first, second)
