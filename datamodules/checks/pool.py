"""Processes that read what may be hostile: one that dies or hangs costs the file it was reading, nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.measures import FAILED, RECORD
from datamodules.checks.units import Units
from datamodules.settings import free_memory

_CHUNK = 64
_POLL = 0.5  # seconds
_LEAST_MEMORY = 4 * 2**30


class Examined(NamedTuple):
    """Units that were looked at, in a row.

    Attributes:
        start: number of the first.
        records: (n,) of :data:`~datamodules.checks.measures.RECORD`.
        notes: (unit, kind, detail) of what is wrong.
    """

    start: int
    records: NDArray[Any]
    notes: list[tuple[int, str, str]]


def examine_all(units: Units, workers: int, seconds: float = 120.0) -> Iterator[Examined]:
    """Look at all units, in any order of chunks.

    Args:
        units: what to look at.
        workers: processes; 0 looks in this one, without protection.
        seconds: what one unit may take before its process is ended.

    Yields:
        Each unit once.
    """
    if workers == 0:
        for start in range(0, len(units), _CHUNK):
            yield _examine(units, start, min(start + _CHUNK, len(units)), None)
        return
    chunks = [(start, min(start + _CHUNK, len(units))) for start in range(0, len(units), _CHUNK)]
    yield from _Pool(units, workers, seconds).run(chunks[::-1])


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    place: Any  # shared: the unit being read, -1 between chunks
    chunk: tuple[int, int] | None = None
    seen: int = -1
    since: float = field(default_factory=time.monotonic)


class _Pool:
    def __init__(self, units: Units, workers: int, seconds: float) -> None:
        self.units, self.seconds = units, seconds
        self.context = multiprocessing.get_context()
        free = free_memory() or 2 * _LEAST_MEMORY
        self.memory = max(_LEAST_MEMORY, int(0.8 * free / workers))
        self.count = workers
        self.workers: list[_Worker] = []

    def run(self, waiting: list[tuple[int, int]]) -> Iterator[Examined]:
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
        process = self.context.Process(target=_work, args=(self.units, theirs, place, self.memory), daemon=True)
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

    def _bury(self, worker: _Worker, waiting: list[tuple[int, int]], kind: str, text: str) -> Examined:
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
        record = np.zeros(1, RECORD)
        record["status"] = FAILED
        return Examined(unit, record, [(unit, kind, text % reason if "%s" in text else text)])


def _work(units: Units, pipe: Connection, place: Any, memory: int) -> None:
    """The life of a process."""
    import cv2

    cv2.setNumThreads(0)
    _limit_memory(memory)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):  # the check itself is gone
        while True:
            start, stop = pipe.recv()
            pipe.send(_examine(units, start, stop, place))


def _examine(units: Units, start: int, stop: int, place: Any) -> Examined:
    records = np.zeros(stop - start, RECORD)
    notes: list[tuple[int, str, str]] = []
    for unit in range(start, stop):
        if place is not None:
            place.value = unit

        def note(kind: str, detail: str, unit: int = unit) -> None:
            notes.append((unit, kind, detail))

        record = records[unit - start]
        try:
            units.examine(unit, record, note)
        except Exception as error:  # whatever a crafted file brings about, the other files are still to be read
            record["status"] = FAILED
            reason = " ".join(str(error).split())[:200]
            note("unreadable", f"{units.path(unit)}: {type(error).__name__}: {reason}".rstrip(": "))
    return Examined(start, records, notes)


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
