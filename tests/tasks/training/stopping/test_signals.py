"""A signal ends a process that waits where no handler runs, and leaves alone one that comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tasks.training.stopping.signals import Stopped, StopSignals


def test_a_signal_ends_a_wait_that_no_handler_interrupts() -> None:
    code = """
import threading
from tasks.training.stopping import signals

signals._GRACE = 0.3
stop = signals.StopSignals()
stop._note = lambda *_: None  # as where the main thread is in C++ and never comes back
with stop, stop.ending_waits(lambda name: print("ended by", name, flush=True)):
    print("waits", flush=True)
    while True:
        threading.Event().wait(0.05)
"""
    for number, status in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
            # A shell's job in the background, and its children, ignore Ctrl-C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        try:
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        assert (process.returncode, out) == (status, f"ended by {number.name}\n")


def test_a_handler_that_runs_ends_it_by_itself() -> None:
    ended: list[str] = []
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with pytest.raises(Stopped, match="SIGUSR1"), StopSignals() as stop, stop.ending_waits(ended.append):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert ended == []
    assert signal.set_wakeup_fd(before) == before


def test_other_signals_and_no_signal_change_nothing() -> None:
    ended: list[str] = []
    with StopSignals() as stop, stop.ending_waits(ended.append):
        subprocess.run([sys.executable, "-c", ""], check=True)  # its end is a SIGCHLD
    assert stop.name is None
    assert ended == []
