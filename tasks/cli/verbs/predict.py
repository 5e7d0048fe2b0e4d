"""``predict``: apply a checkpoint, or an ensemble, to files, folders or a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser

from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.apply import apply, write
from tasks.cli.flags import find_configs, refuse_unknown
from tasks.cli.limits import refuse_no_batches
from tasks.cli.logs import configure_logs
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.runs.run_dir import new_folder
from tasks.hardware import MemoryFormat, keep_memory_flat
from tasks.specs import spec_of

log = logging.getLogger(__name__)


def build_parser(own_flags: dict[str, str]) -> LightningArgumentParser:
    """The flags of this verb."""
    from jsonargparse import ActionConfigFile

    parser = LightningArgumentParser(
        exit_on_error=False, description="Apply a checkpoint, or an ensemble, to files, folders or a table."
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="YAML with any of these flags")
    parser.add_argument("--ckpt_path", type=str | None, default=None, help="checkpoint, or best of the newest run")
    parser.add_argument("--ckpt_paths", type=str, nargs="+", default=[], help=HELP)
    parser.add_argument("--input", type=str, nargs="+", default=[], help="files, folders, or a table with paths")
    parser.add_argument("--output", type=str | None, default=None, help="new folder for predictions and errors.csv")
    for name, text in own_flags.items():
        parser.add_argument(f"--{name}", type=str | None, default=None, help=text)
    parser.add_argument("--memory_format", type=MemoryFormat, default="auto", help="of the weights")
    parser.add_class_arguments(InputFiles, "data")
    parser.add_lightning_class_args(Trainer, "trainer")
    return parser


def run(task: str, argv: Sequence[str]) -> int:
    """Predict.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0, or 1 where some files could not be read.
    """
    configure_logs()
    inference_class = spec_of(task).inference_class()
    parser = build_parser(inference_class.flags)
    words = ["--help" if word == "--help_all" else word for word in find_configs(argv)]
    if not any(word in ("-h", "--help") or word.split("=")[0].endswith(".help") for word in words):
        refuse_unknown(words, {option for action in parser._actions for option in action.option_strings})
    config = parser.instantiate_classes(parser.parse_args(words))
    if not config.input:
        raise SuiteError("--input: name files, folders or a table to predict")
    refuse_no_batches(config.trainer, "predict")
    keep_memory_flat()
    model = build_model(task, find_checkpoints(task, config.ckpt_path, config.ckpt_paths))
    output = new_folder(config.output, "--output")
    options = {name: config[name] for name in inference_class.flags}
    predicting = inference_class(model, config.data, output, options)
    table = predicting.table(config.input)
    passed_over = config.data.passed_over
    said = f", {len(passed_over)} passed over as no scans (passed_over.csv)" if passed_over else ""
    log.info("input: %d cases of %d files%s", len(table), len(table.images), said)

    applied = apply(predicting, model, table, config.trainer, config.memory_format)
    if applied.trainer.is_global_zero:
        write(applied, output, passed_over)
        print(f"{len(applied.cases)} cases predicted, {len(applied.unreadable)} files unreadable: {output}")
    return 1 if applied.unreadable else 0
