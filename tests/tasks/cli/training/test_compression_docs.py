"""Each command of docs/compression.md is taken by the parser, and each flag stands there."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path

import pytest

from tasks.base import Task
from tasks.cli.parser import TaskParser
from tasks.cli.verbs.fit import OWN_FLAGS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "compression.md").read_text(encoding="utf-8")
LINES = PAGE.replace("\\\n", " ").splitlines()
COMMANDS = [line.strip() for line in LINES if line.startswith("    python -m tasks.") and " fit " in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_right(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)[2:]
    task, words = words[0].removeprefix("tasks."), words[2:]
    cli = TaskParser(task, "fit", words, own_flags=OWN_FLAGS, builds_model=True)
    assert cli.config["model"]["teacher"] or cli.config["model"]["prune"] or "--model.teacher" not in command


def test_nothing_is_left_out() -> None:
    flags = [name for name in inspect.signature(Task.__init__).parameters if name.startswith(("distill", "prune"))]
    assert len(flags) == 5
    for name in [*flags, "teacher"]:
        assert f"--model.{name}" in PAGE, name
    assert len(COMMANDS) > 5
