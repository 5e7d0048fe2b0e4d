"""Workers as their parent sees them: requests are handed out, processes that die or hang are replaced.

A model runs in processes of its own (:mod:`tasks.serving.worker`), so that what crashes a decoder, or never ends, costs
one process and not the service. ``concurrent.futures`` does not serve: when one process dies it gives up all of them,
and everything that waits; and ``multiprocessing`` would import the parent's main module anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError
from tasks.serving.process import Worker
from tasks.serving.refused import RefusedError
from tasks.serving.settings import ServeSettings

log = logging.getLogger(__name__)

_MOST_STARTS = 30.0  # seconds between two attempts at most to start a worker that does not
_TO_START = 180.0  # seconds that a worker may take to load its models
_LOST = "the process that computed this ended twice while it did: the file may be made to crash it"


@dataclass(eq=False)
class Job:
    """A request for a worker.

    Attributes:
        kind: what is done: ``predict``, ``view``, ``infer`` or ``dicom``.
        model: its name.
        folder: with the request's files in ``input``, and where the worker leaves its answer.
        options: of that kind.
        attempts: how often a process ended while it had it.
        answered: the worker's message, or a :class:`RefusedError`.
        begun: when a worker has got it (monotonic).
        queued: since when it waits (monotonic).
    """

    kind: str
    model: str
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    answered: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: float | None = None
    queued: float = field(default_factory=time.monotonic)


class Pool:
    """Worker processes, and the requests that wait for them.

    Args:
        models: file or folder of each model by name.
        settings: of the service.

    Attributes:
        models: what the workers say of each model: ``description`` (JSON), ``inputs``, ``outputs``.
        replaced: workers that were replaced since the start.
        batches: images that ran together, with how often.
    """

    def __init__(self, models: Mapping[str, str], settings: ServeSettings) -> None:
        self._files, self._settings = dict(models), settings
        self._workers: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._first: asyncio.Future[None] | None = None
        self.models: dict[str, dict[str, Any]] = {}
        self.replaced = 0
        self.batches: dict[int, int] = {}

    @property
    def ready(self) -> bool:
        """Whether a worker can take requests."""
        return not self._ending and any(worker.ready for worker in self._workers)

    @property
    def count(self) -> int:
        """Workers that are ready."""
        return sum(worker.ready for worker in self._workers)

    @property
    def waiting(self) -> int:
        """Requests that no worker has taken yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that workers have."""
        return sum(len(worker.jobs) for worker in self._workers)

    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    async def start(self) -> None:
        """Start the workers, and wait until one is ready.

        Raises:
            SuiteError: a model cannot be opened.
        """
        self._first = asyncio.get_running_loop().create_future()
        for _ in range(self._settings.workers):
            self._go_on(self._keep_one())
        self._go_on(self._watch())
        await self._first

    async def stop(self) -> None:
        """End the workers once they have answered what they have."""
        while self.running or self._waiting:
            await asyncio.sleep(0.02)
        self._ending = True
        for task in list(self._tasks):
            task.cancel()
        for worker in self._workers:
            await worker.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, job: Job) -> dict[str, Any]:
        """Have a request done.

        Returns:
            The worker's message; the answer itself lies in the job's folder.

        Raises:
            RefusedError: it was refused by the worker, took too long, or was the end of two workers.
        """
        self._waiting.append(job)
        self._hand_out()
        return await job.answered

    def _go_on(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_one(self) -> None:
        """Have one worker, and another one when it ends."""
        pause = 0.0
        while not self._ending:
            worker = Worker(self._files, self._settings)
            self._workers.append(worker)
            try:
                await worker.start()
                async for message in worker.messages():
                    self._hear(worker, message)
                    if worker.ready:
                        pause = 0.0
            except OSError as error:  # too little memory, too many processes: it may be otherwise soon
                worker.trouble = f"it cannot be started: {error.strerror or type(error).__name__}"
            finally:
                with suppress(ProcessLookupError):
                    worker.kill()
                self._workers.remove(worker)
            self._lost(worker)
            if self._first is not None and not self._first.done():
                self._first.set_exception(SuiteError(worker.trouble or "a worker ended before it was ready"))
                return
            self.replaced += 1
            log.warning("a worker has ended (%s): another one takes its place", worker.trouble or worker.status)
            if not worker.was_ready:
                pause = min(_MOST_STARTS, max(1.0, 2 * pause))
            await asyncio.sleep(pause)

    def _hear(self, worker: Worker, message: dict[str, Any]) -> None:
        if "models" in message:
            worker.ready = worker.was_ready = True
            self.models = message["models"]
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
        elif "trouble" in message:
            worker.trouble = str(message["trouble"])
        elif "done" in message:
            job = worker.jobs.pop(message["done"], None)
            for size in message.get("batches", ()):
                self.batches[size] = self.batches.get(size, 0) + 1
            if job is not None:
                _answer(job, message)
        self._hand_out()

    def _lost(self, worker: Worker) -> None:
        """Put the requests of a worker that has ended back to the front; one that ends a second one is refused."""
        worker.ready = False
        for job in worker.jobs.values():
            if job.answered.done():
                continue
            job.attempts += not worker.killed  # of one that hung another request was the cause
            job.begun, job.queued = None, time.monotonic()
            if job.attempts > 1:
                _refuse(job, RefusedError(500, _LOST))
            else:
                self._waiting.appendleft(job)
        worker.jobs.clear()
        self._hand_out()

    def _hand_out(self) -> None:
        """Give requests to workers: those with fewest first; one that was there when a worker ended is given alone."""
        while self._waiting:
            job = self._waiting[0]
            if job.answered.done():
                self._waiting.popleft()
                continue
            free = [one for one in self._workers if one.ready and not (one.jobs and one.alone)]
            if not free:
                return
            worker = min(free, key=lambda one: len(one.jobs))
            if job.attempts and worker.jobs:
                return  # it waits until one is idle, and all behind it with it
            if len(worker.jobs) >= self._settings.together:
                return
            self._waiting.popleft()
            worker.alone = bool(job.attempts)
            job.begun = time.monotonic()
            worker.give(job)

    async def _watch(self) -> None:
        """Answer what takes too long, and end the workers that have it."""
        longest = self._settings.limits.max_seconds
        while True:
            await asyncio.sleep(min(0.25, longest / 4))
            now = time.monotonic()
            for job in self._waiting:
                if now - job.queued > longest:
                    _refuse(job, RefusedError(503, "no worker was free in time: try again", retry=5))
            for worker in list(self._workers):
                late = [job for job in worker.jobs.values() if job.begun is not None and now - job.begun > longest]
                for job in late:
                    _refuse(job, RefusedError(504, f"took more than {longest:g} s, the longest that is allowed"))
                if late or (not worker.ready and now - worker.started > _TO_START):
                    worker.trouble = worker.trouble or "it took too long"
                    worker.killed = True
                    worker.kill()
            self._hand_out()  # those that were refused wait no more


def _answer(job: Job, message: dict[str, Any]) -> None:
    if job.answered.done():
        return
    if "error" in message:
        job.answered.set_exception(RefusedError(int(message["status"]), str(message["error"])))
    else:
        job.answered.set_result(message)


def _refuse(job: Job, error: RefusedError) -> None:
    if not job.answered.done():
        job.answered.set_exception(error)
