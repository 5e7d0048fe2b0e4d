"""``fit --slurm``: looks at flags and data, takes the run folder, and queues the command line as a job of SLURM."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError, nearest
from tasks.cli.flags import given, read_config, shipped_configs, value_of, values_of
from tasks.cli.folds.asked import asked_folds
from tasks.cli.planning.given import asked_value, config_value, given_flags
from tasks.cli.queued import Queued
from tasks.cli.runs.named_run import named_run
from tasks.cli.runs.run_dir import SHARED, newest_run, refuse_existing, take_run_dir
from tasks.cli.runs.running import command, release
from tasks.cluster.command_job import CommandJob
from tasks.cluster.job_file import LOGS, JobFile, Kind, read_job
from tasks.cluster.scheduler import cancel, has_slurm, states_of
from tasks.cluster.settings import JobSettings, settings_of
from tasks.cluster.submission import command_line, require_slurm, submit, unset

FLAG = "--slurm"
_CONFIG = "config.yaml"
# Flags of fit that no config of a run keeps, and that a run that goes on must hear again.
_AGAIN = ("--judge_test", "--profile", "--allow_import")
# What asks for a time, which a run that was stopped before its first checkpoint has nowhere else; a length beside it.
_TIME = ("--time", "--quality")
_LENGTH = ("--trainer.max_epochs", "--trainer.max_steps")


def run(task: str, argv: Sequence[str]) -> int:
    """Queue a training, or all folds of one.

    Args:
        task: name of the task.
        argv: flags of ``fit`` as typed, ``--slurm`` among them.
    """
    settings = settings_of(values_of(argv, FLAG), _read)
    words = asked_folds(named_run(_without(argv, FLAG)))
    _refuse(words, settings)
    if settings.check != "data" and (value_of(words, "--folds") is not None or _plans_folds(task, words)):
        raise SuiteError(f"{FLAG} check={settings.check}: folds are drawn before they are queued: leave it out")
    require_slurm()
    submission = Submission(task, words, settings)
    if settings.check == "none":
        return submission.queue(_asked(task, words))
    from tasks.cli.verbs import fit

    return fit.run(task, [*words, *_devices_of(words)], Queued(settings, submission.queue, submission.queue_folds))


def _plans_folds(task: str, words: Sequence[str]) -> bool:
    """Whether a plan, which is not made here, would have folds."""
    if asked_value(words, "--quality") != "best":
        return False

    from tasks.cli.planning.planned_run import is_planned  # brings torch
    from tasks.cli.planning.planner import WITHOUT_FOLDS

    return is_planned(task, words) and not given_flags(words).intersection(WITHOUT_FOLDS)


def _devices_of(words: Sequence[str]) -> list[str]:
    """What stands in place of the devices of a config, which are those of another machine: the job has its own."""
    groups = {"--trainer.devices": "auto", "--trainer.num_nodes": "1"}
    return [word for flag, own in groups.items() if asked_value(words, flag) is not None for word in (flag, own)]


class Submission:
    """A ``fit`` that is to be queued.

    Args:
        task: name of the task.
        words: flags as typed, without ``--slurm``.
        settings: of the job.
    """

    def __init__(self, task: str, words: Sequence[str], settings: JobSettings) -> None:
        self.task, self.words, self.settings = task, list(words), settings

    def queue(self, asked: Path | None) -> int:
        """Take the run folder and queue the training.

        Args:
            asked: folder to make or, with ``--ckpt_path last``, to go on in; None: the next number.
        """
        resumed = value_of(self.words, "--ckpt_path") is not None
        if resumed and asked is not None:
            _refuse_active(asked)
        folder = self._take(asked, resumed=resumed)
        typed = _without(_without(self.words, "--run_dir"), "--ckpt_path")
        again = ["--run_dir", str(folder.absolute()), "--ckpt_path", "last"]
        last = [*again, *self._devices()]
        time = self._kept(_TIME)
        kept = [*self._kept(_AGAIN), *time, *(self._kept(_LENGTH) if time else [])]
        job = self._job(folder, ["fit", *typed, *last], ["fit", *kept, *last])
        with _taken_back(folder, fresh=not resumed):
            (name,) = submit([job], self.settings, self._logs(folder), f"{self.task}-{folder.name}")
        self._note(folder, name, "fit", folder)
        print(f"submitted job {name}: {folder}")
        self._tell(folder)
        return 0

    def queue_folds(self, run_dir: Path, folds: dict[int, list[str]], count: int) -> int:
        """Queue an array of folds, and a job that puts them together when all are done.

        Args:
            run_dir: of all folds, with its config and the parts of each.
            folds: verb and flags of each fold that is not finished.
            count: number of all folds.
        """
        for folder in (run_dir, *(run_dir / f"fold_{fold}" for fold in range(count))):
            _refuse_active(folder)
        fresh = value_of(self.words, "--ckpt_path") is None
        release()  # the jobs take it
        os.environ.pop(SHARED, None)
        jobs = []
        for fold, words in folds.items():
            folder = (run_dir / f"fold_{fold}").absolute()
            typed = _without(_without(words[1:], "--run_dir"), "--ckpt_path")
            last = ["--run_dir", str(folder), "--ckpt_path", "last", *self._devices()]
            again = [word for name in _AGAIN for word in _flag(words, name)]
            jobs.append(self._job(folder, ["fit", *typed, *last], ["fit", *again, *last], sees=run_dir))
        name = f"{self.task}-{run_dir.name}"
        pool = ["fit", "--folds", str(count), "--run_dir", str(run_dir.absolute()), "--ckpt_path", "last"]
        pool += self._kept(_AGAIN)
        one = self._one_process()
        with _taken_back(run_dir, fresh=fresh):
            queued = submit(jobs, self.settings, self._logs(run_dir), name) if jobs else []
            after = queued[0].split("_")[0] if queued else None
            last_job = self._job(run_dir, pool, pool, settings=one)
            try:
                (pooling,) = submit([last_job], one, self._logs(run_dir), f"{name}-pool", after=after)
            except SuiteError:
                if after is not None:
                    cancel([after])  # else folds would be trained that nobody puts together
                raise
        for fold, job in zip(folds, queued, strict=True):
            self._note(run_dir / f"fold_{fold}", job, "fold", run_dir)
        self._note(run_dir, pooling, "pool", run_dir)
        if after is not None:
            print(f"submitted job {after}: {len(jobs)} of {count} folds")
        print(f"submitted job {pooling}: puts the folds together when they are done: {run_dir}")
        self._tell(run_dir, next((run_dir / f"fold_{fold}" for fold in folds), run_dir))
        return 0

    def _take(self, asked: Path | None, *, resumed: bool) -> Path:
        def mend(folder: Path) -> str:
            return f"go on with: {command(self.task, 'fit', run_dir=folder, ckpt_path='last')} {FLAG} ..."

        folder = take_run_dir(self.task, None if asked is None else str(asked), mend, resumed=resumed)
        self._logs(folder).mkdir(exist_ok=True)  # it stays when this command ends
        release()  # the job takes it: it may begin before this command has ended
        os.environ.pop(SHARED, None)
        return folder

    def _devices(self) -> list[str]:
        """What the trainer is told of the processes that SLURM starts."""
        flags = [
            "--trainer.num_nodes",
            str(self.settings.nodes),
            "--trainer.devices",
            str(self.settings.tasks_per_node),
        ]
        if value_of(self.words, "--trainer.accelerator") is None:
            flags += ["--trainer.accelerator", "gpu" if self.settings.gpus else "cpu"]
        return flags

    def _kept(self, flags: Sequence[str]) -> list[str]:
        """Flags that were typed, or stand in a config of the user's, which a run that goes on no longer reads."""
        found: list[str] = []
        for flag in flags:
            value = None if flag == "--allow_import" else config_value(self.words, flag.removeprefix("--"))
            found += _flag(self.words, flag) or ([] if value is None else [flag, value.lower()])
        return found

    def _one_process(self) -> JobSettings:
        """Settings of a job that only evaluates."""
        return replace(self.settings, nodes=1, processes=1, gpus=min(1, self.settings.gpus))

    def _job(
        self,
        folder: Path,
        first: Sequence[str],
        again: Sequence[str],
        *,
        settings: JobSettings | None = None,
        sees: Path | None = None,
    ) -> CommandJob:
        of, seen = settings or self.settings, sees or folder
        return CommandJob(
            command_line(of, self.task, first, seen),
            command_line(of, self.task, again, seen),
            folder.absolute(),
            folder.absolute() / _CONFIG,
            unset(of),
        )

    @staticmethod
    def _logs(folder: Path) -> Path:
        return folder.absolute() / LOGS

    def _note(self, folder: Path, job: str, kind: Kind, run_dir: Path) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        of = self._one_process() if kind == "pool" else self.settings
        logs = str(self._logs(run_dir))
        JobFile(job, kind, self.task, now, of.minutes, of.nodes, of.tasks_per_node, logs).write(folder)

    @staticmethod
    def _tell(folder: Path, trains: Path | None = None) -> None:
        print(f"see: scansuite jobs --runs {folder.parent}; scansuite jobs tail {trains or folder}")


@contextmanager
def _taken_back(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Remove a folder that was made for a job, where that could not be queued."""
    try:
        yield
    except BaseException:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _asked(task: str, words: Sequence[str]) -> Path | None:
    """The folder that is named, where nobody looks at anything else."""
    folder, checkpoint = asked_value(words, "--run_dir"), value_of(words, "--ckpt_path")
    if checkpoint is None:
        refuse_existing(folder)
        return None if folder is None else Path(folder)
    if checkpoint != "last":
        raise SuiteError(f"--ckpt_path {checkpoint}: fit goes on with `last` only")
    found = Path(folder) if folder is not None else newest_run(task)
    if found is None or not found.is_dir():
        raise SuiteError(f"--ckpt_path last: there is no run {folder or f'below runs/{task}'} to go on with")
    return found


def _refuse(words: Sequence[str], settings: JobSettings) -> None:
    """What does not go with ``--slurm``."""
    for flag, why in (
        ("--trainer.devices", "a process a GPU: --slurm gpus=N, or processes=N on CPUs"),
        ("--trainer.num_nodes", "--slurm nodes=N says it"),
        ("--trainer.fast_dev_run", "writes nothing that a job could be for: run it here"),
    ):
        if given(words, flag):
            raise SuiteError(f"{flag} with {FLAG}: {why}: leave it out")
    if asked_value(words, "--memory") is not None and (settings.gpus, settings.nodes) != (1, 1):
        raise SuiteError(
            f"--memory with {FLAG} gpus={settings.gpus},nodes={settings.nodes}: tried on one GPU: take gpus=1, or give "
            "--data.batch_size and --trainer.accumulate_grad_batches"
        )


def _refuse_active(folder: Path) -> None:
    """A folder is computed by one job at a time."""
    job = read_job(folder)
    if job is None or not has_slurm():
        return
    state = states_of([job.job]).get(job.job)
    if state is not None and state.active:
        raise SuiteError(
            f"--run_dir {folder}: job {job.job} of it is {state.state}: end it first: scansuite jobs cancel {folder}"
        )


def _read(name: str) -> Any:
    """A file of settings, or one of those that are shipped: ``one_gpu``, ``slurm/one_gpu``."""
    if Path(name).is_file():
        return read_config(Path(name), FLAG)
    shipped = {key.removeprefix("slurm/"): file for key, file in shipped_configs().items() if key.startswith("slurm/")}
    key = name.removeprefix("configs/").removeprefix("slurm/").removesuffix(".yaml")
    if key not in shipped:
        raise SuiteError(f"{FLAG} {name}: no such file, and none of that name is shipped: {nearest(key, shipped)}")
    return read_config(shipped[key], FLAG)


def _flag(words: Sequence[str], flag: str) -> list[str]:
    """A flag with its values, where it was typed."""
    values = values_of(words, flag)
    return [flag, *values] if values else []


def _without(words: Sequence[str], flag: str) -> list[str]:
    """The words without a flag and its values."""
    kept: list[str] = []
    taking = False
    for word in words:
        if word.startswith("-") and not _is_number(word):
            taking = word.split("=", 1)[0] == flag
        if not taking:
            kept.append(word)
    return kept


def _is_number(word: str) -> bool:
    return word[1:2].isdigit()
