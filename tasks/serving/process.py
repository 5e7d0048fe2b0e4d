"""One worker process, from outside: its start, its messages, its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.serving.settings import ServeSettings

if TYPE_CHECKING:
    from tasks.serving.pool import Job

# glibc keeps freed memory for each thread: what is large goes back to the system at once.
_ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "131072"}
COMMAND: tuple[str, ...] = ("-m", "tasks.serving.worker")
_LONGEST_LINE = 2**24
_TO_END = 5.0  # seconds


class Worker:
    """A worker process.

    Args:
        models: file or folder of each model by name.
        settings: of the service.

    Attributes:
        jobs: requests that it has, by number.
        ready: it has loaded its models.
        was_ready: it ever had.
        alone: it has one request that no other one may join.
        killed: it was ended because a request took too long.
        trouble: what it said before it ended.
        status: how it ended.
        started: when (monotonic).
    """

    def __init__(self, models: Mapping[str, str], settings: ServeSettings) -> None:
        self._models, self._settings = dict(models), settings
        self._process: asyncio.subprocess.Process | None = None
        self._last = 0
        self.jobs: dict[int, Job] = {}
        self.ready = self.was_ready = self.alone = self.killed = False
        self.trouble, self.status = "", ""
        self.started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id, once it is started."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and tell it what to load."""
        folder = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(dict.fromkeys([folder, *filter(None, sys.path)]))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", *COMMAND),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env={**_ALLOCATOR, **os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers when they are done
        )
        settings = self._settings
        told: dict[str, Any] = {
            "threads": settings.threads_of_each,
            "together": settings.together,
            "wait": settings.wait,
        }
        told["trust"] = None if settings.trust is None else str(settings.trust)
        self._send({"models": self._models, "limits": asdict(settings.limits), "task": settings.task, **told})

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it says, until it ends."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with suppress(ValueError, json.JSONDecodeError):  # a line too long, or cut: it is not what we started any more
            while line := await process.stdout.readline():
                yield json.loads(line)
        with suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
        self.status = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"

    def give(self, job: Job) -> None:
        """Hand over a request."""
        self._last += 1
        self.jobs[self._last] = job
        told = {"kind": job.kind, "model": job.model, "folder": str(job.folder), "options": dict(job.options)}
        self._send({"number": self._last, **told})

    def kill(self) -> None:
        """End it at once."""
        self.ready = False
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """End it; it has nothing to do any more."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(OSError, RuntimeError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _TO_END)
        except TimeoutError:
            self.kill()
            await process.wait()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError, RuntimeError):  # it has ended, which is heard elsewhere
            self._process.stdin.write(json.dumps(message, ensure_ascii=True).encode() + b"\n")
