"""SLURM's programs as scripts that note how they were called, and a runner that is submitit's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tasks.cluster.command_job import CommandJob

ROOT = Path(__file__).resolve().parents[3]
SBATCH = """\
[ -n "$FAKE_REFUSES" ] && { echo "sbatch: error: $FAKE_REFUSES" >&2; exit 1; }
n=$(ls "$FAKE"/script_*.sh 2>/dev/null | wc -l)
cp "$1" "$FAKE/script_$n.sh"
echo "Submitted batch job $((100 + n))"
"""
NOTES = 'echo "$(basename "$0") $*" >> "$FAKE/calls"\n'


def fake_slurm(folder: Path, **programs: str) -> dict[str, str]:
    """Put programs on the path; the environment in which they are found.

    Args:
        folder: to put them in.
        programs: name and script of each, beside those of a cluster that takes every job.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scripts = {"sbatch": SBATCH, "srun": "exit 0\n", "squeue": "", "sacct": "exit 1\n", "scontrol": "exit 1\n"}
    for name, script in {**scripts, **programs}.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{NOTES}{script}")
        file.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE": str(folder)}


def calls(folder: Path, program: str) -> list[str]:
    """How a program was called."""
    file = folder / "calls"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [line.removeprefix(f"{program} ") for line in lines if line.split(" ")[0] == program]


def start_job(job: CommandJob, folder: Path, environment: dict[str, str], rank: int = 0) -> subprocess.Popen[str]:
    """Start a job as SLURM would: submitit's runner reads the pickle and calls it."""
    from submitit.helpers import DelayedSubmission

    folder.mkdir(exist_ok=True)
    pickle = folder / "7_submitted.pkl"
    if not pickle.is_file():
        submission = DelayedSubmission(job)
        submission.set_timeout(60, 3)
        submission.dump(pickle)
    slurm = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_PROCID": str(rank), "SLURM_NTASKS": "2"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "submitit.core._submit", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **slurm, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
