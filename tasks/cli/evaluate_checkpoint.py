"""Evaluation of checkpoints, for ``validate`` and ``test``: checkpoints bring the model, the flags bring the data."""

from __future__ import annotations

import logging
from argparse import ArgumentError
from collections.abc import Sequence
from typing import Literal

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.cli.commented import asked
from tasks.cli.evaluate import RunEvaluation, evaluator_of, write_split
from tasks.cli.flags import given, value_of, values_of, wants_help
from tasks.cli.limits import refuse_no_batches
from tasks.cli.logs import configure_logs
from tasks.cli.parser import TaskParser
from tasks.cli.predict_exported import refuse_exported
from tasks.cli.runs.checkpoints import open_checkpoint
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints, known_models, write_record
from tasks.cli.runs.ranks import separate_output
from tasks.cli.runs.run_data import RunData, names_data, run_data
from tasks.cli.runs.run_dir import count_test, forget_launch, refuse_existing, take_run_dir
from tasks.cli.runs.seen import Known, has_seen, refuse_seen
from tasks.cli.useless_flags import refuse_in_evaluation, refuse_second_scale
from tasks.ensemble import Ensemble
from tasks.hardware import place
from tasks.loading import Checkpoints
from tasks.registry.flag import Flag, OwnFlags
from tasks.running.drifting import known_profile
from tasks.training.provenance import provenance_of

log = logging.getLogger(__name__)


OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag(
        "checkpoint, the folder of its run (its best one), or best (last) of the newest run; the run's data are used "
        "where no --data is given",
        needed=True,
    ),
    "ckpt_paths": Flag(HELP, several=True),
    "run_dir": "new folder for tables and metrics; left out: runs/<task>/<next number>",
}


def evaluate_checkpoint(task: str, argv: Sequence[str], split: Literal["val", "test"]) -> int:
    """Evaluate a checkpoint, or an ensemble, on a part of a data set.

    Args:
        task: name of the task.
        argv: flags as typed.
        split: ``val`` or ``test``.
    """
    configure_logs()
    forget_launch(task)
    refuse_in_evaluation(argv)
    cli, checkpoints, run = parsed(task, "validate" if split == "val" else "test", argv, OWN_FLAGS, "evaluation")
    refuse_no_batches(cli.config["trainer"], split)
    refuse_existing(cli.config["run_dir"])
    if run is not None:
        run.keep_split(cli.config, goes_on=False)

    model = build_model(task, checkpoints)
    if run is None and not names_data(argv):
        raise SuiteError(f"{checkpoints.paths[0]}: there is no config.yaml of its run: name the data with --data CLASS")
    refuse_second_scale(argv, model)
    data = cli.build_data()
    evaluator = evaluator_of(task)
    evaluator.adopt(model, data)
    if len(data.rows(split)) == 0:
        raise SuiteError(f"the data have no {split} part: give one in the split, or --data.split all_test with test")
    models = known_models(model, checkpoints)
    leaks = refuse_seen(models, data, {split: data.rows(split)}, ENSEMBLE if isinstance(model, Ensemble) else ALONE)
    data.case_labels(data.rows(split))  # labels are checked before a folder is made
    run_dir = take_run_dir(task, cli.config["run_dir"])
    separate_output(run_dir)
    settings = {"logger": False, "enable_checkpointing": False, "default_root_dir": str(run_dir)}
    trainer = cli.build_trainer([evaluator.callback], **settings)
    if trainer.is_global_zero:
        write_text(run_dir / "config.yaml", cli.saved_config())
        write_split(data, run_dir)
    memory = place(model, cli.config["memory_format"], trainer.strategy.root_device.type)
    log.info("precision %s, memory %s", trainer.precision, memory)
    evaluation = RunEvaluation(trainer, evaluator, data, run_dir, leaks)
    evaluation.profile = known_profile(model, checkpoints.paths)
    choice = _choice(checkpoints, models, data, split) if isinstance(model, Ensemble) else None
    if choice == ON_VALIDATION and split == "test":
        evaluation.choose(model)
    evaluation.run(model, split, choose=choice == ON_VALIDATION and split == "val")
    evaluation.write(model)
    if trainer.is_global_zero:
        if isinstance(model, Ensemble) and choice is not None:
            chosen = provenance_of(data, trains=False) if choice == ON_VALIDATION else None
            write_record(run_dir, model, checkpoints, choice, chosen)
            print(f"ensemble of {len(checkpoints.paths)}; it calls by what was chosen on: {choice}")
        if split == "test":
            count_test(task, run_dir, str(checkpoints), len(data.rows("test")))
        print(f"written to {run_dir}")
    return 0


# What else can be done where cases were seen.
ALONE = "evaluate it on cases that it has not seen (without --data: those of its own run)"
ENSEMBLE = (
    "evaluate the ensemble on cases that no member has seen (folds are evaluated out of fold, in the metrics.json of "
    "their run)"
)
# Where the scores at which an ensemble calls, and its clean-up, come from.
ON_VALIDATION = "the ensemble's predictions of the validation part"
BY_MEMBERS = "each member's own validation part, and averaged"


def _choice(checkpoints: Checkpoints, models: Sequence[Known], data: ScanDataModule, split: str) -> str:
    """On what is chosen where an ensemble calls: never on what is tested."""
    if checkpoints.record is not None:
        return str(checkpoints.record["chosen_on"])
    if split == "val" or (len(data.rows("val")) and not has_seen(models, data, "val")):
        return ON_VALIDATION
    return BY_MEMBERS


def parsed(
    task: str, verb: str, argv: Sequence[str], own_flags: OwnFlags, deed: str, *, takes_data: bool = True
) -> tuple[TaskParser, Checkpoints, RunData | None]:
    """The flags of a verb that takes checkpoints, which bring the model and, where none is named, the data.

    Args:
        task: name of the task.
        verb: what is done.
        argv: flags as typed.
        own_flags: of the verb.
        deed: what an exported file is refused for, as a noun.
        takes_data: the data of the checkpoint's run are those of the verb where no --data is given.

    Returns:
        The parsed flags, the checkpoints, and the data of their run; None: others are named, or the run is not there.

    Raises:
        SuiteError: there is no such checkpoint, or a flag is wrong.
    """
    typed = None if wants_help(argv) or asked(argv) else _find(task, argv, deed)
    if given(argv, "--model"):
        raise SuiteError("--model: a checkpoint brings its own model: leave the --model flags out")
    run = run_data(argv, typed.paths[0].parent.parent) if typed is not None and takes_data else None
    defaults = None if run is None else {"data": run.section}
    try:
        cli = TaskParser(task, verb, argv, own_flags=own_flags, builds_model=False, defaults=defaults)
    except (ArgumentError, SuiteError):
        if typed is not None and run is not None:  # of another task, whose data are none of this one's
            open_checkpoint(typed.paths[0], task)
        raise
    return cli, typed or _find(task, argv, deed), run


def _find(task: str, argv: Sequence[str], deed: str) -> Checkpoints:
    one, several = value_of(argv, "--ckpt_path"), values_of(argv, "--ckpt_paths")
    refuse_exported(deed, one, several)
    return find_checkpoints(task, one, several)
