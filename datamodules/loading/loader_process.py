"""What a loader process does at its start."""

from __future__ import annotations

import os
import signal
import threading


def one_thread(worker: int) -> None:
    """Loader processes are many: a thread pool in each would fight over the cores."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def begin_loader_process(worker: int) -> None:
    """One thread for arithmetic, and life until the parent ends it.

    Args:
        worker: number of the process.
    """
    one_thread(worker)
    outlive_signals(os.getppid())


def outlive_signals(parent: int) -> None:
    """Let signals for a whole group of processes (Ctrl-C, a scheduler's) end the parent, and this process through it.

    A training that saves at its next safe step needs its batches until then. The parent itself ends its loader
    processes by SIGTERM where they do not end by themselves, which a handler cannot tell from the scheduler's: a
    thread that waits for the signal is told who has sent it.

    Args:
        parent: number of the process that may end this one.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_parent, args=(parent,), daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
