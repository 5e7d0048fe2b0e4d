"""``sweep``: look for better settings in trainings of their own, on validation alone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.cli.command import run_command
from tasks.cli.flags import values_of as typed_values
from tasks.cli.folds.tables import best_checkpoint
from tasks.cli.logs import configure_logs, quiet
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.planning.planned_run import planned
from tasks.cli.planning.planner import PLAN_FLAG, PLAN_FLAGS
from tasks.cli.runs.running import command, holds_something
from tasks.cli.sweep.constraints import Constraint, costs, read_constraints
from tasks.cli.sweep.outcome import BEST, TABLE, importance, lines_of, write_outcome
from tasks.cli.sweep.space import Space, around, as_words, read_space
from tasks.cli.sweep.study import (
    ABOUT,
    COSTS,
    FOLDER,
    LIMITS,
    enqueue_first,
    finished_trials,
    follower,
    next_trial,
    open_study,
    settle,
)
from tasks.cli.sweep.trial_run import LOG, run_trial
from tasks.evaluation.comparison.differences import LOWER_IS_BETTER
from tasks.evaluation.metric_values import read_metrics
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

log = logging.getLogger(__name__)

BASE = "base.yaml"
_WRITING = "writing.lock"
_FAILED = 3  # trials that fail before any other has come to a value

OWN_FLAGS: OwnFlags = {
    "space": "YAML of flags with their ranges or choices (docs/sweep.md); left out: learning rate, weight decay, "
    "stochastic depth, warm-up and augmentation around what fit would take",
    "trials": Flag("trainings in all, those of an earlier call of this sweep included", int, 20),
    "run_dir": Flag("folder of the sweep, new or one to go on with", needed=True),
    "metric": "metric of validation that is looked for; left out: the task's own (auroc, mae, dice, map)",
    "workers": Flag("trials at a time on this machine", int, 1),
    "folds": Flag("judge each trial by so many folds instead of one validation part; left out: one", int | None),
    "constraints": Flag(
        "limits of what a model may cost: latency_ms<=20 (one image on the CPU), parameters<=5e6, size_mib<=20, "
        "seconds<=600 (of training); left out: none",
        several=True,
    ),
    "judge_test": Flag("evaluate the best trial on the test part at the end, once", bool | None, False),
    **PLAN_FLAGS,
    "plan": PLAN_FLAG,
}


class Sweep(NamedTuple):
    """What all trials share.

    Attributes:
        task: name of the task.
        folder: of the sweep.
        space: that settings are drawn from.
        metric: of validation, without stage.
        trials: in all.
        folds: of each trial; None: one training.
        limits: of what a model may cost.
        words: flags of every trial, beside its own.
    """

    task: str
    folder: Path
    space: Space
    metric: str
    trials: int
    folds: int | None
    limits: list[Constraint]
    words: list[str]


def run(task: str, argv: Sequence[str]) -> int:
    """Sweep.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where no trial has come to a value.
    """
    configure_logs()
    with planned(task, argv, OWN_FLAGS) as begun:
        sweep, config, seed, judged = _begin(task, begun.argv)
    about = {
        "task": task,
        "metric": sweep.metric,
        "direction": "minimize" if sweep.metric in LOWER_IS_BETTER else "maximize",
        "folds": sweep.folds,
        "space": {name: str(part) for name, part in sweep.space.items()},
    }
    study = open_study(sweep.folder, about, seed)
    with FileLock(sweep.folder / _WRITING):
        if not (sweep.folder / ABOUT).is_file():
            write_text(sweep.folder / ABOUT, json.dumps(about, indent=2))
        outside = enqueue_first(study, sweep.space, config)
    if outside:
        log.info(
            "the first trial is what fit would take, but for what lies outside of the space: %s", ", ".join(outside)
        )
    workers = int(config["workers"])
    if workers == 1:
        _work(sweep, study)
    else:
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(_work, sweep, study) for _ in range(workers)]:
                done.result()
    return _end(sweep, study, judged=judged)


def _begin(task: str, argv: Sequence[str]) -> tuple[Sweep, dict[str, Any], int, bool]:
    """Look at flags, space, data and model, and take the folder."""
    cli = TaskParser(task, "sweep", argv, own_flags=OWN_FLAGS, builds_model=True)
    config = cli.config
    for name, least in (("trials", 1), ("workers", 1), ("folds", 2)):
        if config[name] is not None and config[name] < least:
            raise SuiteError(f"--{name} {config[name]}: must be at least {least}")
    values = flat(config.as_dict())
    file = None if config["space"] is None else Path(config["space"])
    space = around(values) if file is None else read_space(file, cli.known_flags(argv))
    limits = read_constraints(typed_values(argv, "--constraints"))
    folder = Path(config["run_dir"])
    if folder.is_dir() and holds_something(folder) and not (folder / ABOUT).is_file():
        raise SuiteError(f"--run_dir {folder}: exists and is no sweep: name a new folder")
    with quiet():  # each trial says it of itself
        data, model = cli.build_data_and_model()
        if not len(data.rows("val")) and config["folds"] is None:
            raise SuiteError("sweep: there are no validation cases to judge trials by: give --folds 5")
    metric = config["metric"] or model.monitor[0]
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / BASE
    if not base.is_file():
        write_text(base, cli.saved_config())
    words = ["--config", str(base), "--judge_test", "false"]
    if config["folds"] is not None:
        words += ["--folds", str(config["folds"])]
    names = typed_values(argv, "--allow_import")
    words += ["--allow_import", *names] if names else []
    sweep = Sweep(task, folder, space, metric, config["trials"], config["folds"], limits, words)
    return sweep, values, int(config["seed_everything"]), bool(config["judge_test"])


def _work(sweep: Sweep, study: Study) -> None:
    """Run trials until there are enough."""
    while True:
        with next_trial(study, sweep.folder, sweep.space, sweep.trials) as found:
            if found is None:
                return
            _try(sweep, study, *found)
            with FileLock(sweep.folder / _WRITING):
                write_outcome(study, sweep.space, sweep.folder / BASE, sweep.folder)


def _try(sweep: Sweep, study: Study, trial: Trial, values: dict[str, Any]) -> None:
    """Train a trial, or go on with it, and tell the study."""
    folder = sweep.folder / f"trial_{trial.number:04d}"
    trial.set_user_attr(FOLDER, folder.name)
    words = ["fit", "--run_dir", str(folder)]
    if (folder / "config.yaml").is_file():
        words += ["--ckpt_path", "last", "--judge_test", "false"]
        words += ["--folds", str(sweep.folds)] if sweep.folds is not None else []
    else:
        words += [*sweep.words, *as_words(values)]
    log.info("trial %d: %s", trial.number, " ".join(as_words(values)))
    began = time.monotonic()
    ended = run_trial(sweep.task, words, folder, f"val/{sweep.metric}", follower(trial))
    if ended.stopped:
        settle(study, trial, None, [], pruned=True)
        log.info("trial %d: stopped, worse than the median of the others at that epoch", trial.number)
        return
    value = None if ended.status else _value(folder, sweep.metric)
    if value is None:
        settle(study, trial, None, [], pruned=False)
        why = ended.error or f"ended with status {ended.status}, see {folder}.{LOG}"
        log.warning("trial %d failed: %s", trial.number, why)
        _refuse_all_failing(study, why)
        return
    broken = _broken(sweep, trial, folder, time.monotonic() - began)
    settle(study, trial, value, broken, pruned=False)
    log.info("trial %d: val/%s %.4f", trial.number, sweep.metric, value)


def _refuse_all_failing(study: Study, why: str) -> None:
    """Stop where the first trials have all failed: others will too.

    Raises:
        SuiteError: with the last one's error.
    """
    states = [one.state.name for one in study.get_trials(deepcopy=False)]
    if states.count("FAIL") >= _FAILED and set(states) <= {"FAIL", "RUNNING", "WAITING"}:
        raise SuiteError(f"sweep: the first {states.count('FAIL')} trials have all failed: {why}")


def _value(folder: Path, metric: str) -> float | None:
    """The metric of a trial on validation; over folds their mean where it is not of all cases together."""
    file = folder / "metrics.json"
    found = read_metrics(file) if file.is_file() else {}
    one = found.get(f"val/fold_{metric}") or found.get(f"val/{metric}")
    return None if one is None else one.value


def _broken(sweep: Sweep, trial: Trial, folder: Path, seconds: float) -> list[float]:
    """By how much each limit is broken, as a share of it; at most 0 where it is kept."""
    if not sweep.limits:
        trial.set_user_attr(COSTS, {"seconds": round(seconds, 1)})
        return []
    trained = folder if sweep.folds is None else folder / "fold_0"
    found = costs(best_checkpoint(trained), sweep.task, seconds)
    trial.set_user_attr(COSTS, {name: round(value, 3) for name, value in found.items()})
    beyond = [f"{one.name} {found[one.name]:.4g} > {one.most:g}" for one in sweep.limits if found[one.name] > one.most]
    if beyond:
        trial.set_user_attr(LIMITS, beyond)
    return [found[one.name] / one.most - 1 for one in sweep.limits]


def _end(sweep: Sweep, study: Study, *, judged: bool) -> int:
    """Say what was found; evaluate the best on test where that is asked for."""
    with FileLock(sweep.folder / _WRITING):
        write_outcome(study, sweep.space, sweep.folder / BASE, sweep.folder)
    for line in lines_of(study, sweep.space, sweep.metric):
        print(line)
    best = finished_trials(study)
    if not best:
        print(f"no trial has come to a value: see {sweep.folder / TABLE} and the trial_*.log.txt beside it")
        return 1
    for name, share in importance(study):
        print(f"  {name}: {share:.0%} of what the trials differ by")
    winner, first = sweep.folder / f"trial_{best[0].number:04d}", sweep.folder / "trial_0000"
    if judged and not (sweep.folder / "test" / "metrics.json").is_file():
        flag = "--ckpt_paths" if sweep.folds is not None else "--ckpt_path"
        run_command(sweep.task, ["test", flag, str(winner), "--run_dir", str(sweep.folder / "test")])
    print(f"written to {sweep.folder}: {TABLE}, {BEST}")
    print(f"\n  # train by the winner's settings\n  {command(sweep.task, 'fit', config=sweep.folder / BEST)}")
    if winner != first and any(one.number == 0 for one in best):
        print("  # is it better than what fit would take? the difference on the same validation cases")
        print(f"  {command(sweep.task, 'report')} --compare {first} {winner} --output compared.html")
    return 0
