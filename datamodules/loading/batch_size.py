"""Batch size of a data module: given for each device, or for all of them together."""

from __future__ import annotations

from typing import Any

from datamodules.settings import per_device


class BatchSize:
    """Cases a batch on each device.

    Attributes:
        total_batch_size: cases a batch of all devices together; None: ``batch_size`` is given.
        trainer: whose devices they are; None: there is one.
    """

    total_batch_size: int | None
    trainer: Any
    _batch_size: int

    @property
    def batch_size(self) -> int:
        """Cases a batch on each device of the trainer."""
        return self.batch_size_on(1 if self.trainer is None else self.trainer.world_size)

    @batch_size.setter
    def batch_size(self, cases: int) -> None:
        self._batch_size, self.total_batch_size = cases, None

    def batch_size_on(self, devices: int) -> int:
        """Cases a batch on each of so many devices.

        Raises:
            SuiteError: they do not divide ``total_batch_size``.
        """
        return self._batch_size if self.total_batch_size is None else per_device(self.total_batch_size, devices)
