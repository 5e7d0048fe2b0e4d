"""``task.json`` in a run folder: what its tables are about, so that they can be evaluated without the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from scansuite.files import write_text

FILE = "task.json"


@dataclass(frozen=True)
class RunTask:
    """Task of a run, as ``task.json`` keeps it.

    Attributes:
        task: its name on the command line.
        class_names: in class order.
        operating_points: threshold by class at which the tables call; empty where nothing was chosen.
        own: what the task adds: the kind of target, the positive class, the limits of detection, the tolerance of
            surface distances, how stored values became the model's input, ...
    """

    task: str
    class_names: list[str]
    operating_points: dict[str, float]
    own: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """An entry of the task's own.

        Raises:
            SuiteError: there is none.
        """
        if name not in self.own:
            raise SuiteError(f"{FILE}: has no {name}: make it again: evaluate the checkpoint with validate or test")
        return self.own[name]


def write_task(run_dir: Path, task: RunTask) -> None:
    """Write ``task.json``; a present one is replaced.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    entries = {
        "task": task.task,
        "class_names": task.class_names,
        "operating_points": task.operating_points,
        **task.own,
    }
    write_text(run_dir / FILE, json.dumps(entries, indent=2, allow_nan=False) + "\n")


def read_task(run_dir: Path) -> RunTask:
    """Read ``task.json``.

    Raises:
        SuiteError: there is none, as in runs that were made before version 0.2, or it is damaged.
    """
    file = run_dir / FILE
    if not file.is_file():
        raise SuiteError(
            f"{file}: no such file, as in runs made before there was one: evaluate the checkpoint again with validate "
            "or test"
        )
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return RunTask(
            str(entries.pop("task")),
            [str(name) for name in entries.pop("class_names")],
            {str(name): float(point) for name, point in entries.pop("operating_points").items()},
            entries,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SuiteError(f"{file}: is damaged: evaluate the checkpoint again with validate or test") from None
