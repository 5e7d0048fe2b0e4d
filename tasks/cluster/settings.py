"""What a job asks SLURM for: the grammar of ``fit --slurm``, read and checked before anything is submitted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from scansuite.errors import SuiteError, nearest

Check = Literal["data", "flags", "none"]

_KEY = re.compile(r",(?=[a-z_]+=)")  # a comma before the next setting; another belongs to the value
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME = re.compile(r"(?:\d+[dhms])+")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
_MEMORY = re.compile(r"[1-9]\d*[KMGT]")
_WHOLE = ("nodes", "gpus", "processes", "cpus", "requeues", "parallel")
_SECONDS = ("time", "signal")
_LISTS = ("modules", "setup", "container_args")
_TABLES = ("environment", "sbatch")


@dataclass(frozen=True)
class JobSettings:
    """Settings of a job.

    Attributes:
        time: seconds that a job may run at a time, until it is requeued.
        nodes: number of them.
        gpus: GPUs a node, each with a process of its own; 0: the processes compute on CPUs.
        processes: of a node without GPUs.
        cpus: CPUs a process; None: what the partition gives.
        memory: of a node (``64G``); None: what the partition gives.
        partition: name; None: the cluster's default, as for the next three.
        account: that the time is booked on.
        qos: quality of service.
        constraint: features that nodes must have (``a100|h100``).
        signal: seconds before the end of ``time`` at which the run is told to stop, save and be requeued.
        requeues: how many times at most it is requeued for want of time.
        parallel: folds that run at a time; None: as many as find room.
        modules: environment modules to load.
        venv: folder of a virtual environment; None: the Python that submits.
        conda: name of a conda environment.
        environment: variables to export, taken literally.
        setup: lines of the shell that come before all of these.
        container: Apptainer image in which the run computes; modules, venv and conda are then of what starts it.
        container_args: further words of ``apptainer exec`` (``--bind /data``).
        sbatch: further options of sbatch, by their long names.
        check: what is looked at before a job is queued: flags and data, flags alone, or nothing.
    """

    time: int
    nodes: int = 1
    gpus: int = 0
    processes: int = 1
    cpus: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    signal: int = 120
    requeues: int = 20
    parallel: int | None = None
    modules: tuple[str, ...] = ()
    venv: str | None = None
    conda: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    container: str | None = None
    container_args: tuple[str, ...] = ()
    sbatch: Mapping[str, str] = field(default_factory=dict)
    check: Check = "data"

    def __post_init__(self) -> None:
        for name in ("nodes", "processes", "cpus", "parallel"):
            if getattr(self, name) == 0:
                raise SuiteError(f"--slurm {name}=0: at least 1")
        if self.gpus and self.processes > 1:
            raise SuiteError(f"--slurm processes={self.processes} with gpus={self.gpus}: each GPU has its process")
        if self.time < 60:
            raise SuiteError(f"--slurm time={self.time}s: SLURM counts whole minutes: at least 1m")
        if not 0 < self.signal < self.time:
            raise SuiteError(f"--slurm signal={self.signal}s: the lead must be above 0 and below time ({self.time}s)")
        if self.memory is not None and not _MEMORY.fullmatch(self.memory):
            raise SuiteError(f"--slurm memory={self.memory}: of a node, as in 64G or 500M")
        if self.venv is not None and self.conda is not None:
            raise SuiteError("--slurm venv with conda: one environment, not both")
        if self.venv is not None and not (Path(self.venv) / "bin" / "activate").is_file():
            raise SuiteError(f"--slurm venv={self.venv}: no virtual environment (bin/activate is missing)")
        local = self.container is not None and "://" not in self.container
        if local and not Path(str(self.container)).exists():
            raise SuiteError(f"--slurm container={self.container}: no such image")
        if self.check not in get_args(Check):
            raise SuiteError(f"--slurm check={self.check}: {nearest(self.check, get_args(Check))}")
        for name in self.environment:
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise SuiteError(f"--slurm environment: {name!r} is no name of a variable")

    @property
    def tasks_per_node(self) -> int:
        """Processes a node: one a GPU, or those asked for."""
        return self.gpus or self.processes

    @property
    def memory_bytes(self) -> int | None:
        """Bytes of ``memory``, whose units are SLURM's: powers of 1024."""
        return None if self.memory is None else int(self.memory[:-1]) * 1024 ** ("KMGT".index(self.memory[-1]) + 1)

    @property
    def minutes(self) -> int:
        """The time limit as SLURM counts it."""
        return math.ceil(self.time / 60)


def settings_of(words: Sequence[str], read: Callable[[str], Any]) -> JobSettings:
    """Settings from the words of ``--slurm``; of two that name the same setting the later one counts.

    Args:
        words: each ``key=value``, several of them joined by commas, or the name of a file of settings.
        read: from the name of a file to what it holds.

    Raises:
        SuiteError: names the setting that is unknown, wrong, or missing.
    """
    values: dict[str, Any] = {}
    for word in words:
        if "=" not in word:
            held = read(word)
            if not isinstance(held, Mapping):
                raise SuiteError(f"--slurm {word}: holds no settings (time: 12h)")
            values.update({_known(str(name)): _from_file(str(name), value) for name, value in held.items()})
            continue
        for pair in _KEY.split(word):
            name, _, text = pair.partition("=")
            values[_known(name)] = _from_word(name, text)
    if "time" not in values:
        raise SuiteError("--slurm: time is missing: how long the job may run at a time (time=12h)")
    return JobSettings(**{name: value for name, value in values.items() if value is not None})


def _known(name: str) -> str:
    names = [one.name for one in fields(JobSettings)]
    if name not in names:
        raise SuiteError(f"--slurm {name}: no such setting: {nearest(name, names)}")
    return name


def _from_word(name: str, text: str) -> Any:
    """A setting that was typed."""
    if not text:
        raise SuiteError(f"--slurm {name}=: a value is missing")
    if name in _LISTS:
        return _lines(name, text.split(","))
    if name in _TABLES:
        pairs = [pair.partition("=") for pair in text.split(",")]
        if wrong := next((key for key, equals, _ in pairs if not equals), None):
            raise SuiteError(f"--slurm {name}={text}: {wrong} has no value: NAME=VALUE")
        return {key: value for key, _, value in pairs}
    return _scalar(name, text)


def _from_file(name: str, value: Any) -> Any:
    """A setting that stands in a file."""
    if value is None:
        return None
    if name in _LISTS:
        return _lines(name, value if isinstance(value, list) else [value])
    if name in _TABLES:
        if not isinstance(value, Mapping):
            raise SuiteError(f"--slurm {name}: a value for each name ({name}: {{NAME: VALUE}})")
        return {str(key): _line(name, one) for key, one in value.items()}
    if isinstance(value, (list, Mapping)):
        raise SuiteError(f"--slurm {name}: one value, not {value}")
    if name in _SECONDS and not isinstance(value, str):
        # YAML takes 12:00:00 for the number 43200.
        raise SuiteError(f'--slurm {name}: {value}: give a unit (12h, 90m), or quote it ("12:00:00")')
    return _scalar(name, str(value))


def _scalar(name: str, text: str) -> Any:
    if name in _WHOLE:
        if not text.isdecimal():
            raise SuiteError(f"--slurm {name}={text}: a whole number")
        return int(text)
    return _seconds(name, text) if name in _SECONDS else _line(name, text)


def _seconds(name: str, text: str) -> int:
    """Seconds of a duration: ``1d12h``, ``90m``, or as SLURM writes it, ``1-12:00:00``."""
    if _TIME.fullmatch(text):
        return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    raise SuiteError(f"--slurm {name}={text}: a time with its unit: 12h, 90m, 1d12h or 1-12:00:00")


def _lines(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_line(name, value) for value in values)


def _line(name: str, value: Any) -> str:
    text = str(value)
    if not text or re.search(r"[\x00-\x1f\x7f]", text):  # it would begin another line of the script
        raise SuiteError(f"--slurm {name}: {text!r}: a value of one line")
    return text
