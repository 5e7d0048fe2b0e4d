"""Defaults that depend on the machine, and numbers as users type them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError


def default_workers(ranks: int = 1) -> int:
    """Loader processes of one rank: its share of the cores, but one for training itself, at most 8.

    Lightning's ``suggested_max_num_workers`` has no upper limit, and divides again the cores that SLURM has divided.

    Args:
        ranks: processes on this machine. SLURM gives each its own cores already.
    """
    cores = usable_cores()
    share = cores if "SLURM_PROCID" in os.environ else cores // ranks
    return max(0, min(8, share - 1))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def at_least_one(number: int, flag: str) -> int:
    """A whole number above 0.

    Raises:
        SuiteError: names the flag of ``--data``.
    """
    if number < 1:
        raise SuiteError(f"--data.{flag} {number}: must be at least 1")
    return number


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
    after reading a data set. A container's or a job's own limit (cgroup) counts where it is nearer. (psutil would be a
    dependency for these lines, and knows no cgroups.)
    """
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*found, *free_in_cgroups()], default=None)


def free_in_cgroups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that are left below the limit of each cgroup (version 2 or 1) that this process is in.

    What the page cache holds of files counts as free: it is given back before a limit is enforced.

    Args:
        root: where cgroups are mounted.
        own: says which are this process's.
    """
    free: list[int] = []
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            top = root / kinds
            group = top / path.lstrip("/")
            # In a container the path may be that of the outside, and the limit lies at the top.
            groups = [top, *(one for one in (group, *group.parents) if top in one.parents)]
            free += [left for one in groups if (left := _left_in(one)) is not None]
    return free


def _left_in(group: Path) -> int | None:
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for limit, used in names:
        with suppress(OSError, ValueError):
            most, now = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
            kept = re.findall(
                r"^(?:total_)?inactive_file (\d+)", (group / "memory.stat").read_text(encoding="ascii"), re.M
            )
            return max(0, most - now + max(map(int, kept), default=0))
    return None


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
