"""The study of a sweep: which trials there are, on disk, for any number of processes at a time; made on Optuna.

Its record is a journal of lines, which works on network drives and has no server. A trial that runs has a lock, which
ends with its process: whoever finds a running trial without one goes on with it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from scansuite.errors import SuiteError
from tasks.cli.sweep.space import Space, drawn, parameters_of

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

log = logging.getLogger(__name__)

MISSING = "sweep: optuna is missing: pip install 'scansuite[sweep]'"
JOURNAL = "study.log"
ABOUT = "study.json"  # what the sweep is about, so that no other one goes on in its folder
COSTS, FOLDER, LIMITS, ENDS = "costs", "folder", "limits", "ends"  # what is noted of a trial
JUDGED = "judged"  # what is noted of the study: the trial that was evaluated on test
_ASKING = "asking.lock"
_FIRST = 8  # trials drawn at random, and run to their end, before any is judged by the others


def open_study(folder: Path, about: dict[str, Any], seed: int) -> Study:
    """The study in a folder, new or gone on with.

    Args:
        folder: of the sweep.
        about: task, metric, direction and space, in plain types.
        seed: of what is drawn; each process that joins draws other values.

    Raises:
        SuiteError: Optuna is missing, or the folder's study is about something else.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ImportError:
        raise SuiteError(MISSING) from None

    file = folder / ABOUT
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in about if before.get(name) != about[name]]
        if changed:
            raise SuiteError(
                f"--run_dir {folder}: its sweep has another {changed[0]} ({before.get(changed[0])}): go on with the "
                "same flags, or name a new folder"
            )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(folder / JOURNAL)
    storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    begun = sum(1 for _ in (folder / JOURNAL).open(encoding="utf-8")) if (folder / JOURNAL).is_file() else 0
    return optuna.create_study(
        study_name="sweep",
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=(seed + begun) % 2**32, n_startup_trials=_FIRST),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST // 2, n_warmup_steps=2),
        direction=about["direction"],
        load_if_exists=True,
    )


@contextmanager
def next_trial(study: Study, folder: Path, space: Space, most: int) -> Iterator[tuple[Trial, dict[str, Any]] | None]:
    """The trial to run now, held by its lock as long as the block; None: there are enough.

    One that was left by a process that is gone comes before new ones.

    Args:
        study: of :func:`open_study`.
        folder: of the sweep.
        space: that values are drawn from.
        most: trials in all.
    """
    from optuna.trial import Trial, TrialState

    lock: FileLock | None = None
    chosen: Trial | None = None
    with FileLock(folder / _ASKING):
        trials = study.get_trials(deepcopy=False)
        for one in (one for one in trials if one.state == TrialState.RUNNING):
            lock = _taken(folder, one.number)
            if lock is not None:
                log.info("trial %d was left behind: it goes on", one.number)
                chosen = Trial(study, one._trial_id)
                break
        begun = sum(one.state != TrialState.WAITING for one in trials)
        if chosen is None and begun < most:
            chosen = study.ask()
            lock = _taken(folder, chosen.number)
    if chosen is None or lock is None:
        yield None
        return
    try:
        yield chosen, drawn(space, chosen)
    finally:
        lock.release()


def enqueue_first(study: Study, space: Space, config: dict[str, Any]) -> list[str]:
    """Let the first trial be the settings that the sweep starts from.

    Returns:
        Flags whose value lies outside of the space, so that another one is drawn.
    """
    parameters, outside = parameters_of(space, config)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(parameters)
    return outside


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Trials that ran to their end, with a value and within the limits, the best first."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    done = [
        one
        for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if one.value is not None and math.isfinite(one.value) and not one.user_attrs.get(LIMITS)
    ]
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    return sorted(done, key=lambda one: (sign * float(one.value or 0), one.number))


def running_trials(study: Study) -> list[int]:
    """Numbers of the trials that have begun and not ended, here or in another process."""
    return [one.number for one in study.get_trials(deepcopy=False) if one.state.name == "RUNNING"]


def settle(study: Study, trial: Trial, value: float | None, broken: Sequence[float], *, pruned: bool) -> None:
    """Tell the study how a trial ended.

    Args:
        study: of the trial.
        trial: that ended.
        value: its metric; None: it failed.
        broken: by how much it breaks each limit, at most 0 where it keeps it.
        pruned: it was stopped.
    """
    from optuna.trial import TrialState

    for number, one in enumerate(broken):
        trial.set_constraint(str(number), one)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif value is None or not math.isfinite(value):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def follower(trial: Trial) -> Callable[[int, float], bool]:
    """What is told the epochs of a trial, and says whether it is to be stopped."""
    before = set(trial.storage.get_trial(trial._trial_id).intermediate_values)  # of a trial that goes on

    def report(epoch: int, value: float) -> bool:
        if epoch in before:
            return False
        trial.report(value, epoch)
        return bool(trial.should_prune())

    return report


def _taken(folder: Path, number: int) -> FileLock | None:
    """The lock of a trial; None: another process has it."""
    lock = FileLock(folder / f"trial_{number:04d}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
