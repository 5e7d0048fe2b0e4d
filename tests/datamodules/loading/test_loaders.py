"""Which cases an epoch draws, and with which seed words, whatever Lightning does first: through a real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from datamodules.loading.epochs import EpochLoader
from datamodules.loading.loaders import loader_of
from datamodules.samples.moving import PackedBatch, pack
from datamodules.types import Draw
from tasks.training.stopping.resuming import Resuming

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

CASES, BATCH, EPOCHS = 10, 3, 4
BATCHES = 3  # a last one of a single case is dropped
Drawn = list[tuple[int, int, int]]  # case, epoch and position among the seed words


class Echo(Dataset[Any]):
    """Gives back what was drawn, or, on the way to a device, packs it."""

    def __init__(self, augments_on_device: bool) -> None:
        self.augments_on_device = augments_on_device

    def __len__(self) -> int:
        return CASES

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    @staticmethod
    def collate(draws: list[Draw]) -> Drawn:
        return [(draw.case, *draw.seed[1:]) for draw in draws]  # type: ignore[misc]

    def as_stored(self) -> Echo:
        return self

    def packed(self, draws: list[Draw]) -> PackedBatch:
        return pack({"draws": self.collate(draws)})

    @staticmethod
    def finish(batch: dict[str, Drawn]) -> Drawn:
        return batch["draws"]


class Data(LightningDataModule):
    """What :func:`loader_of` asks of a data module."""

    seed, batch_size, patch = 7, BATCH, None

    def __init__(self, workers: int, ahead: bool = False) -> None:
        super().__init__()
        self.loader_workers, self.ahead = workers, ahead

    def rows(self, split: str) -> None:
        return None

    def sampler_weights(self, rows: None) -> None:
        return None

    def cases_in_batch(self, split: str) -> int:
        return BATCH

    def train_dataloader(self) -> Any:
        return loader_of(self, "train", Echo(self.ahead))  # type: ignore[arg-type]


class Learner(LightningModule):
    """Learns nothing, and notes by epoch what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: dict[int, list[Drawn]] = {}

    def training_step(self, batch: Drawn, batch_idx: int) -> torch.Tensor:
        self.shown.setdefault(self.current_epoch, []).append(batch)
        return self.weight * 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # As our tasks do: the loader is made, and its iterator, before a resumed run knows its epoch.
        assert self.trainer.estimated_stepping_batches
        return torch.optim.SGD(self.parameters(), lr=0.1)


def shown(
    workers: int, folder: Path, *, ahead: bool = False, resume: bool = False, **settings: Any
) -> dict[int, list[Drawn]]:
    """What is drawn in each epoch of a run, or of its rest after the second epoch."""
    learner, data = Learner(), Data(workers, ahead)
    saved = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[Resuming(), saved], **{"max_epochs": EPOCHS, **settings},
    )  # fmt: skip
    trainer.fit(learner, datamodule=data, ckpt_path=str(folder / "epoch=1.ckpt") if resume else None, weights_only=True)
    return learner.shown


@pytest.mark.parametrize("ahead", [False, True], ids=["as read", "ahead"])
@pytest.mark.parametrize(
    ("workers", "settings"),
    [
        (0, {}),
        (1, {}),
        (2, {}),
        (1, {"accumulate_grad_batches": 3}),
        (1, {"limit_train_batches": 2}),
        (1, {"reload_dataloaders_every_n_epochs": 1}),
        (0, {"max_epochs": -1, "max_steps": EPOCHS * BATCHES}),
        (1, {"max_epochs": -1, "max_steps": EPOCHS * BATCHES}),
    ],
)
def test_a_resumed_run_draws_in_its_first_epoch_what_the_whole_one_draws_in_it(
    workers: int, settings: dict[str, Any], ahead: bool, tmp_path: Path
) -> None:
    """With loader processes the first epoch after a resume was drawn as epoch 0."""
    whole = shown(workers, tmp_path, ahead=ahead, **settings)
    again = shown(workers, tmp_path, ahead=ahead, resume=True, **settings)
    assert sorted(whole) == list(range(EPOCHS))
    assert sorted(again) == [2, 3]
    assert again == {epoch: whole[epoch] for epoch in again}
    for epoch, batches in whole.items():
        drawn = [draw for batch in batches for draw in batch]
        assert [(number, position) for _, number, position in drawn] == [(epoch, n) for n in range(len(drawn))]
    assert whole[0] != whole[2]


def test_nothing_is_drawn_before_the_first_batch_is_asked_for() -> None:
    loader = Data(1).train_dataloader()
    assert isinstance(loader, EpochLoader)
    early = iter(loader)
    sampler: Any = loader.sampler
    sampler.set_epoch(5)
    assert {epoch for batch in early for _, epoch, _ in batch} == {5}
