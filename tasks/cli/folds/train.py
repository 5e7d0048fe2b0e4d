"""``fit --folds K``: plan the folds, train one after another, put them together, evaluate their ensemble."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite.words import clock, number_of
from tasks.cli.command import imports_allowed, run_command
from tasks.cli.devices import trains_on_cuda
from tasks.cli.flags import given, value_of
from tasks.cli.folds.plan import FoldPlan, plan_folds, read_plan, refuse_changed, write_splits
from tasks.cli.folds.tables import collect, finished
from tasks.cli.logs import configure_logs, quiet
from tasks.cli.parser import TaskParser
from tasks.cli.planning.planned_run import PlannedRun
from tasks.cli.planning.timed import asked_seconds, started
from tasks.cli.queued import Queued, refuse_in_config
from tasks.cli.runs.run_data import saved_data
from tasks.cli.runs.run_dir import CHECKPOINTS, refuse_existing, several_processes, take_run_dir
from tasks.cli.runs.running import command, holds_something
from tasks.cli.runs.seen import ELSEWHERE, ancestors_of, refuse_seen
from tasks.cli.training.memory import refuse_memory
from tasks.cluster.settings import JobSettings
from tasks.loading import RECORD
from tasks.registry.flag import OwnFlags
from tasks.training.saving import LAST

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
ENSEMBLE = "ensemble"  # folder of the ensemble's evaluation on test


def train_folds(task: str, run: PlannedRun, own_flags: OwnFlags, queued: Queued | None = None) -> int:
    """Train all folds and put together what they say of the cases they did not train on.

    Args:
        task: name of the task.
        run: flags as typed, ``--folds`` among them, and the plan, which is that of each fold.
        own_flags: of the verb ``fit``.
        queued: what is done in place of training, when folds are drawn; it is to put them together itself.
    """
    configure_logs()
    argv = run.argv
    count = _count(argv)
    prepared = _prepare(task, run, own_flags, count, queued and queued.job)
    plan, resumed = prepared.plan, value_of(argv, "--ckpt_path") is not None
    if plan.dealt:
        log.info(
            "--folds %d: the validation part that the data bring (%s) is dealt into the folds with their train part",
            count, number_of(plan.dealt, "case"),
        )  # fmt: skip

    def mend(folder: Path) -> str:
        blind = {} if prepared.testing else {"judge_test": "false"}
        return f"go on with: {command(task, 'fit', folds=count, run_dir=folder, ckpt_path='last', **blind)}"

    run_dir = take_run_dir(task, prepared.run_dir, mend, resumed=resumed)
    if not (run_dir / CONFIG).is_file():
        run.write(run_dir)
        write_text(run_dir / CONFIG, prepared.config)
    write_splits(plan, run_dir, count)
    if queued is not None:
        left = [fold for fold in range(count) if not finished(run_dir / f"fold_{fold}", plan.split)]
        return queued.folds(run_dir, {fold: _words(run_dir, fold, prepared, prepared.seconds) for fold in left}, count)
    for fold in range(count):
        if finished(run_dir / f"fold_{fold}", plan.split):
            log.info("fold %d of %d is finished already", fold, count)
            continue
        log.info("fold %d of %d: %s", fold, count, run_dir / f"fold_{fold}")
        began = time.monotonic()
        _train(task, run_dir, fold, prepared, _share(prepared, [*range(fold, count)], run_dir))
        took = time.monotonic() - began
        more = sum(not finished(run_dir / f"fold_{later}", plan.split) for later in range(fold + 1, count))
        to_come = f", {more} to come: about {clock(more * took)} left" if more else ""
        log.info("fold %d took %s%s", fold, clock(took), to_come)
    collect(task, run_dir, plan.cases, plan.split, count)
    if prepared.testing and plan.split == "val" and (plan.cases["split"] == "test").any():
        _evaluate_ensemble(task, run_dir, prepared.config)
    print(f"written to {run_dir}")
    return 0


class _Prepared(NamedTuple):
    """What is known before anything is written.

    Attributes:
        config: of all folds, as YAML.
        plan: the fold of each case.
        run_dir: as asked for.
        testing: the ensemble is evaluated on test.
        seconds: of the whole command, or of each job; None: as long as it takes.
        begins: flags of a fold that begins, whose outcome its own config keeps.
        always: flags of each fold that no config keeps.
    """

    config: str
    plan: FoldPlan
    run_dir: str | None
    testing: bool
    seconds: float | None
    begins: list[str]
    always: list[str]


def _prepare(task: str, run: PlannedRun, own_flags: OwnFlags, count: int, job: JobSettings | None) -> _Prepared:
    """Look at flags and data; of what is built for that nothing stays in memory."""
    argv = run.argv
    resumed = value_of(argv, "--ckpt_path") is not None
    before = _config_of(value_of(argv, "--run_dir"), value_of(argv, "--ckpt_path")) if resumed else None
    words = [*argv, "--data.folds", str(count), "--data.fold", "0"]
    defaults = run.defaults if before is None else before
    cli = TaskParser(task, "fit", words, own_flags=own_flags, builds_model=True, defaults=defaults, planned=run.names)
    refuse_in_config(cli.config)
    testing = bool(cli.config["judge_test"])
    if cli.config["trainer"]["fast_dev_run"]:
        raise SuiteError("--trainer.fast_dev_run: writes nothing that folds could be put together from: leave it out")
    refuse_memory(cli)
    if not resumed:
        refuse_existing(cli.config["run_dir"])
    if before is not None:
        _refuse_changes(cli.saved_config(), before, argv, count)

    with quiet():  # each fold says it of itself
        begun = Path(str(value_of(argv, "--run_dir"))) if resumed else None
        plan = None if begun is None else read_plan(begun, count)
        if begun is not None and plan is not None:
            saved_data(begun / "fold_0").keep_split(cli.config, goes_on=True)
        else:
            only_data = TaskParser(
                task, "fit", words, own_flags=own_flags, builds_model=False, defaults=defaults, planned=run.names
            )
            plan = plan_folds(only_data, count)
            if begun is not None:
                refuse_changed(plan, begun, count)
            if plan.images_in_two_parts:  # a published split lets them pass as such; the split.csv of a fold is none
                cli.config["data"]["init_args"]["allow_leakage"] = True
        if plan.split == "test" and not testing:
            raise SuiteError(
                f"--folds {count} with --judge_test false: no test part is drawn outside of the folds "
                "(--data.test_fraction 0), so that each is evaluated as one: leave one of the two out"
            )
        data, model = cli.build_data_and_model()  # mistakes in flags show before a folder is made
        data.check_augmentation(cuda=trains_on_cuda(cli.config["trainer"]["accelerator"], job))
    held = np.concatenate([data.rows("train"), data.rows("val")])
    parts = {plan.split: held}
    if testing or plan.split == "test":
        parts["test"] = np.concatenate([parts.get("test", held[:0]), data.rows("test")])
    refuse_seen(ancestors_of(model), data, parts, ELSEWHERE)
    once = {"--scale_lr": cli.config["scale_lr"], "--memory": cli.config["memory"]}
    begins = [word for flag, value in once.items() if value not in (None, "none") for word in (flag, str(value))]
    always = ["--profile", "true"] if cli.config["profile"] else []
    seconds = asked_seconds(cli.config)
    return _Prepared(cli.saved_config(), plan, cli.config["run_dir"], testing, seconds, begins, always)


def _share(prepared: _Prepared, folds: Sequence[int], run_dir: Path) -> float | None:
    """Seconds of the first of these folds: an equal share of what is left, a third of one for the ensemble."""
    if prepared.seconds is None:
        return None
    left = prepared.seconds - (time.monotonic() - started())
    unfinished = sum(not finished(run_dir / f"fold_{fold}", prepared.plan.split) for fold in folds)
    return max(1.0, left) / (unfinished + (1 / 3 if prepared.testing and prepared.plan.split == "val" else 0))


def _count(argv: Sequence[str]) -> int:
    """The number of folds, and what does not go with it."""
    asked = str(value_of(argv, "--folds"))
    if not asked.isdigit() or int(asked) < 2:
        raise SuiteError(f"--folds {asked}: how many folds, a whole number of at least 2")
    for flag, why in (
        ("--data.fold", "all folds are trained: leave one of the two out"),
        ("--data.folds", "says the same: leave it out"),
        ("--find_lr", "folds are trained alike: look once, without --folds, and give --model.lr"),
        ("--find_batch_size", "folds are trained alike: look once, without --folds, and give --data.batch_size"),
    ):
        if value_of(argv, flag) is not None or given(argv, flag):
            raise SuiteError(f"--folds {asked} with {flag}: {why}")
    if several_processes():
        raise SuiteError(
            f"--folds {asked}: starts its own processes: call it once, not once a rank, with --trainer.devices N for "
            "several devices; or start each fold by itself with --data.folds, --data.fold and --judge_test false"
        )
    return int(asked)


def _config_of(folder: str | None, checkpoint: str | None) -> Path | None:
    """The configuration of the folds' run to go on with."""
    if checkpoint != "last":
        raise SuiteError(f"--ckpt_path {checkpoint}: fit --folds goes on with `last` only")
    if folder is None:
        raise SuiteError("--folds with --ckpt_path last: name the run to go on with: --run_dir DIR")
    if (Path(folder) / CHECKPOINTS).is_dir():
        raise SuiteError(f"--run_dir {folder}: is a single run, not one of --folds: leave --folds out, or give another")
    file = Path(folder) / CONFIG
    return file if file.is_file() else None  # broken off before it was written, or folds that were started singly


def _refuse_changes(now: str, file: Path, argv: Sequence[str], count: int) -> None:
    """Folds of one run are trained alike, also those that are trained later.

    A flag that came since the run began was left out then, and is where nobody types it; folds that have begun know by
    their own files how they were trained.
    """
    ours, before = (_flat(yaml.safe_load(text)) for text in (now, file.read_text(encoding="utf-8")))
    since = []
    for name in {**before, **ours}.keys() - {"allow_import"}:
        if ours.get(name) != before.get(name):
            flag = "--" + ("folds" if name == "data.init_args.folds" else name.replace(".init_args.", "."))
            if not given(argv, flag) and not any(f"{name}.".startswith(f"{known}.") for known in before):
                since.append(flag)
                continue
            raise SuiteError(
                f"{flag} {ours.get(name)}: was {before.get(name)} when this run began (see {file}), and its folds are "
                "trained alike: go on with the old value, or start a new run"
            )

    unbegun = [
        fold for fold in range(count) if not (file.parent / f"fold_{fold}" / CHECKPOINTS / "last.ckpt").is_file()
    ]
    if since and unbegun:
        raise SuiteError(
            f"--run_dir {file.parent}: an earlier version began it, and would not train fold {unbegun[0]} as this one "
            "does, but folds are trained alike: go on without --folds, and with --ckpt_path last, with each that has "
            f"begun (--run_dir {file.parent / 'fold_0'}), or start a new run"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    inner = ((f"{prefix}.{name}" if prefix else str(name), value) for name, value in values.items())
    return {name: leaf for path, value in inner for name, leaf in _flat(value, path).items()}


def _words(run_dir: Path, fold: int, prepared: _Prepared, seconds: float | None) -> list[str]:
    """Verb and flags of a fold, as a run of its own that begins, within a time, or goes on with its own."""
    folder = run_dir / f"fold_{fold}"
    words = ["fit", "--run_dir", str(folder), *imports_allowed()]
    if folder.is_dir() and holds_something(folder):
        words += ["--ckpt_path", "last"]
    own = folder / CONFIG
    begins = not own.is_file()
    if begins:
        words += ["--config", str(run_dir / CONFIG), "--data.fold", str(fold), *prepared.begins]
    if seconds is not None and not (folder / CHECKPOINTS / LAST).is_file():  # which knows its time
        words += ["--time", f"{seconds:.0f}s", *([] if begins else ["--config", str(own)])]  # and its length is given
    words += prepared.always
    if prepared.plan.split == "val":
        words += ["--judge_test", "false"]
    return words


def _train(task: str, run_dir: Path, fold: int, prepared: _Prepared, seconds: float | None) -> None:
    """Train a fold as a run of its own, or go on with it."""
    folder = run_dir / f"fold_{fold}"
    words = _words(run_dir, fold, prepared, seconds)
    try:
        run_command(task, words)
    except SuiteError as error:
        raise SuiteError(
            f"fold {fold}: {error} (once mended, go on with --folds, --run_dir {run_dir} and --ckpt_path last)"
        ) from None
    if not finished(folder, prepared.plan.split):
        raise SuiteError(f"fold {fold}: ended without metrics in {folder}: go on with --ckpt_path last")


def _evaluate_ensemble(task: str, run_dir: Path, saved: str) -> None:
    """Evaluate the folds' ensemble on test, once."""
    folder = run_dir / ENSEMBLE
    if finished(folder, "test"):
        log.info("the ensemble has been evaluated already")
        return
    if folder.is_dir():  # of an evaluation that was broken off
        shutil.rmtree(folder)
    config = yaml.safe_load(saved)
    words = ["test", "--ckpt_paths", str(run_dir), "--run_dir", str(folder), *imports_allowed()]
    words += ["--memory_format", str(config["memory_format"])]
    for name in ("accelerator", "devices", "strategy", "num_nodes"):
        if isinstance(config["trainer"][name], (str, int)):
            words += [f"--trainer.{name}", str(config["trainer"][name])]
    try:
        run_command(task, words)
    except SuiteError as error:
        raise SuiteError(f"the ensemble of the folds ({run_dir / RECORD}): {error}") from None
