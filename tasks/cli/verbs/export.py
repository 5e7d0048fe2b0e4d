"""``export``: a checkpoint, or an ensemble, as one file that runs without torch, compared with PyTorch on scans."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from tasks.cli.commented import asked
from tasks.cli.evaluate import evaluator_of
from tasks.cli.flags import given, value_of, values_of, wants_help
from tasks.cli.logs import configure_logs
from tasks.cli.parser import TaskParser
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.runs.run_data import names_data, run_data
from tasks.hardware import exact_float32
from tasks.loading import Checkpoints
from tasks.registry.flag import Flag, OwnFlags

if TYPE_CHECKING:
    from tasks.export.scans import Scans
    from tasks.loading import Model

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag("checkpoint, the folder of its run (its best one), or best of the newest run", needed=True),
    "ckpt_paths": Flag(HELP, several=True),
    "output": Flag("new file: model.onnx", needed=True),
    "input": Flag(
        "files, folders, or a table with paths, to compare the export with PyTorch on; left out: the validation part "
        "of the run's data",
        several=True,
    ),
    "scans": Flag("most images that both are run on", int, 100),
    "opset": Flag("version of ONNX's operators (18 to 23)", int, 20),
    "name": "of the model, for people; left out: the folder of its run",
}


def run(task: str, argv: Sequence[str]) -> int:
    """Export.

    Args:
        task: name of the task.
        argv: flags as typed.

    Returns:
        0.
    """
    configure_logs()
    typed = None if wants_help(argv) or asked(argv) else _find(task, argv)
    if given(argv, "--model"):
        raise SuiteError("--model: a checkpoint brings its own model: leave the --model flags out")
    own_data = typed is not None and not given(argv, "--input")
    found = run_data(argv, typed.paths[0].parent.parent) if typed is not None and own_data else None
    defaults = None if found is None else {"data": found.section}
    cli = TaskParser(task, "export", argv, own_flags=OWN_FLAGS, builds_model=False, defaults=defaults)
    exporter_class = cli.spec.exporter_class()
    output = _new_file(cli.config["output"])
    checkpoints = typed or _find(task, argv)
    if found is not None:
        found.keep_split(cli.config, goes_on=False)
    from tasks.export.describe import describe
    from tasks.export.exporting import described, exported, opened, write
    from tasks.export.page import latency_table, table_of
    from tasks.export.verify import latencies, verified

    model = build_model(task, checkpoints).eval()
    exporter = exporter_class(model, [str(path) for path in checkpoints.paths])
    if not cli.config["input"] and found is None and not names_data(argv):
        raise SuiteError(
            f"{checkpoints.paths[0]}: there is no config.yaml of its run: name scans to compare the export with "
            "PyTorch on with --input, or data with --data CLASS"
        )
    scans = _scans(cli, model)
    log.info("comparing on %s", scans)
    with exact_float32():
        made, description = exported(
            exporter, describe(exporter, checkpoints.paths, cli.config["name"]), cli.config["opset"]
        )
        ready = opened(made, str(output))
        checks = verified(exporter, ready, scans, description.precision)
        times = latencies(exporter, ready, scans)
    write(described(made, replace(description, checks=checks)), output)
    print(table_of(checks), end="\n\n")
    print(latency_table(times, output.stat().st_size, exporter.weight_bytes))
    print(f"written to {output}")
    return 0


def _scans(cli: TaskParser, model: Model) -> Scans:
    """What the export is compared with PyTorch on."""
    from tasks.export.scans import scans_of_data, scans_of_loader

    most = int(cli.config["scans"])
    if most < 1:
        raise SuiteError(f"--scans {most}: give a number of at least 1")
    paths = cli.config["input"]
    if paths:
        from datamodules.inputs import InputFiles

        inference_class = cli.spec.inference_class()
        options: dict[str, Any] = dict.fromkeys(inference_class.flags)
        inference = inference_class(model, InputFiles(num_workers=0), None, options)
        table = inference.table(paths)
        return scans_of_loader(inference.loader(table, 0, 1), len(table), "--input", most)
    data = cli.build_data()
    evaluator_of(cli.task).adopt(model, data)
    return scans_of_data(model, data, most)


def _find(task: str, argv: Sequence[str]) -> Checkpoints:
    return find_checkpoints(task, value_of(argv, "--ckpt_path"), values_of(argv, "--ckpt_paths"))


def _new_file(asked: str | None) -> Path:
    """The file to write.

    Raises:
        SuiteError: none is named, it has another ending, or it is there already.
    """
    if asked is None:
        raise SuiteError("--output: name the file to write, such as model.onnx")
    file = Path(asked)
    if file.suffix != ".onnx":
        raise SuiteError(f"--output {asked}: give a name that ends in .onnx")
    if file.exists():
        raise SuiteError(f"--output {asked}: is there already: name a new file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"--output {asked}: {file.parent} cannot be made ({error.strerror})") from None
    return file
