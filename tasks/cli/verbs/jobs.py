"""``scansuite jobs``: the jobs of run folders, with what SLURM and the folders say of them; their logs; their end."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from scansuite.errors import SuiteError
from tasks.cli.runs.run_dir import RUNS
from tasks.cluster.job_file import JobFile, find_jobs, noted_state, read_job
from tasks.cluster.scheduler import QueueState, cancel, has_slurm, states_of

USAGE = """\
usage: scansuite jobs [list] [--runs DIR]
       scansuite jobs tail ID|RUN [--rank N] [--lines N] [--follow]
       scansuite jobs cancel ID|RUN

  list      jobs of the run folders below --runs: state, epoch reached, time left, folder
  tail      the end of a job's log; --rank N: of another process than the first; --follow: go on while the job is there
  cancel    scancel: a training saves before it ends, and `fit --ckpt_path last` goes on with it
  --runs    folder that holds the run folders (default runs)
"""
_LAST_BYTES = 65536  # of a log, in which an error line is looked for


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SuiteError(f"jobs: {message}: see scansuite jobs --help")

    def print_help(self, file: object = None) -> None:
        print(USAGE, end="")


class Row(NamedTuple):
    """Row of the list.

    Attributes:
        job: its id.
        state: of it.
        epoch: that has been reached, of how many.
        left: time until the limit.
        folder: of the run.
        more: why it waits, or what was wrong.
    """

    job: str
    state: str
    epoch: str
    left: str
    folder: str
    more: str


def run(argv: Sequence[str]) -> int:
    """Do what the first word says.

    Args:
        argv: words behind ``scansuite jobs``.
    """
    parser = _Parser(prog="scansuite jobs", allow_abbrev=False)
    parser.add_argument("action", nargs="?", default="list", choices=("list", "tail", "cancel"))
    parser.add_argument("which", nargs="?")
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--follow", action="store_true")
    args = parser.parse_args(list(argv))
    if args.lines < 1:
        raise SuiteError(f"jobs --lines {args.lines}: must be at least 1")
    if args.action == "list":
        if args.which is not None:
            raise SuiteError(f"jobs list {args.which}: lists all below --runs: leave it out")
        return _list(args.runs)
    if args.which is None:
        raise SuiteError(f"jobs {args.action}: name a job's id or a run folder")
    chosen = _find(args.which, args.runs)
    if args.action == "cancel":
        return _cancel(chosen)
    folder, job = chosen[0]
    return _tail(folder, job.log(args.rank), job, args.lines, follow=args.follow)


def rows_of(runs: Path) -> list[Row]:
    """Rows of all jobs below a folder."""
    found = list(find_jobs(runs))
    states = states_of([job.job for _, job in found]) if has_slurm() else {}
    return [_row(folder, job, states.get(job.job)) for folder, job in found]


def _row(folder: Path, job: JobFile, queued: QueueState | None) -> Row:
    noted = noted_state(folder, job.job)
    state = queued or QueueState(noted or "UNKNOWN")
    if state.state == "COMPLETED" and noted not in (None, "COMPLETED"):
        state = QueueState(str(noted))
    more = state.reason if state.active or state.state == "COMPLETED" else _error_in(job.log()) or state.reason
    kind = "" if job.kind != "pool" else "puts the folds together"
    return Row(job.job, state.state, _epoch(folder), state.left, str(folder), "; ".join(filter(None, [kind, more])))


def _list(runs: Path) -> int:
    rows = rows_of(runs)
    if not has_slurm():
        print("SLURM's squeue is not on PATH: states are those that the jobs have noted themselves", file=sys.stderr)
    if not rows:
        print(f"no jobs below {runs}")
        return 0
    header = Row("job", "state", "epoch", "left", "run folder", "")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(5)]
    for row in (header, *rows):
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row.more]).rstrip())
    return 0


def _epoch(folder: Path) -> str:
    """``7/20``: the epochs that are done, of those that the run is to have."""
    import yaml

    done, most = "", ""
    try:
        with (folder / "metrics.csv").open(encoding="utf-8") as table:
            column = table.readline().rstrip("\n").split(",").index("epoch")
            last = [line for line in table if line.strip()][-1]
        done = str(int(float(last.split(",")[column])) + 1)
    except (OSError, ValueError, IndexError):
        return ""
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        most = str(values["trainer"]["max_epochs"])
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError):
        return done
    return f"{done}/{most}"


def _find(which: str, runs: Path) -> list[tuple[Path, JobFile]]:
    """Jobs that a word means: of a run folder and its folds, of an id, or all of an array."""
    if (Path(which) / "job.json").is_file():
        folder = Path(which)
        own = read_job(folder)
        assert own is not None
        return [(folder, own), *((other, job) for other, job in find_jobs(folder) if other != folder)]
    found = [(folder, job) for folder, job in find_jobs(runs) if which in (job.job, job.job.split("_")[0])]
    if not found:
        raise SuiteError(f"jobs: {which}: no run folder with a job, and no job of that id below {runs}: see --runs")
    return found


def _cancel(chosen: Sequence[tuple[Path, JobFile]]) -> int:
    cancel([job.job for _, job in chosen])
    for folder, job in chosen:
        print(f"cancelled job {job.job}: {folder}")
    return 0


def _tail(folder: Path, log: Path, job: JobFile, lines: int, *, follow: bool) -> int:
    if not log.is_file() and not follow:
        raise SuiteError(
            f"jobs tail {folder}: job {job.job} has written no {log.name} yet: it waits, or has fewer ranks"
        )
    at = 0
    first = True
    while True:
        if log.is_file():
            with log.open("rb") as stream:
                stream.seek(at)
                text = stream.read()
                at = stream.tell()
            said = text.decode("utf-8", "replace")
            sys.stdout.write("\n".join(said.splitlines()[-lines:]) + "\n" if first and said else said)
            sys.stdout.flush()
            first = False
        if not follow:
            return 0
        state = states_of([job.job]).get(job.job) if has_slurm() else None
        if state is None or not state.active:
            follow = False  # once more, for what came meanwhile
        time.sleep(1)


def _error_in(log: Path) -> str:
    """The last error line of a log, or nothing."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _LAST_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.startswith("error: ")), "")
