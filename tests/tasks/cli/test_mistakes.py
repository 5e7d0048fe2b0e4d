"""The likeliest mistakes: one line that names the thing and the mend, exit status 2, nothing half-written."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.tasks.cli.conftest import KINDS, TINY, Run, draw_table, one_line


@pytest.fixture
def table(table_root: Path) -> list[str]:
    return ["--data", "ImageTable", "--data.root", str(table_root)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.root", "/no/such/folder"], ["/no/such/folder", "no such"]),
        (["--data.label_columns", "findin"], ["labels.csv", "findin", "'finding'"]),
        (["--data.patient_column", "patent"], ["labels.csv", "'patent'", "--data.patient_column"]),
        (["--data.table", "nothing.csv"], ["nothing.csv", "no such file"]),
        (["--data.bach_size", "3"], ["--data.bach_size", "--data.batch_size"]),
        (["--model.backbone", "resnet81"], ["resnet81", "resnet18"]),
        (["--model.optimizer", "adamx"], ["adamx", "--model.optimizer"]),
        (["--model.loss", "huber"], ["huber", "cross_entropy"]),
        (["--model.head", "poool"], ["--model.head", "poool", "pool"]),
        (["--model.lr", "fast"], ["--model.lr", "fast", "a number"]),
        (["--compile", "x"], ["--compile x: expected one of auto, none, default, reduce-overhead, max-autotune"]),
        (["--model.weights", "nothing.pth"], ["nothing.pth"]),
        (["--trainer.max_epoch", "3"], ["--trainer.max_epoch", "--trainer.max_epochs"]),
        (["--data", "ImageTabel"], ["ImageTabel", "ImageTable"]),
        (["--config", "experiment/medmnst"], ["experiment/medmnst", "experiment/medmnist"]),
        (["--data.folds", "1"], ["--data.folds"]),
        (["--data.folds", "2", "--data.test_fraction", "0"], ["--data.folds 2 --data.test_fraction 0", "at least 3"]),
        (
            ["--data.sided", "true", "--data.augment_args.horizontal_flip", "true"],
            ["--data.augment_args.horizontal_flip", "--data.sided false"],
        ),
        (["--data.class_names", "[well, ill, well]"], ["--data.class_names", "'well' is duplicated"]),
        (["--data.augment", "mild"], ["mild", "medium"]),
        (["--data.augment_on", "gpu"], ["--data.augment_on gpu", "CUDA", "cpu"]),
        (["--data.augment_on", "tpu"], ["--data.augment_on", "tpu"]),
        (["--data.augment_args.elastic", "0.3"], ["elastic 0.3", "0.1"]),
        (["--data.split_file", "none.csv"], ["none.csv", "--data.split_file"]),
        (["--data.positive_class", "sick"], ["sick", "ill"]),
        (["--run_dir", "/proc/no/run"], ["/proc/no/run", "cannot be written"]),
        (["--ckpt_path", "last"], ["runs/classify"]),
        (["--ckpt_path", "some.ckpt"], ["--model.weights some.ckpt"]),
        (["--trainer.limit_val_batches", "0"], ["--trainer.limit_val_batches", "--trainer.check_val_every_n_epoch"]),
        (["--trainer.limit_test_batches", "0"], ["--trainer.limit_test_batches", "--judge_test false"]),
    ],
)
def test_wrong_flags(run: Run, table: list[str], flags: list[str], said: list[str]) -> None:
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, *flags)
    line = one_line(err)
    assert status == 2
    for part in said:
        assert part in line, line
    assert not Path("runs/classify/1").exists()


@pytest.mark.parametrize(
    ("package", "flags", "said"),
    [
        ("wandb", ["--trainer.logger", "WandbLogger"], ["WandbLogger", "wandb"]),
        ("mlflow", ["--trainer.logger", "MLFlowLogger"], ["MLFlowLogger", "mlflow"]),
        ("", ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "nope"], ["--trainer", "nope"]),
    ],
)
def test_a_logger_or_callback_that_lacks_its_package_or_metric(
    run: Run, table: list[str], package: str, flags: list[str], said: list[str]
) -> None:
    if package and importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, *flags)
    assert status == 2
    for part in said:
        assert part in one_line(err)


def test_an_existing_run_folder_is_left_alone(run: Run, table: list[str]) -> None:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, "--run_dir", "run")
    assert status == 2
    assert "--ckpt_path last" in one_line(err)
    assert [file.name for file in Path("run").iterdir()] == ["notes.txt"]


def edit(root: Path, column: str, value: str | None, row: int = 4) -> None:
    frame = pd.read_csv(root / "labels.csv", dtype=str)
    frame.loc[row, column] = value
    frame.to_csv(root / "labels.csv", index=False)


@pytest.mark.parametrize(
    ("column", "value", "kind", "said"),
    [
        ("finding", None, "binary", ["'finding'", "row 5"]),
        ("finding", "-1", "binary", ["'finding'", "row 5", "'-1'", "--data.class_names"]),
        ("mass", "perhaps", "multilabel", ["'mass'", "'perhaps'", "row 5"]),
        ("size", "big", "regression", ["'size'", "'big'", "row 5"]),
        ("path", "images/gone.png", "binary", ["images/gone.png"]),
        ("path", None, "binary", ["'path'", "row 5"]),
    ],
)
def test_wrong_cells(run: Run, tmp_path: Path, column: str, value: str | None, kind: str, said: list[str]) -> None:
    root = draw_table(tmp_path / "data", cases=40)
    edit(root, column, value)
    status, _, err = run("fit", "--data", "ImageTable", "--data.root", root, *KINDS[kind], *TINY)
    assert status == 2
    line = one_line(err)
    for part in ["labels.csv", *said]:
        assert part in line, line


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_corrupt_image_is_named_also_from_inside_a_worker(run: Run, tmp_path: Path, workers: str) -> None:
    root = draw_table(tmp_path / "data", cases=80)
    # Not among the images that are looked at to find sizes and channels.
    flags = ["--data.image_size", "24", "--data.channels", "1", "--data.normalize", "none"]
    split = run("fit", "--data", "ImageTable", "--data.root", root, *KINDS["binary"], *TINY, "--run_dir", "a")
    assert split[0] == 0
    cases = pd.read_csv("a/split.csv", dtype=str)
    name = cases["case_id"][cases["split"] == "train"].iloc[-1] + ".png"
    file = root / name
    file.write_bytes(file.read_bytes()[:100])
    status, _, err = run(
        "fit", "--data", "ImageTable", "--data.root", root, *KINDS["binary"], *TINY, *flags,
        "--data.num_workers", workers, "--data.split_file", "a/split.csv",
    )  # fmt: skip
    assert status == 2
    assert name in one_line(err)


def test_an_empty_class_folder(run: Run, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
    status, _, err = run("fit", "--data", "ImageFolder", "--data.root", tmp_path / "data", *TINY)
    assert status == 2
    assert "'cat'" in one_line(err)


def test_a_class_that_the_checkpoint_does_not_know(run: Run, tmp_path: Path, table: list[str]) -> None:
    status, _, err = run("fit", *table, *KINDS["multiclass"], *TINY, "--run_dir", "run")
    assert status == 0, err
    root = draw_table(tmp_path / "other", cases=40, seed=1, site="k")
    edit(root, "organ", "kidney")
    status, _, err = run(
        "test", "--ckpt_path", "run/checkpoints/best.ckpt", "--data", "ImageTable", "--data.root", root,
        *KINDS["multiclass"], "--data.split", "all_test",
    )  # fmt: skip
    assert status == 2
    assert "'kidney'" in one_line(err)
    assert "--data.class_map" in one_line(err)


def test_a_resumed_run_keeps_its_model(run: Run, table: list[str]) -> None:
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, "--run_dir", "run")
    assert status == 0, err
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last", "--model.lr", "0.5")
    assert status == 2
    assert "--model.lr 0.5 differs from 0.001" in one_line(err)
    status, _, err = run("test", "--ckpt_path", "run/checkpoints/best.ckpt", "--model.lr", "0.5")
    assert status == 2
    assert "--model" in one_line(err)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def test_a_pickle_is_refused_and_not_run(run: Run) -> None:
    torch.save({"state_dict": Evil()}, "evil.ckpt")
    for flags in (["test", "--ckpt_path", "evil.ckpt"], ["fit", "--model.weights", "evil.ckpt"]):
        status, _, err = run(*flags)
        assert status == 2
        assert "evil.ckpt" in one_line(err)
    assert not Path("pwned").exists()


def test_foreign_checkpoints_are_named(run: Run) -> None:
    torch.save({"state_dict": {}}, "other.ckpt")
    status, _, err = run("test", "--ckpt_path", "other.ckpt")
    assert status == 2
    assert "no checkpoint of this suite" in one_line(err)
    Path("cut.ckpt").write_bytes(Path("other.ckpt").read_bytes()[:60])
    status, _, err = run("predict", "--ckpt_path", "cut.ckpt", "--input", ".", "--output", "out")
    assert status == 2
    assert "cut.ckpt" in one_line(err)


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(Exception, match="no such file"):
        run("test", "--ckpt_path", "nothing.ckpt", "--debug")


@pytest.mark.parametrize("verb", ["fit", "predict", "check"])
def test_a_config_that_is_no_yaml_is_named(run: Run, verb: str) -> None:
    Path("mine.yaml").write_text("data: [", encoding="utf-8")
    status, _, err = run(verb, "--config", "mine.yaml")
    assert status == 2
    assert "--config mine.yaml: cannot be read: while parsing" in one_line(err)
