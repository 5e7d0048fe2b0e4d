"""``fit``: train, keep the best and the last checkpoint, evaluate the best."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.base import Task
from tasks.cli.before_training import SayChoices
from tasks.cli.devices import LrScaling, refuse_model_with_sharding, say_batch, scale_lr, trains_on_cuda
from tasks.cli.display.console import is_quiet
from tasks.cli.evaluate import RunEvaluation, evaluator_of, write_split
from tasks.cli.flags import value_of, wants_help
from tasks.cli.folds.asked import asked_folds
from tasks.cli.folds.train import train_folds
from tasks.cli.launching import answer_while_waiting
from tasks.cli.limits import refuse_no_batches, refuse_no_epochs
from tasks.cli.loggers import LoggerName, make_logger, refuse_missing_logger
from tasks.cli.logs import configure_logs
from tasks.cli.next_commands import after_fit
from tasks.cli.parser import TaskParser
from tasks.cli.planning.planned_run import PlannedRun, plan_text, planned
from tasks.cli.planning.planner import FOLDS_FLAG, MEMORY_FLAG, PLAN_FLAG, PLAN_FLAGS
from tasks.cli.planning.timed import asked_seconds, on_time
from tasks.cli.queued import Queued, refuse_in_config
from tasks.cli.runs.checkpoints import find_checkpoint, open_checkpoint
from tasks.cli.runs.named_run import named_run
from tasks.cli.runs.ranks import separate_output
from tasks.cli.runs.resumed import as_begun, open_last, refuse_changed_length, refuse_changed_model
from tasks.cli.runs.run_data import saved_data
from tasks.cli.runs.run_dir import (
    CHECKPOINTS,
    count_test,
    forget_launch,
    global_rank,
    newest_run,
    refuse_existing,
    take_run_dir,
)
from tasks.cli.runs.running import command
from tasks.cli.runs.seen import ELSEWHERE, Known, ancestors_of, begin_record, refuse_seen
from tasks.cli.training.at_once import fit_at_once
from tasks.cli.training.comparison import compare
from tasks.cli.training.memory import keep_within, refuse_memory
from tasks.cli.training.pruning import parent_defaults, prune_parent, untrained
from tasks.cli.training.search import search
from tasks.fitting.callbacks import training_callbacks
from tasks.fitting.compiling import CompileMode, Compiling
from tasks.fitting.features import keep_features
from tasks.hardware import MemoryFormat, place
from tasks.loading import build_from
from tasks.registry.flag import Flag, OwnFlags
from tasks.training.best_checkpoint import BestCheckpoint
from tasks.training.epoch_table import EpochTable
from tasks.training.half import evaluate_exactly
from tasks.training.learning_curves import LearningCurves
from tasks.training.logged_pictures import log_pictures, read_pictures
from tasks.training.logged_report import log_report
from tasks.training.profile.profiling import ProfileTraining, TrainingProfiler
from tasks.training.saving import LAST, WholeCheckpoints, remove_leftovers, save_whole
from tasks.training.seeding import SeedEpochs
from tasks.training.stopping.callback import Stopping
from tasks.training.stopping.mid_epoch import MidEpoch
from tasks.training.stopping.resuming import Resuming
from tasks.training.stopping.signals import StopSignals

log = logging.getLogger(__name__)

SHEET = "augmented.png"  # in the run folder

OWN_FLAGS: OwnFlags = {
    "run_dir": "new folder for everything that is written; left out: runs/<task>/<next number>",
    "ckpt_path": "go on with a run that was cut off: its folder, or last, which is the run in --run_dir, else the "
    "newest; left out: train anew",
    "folds": FOLDS_FLAG,
    "judge_test": Flag("evaluate on the test part at the end; false leaves it alone, as sweeps do", bool | None, True),
    "find_lr": Flag(
        "look for a learning rate first (Smith's range test), and train with it, instead of --model.lr",
        bool | None,
        False,
    ),
    "scale_lr": Flag(
        "multiply --model.lr, as meant for one device, by devices x accumulated batches (linear), or by the root of "
        "that (sqrt)",
        LrScaling | None,
        "none",
    ),
    "memory": MEMORY_FLAG,
    "find_batch_size": Flag(
        "look for the largest batch that fits into memory first, and train with it", bool | None, False
    ),
    "profile": Flag(
        "say at the end where the time went, and what would save some (docs/training.md)", bool | None, False
    ),
    "compile": Flag(
        "how networks are compiled for training: reduce-overhead takes CUDA graphs; auto tries it on a GPU where the "
        "training is long, and keeps it where it pays",
        CompileMode,
        "auto",
    ),
    "logger": Flag(
        "what follows the training: tensorboard, wandb (Weights & Biases), mlflow, or csv; other loggers: "
        "--trainer.logger",
        LoggerName,
        "tensorboard",
    ),
    "save_every_minutes": Flag(
        "minutes after which to save within an epoch too; left out: at the end of each",
        float | None,
    ),
    **PLAN_FLAGS,
    "plan": PLAN_FLAG,
    "slurm": Flag(
        "queue it on a SLURM cluster: settings (partition=gpu,gpus=4,nodes=2,time=12h), a file of them, or one that is "
        "shipped (one_gpu) (docs/cluster.md); left out: train here",
        str,
        [],
        several=True,
    ),
}


def run(task: str, argv: Sequence[str], queued: Queued | None = None) -> int:
    """Train.

    Args:
        task: name of the task.
        argv: flags as typed.
        queued: what is done in place of training, when all has been looked at that the job's settings ask for.

    Raises:
        Stopped: by a signal.
    """
    with StopSignals() as signals:
        configure_logs()
        with planned(task, asked_folds(named_run(argv)), OWN_FLAGS, job=queued and queued.job) as run:
            return _run(task, run, signals, queued)


def _run(task: str, run: PlannedRun, signals: StopSignals, queued: Queued | None) -> int:
    argv = run.argv
    forget_launch(task)
    if value_of(argv, "--folds") is not None and not wants_help(argv):
        return train_folds(task, run, OWN_FLAGS, queued)
    resumed = _resumed_run(task, argv)
    config = resumed / "config.yaml" if resumed is not None and (resumed / "config.yaml").is_file() else None
    before = None if resumed is None else saved_data(resumed)
    has_begun = before is not None and before.has_begun  # else the folder was made for a job that begins now
    defaults, kept = (config, before) if has_begun else parent_defaults(task, argv)
    defaults = run.defaults if defaults is None else defaults
    cli = TaskParser(task, "fit", argv, own_flags=OWN_FLAGS, builds_model=True, defaults=defaults, planned=run.names)
    refuse_in_config(cli.config)
    testing = bool(cli.config["judge_test"])
    _profiled(cli)
    refuse_no_batches(cli.config["trainer"], "train", "val")
    refuse_no_epochs(cli.config["trainer"]["max_epochs"], pruned=cli.config["model"]["prune"] is not None)
    if testing:
        refuse_no_batches(cli.config["trainer"], "test")
    scaling: LrScaling = cli.config["scale_lr"]
    fast = bool(cli.config["trainer"]["fast_dev_run"])
    refuse_missing_logger(cli.config["logger"], cli.config["trainer"]["logger"])
    _refuse_no_time(cli.config["save_every_minutes"])
    refuse_memory(cli)
    asked_seconds(cli.config)  # a time that is none is refused before the data is read
    if resumed is None and not fast:
        refuse_existing(cli.config["run_dir"])

    asked = resumed if resumed is not None or cli.config["run_dir"] is None else Path(cli.config["run_dir"])
    if queued is not None and queued.job.check != "data":
        from backbones.network import check_name  # brings timm: not before the flags are known to be right

        check_name(cli.config["model"]["backbone"])  # a typo should not cost a place in the queue
        return queued.single(asked)
    begun = {} if kept is None else kept.keep_split(cli.config, goes_on=has_begun)
    found = None if resumed is None else open_last(resumed / CHECKPOINTS, task)
    last, checkpoint = (None, None) if found is None else found
    begin = None if checkpoint is None or kept is None else as_begun(checkpoint, kept, cli.config)
    data, model = cli.build_data_and_model(begin)
    if checkpoint is not None:
        refuse_changed_model(model, checkpoint)
        refuse_changed_length(cli.config, model, config)
        model.on_load_checkpoint(checkpoint)  # pruned sizes, before anything copies the model
    elif config is not None:
        log.info("no checkpoint in %s yet: training starts from the beginning", resumed)

    fitted = keep_features(model, data)
    cuda = trains_on_cuda(cli.config["trainer"]["accelerator"], queued and queued.job)
    data.check_augmentation(cuda=cuda)  # refused before a folder is made
    refuse_model_with_sharding(cli.config["trainer"], model)
    if last is None:
        prune_parent(model, task)
    seed = int(cli.config["seed_everything"])
    teacher = model.distillation.teacher
    path = None if teacher is None else find_checkpoint(task, teacher, flag="--model.teacher")
    callbacks = training_callbacks(model, seed, path)
    callbacks += on_time(cli.config, argv, data, checkpoint, testing=testing)
    model.prepared = True
    model.plan = plan_text(run.plan, asked) or model.plan
    ancestors = ancestors_of(model)
    if last is not None and model.provenance is not None:
        ancestors.append(Known(f"--ckpt_path {last}", model.provenance))
    evaluated = {part: data.rows(part) for part in (("val", "test") if testing else ("val",))}
    leaks = refuse_seen(ancestors, data, evaluated, ELSEWHERE)
    begin_record(model, data, ancestors, trains=not untrained(cli, model))
    if queued is not None:
        return queued.single(asked)
    if last is None and not fitted:
        search(cli, data, model)
        keep_within(cli, data, model)
    run_dir = Path() if fast else _take(task, cli, resumed)
    evaluator = evaluator_of(task)
    callbacks = [SeedEpochs(seed), Resuming(), evaluator.callback, *callbacks, Compiling(cli.config["compile"])]
    trainer = _trainer(cli, model, run_dir, callbacks, signals, fast=fast)
    if last is not None and last.name != LAST and isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints):
        trainer.strategy.checkpoint_io.damaged = last.with_name(LAST)
    augmented_on = data.settle_augmentation(cuda=trainer.strategy.root_device.type == "cuda")
    if last is None and config is None and scaling != "none":  # a config.yaml of this run has it scaled
        scale_lr(trainer, model, scaling)
        cli.config["model"]["lr"] = model.optimization.lr
    say_batch(trainer, data, model, scaling)
    if trainer.is_global_zero and not fast:
        (run_dir / CHECKPOINTS).mkdir(exist_ok=True)
        write_text(run_dir / "config.yaml", cli.saved_config({**begun, "augment_on": augmented_on}))
        run.write(run_dir)
        write_split(data, run_dir)
        _sheet(data, run_dir)
    memory = place(model, cli.config["memory_format"], trainer.strategy.root_device.type)
    chosen = " (chosen for this machine)" if cli.config["trainer"]["precision"] is None else ""
    compute = f"precision {trainer.precision}{chosen}, memory {memory}, augmentation on the {augmented_on.upper()}"
    cast("list[Callback]", trainer.callbacks).append(SayChoices(data, None if fast else run_dir, compute))  # type: ignore[attr-defined]
    if fitted or untrained(cli, model):
        trainer.strategy.connect(model)
        if fitted:
            fit_at_once(trainer, model, data, run_dir)
        if not fast:
            trainer.save_checkpoint(run_dir / CHECKPOINTS / "best.ckpt", weights_only=True)
    else:
        trainer.fit(model, datamodule=data, ckpt_path=None if last is None else str(last), weights_only=True)
    if fast:
        print("fast_dev_run: one batch went through; nothing was evaluated or written")
        return 0
    evaluation = RunEvaluation(trainer, evaluator, data, run_dir, leaks)
    _evaluate(task, evaluation, memory_format=cli.config["memory_format"], testing=testing)
    return 0


def _resumed_run(task: str, argv: Sequence[str]) -> Path | None:
    """The run that ``--ckpt_path last`` goes on with."""
    asked, folder = value_of(argv, "--ckpt_path"), value_of(argv, "--run_dir")
    if asked is None:
        return None
    if asked != "last":
        raise SuiteError(
            f"--ckpt_path {asked}: fit goes on with `last`, or a run by its folder; to start from its weights give "
            f"--model.weights {asked}"
        )
    run_dir = Path(folder) if folder is not None else newest_run(task)
    if run_dir is None:
        raise SuiteError(f"--ckpt_path last: there is no run below runs/{task} to go on with: leave it out")
    if (run_dir / "fold_0").is_dir():
        raise SuiteError(f"--run_dir {run_dir}: is a run of --folds: give --folds too")
    return run_dir


def _take(task: str, cli: TaskParser, resumed: Path | None) -> Path:
    """The folder of the run, new or gone on with, for this process and its ranks alone."""

    def mend(folder: Path) -> str:
        return f"go on with: {command(task, 'fit', run_dir=folder, ckpt_path='last')}"

    asked = str(resumed) if resumed is not None else cli.config["run_dir"]
    run_dir = take_run_dir(task, asked, mend, resumed=resumed is not None)
    separate_output(run_dir)
    if resumed is not None and global_rank() == 0:
        for place in (run_dir, run_dir / CHECKPOINTS):
            remove_leftovers(place)
    return run_dir


def _refuse_no_time(minutes: float | None) -> None:
    if minutes is not None and not minutes > 0:
        raise SuiteError(f"--save_every_minutes {minutes:g}: must be above 0; leave it out to save at ends of epochs")


def _profiled(cli: TaskParser) -> bool:
    """Whether a profile is asked for."""
    asked = bool(cli.config["profile"])
    if asked and cli.config["trainer"]["profiler"] is not None:
        raise SuiteError("--profile true with --trainer.profiler: give one of the two")
    return asked


def _trainer(
    cli: TaskParser, model: Task, run_dir: Path, callbacks: list[Callback], signals: StopSignals, *, fast: bool
) -> Trainer:
    overrides: dict[str, Any] = {"default_root_dir": str(run_dir)}
    if cli.config["trainer"]["enable_model_summary"] is None:
        overrides["enable_model_summary"] = False  # its FLOPs are 0: what is trained is said in our words
    if _profiled(cli):
        overrides["profiler"] = TrainingProfiler()
        callbacks.insert(0, ProfileTraining(overrides["profiler"], None if fast else run_dir))
    if fast:
        return cli.build_trainer(callbacks, logger=False, **overrides)
    metric, mode = model.monitor
    mid_epoch = MidEpoch()
    every = cli.config["save_every_minutes"]
    callbacks += [
        mid_epoch,
        Stopping(signals, mid_epoch, run_dir / CHECKPOINTS / LAST, every),
        EpochTable(run_dir / "metrics.csv", verbose=not is_quiet()),
        LearningCurves(run_dir),
        BestCheckpoint(run_dir / CHECKPOINTS, f"val/{metric}", mode),
        ModelCheckpoint(run_dir / CHECKPOINTS, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    logger: Logger | bool
    if cli.config["trainer"]["logger"] is not None:
        logger = cli.config_init["trainer"]["logger"]
    else:
        logger = make_logger(cli.config["logger"], run_dir)
    trainer = cli.build_trainer(callbacks, logger=logger, **overrides)
    if trainer.world_size > 1:
        answer_while_waiting(trainer, signals)
    # In front of the user's too: nothing has happened yet in a step that is not taken.
    ours: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    ours.sort(key=lambda callback: not isinstance(callback, (MidEpoch, Stopping)))
    return trainer


def _sheet(data: ScanDataModule, run_dir: Path) -> None:
    """A picture of what the training images look like to the model."""
    from datamodules.augmented_sheet import write_augmented_sheet  # brings albumentations: not before a training begins

    try:
        write_augmented_sheet(data, run_dir / SHEET)
    except SuiteError:  # of the data or the disk: training would come upon it
        raise
    except Exception as error:  # a data class of the user's may lack what a picture asks for, and train all the same
        log.warning("%s: not drawn: %s", run_dir / SHEET, " ".join(str(error).split()) or type(error).__name__)


def _evaluate(task: str, evaluation: RunEvaluation, *, memory_format: MemoryFormat, testing: bool) -> None:
    """Evaluate the best checkpoint on validation, choosing there what is chosen, and on test where there is one."""
    trainer, data, run_dir = evaluation.trainer, evaluation.data, evaluation.run_dir
    best = run_dir / CHECKPOINTS / "best.ckpt"
    if not best.is_file():
        best = find_checkpoint(task, str(run_dir / CHECKPOINTS / LAST))
    checkpoint = open_checkpoint(best, task)
    model = build_from(checkpoint, task, best)
    place(model, memory_format, trainer.strategy.root_device.type)
    loggers, trainer.loggers = trainer.loggers, []  # their numbers are about training
    evaluate_exactly(trainer)
    evaluation.run(model, "val", choose=True)
    if trainer.is_global_zero:
        evaluation.keep_profile(model)
        model.on_save_checkpoint(checkpoint)  # what was chosen on validation
        save_whole(checkpoint, best)
    tested = len(data.rows("test")) if testing else 0
    if tested:
        evaluation.run(model, "test")
    evaluation.write(model)
    compare(task, evaluation, model, memory_format)
    if trainer.is_global_zero:
        sheet = [file for file in (run_dir / SHEET,) if file.is_file()]
        cases = {title.split(":")[0]: picture for title, picture in evaluation.pictures}
        log_pictures(loggers, read_pictures([*sheet, *evaluation.charts]) | cases)
        final = {f"{part}/{name}": one.value for part, own in evaluation.metrics.items() for name, one in own.items()}
        log_report(loggers, final, evaluation.report)
        if tested:
            count_test(task, run_dir, best.name, tested)
        print("validation metrics are those the checkpoint was selected on")
        print(f"written to {run_dir}")
        if not run_dir.name.startswith("fold_"):  # one of several is not gone on with alone
            trained = trainer.global_step > 0
            print(f"\n{after_fit(task, run_dir, data, trainer.max_epochs, trained=trained)}")
