"""What ``fit --slurm`` does in place of training, when everything has been looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from scansuite.errors import SuiteError
from tasks.cluster.settings import JobSettings


class Queued(NamedTuple):
    """A training that begins as a job.

    Attributes:
        job: what it asks for.
        single: from the run folder that is asked for to an exit status.
        folds: likewise, from the run folder, the words of each fold that is not finished, and the number of all.
    """

    job: JobSettings
    single: Callable[[Path | None], int]
    folds: Callable[[Path, dict[int, list[str]], int], int]


def refuse_in_config(config: Mapping[str, Any]) -> None:
    """Refuse settings of a job that stand in a config: they would train here.

    Raises:
        SuiteError: names what to type.
    """
    if config["slurm"]:
        raise SuiteError("slurm in a --config: type --slurm SETTINGS")
