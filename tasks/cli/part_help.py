"""Help of a class of Lightning's, or of the user's, that a flag of the trainer names."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence

from docstring_parser import ParseError, parse

from scansuite.errors import SuiteError, nearest
from scansuite.own_parts import is_path, load_part
from tasks.cli.flags import value_of
from tasks.cli.help import shown
from tasks.cli.help_lines import arguments, plain
from tasks.cli.tables import text_width
from tasks.registry.spec import load

# What --trainer flags may name: where Lightning has such classes, and what they derive from.
PARTS = {
    "callbacks": ("pytorch_lightning.callbacks", "pytorch_lightning.callbacks.Callback"),
    "logger": ("pytorch_lightning.loggers", "pytorch_lightning.loggers.Logger"),
    "profiler": ("pytorch_lightning.profilers", "pytorch_lightning.profilers.Profiler"),
    "strategy": ("pytorch_lightning.strategies", "pytorch_lightning.strategies.Strategy"),
    "accelerator": ("pytorch_lightning.accelerators", "pytorch_lightning.accelerators.Accelerator"),
    "plugins": ("pytorch_lightning.plugins", "builtins.object"),
}


def part_help(argv: Sequence[str]) -> str | None:
    """Help that ``--trainer.callbacks.help EarlyStopping`` and its like ask for; None where none does.

    Args:
        argv: words as typed.

    Raises:
        SuiteError: there is no such class, or its module is not allowed.
    """
    for part, (package, base) in PARTS.items():
        flag = f"--trainer.{part}.help"
        if any(word.split("=", 1)[0] == flag for word in argv):
            return _shown(part, package, load(base), flag, value_of(argv, flag))
    return None


def _shown(part: str, package: str, base: type, flag: str, name: str | None) -> str:
    module = importlib.import_module(package)
    classes = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    }
    if name is None or name.startswith("--"):
        rows = [(key, _about(cls)) for key, cls in sorted(classes.items())]
        return "\n".join(shown([(f"what --trainer.{part} may name ({flag} NAME)", rows)])).lstrip()
    if not is_path(name) and name not in classes:
        raise SuiteError(f"{flag} {name}: no such class: {nearest(name, sorted(classes))}")
    cls = load_part(name, base, flag) if is_path(name) else classes[name]
    rows = arguments(f"--trainer.{part}.", cls)
    return textwrap.fill(_about(cls), text_width()) + "\n" + "\n".join(shown([(f"flags of {cls.__name__}", rows)]))


def _about(cls: type) -> str:
    try:
        return plain(parse(cls.__doc__ or "").short_description or "")
    except ParseError:
        return ""
