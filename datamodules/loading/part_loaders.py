"""The loaders of a data module as Lightning asks for them: one for each part, its data set made once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from datamodules.loading.caches import kept
from datamodules.loading.loaders import loader_of
from datamodules.settings import default_workers
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from datamodules.base import ScanDataModule
    from datamodules.samples.dataset import SampleDataset
    from datamodules.types import Sample


class PartLoaders:
    """Loaders of train, validation and test.

    Attributes:
        num_workers: loader processes that the user asks for.
        trainer: whose devices they feed; None: there is one.
    """

    num_workers: int | None
    trainer: Any
    _datasets: dict[str, SampleDataset]

    def part(self, split: str) -> SampleDataset:
        """The data set of a part, its images kept where ``--data.cache`` says; made once.

        Raises:
            SuiteError: the data have no such part.
        """
        data = cast("ScanDataModule", self)
        if split not in self._datasets:
            rows = data.rows(split)
            if not len(rows):
                raise SuiteError(f"the data have no {split} part: give one in the split, or --data.split all_test")
            self._datasets[split] = kept(data, split, data.dataset(rows, augmented=split == "train"))
        return self._datasets[split]

    def replace_part(self, split: str, dataset: SampleDataset) -> None:
        """Put a data set in the place of that of a part."""
        self._datasets[split] = dataset

    def _loader(self, split: str) -> DataLoader[Sample]:
        return loader_of(cast("ScanDataModule", self), split, self.part(split))

    @property
    def loader_workers(self) -> int:
        """Loader processes of this rank."""
        if self.num_workers is not None:
            return self.num_workers
        return default_workers(self.trainer.num_devices if self.trainer is not None else 1)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled, augmented training batches."""
        cast("ScanDataModule", self).settle_for_training()
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Sample]:
        """Validation batches in table order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Test batches in table order."""
        return self._loader("test")
