"""Frozen means frozen, and what unfreezes does so in its epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch.multiprocessing.spawn import spawn

from scansuite.errors import SuiteError
from tasks.classify.task import ClassificationTask
from tasks.training.unfreezing import Unfreezing
from tests.tasks.classify.batches import small_task
from tests.tasks.training.fits import Stop, fit, loader, made

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

FAMILIES = (
    "test_resnet", "test_byobnet", "test_convnext", "test_efficientnet", "test_nfnet", "test_vit", "test_mambaout",
    "mobilenetv3_small_050", "regnetx_002", "densenet121",
)  # fmt: skip
SIDE = 64  # which all of them take


def states(task: ClassificationTask) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in task.backbone.state_dict().items()}


def train(task: ClassificationTask, *callbacks: Callback) -> None:
    """Two steps, with weight decay, and a validation between them."""
    batches = [
        {**batch, "image": torch.nn.functional.interpolate(batch["image"], (SIDE, SIDE))} for batch in loader(1, 2)
    ]
    data: Any = torch.utils.data.DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), val_check_interval=1,
    ).fit(task, data, data)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_frozen_moves(name: str) -> None:
    flags: dict[str, Any] = {
        "backbone": name,
        "input_size": (SIDE, SIDE),
        "freeze": "backbone",
        "weight_decay": 0.5,
        "lr": 0.01,
    }
    torch.manual_seed(0)
    whole = small_task(**flags)
    before = states(whole)
    train(whole)
    for key, tensor in states(whole).items():
        assert torch.equal(tensor, before[key]), key

    part = small_task(**flags, unfreeze=[0])
    before = states(part)
    *frozen, deepest = part.backbone.stages.values()
    train(part, Unfreezing([0]))
    after = states(part)
    trained = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert set(deepest) <= trained | part.backbone.unused
    still = {key for stage in frozen for key in stage}
    assert not trained & still
    # Norm statistics lie beside the weights of their norm.
    parents = {key.rsplit(".", 1)[0] for key in still} - {key.rsplit(".", 1)[0] for key in deepest}
    assert not [key for key in trained if key.rsplit(".", 1)[0] in parents]


class Watch(Callback):
    """Which stages train in each epoch."""

    def __init__(self) -> None:
        self.seen: dict[int, list[str]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        grad = {name for name, parameter in pl_module.backbone.named_parameters() if parameter.requires_grad}
        stages = pl_module.backbone.stages
        self.seen[trainer.current_epoch] = [name for name, members in stages.items() if set(members) <= grad]
        for name, members in stages.items():
            assert len(set(members) & grad) in (0, len(members)), name


def test_stages_unfreeze_in_their_epochs_also_after_a_resume(tmp_path: Path) -> None:
    flags = {"freeze": "backbone", "unfreeze": [1, 3]}
    stages = list(made(**flags).backbone.stages)
    assert len(stages) == 5
    expected = {0: [], 1: stages[-1:], 2: stages[-1:], 3: stages[-2:]}
    through, cut, resumed = Watch(), Watch(), Watch()
    fit(made(**flags), tmp_path / "whole", through)
    fit(made(**flags), tmp_path / "cut", cut, epochs=2)
    fit(made(**flags), tmp_path / "cut", resumed, resume_after=2)
    assert through.seen == expected
    assert cut.seen == {epoch: expected[epoch] for epoch in (0, 1)}
    assert resumed.seen == {epoch: expected[epoch] for epoch in (2, 3)}


def test_one_number_is_for_the_whole_backbone(tmp_path: Path) -> None:
    watch = Watch()
    fit(made(freeze="backbone", unfreeze=2), tmp_path, watch)
    assert [len(watch.seen[epoch]) for epoch in range(4)] == [0, 0, 5, 5]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"unfreeze": 2}, "--model.unfreeze: nothing is frozen: give --model.freeze backbone"),
        (
            {"freeze": "backbone", "unfreeze": [3, 1]},
            "--model.unfreeze .*3, 1.*: one number of epochs, or numbers that rise",
        ),
        ({"freeze": "backbone", "unfreeze": "1,x"}, "--model.unfreeze 1,x"),
        ({"freeze": "backbone", "unfreeze": -1}, "--model.unfreeze -1"),
        ({"freeze": "backbone", "unfreeze": "1,2,3,4,5,6"}, "6 epochs, but test_resnet has 5 stages: .*layer4"),
    ],
)
def test_what_cannot_be_is_refused(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        small_task(**flags)


def rank(number: int, port: str, folder: Path) -> None:
    import os

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(number)}
    os.environ |= {"NODE_RANK": "0", "LOCAL_RANK": str(number)}
    task = made(freeze="backbone", unfreeze=1, optimizer="sgd")
    Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        callbacks=[Unfreezing(1), Stop(2)],
    ).fit(task, loader(number), loader(7))  # fmt: skip
    torch.save({name: p.detach() for name, p in task.named_parameters()}, folder / f"{number}.pt")


@pytest.mark.slow
def test_ranks_share_the_gradients_of_what_unfreezes(tmp_path: Path) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    start = dict(made().named_parameters())
    spawn(rank, args=(port, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    first, second = (torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in range(2))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=0)
    assert any((first[name] != start[name]).any() for name in first if name.startswith("backbone."))
