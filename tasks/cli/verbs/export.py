"""``export``: a checkpoint, or an ensemble, as one file that runs without torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from tasks.cli.logs import configure_logs
from tasks.cli.runs.ensembles import HELP, build_model, find_checkpoints
from tasks.cli.verb_parser import VerbParser
from tasks.registry.flag import Flag, OwnFlags
from tasks.registry.specs import spec_of

log = logging.getLogger(__name__)

OWN_FLAGS: OwnFlags = {
    "ckpt_path": Flag("checkpoint, the folder of its run (its best one), or best of the newest run", needed=True),
    "ckpt_paths": Flag(HELP, several=True),
    "output": Flag("new file: model.onnx", needed=True),
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
    config = VerbParser(task, "export", argv, own_flags=OWN_FLAGS).config
    exporter_class = spec_of(task).exporter_class()
    output = _new_file(config.output)
    checkpoints = find_checkpoints(task, config.ckpt_path, config.ckpt_paths)
    from tasks.export.describe import describe
    from tasks.export.exporting import exported, write

    model = build_model(task, checkpoints).eval()
    exporter = exporter_class(model, [str(path) for path in checkpoints.paths])
    made, _ = exported(exporter, describe(exporter, checkpoints.paths, config.name), config.opset)
    write(made, output)
    print(f"written to {output}")
    return 0


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
