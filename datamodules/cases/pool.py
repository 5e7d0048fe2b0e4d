"""Processes that read what may be hostile: one that dies or hangs costs the file it was reading, nothing else.

``concurrent.futures`` gives up as a whole where one of its processes dies, and cannot stop a task that hangs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from ctypes import c_longlong
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, NamedTuple, TypeVar

from datamodules.settings import free_memory

_CHUNK = 64
_POLL = 0.5  # seconds
_LEAST_MEMORY = 4 * 2**30

T = TypeVar("T")
Work = Callable[[int, int, Callable[[int], None]], T]  # from, to (exclusive), told of each unit before it is read


class Lost(NamedTuple):
    """A unit that its process did not survive.

    Attributes:
        unit: its number.
        kind: ``crashed`` or ``too_slow``.
        text: what happened.
    """

    unit: int
    kind: str
    text: str


def in_chunks(work: Work[T], count: int, workers: int, seconds: float) -> Iterator[T | Lost]:
    """Hand out units in chunks, in any order.

    Args:
        work: reads some units in a row; what it returns must be picklable.
        count: how many units there are.
        workers: processes; 0 reads in this one, without protection.
        seconds: what one unit may take before its process is ended.

    Yields:
        What ``work`` returns of each chunk. After a loss the others of its chunk come in chunks of their own.
    """
    # A process should have several chunks, and volumes take long.
    size = max(1, min(_CHUNK, count // max(1, 4 * workers)))
    chunks = [(start, min(start + size, count)) for start in range(0, count, size)]
    if workers == 0:
        for start, stop in chunks:
            yield work(start, stop, lambda unit: None)
        return
    yield from _Pool(work, workers, seconds).run(chunks[::-1])


def processes(asked: int) -> int:
    """Number of processes asked for, or 0 in a process that may have none of its own."""
    return 0 if multiprocessing.current_process().daemon else asked


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    place: c_longlong  # shared: the unit being read, -1 between chunks
    chunk: tuple[int, int] | None = None
    seen: int = -1
    since: float = field(default_factory=time.monotonic)


class _Pool(Generic[T]):
    def __init__(self, work: Work[T], workers: int, seconds: float) -> None:
        self.work, self.seconds = work, seconds
        self.context = multiprocessing.get_context()
        free = free_memory() or 2 * _LEAST_MEMORY
        self.memory = max(_LEAST_MEMORY, int(0.8 * free / workers))
        self.count = workers
        self.workers: list[_Worker] = []

    def run(self, waiting: list[tuple[int, int]]) -> Iterator[T | Lost]:
        """``waiting`` is a stack of chunks."""
        try:
            self.workers = [self._start() for _ in range(min(self.count, len(waiting)))]
            while waiting or any(worker.chunk for worker in self.workers):
                for worker in self.workers:
                    if worker.chunk is None and waiting:
                        self._give(worker, waiting.pop())
                busy = {worker.pipe: worker for worker in self.workers if worker.chunk is not None}
                for pipe in wait(list(busy), timeout=_POLL):
                    worker = busy[pipe]  # type: ignore[index]
                    try:
                        yield worker.pipe.recv()
                        worker.chunk = None
                    except (EOFError, OSError):
                        yield self._bury(worker, waiting, "crashed", "the process that read it died (%s)")
                for worker in self.workers:
                    if worker.chunk is not None and self._hangs(worker):
                        worker.process.kill()
                        text = f"not read after {self.seconds:g} seconds"
                        yield self._bury(worker, waiting, "too_slow", text)
        finally:
            for worker in self.workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        place = self.context.RawValue("q", -1)
        # A shell script that imports us has no __main__ to import anew; fork, the default on Linux, needs none.
        process = self.context.Process(target=_live, args=(self.work, theirs, place, self.memory), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours, place)

    def _give(self, worker: _Worker, chunk: tuple[int, int]) -> None:
        worker.chunk, worker.seen, worker.since = chunk, -1, time.monotonic()
        worker.place.value = -1
        with contextlib.suppress(OSError):  # a dead process is noticed when nothing comes back
            worker.pipe.send(chunk)

    def _hangs(self, worker: _Worker) -> bool:
        place = int(worker.place.value)
        if place != worker.seen:
            worker.seen, worker.since = place, time.monotonic()
        return time.monotonic() - worker.since > self.seconds

    def _bury(self, worker: _Worker, waiting: list[tuple[int, int]], kind: str, text: str) -> Lost:
        """Replace a process; what it has not handed over of its chunk is done again, without the unit it stopped at."""
        worker.process.join()
        assert worker.chunk is not None  # it was busy
        start, stop = worker.chunk
        unit = max(start, int(worker.place.value))
        rest = [(unit + 1, stop), (start, unit)]
        waiting += [chunk for chunk in rest if chunk[0] < chunk[1]]
        code = worker.process.exitcode
        reason = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        worker.pipe.close()
        self.workers[self.workers.index(worker)] = self._start()
        return Lost(unit, kind, text % reason if "%s" in text else text)


def _live(work: Work[Any], pipe: Connection, place: c_longlong, memory: int) -> None:
    """The life of a process."""
    import cv2

    cv2.setNumThreads(0)
    _limit_memory(memory)

    def tell(unit: int) -> None:
        place.value = unit

    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):  # whoever asked is gone
        while True:
            start, stop = pipe.recv()
            pipe.send(work(start, stop, tell))


def _limit_memory(more: int) -> None:
    """A file that unpacks to more than is free raises MemoryError instead of filling the machine."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    status = f"/proc/{os.getpid()}/statm"
    with contextlib.suppress(OSError, ValueError):
        with open(status, encoding="ascii") as file:  # noqa: PTH123 - one line of a kernel file
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.getrlimit(resource.RLIMIT_AS)[1]))
