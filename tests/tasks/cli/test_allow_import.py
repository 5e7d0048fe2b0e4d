"""Classes of the user's own: data, callbacks and loggers by dotted path, from modules that the command line allows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from scansuite import own_parts
from tests.tasks.cli.conftest import TINY, Run, one_line

PACKAGE = "own_cohort"
DATA = '''
import numpy as np
import pandas as pd

from datamodules.cases.table import table_of_images
from datamodules.classification.base import ClassificationData
from datamodules.types import Scan, ScanInfo


class Cohort(ClassificationData):
    """Squares, dark or bright, that lie in no file.

    Args:
        root: not used.
        count: how many cases.
        kwargs: of every data class.
    """

    def __init__(self, root: str = ".", *, count: int = 40, untold: float = 0.5, **kwargs):
        super().__init__(root, **kwargs)
        self.count, self.class_order = count, ["dark", "bright"]

    def build_table(self):
        names = [f"square{number:03d}" for number in range(self.count)]
        labels = ["dark" if number % 2 else "bright" for number in range(self.count)]
        return table_of_images(pd.DataFrame({"path": names, "patient_id": names, "label": labels}))

    def read(self, image):
        path = str(self.table.images["path"].iat[image])
        draw = np.random.default_rng(image).normal(80 if image % 2 else 160, 30, (24, 24))
        return Scan(draw.clip(0, 255).astype(np.uint8), ScanInfo(path=path, original_size=(24, 24)))

    def hashes(self, table):
        return list(table.images["path"])


class NoData:
    pass
'''
CALLBACKS = '''
from pathlib import Path

from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger


class Counter(Callback):
    """Counts epochs in a file.

    Args:
        file: that counts.
    """

    def __init__(self, file: str = "epochs.txt"):
        if not file:
            raise ValueError("file: is empty")
        self.file = Path(file)

    def on_train_epoch_end(self, trainer, pl_module):
        with self.file.open("a") as stream:
            stream.write("epoch ")


class Logger(CSVLogger):
    """Writes CSV."""
'''
OWN = ["--data", f"{PACKAGE}.data.Cohort"]
ALLOW = ["--allow_import", PACKAGE]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package in the working folder, which nobody has imported or allowed."""
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_parts, "_allowed", set())
    (tmp_path / PACKAGE).mkdir()
    for name, text in (("__init__", ""), ("data", DATA), ("callbacks", CALLBACKS)):
        (tmp_path / PACKAGE / f"{name}.py").write_text(text, encoding="utf-8")


def imported() -> bool:
    return any(name.split(".")[0] == PACKAGE for name in sys.modules)


NOT_ALLOWED = f"would run code of '{PACKAGE}': allow it with --allow_import {PACKAGE}"


@pytest.mark.parametrize(
    "words",
    [
        ["fit", *OWN],
        ["check", *OWN, "--output", "out"],
        ["fit", "--data.help", OWN[1]],
        ["fit", *OWN, "--help"],
        ["fit", "--data", json.dumps({"class_path": OWN[1]})],
        ["fit", "--data.class_path", OWN[1]],
        ["fit", "--trainer.callbacks+", f"{PACKAGE}.callbacks.Counter"],
        ["fit", "--trainer.callbacks.help", f"{PACKAGE}.callbacks.Counter"],
        ["fit", "--trainer.logger", f"{PACKAGE}.callbacks.Logger"],
        ["fit", "--config", "data.yaml"],
        ["check", "--config", "data.yaml", "--output", "out"],
        ["fit", "--config", "callbacks.yaml"],
        ["fit", "--trainer", "trainer.yaml"],
        ["fit", "--data", "class.yaml"],
        ["predict", "--config", "callbacks.yaml", "--input", ".", "--output", "out"],
    ],
    ids=" ".join,
)
def test_nothing_is_imported_unless_it_is_allowed(run: Run, words: list[str]) -> None:
    callbacks = {"callbacks": [{"class_path": f"{PACKAGE}.callbacks.Counter"}]}
    # What stands in a file allows nothing: it may have come with the rest of the folder.
    record = {"allow_import": [PACKAGE]}
    Path("data.yaml").write_text(yaml.safe_dump({"data": {"class_path": OWN[1]}, **record}))
    Path("class.yaml").write_text(yaml.safe_dump({"class_path": OWN[1]}))
    Path("callbacks.yaml").write_text(yaml.safe_dump({"trainer": callbacks, **record}))
    Path("trainer.yaml").write_text(yaml.safe_dump(callbacks))
    status, _, err = run(*words)
    assert status == 2
    assert NOT_ALLOWED in one_line(err)
    assert not imported()


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "torch.os.system", "builtins.exec"])
def test_a_config_runs_no_command(run: Run, path: str) -> None:
    part = {"class_path": path, "init_args": {"command": "touch pwned", "args": "touch pwned"}}
    for name, section in (("logger", {"trainer": {"logger": part}}), ("args", {"model": {"backbone_args": part}})):
        Path(f"{name}.yaml").write_text(yaml.safe_dump(section))
        status, _, err = run("fit", "--config", f"{name}.yaml", *TINY, "--data.num_patients", "20")
        assert status == 2
        assert "allow it with --allow_import" in one_line(err) or "takes no argument" in one_line(err)
        assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*OWN, "--data.cuont", "3"], "unknown flag --data.cuont: did you mean --data.count?"),
        ([*OWN, "--data.num_patients", "3"], "unknown flag --data.num_patients"),
        ([*OWN, "--data.count", "many"], "--data.count many: expected a whole number"),
        (["--data", f"{PACKAGE}.data.Cohrt"], f"{PACKAGE}.data has no class 'Cohrt': did you mean 'Cohort'?"),
        (["--data", f"{PACKAGE}.dta.Cohort"], f"there is no module '{PACKAGE}.dta'"),
        (["--data", f"{PACKAGE}.data.NoData"], "must be a subclass of datamodules.classification.base.Classif"),
        (["--data", "datamodules.detection.coco.Coco"], "must be a subclass of datamodules.classification.base.Cl"),
        (["--trainer.callbacks+", f"{PACKAGE}.callbacks.Logger"], "Logger: must be a subclass of pytorch_lightning.c"),
        (["--trainer.logger", f"{PACKAGE}.callbacks.Counter"], "Counter: must be a subclass of pytorch_lightning.l"),
        (["--trainer.callbacks+", f"{PACKAGE}.callbacks.Countr"], "has no class 'Countr': did you mean 'Counter'?"),
        (
            ["--trainer.callbacks+", f"{PACKAGE}.callbacks.Counter", "--trainer.callbacks.fil", "x"],
            "--trainer.callbacks.fil: not a flag of Counter: did you mean 'file'?",
        ),
        (
            ["--trainer.callbacks+", f"{PACKAGE}.callbacks.Counter", "--trainer.callbacks.file="],
            "Counter (--trainer): cannot be made: file: is empty",
        ),
    ],
)
def test_mistakes_in_own_classes_are_named(run: Run, words: list[str], said: str) -> None:
    status, _, err = run("fit", *ALLOW, *words)
    assert status == 2
    assert said in one_line(err)
    assert not Path("runs").exists()


def test_names_that_allow_nothing(run: Run) -> None:
    status, _, err = run("fit", *OWN, "--allow_import", "own-cohort")
    assert status == 2
    assert "--allow_import own-cohort: is no name of a module" in one_line(err)
    status, _, err = run("list", *ALLOW)  # builds nothing
    assert status == 2
    assert "unknown flag --allow_import" in one_line(err)


def test_help_shows_the_flags_of_an_own_data_class(run: Run) -> None:
    status, out, _ = run("fit", *OWN, *ALLOW, "--help")
    assert status == 0
    shown = out.split("\nflags of Cohort:\n")[1].split("\n\n")[0]
    assert shown.count("--data.count") == 1
    assert "how many cases" in shown
    assert "--data.untold" in shown  # not a word in its docstring
    assert "--data.batch_size" not in shown
    status, out, _ = run("fit", *ALLOW, "--data.help", OWN[1])
    assert status == 0
    assert "--data.count" in out


def test_from_fit_to_predict(run: Run) -> None:
    callback = ["--trainer.callbacks+", f"{PACKAGE}.callbacks.Counter", "--trainer.callbacks.file", "counted.txt"]
    logger = ["--trainer.logger", f"{PACKAGE}.callbacks.Logger", "--trainer.logger.save_dir", "log"]
    status, _, err = run("fit", *OWN, "--data.count", "60", *ALLOW, *TINY, *callback, *logger, "--run_dir", "run")
    assert status == 0, err
    assert Path("counted.txt").read_text() == "epoch "
    assert list(Path("log").rglob("metrics.csv"))
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["allow_import"] == [PACKAGE]
    assert config["data"]["class_path"] == OWN[1]
    assert config["data"]["init_args"]["count"] == 60

    own_parts._allowed.clear()
    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt"]
    status, _, err = run("test", *checkpoint, "--run_dir", "again")
    assert status == 2
    assert f"give --allow_import {PACKAGE}" in one_line(err)
    status, _, err = run("fit", "--run_dir", "run", "--ckpt_path", "last")
    assert status == 2
    assert NOT_ALLOWED in one_line(err)
    status, _, err = run("test", *checkpoint, *ALLOW, "--run_dir", "again", "--trainer.accelerator", "cpu")
    assert status == 0, err
    metrics = [json.loads(Path(f"{name}/metrics.json").read_text()) for name in ("run", "again")]
    assert metrics[0]["test/auroc"] == metrics[1]["test/auroc"]
    # The model is the suite's: what its data were is nothing to predict.
    own_parts._allowed.clear()
    from PIL import Image

    Image.new("L", (24, 24), 90).save("one.png")
    cpu = ["--data.num_workers", "0", "--trainer.accelerator", "cpu"]
    status, _, err = run("predict", *checkpoint, "--input", "one.png", "--output", "out", *cpu)
    assert status == 0, err


def test_check_looks_at_own_data(run: Run) -> None:
    status, out, err = run("check", *OWN, *ALLOW, "--data.count", "30", "--output", "out")
    assert status == 0, err
    assert "out/check.html" in out


def test_folds_hand_on_what_is_allowed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed: list[list[str]] = []

    def note(task: str, words: list[str]) -> None:
        typed.append(list(words))
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.cli.folds.train.run_command", note)
    status, _, _ = run("fit", *OWN, *ALLOW, *TINY, "--folds", "3", "--run_dir", "run")
    assert status == 130
    at = typed[0].index("--allow_import")
    assert typed[0][at + 1] == PACKAGE
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["allow_import"] == [PACKAGE]
