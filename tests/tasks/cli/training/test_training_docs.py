"""Each command of docs/training.md is taken by the parser and by the task, and each flag of training stands there."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest

from tasks.base import Task
from tasks.cli.parser import TaskParser
from tasks.cli.verbs.fit import OWN_FLAGS
from tasks.registry.specs import spec_of
from tasks.training.schedules import ARGS

DOCS = Path(__file__).resolve().parents[4] / "docs"
PAGE, NETWORKS = ((DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("training", "networks"))
# What a network is, rather than how it trains, stands on the page of networks.
OF_NETWORKS = ("backbone", "backbone_args", "weights", "init", "stem")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python -m tasks.")]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_right(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, module, verb = shlex.split(command)[:4]
    task = module.removeprefix("tasks.")
    assert verb == "fit"
    words = shlex.split(command)[4:]
    if "--model.backbone" not in words:
        words += ["--model.backbone", "test_resnet"]
    cli = TaskParser(task, "fit", words, own_flags=OWN_FLAGS, builds_model=True)
    cls = spec_of(task).task_class()
    flags = {name: value for name, value in cli.config["model"].items() if name not in cls.facts}
    flags["weights"] = None  # they may not be installed
    model = cls(**flags)
    for word in words:
        if word.startswith("--model."):
            assert word.split(".")[1] in model.hparams


def test_nothing_is_left_out() -> None:
    flags = [name for name in inspect.signature(Task.__init__).parameters if name not in ("self", *Task.facts)]
    for name in [*flags, "mixup", "cutmix", "dropout", "label_smoothing"]:
        assert f"--model.{name}" in (NETWORKS if name in OF_NETWORKS else PAGE), name
    for name in ("find_lr", "find_batch_size"):
        assert f"--{name} true" in PAGE
    for name, args in ARGS.items():
        assert f"| `{name}`" in PAGE, name
        assert any(f"--model.schedule {name}" in command for command in COMMANDS), name
        assert all(f"`{arg}`" in PAGE for arg in args), name
