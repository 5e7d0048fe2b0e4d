"""SLURM's own programs: which jobs there are and in what state, and their end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from scansuite.errors import SuiteError

_WAIT = 60  # seconds; a busy controller answers late


class QueueState(NamedTuple):
    """State of a job.

    Attributes:
        state: in SLURM's words (``PENDING``, ``RUNNING``, ``FAILED``).
        left: time until the limit as SLURM writes it; empty where it does not run.
        reason: why it waits; empty where it does not.
    """

    state: str
    left: str = ""
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether it runs, or will."""
        return self.state in (
            "PENDING",
            "RUNNING",
            "CONFIGURING",
            "COMPLETING",
            "SUSPENDED",
            "REQUEUED",
            "REQUEUE_HOLD",
        )


def has_slurm() -> bool:
    """Whether this machine knows a queue."""
    return shutil.which("squeue") is not None


def states_of(jobs: Sequence[str]) -> dict[str, QueueState]:
    """States of jobs: of the queue, else of SLURM's accounting, else of what the controller still remembers.

    Args:
        jobs: their ids.

    Returns:
        Those that SLURM knows of.

    Raises:
        SuiteError: the queue cannot be asked.
    """
    if not jobs:
        return {}
    listed = _ask(["squeue", "--noheader", "--array", "--format=%i|%T|%L|%r", "--me"])
    if listed is None:
        raise SuiteError("squeue cannot be asked: is the controller of SLURM up? Try again, or see `sinfo`")
    found: dict[str, QueueState] = {}
    for line in listed.splitlines():
        name, state, left, reason = line.strip().split("|", 3)
        runs = state == "RUNNING"
        found[name] = QueueState(state, left if runs else "", "" if runs or reason == "None" else reason)
    missing = [job for job in jobs if job not in found]
    if missing and (kept := _ask(["sacct", "-n", "-P", "-X", "-D", "-o", "JobID,State", "-j", ",".join(missing)])):
        for line in kept.splitlines():
            name, _, state = line.partition("|")
            found[name] = QueueState(state.split(" ")[0])  # "CANCELLED by 0"
    for job in missing:
        if job not in found and (told := _ask(["scontrol", "--oneliner", "show", "job", job])):
            words = dict(word.partition("=")[::2] for word in told.split("\n")[0].split())
            if "JobState" in words:
                found[job] = QueueState(words["JobState"])
    return {job: found[job] for job in jobs if job in found}


def cancel(jobs: Sequence[str]) -> None:
    """End jobs. Those that run get SIGTERM, and the cluster's ``KillWait`` (30 s) to save.

    Raises:
        SuiteError: scancel is not on PATH, or says why not.
    """
    if shutil.which("scancel") is None:
        raise SuiteError("scancel is not on PATH: cancel on a machine from which jobs are submitted")
    try:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True, check=False, timeout=_WAIT)
    except subprocess.TimeoutExpired:
        raise SuiteError(f"scancel: no answer within {_WAIT} s: is the controller of SLURM up? Try again") from None
    if done.returncode != 0:
        raise SuiteError(f"scancel: {' '.join(done.stderr.split())[:300]}")


def _ask(command: Sequence[str]) -> str | None:
    """What a program says; None where it is absent, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_WAIT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
