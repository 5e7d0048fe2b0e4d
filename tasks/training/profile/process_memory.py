"""Memory of this process and its loader processes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

_TO_BYTES = 1024


def memory_of_processes() -> int:
    """Bytes that this process and those it has started hold, each shared page counted once among those that share it.

    Resident sizes added up would count the data set once for each loader process. 0 where the system does not say
    (elsewhere than on Linux).
    """
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid is not None)]
    return sum(_share_of(process) for process in processes)


def _share_of(process: int) -> int:
    """Proportional set size (``Pss`` of Linux' ``smaps_rollup``)."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # no such file, or a process that has just ended
        return 0
    found = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(found[0]) * _TO_BYTES if found else 0
