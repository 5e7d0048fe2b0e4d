"""Signals that ask a training to stop: noted when they come, acted upon where nothing is half done.

Standard library alone: what says how a command ended needs no torch.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

# What schedulers and people send. SLURM sends SIGUSR1 where it is asked to (--signal), and SIGTERM before SIGKILL.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
EX_TEMPFAIL = 75  # sysexits.h: try again
_GRACE = 5.0  # seconds that a handler has to run


class Stopped(BaseException):
    """A signal has ended a command before its time, and nothing is half done.

    Like ``KeyboardInterrupt`` it is no ``Exception``: nobody who mends mistakes takes it for one.

    Args:
        name: of the signal.
        where: where the training stands, ``after batch 3 of 10 of epoch 2``; empty: before or behind it.
    """

    def __init__(self, name: str, where: str = "") -> None:
        super().__init__(name, where)
        self.name, self.where = name, where


class StopSignals:
    """Handlers of SIGTERM, SIGUSR1 and SIGINT while the block runs.

    While :attr:`deferred`, a signal is noted and nothing else: a handler runs between any two instructions, inside an
    optimiser's step or a collective of all ranks, where nothing can be saved. Otherwise it ends the command at once, as
    Ctrl-C does: files are written whole or not at all. Ctrl-C after a signal ends it at once in any case; other
    signals after the first say nothing new.

    Attributes:
        name: of the first signal that came; None: none did.
        deferred: somebody looks at :attr:`name` often enough.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.deferred = False
        self._process = os.getpid()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # A shell's background job ignores Ctrl-C.
                if number != signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:  # Lightning switches Ctrl-C off while it ends
                signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def ending_waits(self, end: Callable[[str], None]) -> Iterator[None]:
        """Let signals end the process from within a call that may never return to Python.

        Handlers run between two instructions of Python; what waits in C++ for other ranks does not come back where
        these never come. A thread learns of a signal from the descriptor that the interpreter writes its number to,
        lets the handler run if it can, and ends the process otherwise. No process may be forked meanwhile: it would
        write to that descriptor too.

        Args:
            end: called with the signal's name before the process ends, with the status of :class:`Stopped` or Ctrl-C.
        """
        if not self._before:
            yield
            return
        over = threading.Event()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watch = threading.Thread(target=self._watch, args=(reading, over, end), daemon=True, name="watch of signals")
        watch.start()
        try:
            yield
        finally:
            over.set()
            signal.set_wakeup_fd(before)
            os.close(writing)
            watch.join()
            os.close(reading)

    def _watch(self, reading: int, over: threading.Event, end: Callable[[str], None]) -> None:
        while number := os.read(reading, 1):
            if number[0] in self._before and not over.wait(_GRACE):
                end(signal.Signals(number[0]).name)
                os._exit(128 + signal.SIGINT if number[0] == signal.SIGINT else EX_TEMPFAIL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader process, which ends when its parent lets it
            return
        first, self.name = self.name is None, self.name or signal.Signals(number).name
        if number == signal.SIGINT and not (first and self.deferred):
            raise KeyboardInterrupt
        if first and not self.deferred:
            raise Stopped(self.name)
