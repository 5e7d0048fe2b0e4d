"""``fit`` by a plan: flags that were left out come from a config that counts before the user's own."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from datamodules.fingerprint.fingerprint import FILE as FINGERPRINT
from scansuite.files import write_text
from scansuite.words import number_of
from tasks.cli.flags import value_of, wants_help
from tasks.cli.planning.given import asked_value
from tasks.cli.planning.planner import Planning, plan_for, wants_plan
from tasks.cli.planning.shared_plan import await_plan, sharing
from tasks.cli.runs.run_data import saved_data
from tasks.cli.runs.run_dir import global_rank, newest_run
from tasks.cluster.settings import JobSettings
from tasks.planning.plan import FILE, REASONS, Plan, read_plan
from tasks.planning.rules import RULES
from tasks.registry.flag import OwnFlags

log = logging.getLogger(__name__)

_LATER = "planned when the job begins, on the machine that it begins on (docs/plan.md)"


class PlannedRun(NamedTuple):
    """A training with its plan.

    Attributes:
        argv: flags of the user's, with ``--folds`` where that was planned.
        defaults: config of the plan, which counts before them; None: nothing was planned.
        plan: likewise.
        fingerprint: of the data, as JSON; None too on ranks but the first.
    """

    argv: list[str]
    defaults: Path | None = None
    plan: Plan | None = None
    fingerprint: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """Full names of the flags that were planned."""
        return frozenset() if self.plan is None else frozenset(one.flag for one in self.plan.planned)

    def write(self, run_dir: Path) -> None:
        """Put the plan, its reasons and the fingerprint into a run folder."""
        if self.plan is not None:
            write_text(run_dir / FILE, self.plan.to_yaml())
            write_text(run_dir / REASONS, self.plan.to_json())
        if self.fingerprint is not None:
            write_text(run_dir / FINGERPRINT, self.fingerprint)


@contextmanager
def planned(
    task: str,
    argv: Sequence[str],
    own_flags: OwnFlags,
    *,
    job: JobSettings | None = None,
) -> Iterator[PlannedRun]:
    """Plan what was left out, and say it; the plan's config is there as long as the context.

    The first rank plans; the others take its plan.

    Args:
        task: name of the task.
        argv: flags of ``fit`` as typed.
        own_flags: of the verb.
        job: as which the training begins: the plan is for its machine. Folds, which have one plan, train by it; a
            single run is looked at with it, and planned anew where it begins.

    Raises:
        SuiteError: flags are wrong, or the data cannot be trained on.
    """
    words = list(argv)
    if not is_planned(task, words):
        yield PlannedRun(words)
        return
    if job is not None and job.check != "data":
        log.info("%s", _LATER)
        yield PlannedRun(words)
        return
    made = None
    if global_rank() > 0:
        plan = read_plan(await_plan(task))
    else:
        made = plan_for(task, words, own_flags, job=job)
        plan = made.plan
    folds = next((one.value for one in plan.planned if one.flag == "folds"), None)
    if folds is not None:
        words += ["--folds", str(folds)]
    if job is not None and value_of(words, "--folds") is None:
        log.info("%s", _LATER)
    elif made is not None:
        _say(made, job)
    with tempfile.TemporaryDirectory() as folder, sharing(task, plan):
        file = Path(folder) / FILE
        write_text(file, plan.without("folds").to_yaml())
        yield PlannedRun(words, file, plan, None if made is None else made.fingerprint.to_json())


def is_planned(task: str, words: Sequence[str]) -> bool:
    """Whether a ``fit`` plans what is left out.

    Not where help is asked for, where the settings come from elsewhere (a run that goes on, a model that is pruned),
    and for tasks of other packages, which have no rules.

    Raises:
        SuiteError: ``--plan`` is neither ``auto`` nor ``none``.
    """
    printed = any(word.split("=", 1)[0] == "--print_config" for word in words)
    if task not in RULES or wants_help(words) or printed or not wants_plan(words):
        return False
    pruned = asked_value(words, "--model.prune")
    return pruned in (None, "null") and not _goes_on(task, words)


def _goes_on(task: str, words: Sequence[str]) -> bool:
    """Whether ``--ckpt_path`` takes a run up again; the folder of a job that begins now holds nothing of a run yet."""
    asked, folder = value_of(words, "--ckpt_path"), value_of(words, "--run_dir")
    if asked in (None, "null"):
        return False
    run_dir = Path(folder) if folder is not None else newest_run(task)
    if asked != "last" or run_dir is None or not run_dir.is_dir():
        return True  # what is wrong with it is said later
    return saved_data(run_dir).has_begun or (run_dir / "fold_0").is_dir()


def _say(made: Planning, job: JobSettings | None) -> None:
    if job is not None:
        trains = number_of(job.nodes * job.gpus, "GPU") if job.gpus else "processors"
        log.info("plan: for the machine of each fold's job: %s", trains)
    for line in made.plan.lines():
        log.info("plan: %s", line)


def plan_text(plan: Plan | None, run_dir: Path | None) -> str | None:
    """A plan for the checkpoint; of a fold that of the run of all folds, which was made once.

    Args:
        plan: of this run.
        run_dir: folder that was asked for.
    """
    if plan is not None:
        return plan.to_json()
    if run_dir is None or not run_dir.name.startswith("fold_"):
        return None
    file = run_dir.parent / REASONS
    return file.read_text(encoding="utf-8") if file.is_file() else None
