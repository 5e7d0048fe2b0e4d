"""``fit`` by a plan: flags that were left out come from a config that stands in front of the user's own."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scansuite.files import write_text
from tasks.cli.flags import config_files, read_config, value_of, wants_help
from tasks.cli.planning.planner import Planning, plan_for, wants_plan
from tasks.planning.plan import FILE
from tasks.registry.flag import OwnFlags

log = logging.getLogger(__name__)

# Trainings whose settings come from elsewhere: a run that goes on, a model that is pruned.
_SETTLED = ("--ckpt_path", "--model.prune")


class PlannedRun(NamedTuple):
    """A training with its plan.

    Attributes:
        argv: flags with those of the plan in front.
        planning: None: nothing was planned.
    """

    argv: list[str]
    planning: Planning | None


@contextmanager
def planned(task: str, argv: Sequence[str], own_flags: OwnFlags) -> Iterator[PlannedRun]:
    """Plan what was left out, and say it; the plan's file is there as long as the context.

    Args:
        task: name of the task.
        argv: flags of ``fit`` as typed.
        own_flags: of the verb.

    Raises:
        SuiteError: flags are wrong, or the data cannot be trained on.
    """
    words = quick(argv)
    settled = any(value_of(words, flag) not in (None, "null") for flag in _SETTLED)
    if wants_help(words) or "--print_config" in {word.split("=")[0] for word in words} or settled:
        yield PlannedRun(words, None)
        return
    if not wants_plan(words, _of_configs(words)):
        yield PlannedRun(words, None)
        return
    planning = plan_for(task, words, own_flags)
    for line in planning.plan.lines():
        log.info("plan: %s", line)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        write_text(file, planning.plan.to_yaml())
        yield PlannedRun(["--config", str(file), *words], planning)


def quick(argv: Sequence[str]) -> list[str]:
    """Flags in which ``--quick``, which takes no value, has become ``--quality quick``."""
    return [part for word in argv for part in (("--quality", "quick") if word == "--quick" else (word,))]


def _of_configs(argv: Sequence[str]) -> str | None:
    """``plan`` in the last config that has it."""
    found = None
    for file in config_files(argv):
        values = read_config(Path(file))
        if isinstance(values, dict) and values.get("plan") is not None:
            found = str(values["plan"])
    return found
