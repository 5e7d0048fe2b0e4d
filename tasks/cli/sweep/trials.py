"""The trials of a sweep: begun, gone on with, told to the study; so many at a time."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from scansuite.errors import SuiteError, nearest
from tasks.cli.command import imports_allowed
from tasks.cli.flags import value_of
from tasks.cli.folds.tables import best_checkpoint, finished
from tasks.cli.runs.run_dir import CHECKPOINTS
from tasks.cli.sweep.constraints import Constraint, costs
from tasks.cli.sweep.outcome import write_outcome
from tasks.cli.sweep.space import Space, as_words
from tasks.cli.sweep.study import COSTS, ENDS, FOLDER, LIMITS, follower, next_trial, settle
from tasks.cli.sweep.trial_run import LOG, Ended, run_trial, seconds_of, wait_for
from tasks.evaluation.metric_values import MetricValue, read_metrics

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

log = logging.getLogger(__name__)

BASE = "base.yaml"
WRITING = "writing.lock"
_FAILED = 3  # trials that fail before any other has come to a value


class Sweep(NamedTuple):
    """What all trials share.

    Attributes:
        task: name of the task.
        folder: of the sweep.
        space: that settings are drawn from.
        metric: of validation, without stage.
        sign: 1 where more of it is better, -1 where less.
        trials: in all.
        folds: of each trial; None: one training.
        limits: of what a model may cost.
        words: flags of every trial, beside its own.
        seed: of what is drawn.
        ending: set where no other trial is to begin, and those that run are to stop.
        workers: trials that this process runs side by side.
    """

    task: str
    folder: Path
    space: Space
    metric: str
    sign: int
    trials: int
    folds: int | None
    limits: list[Constraint]
    words: list[str]
    seed: int
    ending: Event
    workers: int = 1


def work_all(sweep: Sweep, study: Study) -> None:
    """Run trials, so many at a time, until there are enough."""
    if sweep.workers == 1:
        _work(sweep, study)
        return
    with ThreadPoolExecutor(sweep.workers) as pool:
        try:
            for done in as_completed([pool.submit(_work, sweep, study) for _ in range(sweep.workers)]):
                done.result()
        except BaseException:
            sweep.ending.set()
            raise


def _work(sweep: Sweep, study: Study) -> None:
    """Run trials until there are enough."""
    while not sweep.ending.is_set():
        with next_trial(study, sweep.folder, sweep.space, sweep.trials) as found:
            if found is None:
                return
            _try(sweep, study, *found)
            with FileLock(sweep.folder / WRITING):
                write_outcome(study, sweep.space, sweep.folder / BASE, sweep.folder)


def _try(sweep: Sweep, study: Study, trial: Trial, values: dict[str, Any]) -> None:
    """Train a trial, or go on with it, and tell the study."""
    folder = sweep.folder / f"trial_{trial.number:04d}"
    trial.set_user_attr(FOLDER, folder.name)
    log.info("trial %d: %s", trial.number, " ".join(as_words(values)))
    if _known(sweep, study, trial):
        return
    wait_for(folder)
    ended = Ended(0, False, "")
    if not finished(folder, "val"):  # else its sweep was killed between its end and its entry
        ended = run_trial(
            sweep.task,
            _words(sweep, folder, values),
            folder,
            f"val/{sweep.metric}",
            follower(trial),
            sweep.ending,
            sweep.workers,
        )
    trial.set_user_attr(COSTS, {"seconds": seconds_of(folder)})
    if ended.stopped:
        settle(study, trial, None, [], pruned=True)
        log.info("trial %d: stopped, worse than the median of the others at that epoch", trial.number)
        return
    if ended.status:
        _fail(study, trial, ended.error or f"ended with status {ended.status}, see {folder}.{LOG}")
        return
    value = _value(sweep, folder)
    if value is None or not math.isfinite(value.value):
        _fail(study, trial, f"its val/{sweep.metric} is {'not in' if value is None else 'undefined in'} metrics.json")
        return
    ends = (value.low, value.high)
    trial.set_user_attr(ENDS, [end if math.isfinite(end) else None for end in ends])
    broken = _broken(sweep, trial, folder)
    settle(study, trial, value.value, broken, pruned=False)
    log.info("trial %d: val/%s %.4f", trial.number, sweep.metric, value.value)


def _known(sweep: Sweep, study: Study, trial: Trial) -> bool:
    """Let a trial take the value of a finished one with the same settings; False where there is none.

    A space of choices alone runs out of them, and trainings with the same settings and seed are the same.
    """
    done = (one for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE")
    same = next((one for one in done if one.params == trial.params), None)
    if same is None:
        return False
    for name in {FOLDER, COSTS, ENDS, LIMITS} & same.user_attrs.keys():
        trial.set_user_attr(name, same.user_attrs[name])
    settle(study, trial, same.value, _beyond(sweep, same.user_attrs.get(COSTS, {})), pruned=False)
    log.info("trial %d: has the settings of trial %d, and its value", trial.number, same.number)
    return True


def _words(sweep: Sweep, folder: Path, values: dict[str, Any]) -> list[str]:
    """Verb and flags of a trial that begins, or goes on where it has saved anything."""
    words = ["fit", "--run_dir", str(folder), *imports_allowed()]
    saved = (folder / "config.yaml").is_file()
    if sweep.folds is None:
        saved = saved and any((folder / CHECKPOINTS).glob("*.ckpt"))
    if saved:
        words += ["--ckpt_path", "last", "--judge_test", "false"]
        if sweep.folds is not None:  # of which some may not have begun
            limits = ((flag, value_of(sweep.words, flag)) for flag in ("--memory", "--time"))
            words += ["--folds", str(sweep.folds), *(word for flag, to in limits if to for word in (flag, to))]
        return words
    if folder.is_dir():  # of a trial that ended before its first checkpoint
        shutil.rmtree(folder)
    return [*words, *sweep.words, *as_words(values)]


def _fail(study: Study, trial: Trial, why: str) -> None:
    """Count a trial as failed.

    Raises:
        SuiteError: the first trials have all failed, and others will too.
    """
    settle(study, trial, None, [], pruned=False)
    log.warning("trial %d failed: %s", trial.number, why)
    states = [one.state.name for one in study.get_trials(deepcopy=False)]
    if states.count("FAIL") >= _FAILED and set(states) <= {"FAIL", "RUNNING", "WAITING"}:
        raise SuiteError(f"sweep: the first {states.count('FAIL')} trials have all failed: {why}")


def _value(sweep: Sweep, folder: Path) -> MetricValue | None:
    """The metric of a trial on validation; over folds their mean where it is not of all cases together.

    Raises:
        SuiteError: no trial has such a metric.
    """
    file = folder / "metrics.json"
    found = read_metrics(file) if file.is_file() else {}
    one = found.get(f"val/fold_{sweep.metric}") or found.get(f"val/{sweep.metric}")
    names = [name.removeprefix("val/") for name in found if name.startswith("val/")]
    if one is None and names:
        raise SuiteError(f"--metric {sweep.metric}: no metric of these trials: {nearest(sweep.metric, names)}")
    return one


def _broken(sweep: Sweep, trial: Trial, folder: Path) -> list[float]:
    """By how much each limit is broken, as a share of it; at most 0 where it is kept."""
    if not sweep.limits:
        return []
    trained = folder if sweep.folds is None else folder / "fold_0"
    found = costs(best_checkpoint(trained), sweep.task, seconds_of(folder))
    trial.set_user_attr(COSTS, {name: round(value, 3) for name, value in found.items()})
    beyond = [f"{one.name} {found[one.name]:.4g} > {one.most:g}" for one in sweep.limits if found[one.name] > one.most]
    if beyond:
        trial.set_user_attr(LIMITS, beyond)
    return _beyond(sweep, found)


def _beyond(sweep: Sweep, found: Mapping[str, float]) -> list[float]:
    return [found[one.name] / one.most - 1 for one in sweep.limits]
