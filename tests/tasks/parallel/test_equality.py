"""One process, two and four end in the same weights and metrics, though no part can be shared out evenly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.parallel.scenarios import GRID, SCENARIOS, Scenario, data_of, draw_volumes, model_of, run, run_ranks

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    draw_volumes(folder)
    return folder


def check(names: list[str], world: int, volumes: Path) -> None:
    ranks = run_ranks(world, volumes, names)
    wrong = []
    for name in names:
        scenario = {**SCENARIOS, **GRID}[name]
        expected = run(scenario, volumes)
        for rank in range(world):
            wrong += [f"{name}, rank {rank}: {text}" for text in differences(scenario, ranks[rank][name], expected)]
    assert not wrong, "\n".join(wrong)


def differences(scenario: Scenario, found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What is not the same: weights to 1e-5, metrics to 1e-6."""
    told = []
    if found["weights"].keys() != expected["weights"].keys():
        told.append(f"weights of other names: {found['weights'].keys() ^ expected['weights'].keys()}")
    if found["metrics"].keys() != expected["metrics"].keys():
        told.append(f"metrics of other names: {found['metrics'].keys() ^ expected['metrics'].keys()}")
    apart = {
        name: float((tensor.double() - expected["weights"][name].double()).abs().max())
        for name, tensor in found["weights"].items()
    }
    worst = max(apart, key=lambda name: apart[name])
    if not apart[worst] <= 1e-5:
        told.append(f"weight {worst} is {apart[worst]:.2g} apart")
    for name, value in found["metrics"].items():
        if name in ("val/loss", "test/loss") and not scenario.by_case:
            continue  # it is divided by what a batch of one device holds, as in one process by what a batch holds
        other = expected["metrics"][name]
        # A loss is added up in another order.
        if not (abs(value - other) <= (1e-5 if "loss" in name else 1e-6) or (math.isnan(value) and math.isnan(other))):
            told.append(f"{name} is {value}, not {other}")
    return told


def test_two_processes_train_like_one(volumes: Path) -> None:
    check(list(SCENARIOS), 2, volumes)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_processes_trains_like_one(world: int, volumes: Path) -> None:
    check([*SCENARIOS, *GRID] if world > 2 else list(GRID), world, volumes)


def test_training_moves_weights_further_than_the_tolerance(volumes: Path) -> None:
    scenario: Scenario = SCENARIOS["bags"]
    data = data_of(scenario, volumes)
    start, end = model_of(scenario, data, 5).state_dict(), run(scenario, volumes)["weights"]
    assert max(float((end[name] - start[name]).abs().max()) for name in start) > 1e-3
