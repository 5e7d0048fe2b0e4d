from __future__ import annotations

from typing import Any

import pytest
from pytorch_lightning.accelerators import CUDAAccelerator

from tasks.cli.planning import planner
from tasks.cli.planning.planner import machine_of


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: False)


def trainer(devices: Any, nodes: int = 1) -> dict[str, Any]:
    return {"accelerator": "auto", "devices": devices, "num_nodes": nodes}


@pytest.mark.parametrize(
    ("devices", "nodes", "count"), [("auto", 1, 1), (1, 1, 1), ("2", 1, 2), (2, 3, 6), ("-1", 1, 1), ("0,1", 1, 1)]
)
def test_devices_of_processors_are_those_that_train(
    monkeypatch: pytest.MonkeyPatch, devices: Any, nodes: int, count: int
) -> None:
    monkeypatch.setattr(planner, "on_cuda", lambda accelerator: False)
    machine = machine_of(trainer(devices, nodes))
    assert (machine.device, machine.devices) == ("cpu", count)


@pytest.mark.parametrize(("devices", "nodes", "count"), [("auto", 1, 4), (2, 2, 4), ("-1", 1, 4), ("1,3", 1, 2)])
def test_devices_of_gpus_are_those_that_train(
    monkeypatch: pytest.MonkeyPatch, devices: Any, nodes: int, count: int
) -> None:
    monkeypatch.setattr(planner, "on_cuda", lambda accelerator: True)
    monkeypatch.setattr(CUDAAccelerator, "auto_device_count", staticmethod(lambda: 4))
    monkeypatch.setattr("lightning_fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    machine = machine_of(trainer(devices, nodes))
    assert (machine.device, machine.devices) == ("cuda", count)
