"""Submission of commands to SLURM by submitit: the script, the environment, the container."""

from __future__ import annotations

import importlib.util
import io
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from tasks.cluster.command_job import CommandJob
from tasks.cluster.settings import JobSettings

if TYPE_CHECKING:
    from submitit import SlurmExecutor

# Where the packages lie: they need not be installed on the node.
_HOME = str(Path(__file__).resolve().parents[2])


def require_slurm() -> None:
    """Refuse to go on where nothing could be submitted.

    Raises:
        SuiteError: submitit or SLURM is missing.
    """
    if importlib.util.find_spec("submitit") is None:
        raise SuiteError("--slurm: submits through submitit, which is missing: pip install 'scansuite[cluster]'")
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise SuiteError(f"--slurm: {program} is not on PATH: submit on a machine of the cluster (a login node)")


def python_of(settings: JobSettings) -> str:
    """The interpreter that a job starts with."""
    if settings.conda is not None:
        return "python"
    if settings.venv is not None:
        return str(Path(settings.venv).absolute() / "bin" / "python")
    return sys.executable


def command_line(settings: JobSettings, task: str, words: Sequence[str], folder: Path) -> list[str]:
    """The command of a job, in its container where there is one.

    Args:
        settings: of the job.
        task: name of the task.
        words: verb and flags.
        folder: of the run; it must be seen from within the container, as the working folder must.
    """
    if settings.container is None:
        return [python_of(settings), "-m", "tasks.cli", task, *words]
    here = str(Path.cwd())
    image = settings.container
    image = image if "://" in image else str(Path(image).absolute())
    return [
        *("apptainer", "exec", *(["--nv"] if settings.gpus else [])),
        *("--bind", here, "--bind", str(folder.absolute()), "--pwd", here, *settings.container_args),
        *(image, "python", "-m", "tasks.cli", task, *words),
    ]


def setup_lines(settings: JobSettings) -> list[str]:
    """Lines of the script before the command: the user's own, modules, environment, variables."""
    lines = list(settings.setup)
    lines += [f"module load {shlex.quote(name)}" for name in settings.modules]
    if settings.venv is not None:
        lines.append(f"source {shlex.quote(str(Path(settings.venv).absolute() / 'bin' / 'activate'))}")
    if settings.conda is not None:
        lines.append('eval "$(conda shell.bash hook)"')
        lines.append(f"conda activate {shlex.quote(settings.conda)}")
    lines.append(f'export PYTHONPATH={shlex.quote(_HOME)}"${{PYTHONPATH:+:$PYTHONPATH}}"')
    lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.environment.items()]
    return lines


def parameters(settings: JobSettings, name: str, after: str | None = None) -> dict[str, Any]:
    """What submitit's executor is given.

    Args:
        settings: of the job.
        name: of the job.
        after: id of a job that must have ended well.
    """
    further: dict[str, Any] = {"requeue": True}  # some clusters do not by themselves
    if settings.memory is not None:
        further["mem"] = settings.memory
    if after is not None:
        # Where it fails this job would wait forever.
        further |= {"dependency": f"afterok:{after}", "kill-on-invalid-dep": "yes"}
    srun = ["--kill-on-bad-exit=1"]  # else the other ranks wait for one that has failed
    if settings.cpus is not None:
        srun.append(f"--cpus-per-task={settings.cpus}")  # srun no longer takes it over from sbatch, since SLURM 22.05
    chosen = {
        "job_name": name,
        "time": settings.minutes,
        "nodes": settings.nodes,
        "ntasks_per_node": settings.tasks_per_node,
        "gpus_per_node": settings.gpus or None,
        "cpus_per_task": settings.cpus,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "array_parallelism": settings.parallel,
    }
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "signal_delay_s": settings.signal,
        "setup": setup_lines(settings),
        "srun_args": srun,
        "stderr_to_stdout": True,
        "wckey": None,
        "additional_parameters": {**further, **settings.sbatch},
    }


def submit(
    jobs: Sequence[CommandJob], settings: JobSettings, logs: Path, name: str, *, after: str | None = None
) -> list[str]:
    """Queue commands: one as a job, several as an array.

    Args:
        jobs: at least one.
        settings: of each.
        logs: folder for scripts, pickles and logs.
        name: of the job.
        after: id of a job that must have ended well before.

    Returns:
        The id of each.

    Raises:
        SuiteError: SLURM refuses; its own words.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor: SlurmExecutor = submitit.SlurmExecutor(
        folder=logs, max_num_timeout=settings.requeues, python=shlex.quote(python_of(settings))
    )
    executor.update_parameters(**parameters(settings, name, after))
    kept = {key: value for key in ("SLURM_CONF",) if (value := os.environ.get(key)) is not None}
    try:
        # Of the job in which this may run; and submitit prints what sbatch says, which the error says again.
        with submitit.helpers.clean_env(), redirect_stderr(io.StringIO()):
            os.environ.update(kept)
            if len(jobs) == 1:
                return [str(executor.submit(jobs[0]).job_id)]
            with executor.batch():
                queued = [executor.submit(job) for job in jobs]
            return [str(job.job_id) for job in queued]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise SuiteError(f"--slurm: sbatch says: {_said(error)}") from None


def unset(settings: JobSettings) -> list[str]:
    """Variables that a command must not see: in a container the suite is the image's own."""
    return ["SCANSUITE_RUN_DIR", *(["PYTHONPATH"] if settings.container is not None else [])]


def _said(error: Exception) -> str:
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines() if line.strip()]
    return " ".join(" ".join(lines).split())[:300]
