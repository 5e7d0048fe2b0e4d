"""Mistyped keys in a ``--config``, with the nearest right one. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scansuite.errors import SuiteError, nearest_name
from tasks.cli.flags import config_files, given, read_config
from tasks.cli.synonyms import meant

_GROUPS = ("model", "trainer", "data")


def refuse_unknown_keys(argv: Sequence[str], known: Iterable[str], silent: Collection[str] = ()) -> None:
    """Stop at the first key of a config that is no flag of the verb.

    What is not sure is left to the parser: keys with points in them, what stands below a flag's own value, and the
    arguments of a data class where another config or a flag may name another class.

    Args:
        argv: words as typed.
        known: full names of flags (``--model.lr``), those of the chosen data class alone.
        silent: full names of what may stand in a config though it is no flag.

    Raises:
        SuiteError: names the file and the key, and the nearest right one; or the file cannot be read.
    """
    files = config_files(argv)
    names = {*known, *silent}
    alone = len(files) == 1 and not any(given(argv, flag) for flag in ("--data", "--ckpt_path", "--model.weights"))
    for file in files:
        values = read_config(Path(file))
        if not isinstance(values, Mapping):
            what = "is empty" if values is None else "holds no flags"
            raise SuiteError(f"--config {file}: {what}: write a flag and its value in each line (run_dir: mine)")
        _refuse(file, "", values, names)
        for group in _GROUPS:
            section = values.get(group)
            if not isinstance(section, Mapping):
                _refuse_no_section(file, group, section)
                continue
            if group == "data" and not alone:
                continue
            if group == "data" and {"class_path", "init_args"} & set(section):
                section = section.get("init_args")
                if not isinstance(section, Mapping):
                    _refuse_no_section(file, "data.init_args", section)
            if isinstance(section, Mapping):
                _refuse(file, f"{group}.", section, names)


def _refuse_no_section(file: str, group: str, section: object) -> None:
    """Refuse a value where flags stand below a name; ``data`` alone may name a class instead."""
    if section is not None and not (group == "data" and isinstance(section, str)):
        raise SuiteError(
            f"--config {file}: {group} is {str(section)[:60]}: its flags stand below it, each in a line, indented by "
            "two spaces"
        )


def _refuse(file: str, group: str, values: Mapping[Any, Any], names: Collection[str]) -> None:
    for key in values:
        if not isinstance(key, str):
            raise SuiteError(f"--config {file}: {group}{key}: no such flag: see --help_all")
        if "." in key or (not group and key == "config"):
            continue
        name = f"--{group}{key.removesuffix('+')}"
        if name not in names:
            raise SuiteError(f"--config {file}: {group}{key}: no such flag: {_hint(group, key, names)}")


def _hint(group: str, key: str, names: Collection[str]) -> str:
    """The nearest key of the same section, else the one that stands elsewhere."""
    others = [one.removeprefix(f"--{group}") for one in names if one.startswith(f"--{group}")]
    near = nearest_name(key, sorted(one for one in others if "." not in one))
    if near is not None:
        return f"did you mean {near!r}?"
    flag, _, value = (meant(f"--{group}{key}", names) or "").removeprefix("--").partition(" ")
    inside = flag.removeprefix(group)
    return f"did you mean {f'{inside}: {value}' if value else inside!r}?" if flag else "see --help_all"
