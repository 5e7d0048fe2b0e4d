"""Defaults that depend on the machine, and numbers as users type them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError


def one_thread(worker: int) -> None:
    """Loader processes are many: a thread pool in each would fight over the cores."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def default_workers(ranks: int = 1) -> int:
    """Loader processes of one rank: its share of the cores, but one for training itself, at most 8.

    Lightning's ``suggested_max_num_workers`` has no upper limit, and divides again the cores that SLURM has divided.

    Args:
        ranks: processes on this machine. SLURM gives each its own cores already.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cores if "SLURM_PROCID" in os.environ else cores // ranks
    return max(0, min(8, share - 1))


def check_loading(batch_size: int, num_workers: int | None, total_batch_size: int | None = None) -> None:
    """Refuse numbers of cases a batch and of loader processes that cannot be.

    Raises:
        SuiteError: names the flag.
    """
    if batch_size < 1:
        raise SuiteError(f"--data.batch_size {batch_size}: must be at least 1")
    if total_batch_size is not None and total_batch_size < 1:
        raise SuiteError(f"--data.total_batch_size {total_batch_size}: must be at least 1")
    if num_workers is not None and num_workers < 0:
        raise SuiteError(f"--data.num_workers {num_workers}: must be at least 0")


def per_device(total: int, devices: int) -> int:
    """Cases a batch on each device, where all of them together have ``total``.

    Raises:
        SuiteError: it cannot be shared out evenly; with the nearest numbers that can.
    """
    if total % devices:
        near = [count for count in (total - total % devices, total - total % devices + devices) if count]
        raise SuiteError(
            f"--data.total_batch_size {total}: cannot be shared out evenly among {devices} devices: give "
            f"{' or '.join(map(str, near))}"
        )
    return total // devices


def free_memory() -> int | None:
    """Bytes that can be taken without swapping, or None where the system does not say.

    ``MemAvailable`` of Linux: free pages alone leave out what the page cache gives back, which is most of the memory
    after reading a data set. (psutil would be a dependency for this one line.)
    """
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def default_cache_dir() -> Path:
    """``$SCANSUITE_CACHE``, or the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("SCANSUITE_CACHE") or user_cache_path("scansuite"))


def name_list(value: Sequence[str] | str | None) -> list[str]:
    """Names from a flag: a list of them, or text with commas."""
    parts = value.split(",") if isinstance(value, str) else value or ()
    return [part.strip() for part in parts]


def numbers(value: object, flag: str) -> list[float] | None:
    """Numbers from a flag: one number, a list of them, or text with commas."""
    if value is None:
        return None
    several = isinstance(value, Sequence) or hasattr(value, "tolist")  # arrays and numbers of numpy, tensors
    parts: Any = value.split(",") if isinstance(value, str) else value if several else [value]
    parts = parts.tolist() if hasattr(parts, "tolist") else parts
    parts = parts if isinstance(parts, Sequence) else [parts]
    try:
        return [float(part) for part in parts]
    except (TypeError, ValueError):
        raise SuiteError(f"{flag} {value}: expected numbers, with commas between them") from None


def pair(values: list[float] | None, flag: str) -> tuple[float, float] | None:
    """Two rising numbers, or None."""
    if values is None:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise SuiteError(f"{flag} {values}: expected two numbers, the lower one first")
    return values[0], values[1]
