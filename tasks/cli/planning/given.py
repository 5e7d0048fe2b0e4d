"""Which flags the user gave, typed or in a config: those that no plan touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.cli.flags import config_files, pairs, read_config, value_of

GROUPS = ("data", "model", "trainer")
_WHOLE = (*GROUPS, "data.init_args")  # what a dictionary may be typed for: --data '{"class_path": ...}', or a file


def given_flags(argv: Sequence[str]) -> set[str]:
    """Full names without dashes (``data.batch_size``, ``model.augment_args.scale``) of the flags that were given.

    Args:
        argv: flags as typed.

    Raises:
        SuiteError: a config cannot be read.
    """
    names: set[str] = set()
    for flag, value in pairs(argv):
        name = flag.removeprefix("--").removesuffix("+")
        if name in _WHOLE:
            names |= {_plain(inner) for inner in _keys(_section(value), f"{name}.")}
        elif flag.startswith("--"):
            names.add(_plain(name))
    for file in config_files(argv):
        values = read_config(Path(file))
        if isinstance(values, Mapping):
            names |= {_plain(name) for name in _keys(values, "")}
    return names


def config_value(argv: Sequence[str], name: str) -> str | None:
    """A flag in the last config that has it; None: in none, or null.

    Args:
        argv: flags as typed.
        name: without dashes: of the verb's own (``plan``), or of a group (``model.prune``).

    Raises:
        SuiteError: a config cannot be read.
    """
    found = None
    for file in config_files(argv):
        value: Any = read_config(Path(file))
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        found = found if value is None else str(value)
    return found


def asked_value(argv: Sequence[str], flag: str) -> str | None:
    """A flag's value as typed, else in the last config that has it; None: in none, or null.

    Args:
        argv: flags as typed.
        flag: with its dashes.

    Raises:
        SuiteError: a config cannot be read.
    """
    return value_of(argv, flag) or config_value(argv, flag.removeprefix("--"))


def _section(text: str) -> Mapping[Any, Any]:
    """What is typed for a whole group: its flags as JSON, or a file of them; empty for the name of a data class."""
    try:
        values = read_config(Path(text)) if Path(text).is_file() else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):  # too long for a path, or no YAML: the parser says so
        return {}
    return values if isinstance(values, Mapping) else {}


def given_values(names: set[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the flags that were given.

    Args:
        names: of :func:`given_flags`.
        config: flags as parsed, by full name.
    """
    return {name: config[name] for name in names if name in config}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed flags by full name: ``{"data": {"init_args": {"batch_size": 8}}}`` -> ``{"data.batch_size": 8}``.

    What stands below a flag (``augment_args``) has names of its own too.
    """
    return {_plain(name): value for name, value in _pairs(config, "")}


def _plain(name: str) -> str:
    return name.replace("data.init_args.", "data.", 1)


def _keys(values: Mapping[Any, Any], group: str) -> Iterator[str]:
    for name, _ in _pairs(values, group):
        yield name


def _pairs(values: Mapping[Any, Any], group: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{group}{key}".removesuffix("+")
        if name not in _WHOLE:
            yield name, value
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{name}.")
