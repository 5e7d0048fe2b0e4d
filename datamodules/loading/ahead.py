"""Batches that are on their device, finished, before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch.utils.data import DataLoader

from datamodules.loading.epochs import EpochLoader
from datamodules.samples.moving import PackedBatch
from datamodules.types import Batch

Finish: TypeAlias = Callable[[Batch], Batch]


class AheadLoader(DataLoader[Any]):
    """A loader that takes packed batches as stored from its processes, and yields them finished on a device.

    The copy of a batch, and the kernels that make it what the model sees, run on a stream of their own while the model
    works at the batch before it.

    Args:
        dataset: as for :class:`torch.utils.data.DataLoader`.
        device: where batches are wanted.
        finish: makes a batch as stored, on the device, what the model sees.
        **kwargs: of :class:`torch.utils.data.DataLoader`; its ``collate_fn`` gives packed batches.
    """

    def __init__(self, dataset: Any, *, device: torch.device, finish: Finish, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.device, self.finish = device, finish

    def __iter__(self) -> Any:
        """Finished batches of an epoch."""
        return ahead(super().__iter__(), self.device, self.finish, early=self.num_workers > 0)


class AheadEpochLoader(AheadLoader, EpochLoader):
    """:class:`AheadLoader` of a training part; its other arguments are those of :class:`.EpochLoader`."""


def loader_on(device: torch.device | None, dataset: Any, finish: Finish, **settings: Any) -> DataLoader[Any]:
    """An :class:`AheadLoader` for a device, or a plain loader where there is none.

    Args:
        device: a GPU, for which batches are pinned; None: the loader's processes finish them.
        dataset: as stored where there is a device.
        finish: its :meth:`finish`.
        **settings: of :class:`torch.utils.data.DataLoader`.
    """
    if device is None:
        return DataLoader(dataset, **settings)
    return AheadLoader(dataset, device=device, finish=finish, pin_memory=device.type == "cuda", **settings)


def ahead(batches: Iterable[PackedBatch], device: torch.device, finish: Finish, *, early: bool) -> Iterator[Batch]:
    """Send batches to a device and finish them there.

    Args:
        batches: in page-locked memory where the device is a GPU.
        device: where they are wanted.
        finish: see :class:`AheadLoader`.
        early: send each batch before the one in front of it is handed over, so that its way is hidden by the step.
            It is then waited for, which costs nothing where other processes read. Where this one reads, it should
            rather do so while the GPU is at work.

    Yields:
        Batches in their order. An error comes behind the batches that were read before it.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    source = iter(batches)
    waiting: list[_Sent] = []
    error: Exception | None = None
    while error is None:
        try:
            packed = next(source)
        except StopIteration:
            break
        except Exception as problem:
            error = problem
            break
        waiting.append(_Sent(packed, device, finish, stream))
        if len(waiting) > early:
            yield waiting.pop(0).batch()
    for sent in waiting:
        yield sent.batch()
    if error is not None:
        try:
            raise error
        finally:
            error = None  # it knows this frame, which must not know it


class _Sent:
    """A batch on its way."""

    def __init__(
        self, packed: PackedBatch, device: torch.device, finish: Finish, stream: torch.cuda.Stream | None
    ) -> None:
        self.stream = stream
        if stream is None:
            self._batch = finish(packed.to(device).unpacked())
            return
        with torch.cuda.stream(stream):
            self._packed = packed.to(device)
            self._batch = finish(self._packed.unpacked())
        self._done = stream.record_event()

    def batch(self) -> Batch:
        """The finished batch, for what runs on the current stream from now on."""
        if self.stream is not None:
            now = torch.cuda.current_stream(self.stream.device)
            now.wait_event(self._done)
            for value in self._batch.values():
                for tensor in value if isinstance(value, list) else [value]:
                    if isinstance(tensor, torch.Tensor) and tensor.is_cuda:
                        # Its memory belongs to the other stream, which must not use it again before this one is done.
                        tensor.record_stream(now)
        return self._batch
