"""``sweep``: look for better settings in trainings of their own, on validation alone."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

from scansuite.errors import SuiteError, nearest
from scansuite.files import write_text
from tasks.cli.command import imports_allowed, leaving_when_terminated, run_command
from tasks.cli.flags import value_of
from tasks.cli.flags import values_of as typed_values
from tasks.cli.folds.plan import plan_folds
from tasks.cli.folds.tables import finished
from tasks.cli.logs import configure_logs, quiet
from tasks.cli.parser import TaskParser
from tasks.cli.planning.given import flat
from tasks.cli.planning.planned_run import PlannedRun, planned
from tasks.cli.planning.planner import MEMORY_FLAG, PLAN_FLAG, PLAN_FLAGS
from tasks.cli.planning.timed import asked_seconds
from tasks.cli.runs.running import command, holds_something
from tasks.cli.sweep.against_first import against_first
from tasks.cli.sweep.constraints import read_constraints
from tasks.cli.sweep.fitted import around_fitted, fits_heads, refuse_idle
from tasks.cli.sweep.outcome import BEST, TABLE, importance, lines_of, write_outcome
from tasks.cli.sweep.page import PAGE, write_sweep_page
from tasks.cli.sweep.space import around, read_space
from tasks.cli.sweep.study import ABOUT, FOLDER, JUDGED, enqueue_first, finished_trials, open_study, running_trials
from tasks.cli.sweep.trial_run import wait_for
from tasks.cli.sweep.trials import BASE, WRITING, Sweep, work_all
from tasks.cli.sweep.values import refuse_wrong_values
from tasks.evaluation.comparison.differences import direction
from tasks.evaluation.metric_names import is_ours, own_names
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

JUDGING = "judging.lock"

OWN_FLAGS: OwnFlags = {
    "space": "YAML of flags with their ranges or choices (docs/sweep.md); left out: learning rate, weight decay, "
    "stochastic depth, warm-up and augmentation around what fit would take; of a head that is fitted to features which "
    "one, --model.l2 and --data.image_size",
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
    "memory": MEMORY_FLAG,
    **PLAN_FLAGS,
    "time": "time that each trial may take (30m, 2h): its training is planned to end within it; left out: as long as "
    "the plan takes",
    "plan": PLAN_FLAG,
}


def run(task: str, argv: Sequence[str]) -> int:
    """Sweep.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where no trial has come to a value.
    """
    configure_logs()
    with _settled(task, argv) as begun:
        sweep, config = _begin(task, begun)
    about = {
        "task": task,
        "metric": sweep.metric,
        "direction": "minimize" if sweep.sign < 0 else "maximize",
        "folds": sweep.folds,
        "space": {name: str(part) for name, part in sweep.space.items()},
        "constraints": [f"{one.name}<={one.most:g}" for one in sweep.limits],
    }
    study = open_study(sweep.folder, about, sweep.seed)
    with FileLock(sweep.folder / WRITING):
        if not (sweep.folder / ABOUT).is_file():
            write_text(sweep.folder / ABOUT, json.dumps(about, indent=2))
        outside = enqueue_first(study, sweep.space, config)
    if outside:
        log.info(
            "the first trial is what fit would take, but for what lies outside of the space: %s", ", ".join(outside)
        )
    with leaving_when_terminated():
        work_all(sweep, study)
    return _end(sweep, study, judged=bool(config["judge_test"]), testless=config.get("data.test_fraction") == 0)


@contextmanager
def _settled(task: str, argv: Sequence[str]) -> Iterator[PlannedRun]:
    """Flags with what was planned; a sweep that goes on keeps what it began with."""
    typed = value_of(argv, "--run_dir")
    folder = None if typed is None else Path(typed)
    if folder is None or not (folder / BASE).is_file():
        with planned(task, argv, OWN_FLAGS) as begun:
            yield begun
        return
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8")) if (folder / ABOUT).is_file() else {}
    folds = about.get("folds")
    more = [] if folds is None or value_of(argv, "--folds") is not None else ["--folds", str(folds)]
    yield PlannedRun([*argv, *more], folder / BASE)


def _begin(task: str, begun: PlannedRun) -> tuple[Sweep, dict[str, Any]]:
    """Look at flags, space, data and model, and take the folder."""
    argv = begun.argv

    def parse(more: Sequence[str] = ()) -> TaskParser:
        return TaskParser(
            task,
            "sweep",
            [*argv, *more],
            own_flags=OWN_FLAGS,
            builds_model=True,
            defaults=begun.defaults,
            planned=begun.names,
        )

    cli = parse()
    config = cli.config
    for name, least in (("trials", 1), ("workers", 1), ("folds", 2)):
        if config[name] is not None and config[name] < least:
            raise SuiteError(f"--{name} {config[name]}: must be at least {least}")
    values = flat(config.as_dict())
    file = None if config["space"] is None else Path(config["space"])
    if file is not None:
        space = read_space(file, cli.known_flags(argv))
    else:
        space = around_fitted(values) if fits_heads(values) else around(values)
    limits = read_constraints(typed_values(argv, "--constraints"))
    folder = Path(config["run_dir"])
    if folder.exists() and not folder.is_dir():
        raise SuiteError(f"--run_dir {folder}: is a file: name a new folder")
    if folder.is_dir() and holds_something(folder) and not (folder / BASE).is_file():
        raise SuiteError(f"--run_dir {folder}: exists and is no sweep: name a new folder")
    base = folder / BASE
    if base.is_file():
        _refuse_changed(base, cli.saved_config())
    with quiet():  # each trial says it of itself
        data, model = cli.build_data_and_model()
        if not len(data.rows("val")) and config["folds"] is None:
            raise SuiteError("sweep: there are no validation cases to judge trials by: give --folds 5")
        if config["folds"] is not None and not base.is_file():
            _refuse_folds(task, begun, config["folds"])
    metric, sign = _metric(config["metric"], *model.monitor, own=config["model"]["metrics"] is not None)
    if file is not None and not base.is_file():
        refuse_idle(str(file), space, values, planned="data.cache" in begun.names)
        refuse_wrong_values(str(file), space, values, parse)
    folder.mkdir(parents=True, exist_ok=True)
    if not base.is_file():
        write_text(base, cli.saved_config())
    words = ["--config", str(base), "--judge_test", "false"]
    if config["folds"] is not None:
        words += ["--folds", str(config["folds"])]
    if config["memory"] is not None:
        words += ["--memory", str(config["memory"])]
    if (seconds := asked_seconds(config)) is not None:
        words += ["--time", f"{seconds:.0f}s"]
    seed = int(config["seed_everything"])
    return Sweep(
        task,
        folder,
        space,
        metric,
        sign,
        config["trials"],
        config["folds"],
        limits,
        words,
        seed,
        Event(),
        int(config["workers"]),
    ), values


def _refuse_folds(task: str, begun: PlannedRun, count: int) -> None:
    """Draw the folds that each trial would draw: what is wrong with them is said before the first.

    Raises:
        SuiteError: they cannot be drawn, or leave no part to validate on but test parts.
    """
    words = [*begun.argv, "--data.folds", str(count), "--data.fold", "0"]
    cli = TaskParser(
        task, "sweep", words, own_flags=OWN_FLAGS, builds_model=False, defaults=begun.defaults, planned=begun.names
    )
    if plan_folds(cli, count).split == "test":
        raise SuiteError(
            f"--folds {count} with --data.test_fraction 0: each fold would be evaluated as a test part, which no trial "
            "looks at: leave one of the two out"
        )


def _metric(asked: str | None, chosen: str, better: str, *, own: bool) -> tuple[str, int]:
    """The metric that is looked for, and 1 where more of it is better, -1 where less.

    Args:
        asked: as typed; None: the one that chooses checkpoints.
        chosen: that one.
        better: its direction, ``max`` or ``min``.
        own: there are metrics of the user's.
    """
    if asked is None or asked == chosen:
        return chosen, 1 if better == "max" else -1
    if not own and not is_ours(asked):
        raise SuiteError(f"--metric {asked}: no metric of validation: {nearest(asked, own_names())}")
    if not direction(asked):
        raise SuiteError(f"--metric {asked}: neither more nor less of it is better: name another one")
    return asked, direction(asked)


def _refuse_changed(base: Path, now: str) -> None:
    """Trials of one sweep share their other settings, also those of a later call.

    Raises:
        SuiteError: names the first flag that is not what it was.
    """
    ours, before = (flat(yaml.safe_load(text)) for text in (now, base.read_text(encoding="utf-8")))
    for name in sorted({*ours, *before} - {"allow_import"}, key=lambda one: -one.count(".")):
        if ours.get(name) != before.get(name):
            raise SuiteError(
                f"--{name} {ours.get(name)}: was {before.get(name)} when this sweep began (see {base}), and its trials "
                "share it: leave it out, or name a new folder"
            )


def _end(sweep: Sweep, study: Study, *, judged: bool, testless: bool) -> int:
    """Say what was found; evaluate the best on test where that is asked for.

    Args:
        sweep: that has come to its end.
        study: of it.
        judged: evaluate on test.
        testless: no test part is drawn outside of folds, which are then evaluated as such.
    """
    lines, shares, best = lines_of(study, sweep.space, sweep.metric), importance(study), finished_trials(study)
    winner, first = sweep.folder, sweep.folder / "trial_0000"
    if best:
        winner = _folder_of(sweep, best[0])
        if best[0].number and any(one.number == 0 for one in best):
            beside = against_first(first, winner, sweep.metric, sweep.seed)
            lines += [beside] if beside else []
        elif not best[0].number:
            lines.append(
                "the first trial, which is what fit would take, is the best: the sweep has found nothing better"
            )
    with FileLock(sweep.folder / WRITING):
        table = write_outcome(study, sweep.space, sweep.folder / BASE, sweep.folder)
        write_sweep_page(sweep.folder / PAGE, table, sweep.space, sweep.metric, sweep.sign, lines, shares)
    for line in lines:
        print(line)
    if not best:
        print(f"no trial has come to a value: see {sweep.folder / TABLE} and the trial_*.log.txt beside it")
        return 1
    for name, share in shares:
        print(f"  {name}: {share:.0%} of what the trials differ by")
    if judged:
        _judge(sweep, study)
    print(f"written to {sweep.folder}: {TABLE}, {PAGE}, {BEST}")
    print(f"\n  # train by the winner's settings\n  {command(sweep.task, 'fit', config=sweep.folder / BEST)}")
    if winner != first:
        print("  # is it better than what fit would take? cases that chose nothing say it: both by folds")
        pairs = [(sweep.folder / name, sweep.folder / f"folds_{name.removesuffix('.yaml')}") for name in (BASE, BEST)]
        more = {} if testless else {"judge_test": "false"}
        for config, folder in pairs:
            print(f"  {command(sweep.task, 'fit', config=config, run_dir=folder, folds=5, **more)}")
        print(f"  {command(sweep.task, 'report')} --compare {pairs[0][1]} {pairs[1][1]} --output compared.html")
    return 0


def _folder_of(sweep: Sweep, trial: FrozenTrial) -> Path:
    """Folder of a finished trial's training, which may be another one's with the same settings."""
    return sweep.folder / str(trial.user_attrs.get(FOLDER, f"trial_{trial.number:04d}"))


def _judge(sweep: Sweep, study: Study) -> None:
    """Evaluate the best trial on test, once for a sweep: when none runs any more that might be better."""
    folder = sweep.folder / "test"
    with FileLock(sweep.folder / JUDGING):  # another process of the sweep may have come to its end too
        wait_for(folder)  # of a sweep that was killed, whose evaluation goes on
        winner, running = finished_trials(study)[0], running_trials(study)
        best = winner.number
        if finished(folder, "test"):
            of = study.user_attrs.get(JUDGED)
            whose = "" if of is None else f", of trial {of}"
            whose += "" if of in (None, best) else ", which is not the best any more"
            log.warning("%s: the test part was evaluated before%s; it is not looked at again", folder, whose)
            return
        if running:
            log.warning(
                "trial %s still runs in another process, and may be better: test is evaluated where the last one ends; "
                "if it does not, call the same command again", ", ".join(map(str, running)),
            )  # fmt: skip
            return
        if folder.is_dir():  # of an evaluation that was broken off
            shutil.rmtree(folder)
        study.set_user_attr(JUDGED, best)
        flag = "--ckpt_paths" if sweep.folds is not None else "--ckpt_path"
        words = ["test", flag, str(_folder_of(sweep, winner)), "--run_dir", str(folder)]
        run_command(sweep.task, [*words, *imports_allowed()])
