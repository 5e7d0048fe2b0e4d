from __future__ import annotations

from typing import Any

import pytest
from pytorch_lightning.accelerators import CUDAAccelerator

from tasks.cli.planning import planner
from tasks.cli.planning.planner import machine_of
from tasks.cluster.settings import JobSettings
from tasks.planning.machine import Machine


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: False)


def trainer(devices: Any, nodes: int = 1) -> dict[str, Any]:
    return {"accelerator": "auto", "devices": devices, "num_nodes": nodes}


def test_what_the_hub_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of networks with published weights alone; a network that is here asks for nothing."""
    here = {"convnext_tiny"}
    monkeypatch.setattr("backbones.hub.hub_answers", lambda: True)
    monkeypatch.setattr("backbones.available.place_of", lambda name: "here" if name in here else None)
    monkeypatch.setattr("tasks.cli.devices.on_cuda", lambda accelerator: True)
    assert machine_of(trainer(1)).hub == ()
    assert "convnext_small" in machine_of(trainer(1), quality="best").hub
    assert "tf_efficientnet_lite0" in machine_of(trainer(1), quality="quick").hub
    assert machine_of(trainer(1), "lenet5").hub == ()
    assert machine_of(trainer(1), "hf-hub:timm/vit_tiny").hub[0] == "hf-hub:timm/vit_tiny"
    assert machine_of(trainer(1), "resnet50").hub[0] == "resnet50"


@pytest.mark.parametrize(
    ("devices", "nodes", "count"), [("auto", 1, 1), (1, 1, 1), ("2", 1, 2), (2, 3, 6), ("-1", 1, 1), ("0,1", 1, 1)]
)
def test_devices_of_processors_are_those_that_train(
    monkeypatch: pytest.MonkeyPatch, devices: Any, nodes: int, count: int
) -> None:
    monkeypatch.setattr("tasks.cli.devices.on_cuda", lambda accelerator: False)
    machine = machine_of(trainer(devices, nodes))
    assert (machine.device, machine.devices) == ("cpu", count)


@pytest.mark.parametrize(("devices", "nodes", "count"), [("auto", 1, 4), (2, 2, 4), ("-1", 1, 4), ("1,3", 1, 2)])
def test_devices_of_gpus_are_those_that_train(
    monkeypatch: pytest.MonkeyPatch, devices: Any, nodes: int, count: int
) -> None:
    monkeypatch.setattr("tasks.cli.devices.on_cuda", lambda accelerator: True)
    monkeypatch.setattr(CUDAAccelerator, "auto_device_count", staticmethod(lambda: 4))
    monkeypatch.setattr("lightning_fabric.accelerators.cuda.num_cuda_devices", lambda: 4)
    machine = machine_of(trainer(devices, nodes))
    assert (machine.device, machine.devices) == ("cuda", count)


@pytest.mark.parametrize(
    ("job", "accelerator", "device", "devices", "memory"),
    [
        (JobSettings(3600, gpus=4, nodes=2, memory="64G"), "auto", "cuda", 8, 64 * 2**30),
        (JobSettings(3600, gpus=1, memory="500M"), "cpu", "cpu", 1, 500 * 2**20),
        (JobSettings(3600, processes=3), "auto", "cpu", 3, Machine("cpu").memory),
    ],
)
def test_the_machine_of_a_job_is_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, job: JobSettings, accelerator: str, device: str, devices: int, memory: int
) -> None:
    """The machine that queues it, which has a GPU of its own here, does not count."""
    monkeypatch.setattr("tasks.cli.devices.on_cuda", lambda accelerator: True)
    monkeypatch.setattr(planner, "free_memory", lambda: 1)
    machine = machine_of({**trainer("auto"), "accelerator": accelerator}, job=job)
    assert (machine.device, machine.devices, machine.memory) == (device, devices, memory)
