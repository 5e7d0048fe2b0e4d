"""Mistakes in flags and configs: one line that names the thing and the mend, exit status 2, nothing half-written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.tasks.cli.conftest import KINDS, TINY, Run, one_line
from tests.tasks.cli.mistakes import Mistake, check, named, plain, replaced, text

FLAGS = {
    "no such folder": Mistake(["/no/such"], "correct the path", ["--data.root", "/no/such"], ["--data.root", "data"]),
    "mistyped folder": Mistake(
        ["--data.root dat:"], "did you mean data?", ["--data.root", "dat"], ["--data.root", "data"]
    ),
    "folder is a file": Mistake(
        ["--data.root data/ill/p00.png", "is a file"], "give its folder, data/ill", ["--data.root", "data/ill/p00.png"],
        ["--data.root", "data"], data="ImageFolder",
    ),
    "blank folder": Mistake(
        ["--data.root ''", "blank"], "give --data.root VALUE", ["--data.root", ""], ["--data.root", "data"]
    ),
    "blank scratch": Mistake(["--data.scratch ' '", "blank"], "leave it out", ["--data.scratch", " "], []),
    "label column": Mistake(
        ["labels.csv", "'findin'", "--data.label_columns"], "did you mean 'finding'?",
        ["--data.label_columns", "findin"], ["--data.label_columns", "finding"],
    ),
    "path column": Mistake(
        ["labels.csv", "'file'"], "give --data.path_column path", ["--data.path_column", "file"],
        ["--data.path_column", "path"],
    ),
    "patient column": Mistake(
        ["labels.csv", "'patent_id'"], "did you mean 'patient_id'?", ["--data.patient_column", "patent_id"],
        ["--data.patient_column", "patient_id"],
    ),
    "no such table": Mistake(
        ["data/label.csv", "no such file"], "did you mean data/labels.csv?", ["--data.table", "label.csv"],
        ["--data.table", "labels.csv"],
    ),
    "table is a folder": Mistake(
        ["--data.table data/images"], "name a file in it", ["--data.table", "images"], ["--data.table", "labels.csv"]
    ),
    "separator": Mistake(
        ["labels.csv", "path,patient_id"], "--data.separator", ["--data.separator", ";"], ["--data.separator", ","]
    ),
    "encoding": Mistake(
        ["--data.encoding klingon"], "utf-8", ["--data.encoding", "klingon"], ["--data.encoding", "utf-8"]
    ),
    "mistyped flag": Mistake(
        ["--data.bach_size"], "did you mean --data.batch_size?", ["--data.bach_size", "3"], ["--data.batch_size", "3"]
    ),
    "flag of another trainer": Mistake(
        ["--epochs"], "did you mean --trainer.max_epochs?", ["--epochs", "2"], ["--trainer.max_epochs", "2"]
    ),
    "value without a flag": Mistake(
        ["small_cnn"], "leave it out", ["small_cnn"], []
    ),
    "flag without a value": Mistake(["--model.lr", "missing"], "leave it out", ["--model.lr"], []),
    "backbone": Mistake(
        ["smal_cnn"], "did you mean 'small_cnn'?", ["--model.backbone", "smal_cnn"], ["--model.backbone", "small_cnn"]
    ),
    "optimiser": Mistake(
        ["--model.optimizer", "'adamv'"], "did you mean 'adam'?", ["--model.optimizer", "adamv"],
        ["--model.optimizer", "adam"],
    ),
    "argument of an optimiser": Mistake(
        ["--model.optimizer_args", "momentun"], "did you mean 'momentum'?",
        ["--model.optimizer", "sgd", "--model.optimizer_args", "{momentun: 0.9}"],
        ["--model.optimizer", "sgd", "--model.optimizer_args", "{momentum: 0.9}"],
    ),
    "schedule": Mistake(
        ["--model.schedule cosin"], "did you mean cosine?", ["--model.schedule", "cosin"], ["--model.schedule",
        "cosine"]
    ),
    "loss": Mistake(
        ["--model.loss huber"], "takes cross_entropy", ["--model.loss", "huber"], ["--model.loss", "cross_entropy"]
    ),
    "head": Mistake(
        ["--model.head", "'poool'"], "did you mean 'pool'?", ["--model.head", "poool"], ["--model.head", "pool"],
    ),
    "number": Mistake(["--model.lr fast"], "expected a number", ["--model.lr", "fast"], ["--model.lr", "0.1"]),
    "nothing for a number": Mistake(
        ["--model.lr null"], "expected a number", ["--model.lr", "null"], ["--model.lr", "1"],
    ),
    "whole number": Mistake(
        ["--data.batch_size 2.5"], "expected a whole number", ["--data.batch_size", "2.5"], ["--data.batch_size", "2"]
    ),
    "negative batch": Mistake(
        ["--data.batch_size -1"], "at least 1", ["--data.batch_size", "-1"], ["--data.batch_size", "1"]
    ),
    "no epoch": Mistake(
        ["--trainer.max_epochs 0"], "at least 1", ["--trainer.max_epochs", "0"], ["--trainer.max_epochs", "1"]
    ),
    "true or false": Mistake(
        ["--data.sided perhaps"], "expected true or false", ["--data.sided", "perhaps"], ["--data.sided", "true"]
    ),
    "list": Mistake(
        ["--data.class_names ill"], "expected a list ([a, b])", ["--data.class_names", "ill"],
        ["--data.class_names", "[ill, healthy]"],
    ),
    "names with values": Mistake(
        ["--model.backbone_args depth=1"], "({name: value})", ["--model.backbone_args", "depth=1"],
        ["--model.backbone_args", "{depth: 1}"],
    ),
    "choice": Mistake(
        ["--logger tensorbord"], "did you mean tensorboard?", ["--logger", "tensorbord"], ["--logger", "tensorboard"]
    ),
    "callback": Mistake(
        ["--trainer.callbacks Timr"], "did you mean Timer?",
        ["--trainer.callbacks", "Timr"], ["--trainer.callbacks", "Timer"],
    ),
    "compiler": Mistake(["--compile x"], "one of auto, none", ["--compile", "x"], ["--compile", "none"]),
    "precision": Mistake(
        ["--trainer.precision half"], "32-true", ["--trainer.precision", "half"], ["--trainer.precision", "32-true"]
    ),
    "accelerator": Mistake(
        ["--trainer.accelerator cpus"], "did you mean 'cpu'?", ["--trainer.accelerator", "cpus"],
        ["--trainer.accelerator", "cpu"],
    ),
    "devices": Mistake(
        ["--trainer.devices none"], "auto", ["--trainer.devices", "none"], ["--trainer.devices", "auto"]
    ),
    "strategy": Mistake(
        ["--trainer.strategy aut"], "did you mean 'auto'?", ["--trainer.strategy", "aut"], ["--trainer.strategy",
        "auto"]
    ),
    "data class": Mistake(
        ["ImageTabel"], "did you mean 'ImageTable'?", ["--data", "ImageTabel"], ["--data", "ImageTable"],
    ),
    "one fold": Mistake(["--data.folds 1"], "at least 2", ["--data.folds", "1"], ["--data.folds", "2"]),
    "nothing to train on": Mistake(
        ["--data.folds 2 --data.test_fraction 0"], "at least 3 folds", ["--data.folds", "2", "--data.test_fraction",
        "0"],
        ["--data.folds", "3", "--data.test_fraction", "0"],
    ),
    "sides that are mirrored": Mistake(
        ["--data.augment_args.horizontal_flip"], "--data.sided false",
        ["--data.sided", "true", "--data.augment_args.horizontal_flip", "true"],
        ["--data.sided", "false", "--data.augment_args.horizontal_flip", "true"],
    ),
    "a class twice": Mistake(
        ["--data.class_names", "'ill' is duplicated"], "name each class once", ["--data.class_names",
        "[ill, healthy, ill]"],
        ["--data.class_names", "[ill, healthy]"],
    ),
    "augmentation": Mistake(
        ["--data.augment 'mild'"], "medium", ["--data.augment", "mild"], ["--data.augment", "medium"],
    ),
    "augmentation on no GPU": Mistake(
        ["--data.augment_on gpu", "CUDA"], "cpu", ["--data.augment_on", "gpu"], ["--data.augment_on", "cpu"]
    ),
    "range of an augmentation": Mistake(
        ["elastic 0.3"], "between 0 and 0.1", ["--data.augment_args.elastic", "0.3"],
        ["--data.augment_args.elastic", "0.1"]
    ),
    "positive class": Mistake(
        ["'sick'", "healthy, ill"], "give one of them", ["--data.positive_class", "sick"], ["--data.positive_class",
        "ill"]
    ),
    "no such split file": Mistake(
        ["none.csv", "--data.split_file"], "correct the path", ["--data.split_file", "none.csv"], []
    ),
    "run folder": Mistake(
        ["/proc/no/run", "cannot be written"], "choose a folder", ["--run_dir", "/proc/no/run"], ["--run_dir", "mine"]
    ),
    "nothing to go on with": Mistake(
        ["--ckpt_path last", "runs/classify"], "leave it out", ["--ckpt_path", "last"], [],
    ),
    "no batch": Mistake(
        ["--trainer.limit_val_batches 0"], "leave it out", ["--trainer.limit_val_batches", "0"], []
    ),
    "weights": Mistake(["--model.weights no.pth", "no such file"], "a checkpoint", ["--model.weights", "no.pth"], []),
}  # fmt: skip
CONFIGS = {
    "tab": Mistake(
        ["--config mine.yaml", "line 2", "tab"], "write spaces", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model:\n\tlr: 0.1\n"), repair=replaced("mine.yaml", "\t", "  "),
    ),
    "indentation": Mistake(
        ["--config mine.yaml", "line 3"], "align it", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model:\n  lr: 0.1\n ema: 0.9\n"), repair=replaced("mine.yaml", "\n ema", "\n  ema"),
    ),
    "two colons": Mistake(
        ["--config mine.yaml", "line 2", "second `: `"], "between quotes", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "data:\n  split_file: a: b\n"), repair=text("mine.yaml",
        "data:\n  class_map: {'a: b': c}\n"),
    ),
    "bracket": Mistake(
        ["--config mine.yaml", "line 1", "bracket is not closed"], "write it", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model: {lr: 0.1"), repair=text("mine.yaml", "model: {lr: 0.1}"),
    ),
    "no text": Mistake(
        ["--config mine.yaml", "not UTF-8"], "save it as UTF-8", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model:\n".encode("utf-16")), repair=text("mine.yaml", "model:\n  lr: 0.1\n"),
    ),
    "empty": Mistake(
        ["--config mine.yaml", "empty"], "write a flag and its value", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", ""), repair=text("mine.yaml", "run_dir: mine\n"),
    ),
    "list": Mistake(
        ["--config mine.yaml", "holds no flags"], "write a flag and its value", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "- run_dir\n"), repair=text("mine.yaml", "run_dir: mine\n"),
    ),
    "value for a section": Mistake(
        ["--config mine.yaml", "model is small_cnn"], "below it", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model: small_cnn\n"), repair=text("mine.yaml", "model:\n  backbone: small_cnn\n"),
    ),
    "list for a section": Mistake(
        ["--config mine.yaml", "trainer is [1]"], "below it", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "trainer: [1]\n"), repair=text("mine.yaml", "trainer:\n  max_epochs: 1\n"),
    ),
    "mistyped key": Mistake(
        ["--config mine.yaml", "model.learning_rat"], "did you mean 'lr'?", ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "model:\n  learning_rat: 0.1\n"), repair=replaced("mine.yaml", "learning_rat", "lr"),
    ),
    "shipped one": Mistake(
        ["--config trainer/cpuu"], "did you mean 'trainer/cpu'?", ["--config", "trainer/cpuu"], ["--config",
        "trainer/cpu"]
    ),
    "folder": Mistake(
        ["--config data"], "name a YAML file", ["--config", "data"], ["--config", "mine.yaml"],
        spoil=text("mine.yaml", "run_dir: mine\n"),
    ),
}  # fmt: skip


@named(
    FLAGS,
    "folder is a file", "patient column", "encoding", "value without a flag", "optimiser", "head", "whole number",
    "negative batch", "nothing for a number", "compiler", "precision", "strategy", "a class twice", "augmentation",
    "range of an augmentation", "loss", "no such split file", "weights", "names with values", "one fold", "no batch",
)  # fmt: skip
def test_flags(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@named(CONFIGS, "bracket", "no text", "list", "list for a section", "folder", "two colons")
def test_configs(run_task: Run, one: Mistake) -> None:
    check(run_task, one)


@pytest.fixture
def table(table_root: Path) -> list[str]:
    return ["--data", "ImageTable", "--data.root", str(table_root)]


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


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.augment_on", "tpu"], ["--data.augment_on", "tpu"]),
        (["--ckpt_path", "some.ckpt"], ["--model.weights some.ckpt"]),
        (["--trainer.limit_val_batches", "0"], ["--trainer.check_val_every_n_epoch"]),
        (["--trainer.limit_test_batches", "0"], ["--trainer.limit_test_batches", "--judge_test false"]),
        (["--config", "experiment/medmnst"], ["experiment/medmnst", "experiment/medmnist"]),
        (["--trainer.devices", "-3"], ["--trainer.devices -3"]),
        (["--trainer.limit_train_batches", "-1"], ["--trainer.limit_train_batches -1", "from 0 to 1"]),
        (["--model.class_weights", "[1]"], ["1 number for 2 classes (healthy, ill)", "give one for each"]),
        (["--model.class_weights", "[-1, 2]"], ["--model.class_weights", "at least 0"]),
        (["--data.augment_args", "strong"], ["--data.augment_args strong", "{name: value}"]),
        (["--trainer.callbacks", "[EarlyStopping]"], ["--trainer.callbacks", "monitor", "EarlyStopping"]),
        (["--data.root", "a\udcffb"], ["--data", "UTF-8"]),
    ],
)
def test_more_flags(run: Run, table: list[str], flags: list[str], said: list[str]) -> None:
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, *flags)
    line = plain(one_line(err))
    assert status == 2
    for part in said:
        assert part in line, line
    assert not Path("runs").exists()


def test_an_existing_run_folder_is_left_alone(run: Run, table: list[str]) -> None:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    status, _, err = run("fit", *table, *KINDS["binary"], *TINY, "--run_dir", "run")
    assert status == 2
    assert "--ckpt_path last" in one_line(err)
    assert [file.name for file in Path("run").iterdir()] == ["notes.txt"]


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(Exception, match="no such file"):
        run("test", "--ckpt_path", "nothing.ckpt", "--debug")


@pytest.mark.parametrize("verb", ["fit", "predict", "check"])
def test_a_config_that_is_no_yaml_is_named(run: Run, verb: str) -> None:
    Path("mine.yaml").write_text("data: [", encoding="utf-8")
    status, _, err = run(verb, "--config", "mine.yaml")
    assert status == 2
    assert "--config mine.yaml: cannot be read: line 1, column 8: a value is missing" in one_line(err)
