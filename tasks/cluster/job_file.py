"""``job.json`` in a run folder: which job computes the run; and beside its logs, how that ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from scansuite.errors import SuiteError
from scansuite.files import write_text

FILE = "job.json"
# Below a run folder: what submitit writes, and the logs of all ranks.
LOGS = "slurm"
_END = "end.json"

Kind = Literal["fit", "fold", "pool"]


@dataclass(frozen=True)
class JobFile:
    """A job of a run folder.

    Attributes:
        job: its id; ``12_3`` for one of an array.
        kind: a whole ``fit``, a fold of one, or what puts the folds together when they are done.
        task: name of the task that is trained.
        submitted: when (ISO 8601).
        minutes: the time limit.
        nodes: number of nodes.
        processes: of a node.
        logs: folder of the logs of all ranks.
    """

    job: str
    kind: Kind
    task: str
    submitted: str
    minutes: int
    nodes: int
    processes: int
    logs: str

    def write(self, folder: Path) -> None:
        """Write it into a run folder."""
        write_text(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")

    def log(self, rank: int = 0) -> Path:
        """The log of a rank, as submitit names it."""
        return Path(self.logs) / f"{self.job}_{rank}_log.out"


def read_job(folder: Path) -> JobFile | None:
    """The job of a run folder; None where it has none.

    Raises:
        SuiteError: the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return JobFile(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SuiteError(f"{file}: cannot be read ({error}): remove it, or submit the run again") from None


def find_jobs(runs: Path) -> Iterator[tuple[Path, JobFile]]:
    """Run folders that have a job, in order of their names, folds by number."""
    found = [file.parent for file in runs.rglob(FILE)] if runs.is_dir() else []
    for folder in sorted(found, key=lambda one: [part.zfill(8) for part in one.parts]):
        if (job := read_job(folder)) is not None:
            yield folder, job


def note_end(folder: Path, status: int | None, job: str, *, requeued: bool = False) -> None:
    """Note beside the logs how a job's command ended, for clusters that keep no account of jobs; None: it began.

    A disk that is full keeps nothing, and the job ends as it would.
    """
    file = folder / LOGS / _END
    with suppress(OSError, SuiteError):
        if status is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(exist_ok=True)
            write_text(file, json.dumps({"job": job, "status": status, "requeued": requeued}) + "\n")


def noted_state(folder: Path, job: str) -> str | None:
    """State of a job in SLURM's words as far as its own note says; None where it has written none."""
    try:
        end = json.loads((folder / LOGS / _END).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(end, dict) or end.get("job") != job:
        return None
    if end["requeued"]:
        return "REQUEUED"
    return "COMPLETED" if end["status"] == 0 else "STOPPED" if end["status"] == 75 else "FAILED"
