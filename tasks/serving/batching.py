"""Runs of several threads put together to one: images of one shape that are there at a time are one batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.exported.description import IMAGE, Description

_MOST_VALUES = 2**24  # numbers of a batch: 64 MiB


class Runs(Protocol):
    """What is used of an :class:`~tasks.exported.model_file.ExportedModel`."""

    where: str
    description: Description
    outputs: list[str]

    def run(
        self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Run the graph."""


class _Group:
    """Images that are run together; who comes first runs them."""

    def __init__(self) -> None:
        self.images: list[NDArray[Any]] = []
        self.count = 0
        self.closed = False
        self.full, self.done = threading.Event(), threading.Event()
        self.outputs: list[dict[str, NDArray[np.float32]]] | None = None


class BatchedModel:
    """A model whose :meth:`run` may be called from several threads, and runs images of one shape together.

    An image that is alone waits for nobody. What cannot be put together (the images of a case that are weighed, a
    second stage) is run by itself; so is a batch that fails, image by image, so that each caller hears of its own.

    Args:
        model: that is run.
        busy: how many callers there may be at the moment; with one nobody waits.
        wait: seconds that the first image waits for others.
        most: images of a batch.
        ran: is told how many callers' images a run had.
    """

    def __init__(
        self, model: Runs, busy: Callable[[], int], wait: float, most: int, ran: Callable[[int], None]
    ) -> None:
        self._model, self._busy, self._wait, self._ran = model, busy, wait, ran
        self.where, self.description, self.outputs = model.where, model.description, model.outputs
        largest = model.description.most_images
        self._most = most if largest is None else min(most, largest)
        self._alone = model.description.aggregate == "attention" or self._most < 2
        self._lock = threading.Lock()
        self._groups: dict[tuple[Any, ...], _Group] = {}

    def run(
        self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Run the graph; see :meth:`tasks.exported.model_file.ExportedModel.run`."""
        if self._alone or set(feeds) != {IMAGE} or self._busy() < 2:
            self._ran(1)
            return self._model.run(feeds, asked)
        image = feeds[IMAGE]
        key = (image.shape[1:], image.dtype.str, None if asked is None else tuple(asked))
        with self._lock:
            group = self._groups.get(key)
            first = group is None or not self._fits(group, image)
            if group is None or first:
                if group is not None:
                    group.closed = True
                    group.full.set()
                group = self._groups[key] = _Group()
            place = len(group.images)
            group.images.append(image)
            group.count += len(image)
            if group.count >= self._most or len(group.images) >= self._busy():
                group.closed = True
                group.full.set()
        if first:
            self._lead(group, key, asked)
        group.done.wait()
        if group.outputs is None:
            self._ran(1)
            return self._model.run(feeds, asked)
        return group.outputs[place]

    def _fits(self, group: _Group, image: NDArray[Any]) -> bool:
        count = group.count + len(image)
        return not group.closed and count <= self._most and count * image[0].size <= _MOST_VALUES

    def _lead(self, group: _Group, key: tuple[Any, ...], asked: Sequence[str] | None) -> None:
        """Wait for others, run the images of all, and hand out what each gets."""
        until = time.monotonic() + self._wait
        group.full.wait(max(0.0, until - time.monotonic()))
        with self._lock:
            group.closed = True
            if self._groups.get(key) is group:
                del self._groups[key]
        try:
            images = group.images
            whole = self._model.run({IMAGE: images[0] if len(images) == 1 else np.concatenate(images)}, asked)
            if all(len(value) == group.count for value in whole.values()):
                ends = np.cumsum([len(image) for image in images])
                group.outputs = [
                    {name: value[end - len(image) : end] for name, value in whole.items()}
                    for image, end in zip(images, ends, strict=True)
                ]
                self._ran(len(images))
        except Exception:  # each caller runs its own, and hears what is wrong with it
            group.outputs = None
        finally:
            group.done.set()
