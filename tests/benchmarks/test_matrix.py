"""Networks x tasks on real scans: ten families fast, all of them slowly."""

from __future__ import annotations

import pytest
import timm

from backbones.classic import NAMES
from benchmarks.matrix import TASKS, Cell, Steps, document, members, run_cell

TEN = {
    "resnet": "test_resnet", "efficientnet": "test_efficientnet", "convnext": "test_convnext",
    "byobnet": "test_byobnet", "vision_transformer": "test_vit",
    "maxxvit": "test_coatnet", "nfnet": "test_nfnet", "mambaout": "test_mambaout",
    "mobilenetv3": "mobilenetv3_small_050", "small_cnn": "small_cnn", "lenet5": "lenet5",
}  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", TEN)
def test_ten_families_train_and_predict(family: str, task: str, steps: Steps) -> None:
    cell = run_cell(family, TEN[family], task, steps, own_size=160)
    assert cell.outcome == "trained", cell.reason


def test_a_network_that_cannot_is_refused_with_the_reason(steps: Steps) -> None:
    cell = run_cell("gemma4_vit", timm.list_models(module="gemma4_vit")[0], "classify", steps, own_size=224)
    assert cell.outcome == "refused"
    assert "layout depends on the values" in cell.reason


@pytest.mark.slow
def test_every_family_trains_or_is_refused(steps: Steps) -> None:
    failed = []
    for row in members().to_dict("records"):
        for task in TASKS:
            own = max(int(side) for side in row["size"].split("x"))
            cell = run_cell(row["family"], row["name"], task, steps, own)
            if cell.outcome == "failed":
                failed.append(cell)
    assert not failed


def test_members_are_the_smallest_of_every_family_and_all_of_ours() -> None:
    chosen = members()
    assert set(NAMES) <= set(chosen["name"])
    assert set(chosen["family"]) == set(timm.list_modules())
    assert len(chosen[chosen["family"] == "vgg"]) == 1
    assert chosen[chosen["family"] == "vgg"]["name"].item() == "vgg11"


def test_page_of_the_matrix() -> None:
    cells = [
        Cell("resnet", "resnet10t", "classify", "trained", 64, 0.7),
        Cell("resnet", "resnet10t", "segment", "trained", 96, 0.7, unused=3),
        Cell("resnet", "resnet10t", "detect", "refused", 224, reason="a | b"),
    ]
    page = document(cells)
    assert "| resnet | `resnet10t` | 64 px | 96 px, 3 unused | **refused**: a / b |" in page
    assert "1 families, 3 cells: 2 trained, 1 refused at start, 0 failed" in page
