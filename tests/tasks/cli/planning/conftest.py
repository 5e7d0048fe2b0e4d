"""Planning on fixed data and a fixed machine: flags are parsed and rules applied, and nothing is read or trained."""

from __future__ import annotations

from typing import Any

import pytest

from datamodules.fingerprint.fingerprint import Fingerprint, Objects, Spread
from tasks.cli.parser import TaskParser
from tasks.cli.planning import planner
from tasks.planning.machine import Machine


def same(value: float) -> Spread:
    """All are of one value."""
    return Spread(value, value, value, value, value)


def fingerprint(task: str, **more: Any) -> Fingerprint:
    """60 training images of 640 x 480 in two classes."""
    objects = Objects(600, same(10.0), 0.0, same(40.0), same(50.0))
    facts: dict[str, Any] = {"objects": None if task == "classify" else objects} | more
    return Fingerprint(
        task,  # type: ignore[arg-type]
        target={"classify": "binary", "segment": "masks", "detect": "boxes"}[task],
        cases={"train": 60, "val": 15, "test": 20},
        patients={"train": 60, "val": 15, "test": 20},
        samples=60,
        images=60,
        classes=("a", "b"),
        class_counts=(40.0, 20.0),
        class_known=(60.0, 60.0),
        val_counts=(10.0, 5.0),
        channels=3,
        types=("uint8",),
        height=same(480.0),
        width=same(640.0),
        looked_at=60,
        complete=True,
        **facts,
    )


@pytest.fixture
def fixed_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and machine are not looked at."""

    def build(self: TaskParser, begin: object = None) -> Any:
        cls = self.spec.data_classes()[str(self.config["data"]["class_path"]).rpartition(".")[2]]
        data: Any = object.__new__(cls)
        data.looked_at_for = self.task
        return data

    monkeypatch.setenv("SCANSUITE_PLAN", "auto")
    monkeypatch.setattr(TaskParser, "build_data", build)
    monkeypatch.setattr(planner, "measure_fingerprint", lambda data: fingerprint(data.looked_at_for))
    monkeypatch.setattr(planner, "machine_of", lambda *_: Machine("cpu", weights=("tf_efficientnet_lite0",)))
