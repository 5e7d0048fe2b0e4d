"""The flags that a verb takes, read from the source of what the parser is made of, without importing any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from scansuite.own_parts import SUITE, is_path
from tasks.cli.flags import config_files, given, no_data_class, section_of, value_of
from tasks.cli.starting.source import (
    Argument,
    UnsureError,
    arguments_of,
    attribute_of,
    choices_of,
    elements,
    entries,
    names_in,
    text_of,
    value_at,
)
from tasks.registry.spec import TaskSpec

# Where the flags of each verb's own are. A verb that is not here is left to its parser.
OWN_FLAGS = {
    "check": "tasks.cli.verbs.check.OWN_FLAGS",
    "show": "tasks.cli.verbs.show.OWN_FLAGS",
    "plan": "tasks.cli.verbs.plan.OWN_FLAGS",
    "fit": "tasks.cli.verbs.fit.OWN_FLAGS",
    "sweep": "tasks.cli.verbs.sweep.OWN_FLAGS",
    "validate": "tasks.cli.evaluate_checkpoint.OWN_FLAGS",
    "test": "tasks.cli.evaluate_checkpoint.OWN_FLAGS",
    "summary": "tasks.cli.verbs.summary.OWN_FLAGS",
    "predict": "tasks.cli.verbs.predict.OWN_FLAGS",
    "explain": "tasks.cli.verbs.explain.OWN_FLAGS",
    "export": "tasks.cli.verbs.export.OWN_FLAGS",
    "list": "tasks.cli.verbs.list.OWN_FLAGS",
    "report": "tasks.cli.verbs.report.OWN_FLAGS",
    "serve": "tasks.cli.verbs.serve.OWN_FLAGS",
}
TRAINER = "pytorch_lightning.trainer.trainer.Trainer"
_COMMON = "tasks.cli.parser.COMMON"
_INPUTS = "datamodules.inputs.InputFiles"
OWN_FLAGS_ALONE = ("list", "report", "serve")  # verbs that take no other flags, and no --config
# Verbs whose parser is a VerbParser, not a TaskParser.
_WITHOUT_MODEL = ("predict", "explain", *OWN_FLAGS_ALONE)


class KnownFlag(NamedTuple):
    """A flag.

    Attributes:
        value: it takes one.
        several: it takes more than one.
        module: in which its type is written.
        kind: its type; None where none is written.
        help: what is said of it, where that stands beside its name.
    """

    value: bool = True
    several: bool = False
    module: str = ""
    kind: ast.expr | None = None
    help: str = ""

    @property
    def choices(self) -> list[str]:
        """What may be typed for it; empty where that is open."""
        return choices_of(self.module, self.kind)

    @property
    def is_number(self) -> bool:
        """Whether nothing but a number may be typed for it."""
        return bool(names := names_in(self.kind)) and names <= {"int", "float", "Optional", "Union"}


def flags_of(spec: TaskSpec, verb: str, data: Sequence[str]) -> dict[str, KnownFlag]:
    """Flags of a verb by name.

    Args:
        spec: of the task.
        verb: what is done.
        data: paths of the data classes that may be meant.

    Raises:
        UnsureError: they cannot be read off the source.
    """
    if spec.own_packages or verb not in OWN_FLAGS:
        raise UnsureError(f"{spec.name} {verb}: not of the suite")
    without = KnownFlag(value=False)
    found = {"-h": without, "--help": without, **_own(OWN_FLAGS[verb])}
    if verb in OWN_FLAGS_ALONE:
        return found
    found |= {"-c": KnownFlag(), "--config": KnownFlag(), "--print_config": without}
    found |= {"--allow_import": KnownFlag(several=True), "--data": KnownFlag()}
    if verb == "explain":
        module, skipped = value_at("tasks.cli.verbs.explain.WITHOUT")
        unused = {f"--{text_of(module, one)}" for one in elements(module, skipped)}
        inputs = _arguments("--data.", arguments_of(_INPUTS))
        return found | {name: one for name, one in inputs.items() if name not in unused}
    found |= {"--trainer": KnownFlag(), **_arguments("--trainer.", arguments_of(TRAINER))}
    if verb == "predict":
        module, flags = attribute_of(spec.inference, "flags")
        found |= {f"--{name}": _own_flag(where, value) for name, where, value in entries(module, flags)}
        return found | _arguments("--data.", arguments_of(_INPUTS))
    found |= _own(_COMMON)
    found |= {"--seed_everything": KnownFlag(), "--model": KnownFlag(), "--data.help": without}
    facts = _facts(spec.task)
    found |= _arguments("--model.", {key: one for key, one in arguments_of(spec.task).items() if key not in facts})
    linked = set(_linked(spec.task))
    for path in data:
        shown = {key: one for key, one in arguments_of(path).items() if key not in linked}
        for prefix in ("--data.", "--data.init_args."):
            found |= _arguments(prefix, shown)
    return found


def silent_keys(spec: TaskSpec, verb: str) -> set[str]:
    """Full names of what may stand in a config though it is no flag: see ``TaskParser.silent_keys``.

    Raises:
        UnsureError: it cannot be read off the source.
    """
    if verb in _WITHOUT_MODEL:
        return set()
    return (
        {"--plan", "--folds"}
        | {f"--model.{name}" for name in _facts(spec.task)}
        | {f"--data.{name}" for name in _linked(spec.task)}
    )


class Chosen(NamedTuple):
    """The data classes that may be meant.

    Attributes:
        paths: of them.
        sure: the parser will look at all of these; else at one of them, or at one that is not known yet.
    """

    paths: Sequence[str]
    sure: bool


def chosen_data(spec: TaskSpec, verb: str, argv: Sequence[str]) -> Chosen:
    """The data class that flags or a config name, or all where none does.

    Args:
        spec: of the task.
        verb: what is done.
        argv: flags as typed, with configs found.

    Raises:
        SuiteError: there is no data class of that name.
    """
    if verb in _WITHOUT_MODEL:
        return Chosen((), sure=True)
    typed = [(flag, value_of(argv, flag)) for flag in ("--data", "--data.class_path")]
    flag, name = next((one for one in typed if one[1]), ("data", _in_configs(argv)))
    if name is None or name.lstrip().startswith("{") or Path(name).is_file():
        # A run that is taken up again, or a checkpoint, brings its own.
        brings = any(given(argv, flag) for flag in ("--ckpt_path", "--ckpt_paths", "--model.weights"))
        return Chosen(spec.data, sure=not brings)
    path = dict(zip(spec.data_names(), spec.data, strict=True)).get(name, name)
    if not is_path(path) and not spec.own_packages:
        raise no_data_class(spec.name, name, flag)
    if path.split(".")[0] in SUITE:
        return Chosen([path], sure=True)
    return Chosen(spec.data, sure=False)


def _in_configs(argv: Sequence[str]) -> str | None:
    """The data class in the last config that names one."""
    named = (section_of(Path(file), "data").get("class_path") for file in reversed(config_files(argv)))
    return next((str(name) for name in named if name), None)


@cache
def _own(path: str) -> dict[str, KnownFlag]:
    """Flags of a dictionary as :data:`~tasks.cli.verb_parser.OwnFlags` has them."""
    return {f"--{name}": _own_flag(module, value) for name, module, value in entries(*value_at(path))}


def _own_flag(module: str, node: ast.expr) -> KnownFlag:
    if not isinstance(node, ast.Call):  # a text alone
        return KnownFlag(help=_told(node))
    given = {str(word.arg): word.value for word in node.keywords}
    told = given.get("help", node.args[0] if node.args else None)
    kind = given.get("kind", node.args[1] if len(node.args) > 1 else None)
    several = given.get("several")
    many = isinstance(several, ast.Constant) and bool(several.value)
    return KnownFlag(several=many, module=module, kind=kind, help=_told(told))


def _told(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _arguments(prefix: str, arguments: dict[str, Argument]) -> dict[str, KnownFlag]:
    return {f"{prefix}{name}": KnownFlag(module=one.module, kind=one.kind) for name, one in arguments.items()}


def _facts(task: str) -> list[str]:
    """Arguments of a model that follow from the data, and are no flags."""
    module, node = attribute_of(task, "facts")
    return [text_of(module, one) for one in elements(module, node)]


def _linked(task: str) -> Iterator[str]:
    """Arguments of data classes that follow from flags of the model, and are no flags."""
    module, node = attribute_of(task, "links")
    for link in elements(module, node):
        if not isinstance(link, ast.Call) or len(link.args) < 2:
            raise UnsureError(f"{task}: a link that is no call")
        yield text_of(module, link.args[1])
