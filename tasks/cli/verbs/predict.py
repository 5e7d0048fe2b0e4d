"""``predict``: apply a checkpoint, or an ensemble, to files, folders or a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser

from datamodules.inputs import InputFiles
from scansuite.errors import SuiteError
from tasks.cli.flags import find_configs, refuse_unknown
from tasks.cli.hardware import MemoryFormat, exact_float32, keep_memory_flat, place
from tasks.cli.limits import refuse_no_batches
from tasks.cli.logs import configure_logs
from tasks.cli.parser import part_of
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.runs.run_dir import new_folder
from tasks.distributed import gather
from tasks.evaluation.tables import write_table
from tasks.inference import Inference

log = logging.getLogger(__name__)


class Unreadable(Callback):
    """Collects the files that could not be read."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keep what the loader says."""
        self.files += outputs["batch"]["unreadable"]

    def take(self) -> list[tuple[str, str]]:
        """(path, reason) of all ranks, each file once."""
        return sorted({file for files in gather(self.files) for file in files})


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
    inference_class = cast("type[Inference]", part_of(task, "inference"))
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

    unreadable = Unreadable()
    settings = dict(config.trainer)
    settings.update(logger=False, use_distributed_sampler=False, enable_checkpointing=False)
    settings["callbacks"] = [predicting.callback, unreadable]
    trainer = Trainer(**settings)
    place(model, config.memory_format)
    loader = predicting.loader(table, trainer.global_rank, trainer.world_size)
    with exact_float32():
        trainer.predict(model, loader, return_predictions=False)

    predictions = predicting.finish()
    failed = unreadable.take()
    if trainer.is_global_zero:
        predicted = predicting.predicted(table, predictions, failed)
        if predicted:
            paths = table.cases.set_index("case_id")["path"]
            predictions.insert(1, "split", "predict")
            if "path" not in predictions:
                predictions.insert(2, "path", predictions["case_id"].map(paths))
            write_table(predictions, output / "predictions.csv")
        if passed_over:
            write_table(pd.DataFrame(passed_over, columns=["path", "reason"]), output / "passed_over.csv")
        if failed:
            write_table(pd.DataFrame(failed, columns=["path", "error"]), output / "errors.csv")
        print(f"{predicted} cases predicted, {len(failed)} files unreadable: {output}")
    return 1 if failed else 0
