"""What ``validate`` and ``test`` share: a checkpoint brings the model, the flags bring the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from datamodules.types import SuiteError
from tasks.cli.checkpoints import build_from, find_checkpoint, open_checkpoint
from tasks.cli.flags import given, value_of
from tasks.cli.hardware import place
from tasks.cli.judging import Judge, judging_of, write_split
from tasks.cli.logs import configure_logs
from tasks.cli.parser import SuiteCLI, data_default
from tasks.cli.run_dir import count_test, refuse_existing, take_run_dir

log = logging.getLogger(__name__)


OWN_FLAGS = {
    "ckpt_path": "the checkpoint, or best (last) of the newest run; its run's data are used where no --data is given",
    "run_dir": "new folder for tables and figures; left out: runs/<task>/<next number>",
}


def judge_checkpoint(task: str, argv: Sequence[str], split: str) -> int:
    """Judge a checkpoint on a part of a data set.

    Args:
        task: name of the task.
        argv: flags as typed.
        split: ``val`` or ``test``.
    """
    configure_logs()
    wants_help = any(word in ("-h", "--help", "--help_all") for word in argv)
    path = None if wants_help else find_checkpoint(task, value_of(argv, "--ckpt_path"))
    if given(argv, "--model"):
        raise SuiteError("--model: a checkpoint brings its own model: leave the --model flags out")
    verb = "validate" if split == "val" else "test"
    cli = SuiteCLI(task, verb, argv, own_flags=OWN_FLAGS, builds_model=False, defaults=data_default(argv, path))
    path = find_checkpoint(task, cli.config["ckpt_path"])
    refuse_existing(cli.config["run_dir"])

    model = build_from(open_checkpoint(path, task), task, path)
    data = cli.build_data()
    judging = judging_of(task)
    judging.adopt(model, data)
    if len(data.rows(split)) == 0:
        raise SuiteError(f"the data have no {split} part: give one in the split, or --data.split all_test with test")
    data.annotations(data.rows(split))  # labels are checked before a folder is made
    run_dir = take_run_dir(task, cli.config["run_dir"])
    settings = {"logger": False, "enable_checkpointing": False, "default_root_dir": str(run_dir)}
    trainer = cli.build_trainer([judging.callback], **settings)
    if trainer.is_global_zero:
        (run_dir / "config.yaml").write_text(cli.saved_config(), encoding="utf-8")
        write_split(data, run_dir)
    log.info("precision %s, memory %s", trainer.precision, place(model, cli.config["memory_format"]))
    judge = Judge(trainer, judging, data, run_dir)
    judge.run(model, split)
    judge.write(model)
    if trainer.is_global_zero:
        if split == "test":
            count_test(task, run_dir, str(path), len(data.rows("test")))
        print(f"written to {run_dir}")
    return 0
