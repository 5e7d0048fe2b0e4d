"""Batches that repeat with the seed, whatever the workers, and differ between epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from datamodules.base import ScanDataModule
from datamodules.loading.sampling import TrainSampler
from datamodules.types import Batch
from tests.datamodules.scans_on_disk import cohort, data_of, images_of, write_table


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty scans of twenty patients."""
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path_factory.mktemp("cache")))
    write_table(tmp_path, cohort())
    return tmp_path


def epoch_of(data: ScanDataModule, epoch: int) -> tuple[list[str], NDArray[np.float32]]:
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, TrainSampler)
    loader.sampler.set_epoch(epoch)
    batches: list[Batch] = list(loader)
    return [scan["case_id"] for batch in batches for scan in batch["scan"]], images_of(batches)


def test_augmentation_does_not_depend_on_the_number_of_workers(folder: Path) -> None:
    results = [epoch_of(data_of(folder, augment="strong", num_workers=workers), epoch=3) for workers in (0, 1, 2)]
    plain = epoch_of(data_of(folder, augment="none"), epoch=3)
    for names, images in results:
        assert names == results[0][0] == plain[0]
        np.testing.assert_array_equal(images, results[0][1])
        assert not np.array_equal(images, plain[1])


def test_epochs_draw_anew_also_from_workers_that_stay(folder: Path) -> None:
    data = data_of(folder, augment="strong", num_workers=2)
    loader = data.train_dataloader()
    assert loader.persistent_workers
    assert isinstance(loader.sampler, TrainSampler)
    by_epoch = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)
        batches: list[Batch] = list(loader)
        names = [scan["case_id"] for batch in batches for scan in batch["scan"]]
        order = np.argsort(names)
        by_epoch.append(images_of(batches)[order])
    assert (by_epoch[0] != by_epoch[1]).any(axis=(1, 2, 3)).mean() > 0.9
    np.testing.assert_array_equal(by_epoch[0], by_epoch[2])


def test_the_seed_moves_order_and_augmentation_but_not_the_split(folder: Path) -> None:
    first, other = data_of(folder, augment="strong"), data_of(folder, augment="strong")
    other.seed = 1
    assert first.table.cases.equals(other.table.cases)
    (names, images), (names_1, images_1) = epoch_of(first, 0), epoch_of(other, 0)
    assert names != names_1
    assert sorted(names) == sorted(names_1)
    assert (images[np.argsort(names)] != images_1[np.argsort(names_1)]).any(axis=(1, 2, 3)).mean() > 0.9


class Noting(LightningModule):
    """Notes what it is trained and evaluated on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.trained: list[tuple[int, list[str], Tensor]] = []

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.trained.append((self.current_epoch, [scan["case_id"] for scan in batch["scan"]], batch["image"].clone()))
        return self.weight.sum()

    def validation_step(self, batch: Batch, _: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, out: Path, epochs: int, checkpoint: Path | None = None) -> tuple[Noting, Trainer]:
    model, data = Noting(), data_of(folder, augment="strong", batch_size=16)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=out,
    )
    trainer.fit(model, data, ckpt_path=checkpoint)
    return model, trainer


@pytest.mark.filterwarnings("ignore")
def test_lightning_moves_the_epoch_on_and_a_resumed_run_sees_the_same_batches(folder: Path, tmp_path: Path) -> None:
    through, _ = fit(folder, tmp_path, 3)
    epochs = {epoch: [names for at, names, _ in through.trained if at == epoch] for epoch in range(3)}
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert len({frozenset(name for batch in names for name in batch) for names in epochs.values()}) == 1
    _, trainer = fit(folder, tmp_path, 2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed, _ = fit(folder, tmp_path, 3, tmp_path / "two.ckpt")
    wanted = [step for step in through.trained if step[0] == 2]
    assert [names for _, names, _ in resumed.trained] == [names for _, names, _ in wanted]
    for (_, _, image), (_, _, expected) in zip(resumed.trained, wanted, strict=True):
        assert torch.equal(image, expected)
