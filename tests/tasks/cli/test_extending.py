"""Each example of docs/extending.md is written to a package, and each command of the page is run, in their order."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import tasks.cli.verbs
from datamodules.readers import format_table, own_formats
from scansuite import own_parts
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.classify.task import ClassificationTask
from tasks.cli import main as front
from tasks.detect.interface import Detector
from tasks.detect.task import DetectionTask
from tasks.own.parts import OwnPart
from tasks.registry.specs import spec_of
from tasks.segment.task import SegmentationTask
from tests.tasks.cli.conftest import Run, one_line

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/.]+\.(?:py|toml))`:\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S))
TASKS: dict[str, type[Task]] = {
    "classify": ClassificationTask,
    "segment": SegmentationTask,
    "detect": DetectionTask,
}
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
SMALL = [
    "--data.num_workers", "0", "--data.batch_size", "16", "--trainer.accelerator", "cpu", "--trainer.precision",
    "32-true", "--trainer.max_epochs", "1",
]  # fmt: skip
PHANTOMS = ["--model.backbone", "test_resnet", "--data.num_patients", "20", "--data.image_size", "32"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the page as an installed package, in the folder where the commands are run."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "mypkg" / "__init__.py").touch()
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    group, points = next(iter(project["entry-points"].items()))
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items()))
    (folder / "scans").mkdir()
    for number, value in enumerate((60, 200)):
        header = b"RAW\0" + np.array([32, 32], "<u4").tobytes()
        pixels = np.full((32, 32), value, "<u2").tobytes()
        (folder / "scans" / f"{number}.raw16").write_bytes(header + pixels)
    (folder / "scans" / "cut.raw16").write_bytes(header + pixels[:100])

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(own_parts, "_allowed", set())
        patch.setattr(own_parts, "_given", {})
        patch.setattr(tasks.cli.verbs, "__path__", [*tasks.cli.verbs.__path__, str(folder / "tasks/cli/verbs")])
        patch.setitem(front.VERBS, "weigh", "count the parameters of a checkpoint")
        yield folder
    spec_of.cache_clear()
    format_table.forget_own()
    own_formats.own_version.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "mypkg" or name.endswith(".weigh")]:
        del sys.modules[name]


@pytest.fixture
def run_line(package: Path, run_task: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a line of the page with small data and a small network: exit status, stdout, stderr."""
    monkeypatch.chdir(package)

    def call(line: str, *more: str) -> tuple[int, str, str]:
        words = shlex.split(line)
        task, verb, *flags = [words[2].removeprefix("tasks."), *words[3:]] if words[0] == "python" else words[1:]
        small = {"fit": SMALL, "test": SMALL[:2] + SMALL[4:8], "predict": [*SMALL[:2], *SMALL[4:6]]}.get(verb, [])
        drawn = PHANTOMS if verb == "fit" and "--data" not in flags else []
        return run_task(task, verb, *flags, *small, *drawn, *more)

    return call


def lines(*words: str) -> list[str]:
    """The commands of the page that have all these words; each is run by one test."""
    return [line for line in COMMANDS if all(word in line for word in words)]


def test_every_part_has_an_example() -> None:
    names = ["losses", "metrics", "heads", "networks", "data", "augmentations", "callbacks", "loggers", "formats"]
    names += ["decoders", "detectors", "grading"]
    assert {f"mypkg/{name}.py" for name in names} | {"pyproject.toml", "tasks/cli/verbs/weigh.py"} == set(FILES)
    asked = [f"classify {verb} " for verb in ("fit", "test", "predict", "weigh")]
    assert sorted(COMMANDS) == sorted(
        line for word in (*asked, "segment ", "detect ", "grade ") for line in lines(word)
    )
    for cls in (Task, ClassificationTask, SegmentationTask, DetectionTask):
        for name in re.findall(r"(\w+)_args\b", " ".join(cls.__init__.__annotations__)):
            if name not in ("optimizer", "schedule"):
                assert f"`--model.{name}" in PAGE


def test_classification_with_everything_of_ones_own(run_line: Run, package: Path) -> None:
    (fit,), (test,), (predict,), (weigh,) = (
        lines("classify", verb) for verb in (" fit", " test", " predict", " weigh")
    )
    without = fit.replace("--allow_import mypkg ", "")
    status, _, err = run_line(without)
    assert status == 2
    assert "--allow_import mypkg" in one_line(err)

    status, _, err = run_line(fit)
    assert status == 0, err
    config = yaml.safe_load(Path("runs/mine/config.yaml").read_text())
    assert config["model"]["loss"] == "mypkg.losses.Margin"
    assert config["model"]["loss_args"] == {"margin": 0.5}
    assert config["model"]["metrics"][1]["init_args"] == {"threshold": 0.4}
    logged = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert any("val/called" in row and "val/binary_cohen_kappa" in row for row in logged)
    assert Path("counted.txt").read_text() == "0\n"

    own_parts._allowed.clear()
    status, _, err = run_line(test.replace("--allow_import mypkg ", ""), "--data", "Phantoms")
    assert status == 2
    line = one_line(err)
    assert "best.ckpt: was trained with mypkg.losses.Margin, mypkg.heads.MaxHead" in line
    assert "mypkg.networks.thin_resnet" in line
    assert "--allow_import mypkg" in line
    status, _, err = run_line(test)
    assert status == 0, err
    metrics = [json.loads(Path(f"runs/{name}/metrics.json").read_text()) for name in ("mine", "again")]
    assert metrics[0]["test/auroc"] == metrics[1]["test/auroc"]

    status, _, err = run_line(predict)
    assert status == 1, err
    rows = pd.read_csv("predicted/predictions.csv")
    assert list(rows["case_id"].astype(str)) == ["0", "1"]
    assert "cut.raw16" in Path("predicted/errors.csv").read_text()
    status, out, err = run_line(weigh)
    assert status == 0, err
    assert re.fullmatch(r"\d+ parameters", out.strip())


@pytest.mark.parametrize("task", ["segment ", "detect "])
def test_decoder_and_detector(run_line: Run, task: str) -> None:
    (line,) = lines(task)
    run = f"runs/{task.strip()}_own"
    status, _, err = run_line(line, "--run_dir", run)
    assert status == 0, err
    logged = pd.read_csv(Path(run) / "metrics.csv").columns
    assert any(name.startswith(("val/multiclass_jaccard", "val/mean_average_precision")) for name in logged)


def test_a_task_of_ones_own(run_line: Run) -> None:
    (line,) = lines("grade ")
    status, _, err = run_line(line)
    assert status == 0, err
    config = yaml.safe_load(Path("runs/graded/config.yaml").read_text())
    assert config["model"]["label_smoothing"] == 0.1


OWN_HELP = {
    "classify": {
        "--model.loss mypkg.losses.Margin": [
            "arguments of Margin (--model.loss):",
            "--model.loss_args.num_classes from the data [the suite gives it]",
            "--model.loss_args.margin taken off the logit of the true class [default: 0.2]",
        ],
        "--model.head mypkg.heads.MaxHead": ["--model.head_args.hidden width between the layers [default: 64]"],
    },
    "segment": {
        "--model.decoder mypkg.decoders.SumDecoder": ["--model.decoder_args.width of the sum [default: 16]"],
        "--model.loss segmentation_models_pytorch.losses.DiceLoss": [
            "arguments of DiceLoss (--model.loss):",
            "--model.loss_args.mode Loss mode 'binary', 'multiclass' or 'multilabel' [needed]",
        ],
    },
    "detect": {
        "--model.detector mypkg.detectors.CellDetector": [
            "--model.detector_args.weight of the corners in the loss [default: 1]"
        ],
        "--model.box_loss torch.nn.SmoothL1Loss": ["--model.box_loss_args.beta"],
        "--model.class_loss torch.nn.BCEWithLogitsLoss": ["--model.class_loss_args.pos_weight"],
    },
}


@pytest.mark.parametrize("task", OWN_HELP)
@pytest.mark.parametrize("flag", ["--help", "--help_all"])
def test_help_shows_the_arguments_of_parts_that_are_named(run_line: Run, task: str, flag: str) -> None:
    """The command of the page, and those of the other parts; nothing of theirs is shown where none is named."""
    (asked,) = re.findall(r"`fit --help ([^`]*)`", PAGE)
    assert asked.removeprefix("--allow_import mypkg ") in OWN_HELP["classify"]
    line = f"python -m tasks.{task} fit --allow_import mypkg {flag}"
    status, plain, err = run_line(line)
    assert status == 0, err
    status, out, err = run_line(line, *" ".join(OWN_HELP[task]).split())
    assert status == 0, err
    told, without = (" ".join(text.split()) for text in (out, plain))
    for words in (words for rows in OWN_HELP[task].values() for words in rows):
        assert words in told
        assert words not in without
    assert "detector_args.backbone" not in told  # it can be had from the suite alone


def test_help_takes_parts_from_a_config(run_line: Run, package: Path) -> None:
    (package / "part.yaml").write_text("model: {loss: mypkg.losses.Margin}\n", encoding="utf-8")
    status, out, err = run_line("python -m tasks.classify fit --help --allow_import mypkg --config part.yaml")
    assert status == 0, err
    assert "--model.loss_args.margin" in out


def test_help_names_a_mistyped_part_and_one_that_is_not_allowed(run_line: Run) -> None:
    line = "python -m tasks.classify fit --help --model.loss"
    status, _, err = run_line(f"{line} mypkg.losses.Margn --allow_import mypkg")
    assert status == 2
    assert "did you mean 'Margin'?" in one_line(err)
    own_parts._allowed.clear()
    status, _, err = run_line(f"{line} mypkg.losses.Margin")
    assert status == 2
    assert "allow it with --allow_import mypkg" in one_line(err)


@pytest.mark.parametrize("args", [["--model.loss_args.margin", "0.7"], ["--model.loss_args", '{"margin": 0.7}']])
def test_arguments_are_given_singly_or_all_at_once(run_line: Run, args: list[str]) -> None:
    """A mistyped one is refused before the data, which are not there, are looked for."""
    line = "python -m tasks.classify fit --allow_import mypkg --model.loss mypkg.losses.Margin"
    status, _, err = run_line(line, *args, "--trainer.fast_dev_run", "true")
    assert status == 0, err
    mistyped = [word.replace("margin", "magrin") for word in args]
    status, _, err = run_line(f"{line} --data ImageFolder --data.root nowhere", *mistyped)
    assert status == 2
    assert "--model.loss_args: Margin takes no argument 'magrin': did you mean 'margin'?" in one_line(err)


@pytest.mark.parametrize(
    "part", [pytest.param((task, part), id=f"{task}-{part.flag}") for task in TASKS for part in TASKS[task].own_parts]
)
def test_what_help_says_the_suite_gives_is_given(part: tuple[str, OwnPart]) -> None:
    """A class that asks for all of it, and can be made from nothing else."""
    task, one = part
    names = ", ".join(("self", *one.withheld, *one.offered))
    space: dict[str, Any] = {}
    exec(f"def __init__({names}): raise SuiteError('all there')", {"SuiteError": SuiteError}, space)
    base: type = Detector if one.flag == "detector" else torch.nn.Module
    methods = {name: lambda self: None for name in getattr(base, "__abstractmethods__", ())}
    asking = type("Asking", (base,), {**space, **methods, "reads": (8,)})
    args: dict[str, Any] = {"backbone": "test_resnet", "num_classes": 2, "input_size": (64, 64), one.flag: asking}
    with pytest.raises(SuiteError, match=r"^all there$"):
        TASKS[task](**args)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--model.loss_args.margn", "1"],
            "--model.loss_args: Margin takes no argument 'margn': did you mean 'margin'?",
        ),
        (["--model.loss", "mypkg.losses.Margn"], "mypkg.losses has no class 'Margn': did you mean 'Margin'?"),
        (["--model.head", "mypkg.losses.Margin"], "--model.head_args: Margin takes no argument 'hidden'"),
        (["--model.metrics", "[mypkg.losses.Margin]"], "must be a subclass of torchmetrics"),
        (["--model.monitor", "calld"], "did you mean 'called'?"),
        (["--model.backbone", "mypkg.networks.thin_resnt"], "registers no network 'thin_resnt'"),
        (["--data.readers", "mypkg.losses"], "--data.readers mypkg.losses: registers no file format"),
        (
            ["--data.augment_args.transforms", "[{class_path: mypkg.augmentations.DarkRows, init_args: {shar: 1}}]"],
            "DarkRows",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(run_line: Run, words: list[str], said: str) -> None:
    (fit,) = lines("classify fit ")
    status, _, err = run_line(fit, *words, "--run_dir", "runs/none")
    assert status == 2
    assert said in one_line(err)
    assert not Path("runs/none").exists()
