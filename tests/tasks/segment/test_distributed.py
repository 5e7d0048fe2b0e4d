"""Two processes against one: the gradient of every loss, with unlike shares of what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from tasks.distributed import sum_over_ranks
from tasks.segment.losses import LossName, SegmentationLoss
from tasks.segment.metrics import SegmentationMetrics

RANKS = 2
IMAGES = [3, 1]  # of each rank
IGNORED = 255
SCENARIOS = [
    (name, regions, batch)
    for name in get_args(LossName)
    for regions in (False, True)
    for batch in ((True, False) if name in ("dice", "focal_tversky") else (True,))
]


def data(ranks: list[int], regions: bool) -> tuple[Tensor, Tensor]:
    """Images and masks of these ranks: the second knows little and has no pixel of the last class."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(sum(IMAGES), 2, 6, 6, generator=generator)
    shape, values = ((sum(IMAGES), 3, 6, 6), 2) if regions else ((sum(IMAGES), 6, 6), 3)
    masks = torch.randint(values, shape, generator=generator)
    masks[0] = 0
    masks[3][masks[3] == values - 1] = 0
    masks[3, ..., 2:, :] = IGNORED
    chosen = [image for rank in ranks for image in ([0, 1, 2], [3])[rank]]
    return images[chosen], masks[chosen]


def gradient(scenario: tuple[str, bool, bool], ranks: list[int], *, parallel: bool) -> tuple[Tensor, Tensor]:
    name, regions, batch = scenario
    model = nn.Conv2d(2, 3, 1)
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(1))
    nn.init.zeros_(model.bias)  # type: ignore[arg-type]
    network = nn.parallel.DistributedDataParallel(model) if parallel else model
    options: dict[str, Any] = {"overlapping": regions, "batch_dice": batch, "class_weights": [0.5, 1.0, 3.0]}
    images, masks = data(ranks, regions)
    loss = SegmentationLoss(3, name, **options)(network(images), masks)
    loss.backward()
    assert model.weight.grad is not None
    return loss.detach(), model.weight.grad.flatten()


def metrics_of(ranks: list[int]) -> dict[str, Tensor]:
    metric = SegmentationMetrics(["a", "b", "c"])
    for rank in ranks:
        images, masks = data([rank], regions=False)
        metric.update((images[:, 0] > 0).long() + (images[:, 1] > 0), masks)
    return metric.compute()


def one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    results: dict[str, Any] = {str(scenario): gradient(scenario, [rank], parallel=True) for scenario in SCENARIOS}
    results["metrics"] = metrics_of([rank])
    with torch.no_grad():  # evaluation: no process waits for another
        if rank == 0:
            results["evaluated"] = sum_over_ranks(torch.tensor(6.0))
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    # One process imports this module, which takes most of the time; the ranks are its forks.
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        one_rank, args=(str(folder),), nprocs=RANKS, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_two_processes_give_the_gradient_of_one(scenario: tuple[str, bool, bool], ranks: list[dict[str, Any]]) -> None:
    loss, expected = gradient(scenario, list(range(RANKS)), parallel=False)
    assert expected.abs().max() > 1e-3
    for rank in range(RANKS):
        torch.testing.assert_close(ranks[rank][str(scenario)][1], expected, rtol=0, atol=1e-6)
    # The mean over ranks, which is what the logs show, is the loss of one process.
    mean = torch.stack([ranks[rank][str(scenario)][0] for rank in range(RANKS)]).mean()
    torch.testing.assert_close(mean, loss)


def test_dice_on_each_rank_alone_would_not() -> None:
    """The scenario is hard enough: each rank's own sums miss the gradient of one process."""
    scenario = ("dice", False, True)
    own = torch.stack([gradient(scenario, [rank], parallel=False)[1] for rank in range(RANKS)]).mean(dim=0)
    assert (own - gradient(scenario, [0, 1], parallel=False)[1]).abs().max() > 1e-3


def test_metrics_are_those_of_one_process(ranks: list[dict[str, Any]]) -> None:
    for rank in range(RANKS):
        torch.testing.assert_close(ranks[rank]["metrics"], metrics_of([0, 1]))


def test_an_evaluated_loss_waits_for_nobody(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["evaluated"].item() == 6.0
    assert sum_over_ranks(torch.tensor(2.0)).item() == 2.0
