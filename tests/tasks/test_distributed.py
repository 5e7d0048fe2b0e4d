"""Two processes against one: gradients of the losses, metrics, and rows of the tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, distributed, multiprocessing, nn

from tasks.classify.losses import ClassificationLoss
from tasks.classify.metrics import ClassificationMetrics
from tasks.distributed import mean_over_ranks
from tasks.running.recorder import Recorder

RANKS = 2
FEATURES = 5
UNKNOWN = math.nan

# Name of a scenario -> loss, labels of each rank. Counts, known cells and class weights differ between the ranks.
LABELS_OF_TWO = [
    [[1.0, 0.0, UNKNOWN], [UNKNOWN, UNKNOWN, 1.0], [0.0, UNKNOWN, UNKNOWN], [1.0, UNKNOWN, UNKNOWN]],
    [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]],
]
SCENARIOS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "multilabel": ({"target": "multilabel", "class_weights": [3.0, 0.5, 1.0]}, LABELS_OF_TWO),
    "multilabel focal": ({"target": "multilabel", "name": "focal"}, LABELS_OF_TWO),
    "one rank knows nothing": ({"target": "multilabel"}, [LABELS_OF_TWO[0], [[UNKNOWN] * 3] * 3]),
    "multiclass": ({"target": "multiclass", "class_weights": [5.0, 0.2, 1.0]}, [[0, 0, 0, 2], [1, 2]]),
    "one rank has no case": ({"target": "multiclass"}, [[0, 1, 2], []]),
    "ordinal": ({"target": "ordinal"}, [[0, 0, 1], [3, 3]]),
    "regression": ({"target": "regression"}, [[1.0, 2.0, -1.0], [0.5]]),
}
SCORES = [[0.9, 0.2, 0.6, 0.4, 0.1], []]  # of the positive class; the second rank has padding alone


def label_of(scenario: str, ranks: list[int]) -> Tensor:
    loss, labels = SCENARIOS[scenario]
    cells = [cell for rank in ranks for cell in labels[rank]]
    if loss["target"] == "multilabel":
        return torch.tensor(cells).reshape(-1, 3)
    return torch.tensor(cells, dtype=torch.float32 if loss["target"] == "regression" else torch.int64)


def images_of(scenario: str, ranks: list[int]) -> Tensor:
    counts = [len(part) for part in SCENARIOS[scenario][1]]
    images = torch.randn(sum(counts), FEATURES, generator=torch.Generator().manual_seed(3)).split(counts)  # type: ignore[no-untyped-call]
    return torch.cat([images[rank] for rank in ranks])


def gradient(scenario: str, ranks: list[int], *, parallel: bool) -> Tensor:
    outputs = {"regression": 1}.get(scenario, 3)
    model = nn.Linear(FEATURES, outputs)
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(1))
    nn.init.zeros_(model.bias)
    network = nn.parallel.DistributedDataParallel(model) if parallel else model
    loss = ClassificationLoss(**SCENARIOS[scenario][0])
    loss(network(images_of(scenario, ranks)), label_of(scenario, ranks)).backward()
    assert model.weight.grad is not None
    assert model.bias.grad is not None
    return torch.cat([model.weight.grad.flatten(), model.bias.grad])


def metrics_of(ranks: list[int]) -> dict[str, Tensor]:
    metric = ClassificationMetrics("binary", 2)
    for rank in ranks:
        score = torch.tensor(SCORES[rank]).reshape(-1, 1)
        metric.update(torch.cat([1 - score, score], dim=1), torch.tensor([1, 0, 0, 1, 0])[: len(score)])
    return metric.compute()


class Named(LightningModule):
    def rows(self, output: Tensor, batch: Any) -> dict[str, list[Any]]:
        return {"case_id": [scan["case_id"] for scan in batch["scan"]], "score": output.tolist()}


def recorded(ranks: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ranks see the cases in turn; the last one repeats the first case to fill up."""
    recorder, model, trainer = Recorder(), Named(), Trainer.__new__(Trainer)
    recorder.active = True
    for rank in ranks:
        cases = [["c0", "c2"], ["c1", "c0"]][rank]
        scans = [{"case_id": case, "original_size": (3, 4)} for case in cases]
        output = torch.tensor([float(case[1]) for case in cases])
        recorder.on_test_batch_end(trainer, model, {"output": output, "batch": {"scan": scans}})
    return recorder.take()


def one_rank(rank: int, folder: str) -> None:
    """What each process does; the results are compared in the test's own process."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    results: dict[str, Any] = {name: gradient(name, [rank], parallel=True) for name in SCENARIOS}
    results["metrics"] = metrics_of([rank])
    rows, scans = recorded([rank])
    results["rows"], results["scans"] = rows.to_dict("list"), scans.to_dict("list")
    with torch.no_grad():  # evaluation: no process waits for another
        if rank == 0:
            results["evaluated"] = mean_over_ranks(torch.tensor(6.0), torch.tensor(3))
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


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_give_the_gradient_of_one(scenario: str, ranks: list[dict[str, Any]]) -> None:
    expected = gradient(scenario, list(range(RANKS)), parallel=False)
    assert expected.abs().max() > 0.01
    for rank in range(RANKS):
        torch.testing.assert_close(ranks[rank][scenario], expected, rtol=0, atol=1e-6)


def test_a_mean_on_each_rank_would_not() -> None:
    """The scenario is hard enough: dividing by each rank's own count misses the gradient of one process."""
    own = torch.stack([gradient("multilabel", [rank], parallel=False) for rank in range(RANKS)]).mean(dim=0)
    assert (own - gradient("multilabel", [0, 1], parallel=False)).abs().max() > 0.01


def test_metrics_are_those_of_one_process_though_a_rank_has_no_case(ranks: list[dict[str, Any]]) -> None:
    expected = metrics_of([0])
    assert expected["auroc"].item() == pytest.approx(5 / 6)
    for rank in range(RANKS):
        torch.testing.assert_close(ranks[rank]["metrics"], expected)


def test_every_rank_holds_the_rows_of_all_with_each_case_once(ranks: list[dict[str, Any]]) -> None:
    for rank in range(RANKS):
        assert ranks[rank]["rows"] == {"case_id": ["c0", "c1", "c2"], "score": [0.0, 1.0, 2.0]}
        assert ranks[rank]["scans"]["width"] == [4, 4, 4]


def test_an_evaluated_loss_is_that_of_the_rank_and_waits_for_nobody(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["evaluated"].item() == 2.0


def test_one_process_divides_by_its_count() -> None:
    assert mean_over_ranks(torch.tensor(6.0), torch.tensor(3)).item() == 2.0
    assert mean_over_ranks(torch.tensor(0.0), torch.tensor(0)).item() == 0.0
