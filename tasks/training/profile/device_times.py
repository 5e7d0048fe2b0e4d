"""Time on a GPU: by parts of a step, from events on its stream, and how long its kernels run, from a trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch

from tasks.training.profile.parts import BACKWARD, FORWARD, LOSS, METRICS, OPTIMISER

BETWEEN = "between steps"
ON_DEVICE = (FORWARD, LOSS, METRICS, BACKWARD, OPTIMISER)


class Mark(Protocol):
    """A point on a stream, as :class:`torch.cuda.Event` is one."""

    def record(self) -> None:
        """Set it behind what the stream was asked for so far."""

    def query(self) -> bool:
        """Whether the stream has come to it."""

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from it to a later one."""


def _cuda_event() -> Mark:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class DeviceTimes:
    """Milliseconds of a step on the device's own clock, by part, of the steps that are sampled.

    The host runs ahead of a GPU: its clock says when a kernel was asked for, not when it ran. Events are put into the
    stream where a part begins and are read when the stream has passed them, so that nobody waits.

    Args:
        mark: makes an event.
    """

    def __init__(self, mark: Callable[[], Mark] = _cuda_event) -> None:
        self._mark = mark
        self._open: list[tuple[str, Mark]] | None = None
        self._waiting: list[list[tuple[str, Mark]]] = []
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._steps = 0

    def begin_step(self) -> None:
        """Sample the step that begins."""
        self._open = []
        self.part(BETWEEN)

    def part(self, part: str) -> None:
        """A part begins; whatever the device has no part in lies between the steps."""
        if self._open is None:
            return
        part = part if part in ON_DEVICE else BETWEEN
        if not self._open or self._open[-1][0] != part:
            event = self._mark()
            event.record()
            self._open.append((part, event))

    def end_step(self) -> None:
        """The next step begins."""
        if self._open is None:
            return
        event = self._mark()
        event.record()
        self._waiting.append([*self._open, ("", event)])
        self._open = None
        self._read()

    def drop_step(self) -> None:
        """The step that is sampled ends an epoch: what follows is no step."""
        self._open = None

    def _read(self) -> None:
        while self._waiting and self._waiting[0][-1][1].query():
            marks = self._waiting.pop(0)
            for (part, start), (_, end) in pairwise(marks):
                self._sums[part] += start.elapsed_time(end)
            self._steps += 1

    def milliseconds(self) -> dict[str, float]:
        """Of a step, by part; empty where none was sampled."""
        self._read()
        return {part: total / self._steps for part, total in self._sums.items()} if self._steps else {}


class KernelTrace:
    """Milliseconds a step in which at least one kernel runs, from a trace of some steps.

    Tracing makes the host slower, not the kernels: their time is put beside that of steps that are not traced.

    Args:
        steps: that are traced.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.milliseconds: float | None = None
        self.running = self.over = False
        self._done = 0
        self._profiler: Any = None

    def start(self) -> None:
        """Begin, before a step."""
        torch.cuda.synchronize()
        self._profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
        self._profiler.start()
        self.running = True

    def step(self) -> None:
        """A step is over."""
        self._done += 1
        if self._done < self.steps:
            return
        torch.cuda.synchronize()
        self._profiler.stop()
        self.running, self.over = False, True
        spans = [
            (float(event.time_range.start), float(event.time_range.end))
            for event in self._profiler.events()
            if event.device_type.name == "CUDA" and not event.name.startswith(("Memcpy", "Memset"))
        ]
        self._profiler = None
        if spans:  # none where the system lets nobody trace
            self.milliseconds = covered(spans) / 1000 / self.steps


def covered(spans: Iterable[Sequence[float]]) -> float:
    """Length of the union of (start, end) spans: kernels of several streams run at once."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted((span[0], span[1]) for span in spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
