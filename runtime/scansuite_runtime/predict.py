"""``predict``: apply an exported model to files, with the flags and files of the suite's ``predict``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from scansuite_runtime.flags import Flags, help_text, parse, reading_flags
from tasks.registry.flag import Flag

if TYPE_CHECKING:
    from datamodules.input_cases import InputCases
    from tasks.exported.model_file import ExportedModel

log = logging.getLogger(__name__)

MODEL: Flags = {
    "model": Flag("ONNX file or model package that scansuite has exported", needed=True),
    "trust": Flag("public key (PEM) that must have signed the package; left out: whose signature it bears is said"),
    "threads": Flag("cores that a run of the network may use; left out: all that this process may use", int),
}
_OWN: Flags = {
    "input": Flag("files, folders, or a table with paths", several=True, needed=True),
    "include": Flag(
        "shell patterns of the files of --input's folders to take (*_T1w.nii.gz); left out: all", several=True
    ),
    "exclude": Flag("shell patterns of the files of --input's folders to leave out; left out: none", several=True),
    "output": Flag("new folder for predictions and errors.csv", needed=True),
}


def sections() -> dict[str, Flags]:
    """The flags by the title above them."""
    return {"": {**MODEL, **_OWN}, "what is written": writing_flags(), "how files are read": reading_flags()}


def writing_flags() -> Flags:
    """Flags of what is written, of all tasks."""
    from tasks.deployment.flags import TASK_FLAGS

    every = {name: flag for flags in TASK_FLAGS.values() for name, flag in flags.items() if isinstance(flag, Flag)}
    return {name: flag._replace(default=None, stands_for=flag.default) for name, flag in every.items()}


def run(argv: Sequence[str]) -> int:
    """Predict.

    Args:
        argv: flags as typed.

    Returns:
        0, or 1 where some files could not be read.
    """
    parts = sections()
    if not argv or "--help" in argv or "-h" in argv:
        about = "Apply an exported model to files, folders or a table."
        print(help_text("scansuite-runtime predict [flags]", about, parts))
        return 0
    values = parse(argv, {name: flag for some in parts.values() for name, flag in some.items()})
    model = open_asked(values)
    inputs = inputs_of(values)
    inputs.choose(",".join(values["include"] or []), ",".join(values["exclude"] or []))
    output = new_folder(values["output"])
    from scansuite.words import number_of
    from tasks.exported.predict import FileRun

    run = FileRun(model, inputs, output, options_of(values))
    table = run.table(values["input"])
    passed = len(inputs.passed_over)
    said = f", {passed} passed over as no scans (passed_over.csv)" if passed else ""
    log.info("input: %s of %s%s", number_of(len(table), "case"), number_of(len(table.images), "file"), said)
    found = run.predict(table)
    print(f"{len(found.cases)} cases predicted, {len(found.unreadable)} files unreadable: {output}")
    return 1 if found.unreadable else 0


def open_asked(values: Mapping[str, Any]) -> ExportedModel:
    """The model that the flags name.

    Raises:
        SuiteError: there is none, or a flag is not of its task.
    """
    from tasks.deployment.flags import TASK_FLAGS
    from tasks.exported.model_file import open_model

    model = open_model(values["model"], values["threads"], None if values["trust"] is None else Path(values["trust"]))
    task = model.description.task
    for name in writing_flags():
        if values[name] is not None and name not in TASK_FLAGS[task]:
            raise SuiteError(f"--{name}: is not of {task}, which {values['model']} does: leave it out")
    return model


def inputs_of(values: Mapping[str, Any]) -> InputCases:
    """How files are read, by the flags that were given."""
    from datamodules.input_cases import InputCases

    given = {name.removeprefix("data."): value for name, value in values.items() if name.startswith("data.")}
    return InputCases(**{name: value for name, value in given.items() if value is not None})


def options_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is written, by the flags that were given."""
    return {name: values[name] for name in writing_flags() if values[name] is not None}


def new_folder(asked: str) -> Path:
    """Make the folder of ``--output``, which must not hold anything.

    Raises:
        SuiteError: it holds something, or cannot be made.
    """
    folder = Path(asked)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SuiteError(f"--output {folder}: exists already: give a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SuiteError(f"--output {folder}: cannot be made: {error.strerror}") from None
    return folder
