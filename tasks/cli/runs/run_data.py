"""The data of a run, taken up again: found as its ``config.yaml`` says, parted as its ``split.csv`` says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scansuite.errors import SuiteError
from scansuite.own_parts import is_allowed, is_path
from tasks.cli.flags import config_files, read_config, value_of
from tasks.cli.runs.run_dir import CHECKPOINTS

if TYPE_CHECKING:
    from jsonargparse import Namespace

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
# Flags that a split is drawn by: where it is kept they have nothing to say.
_DRAWN_BY = ("stratify", "test_fraction", "folds", "fold", "split_seed")

_KEPT = ("split_file", "new_cases")


def split_of(checkpoint: Path) -> Path | None:
    """The ``split.csv`` of the run that made a checkpoint, or None."""
    return split_in(checkpoint.parent.parent) if checkpoint.parent.name == CHECKPOINTS else None


def split_in(run_dir: Path) -> Path | None:
    """The ``split.csv`` in the folder of a run, or None."""
    return next((file for file in (run_dir / "split.csv", run_dir / "split.parquet") if file.is_file()), None)


@dataclass(frozen=True)
class RunData:
    """Data that a run was trained on.

    Attributes:
        folder: of the run.
        section: ``data`` of its config; empty where there is none.
        split: its ``split.csv``; None where there is none.
    """

    folder: Path
    section: dict[str, Any]
    split: Path | None

    @property
    def has_begun(self) -> bool:
        """Whether there is anything of the run: its config, its split or its checkpoints."""
        return bool(self.section) or self.split is not None or (self.folder / CHECKPOINTS).is_dir()

    def keep_split(self, config: Namespace, *, goes_on: bool) -> dict[str, Any]:
        """Part the data as the run did, not by drawing anew; cases that have come since are left out.

        Args:
            config: the parsed flags; changed in place.
            goes_on: it is this run, so that no other split will do; else ``--data.split_file`` may name one.

        Returns:
            What a run that goes on keeps in its config: the flags that it began with.

        Raises:
            SuiteError: a flag asks for another split.
        """
        if self.split is None:
            log.warning("%s has no split.csv: its split is drawn again, and differs if the data do", self.folder)
            return {}
        now, before = config["data"]["init_args"], self.section.get("init_args") or {}
        for name in (*_DRAWN_BY, *(("split_file",) if goes_on else ())):
            if name in before and as_lists(now.get(name)) != as_lists(before[name]):
                end = (
                    "go on with the old value, or start a new run"
                    if goes_on
                    else "leave it out, or name the data with --data to part them in another way"
                )
                raise SuiteError(
                    f"--data.{name} {now.get(name)}: was {before[name]} when {self.folder} was trained, and its cases "
                    f"stay parted as in {self.split}: {end}"
                )
        kept = {name: now.get(name) for name in _KEPT} if goes_on else {}
        if goes_on or (now.get("split_file") == before.get("split_file") and now.get("split") != "all_test"):
            now["split_file"], now["new_cases"] = str(self.split.resolve()), "leave_out"
        return kept


def as_lists(value: Any) -> Any:
    """Tuples as lists, however deep: which of the two a value is, is no difference."""
    if isinstance(value, (list, tuple)):
        return [as_lists(item) for item in value]
    return {key: as_lists(item) for key, item in value.items()} if isinstance(value, dict) else value


def run_data(argv: Sequence[str], folder: Path) -> RunData | None:
    """The data of a run, where the user names no others and its config is there.

    Raises:
        SuiteError: the config names a data class that is not of this suite: its module would be imported, and a folder
            that came with a checkpoint does not choose what code runs.
    """
    if names_data(argv) or not (folder / CONFIG).is_file():
        return None
    data = saved_data(folder)
    name = data.section.get("class_path")
    if not isinstance(name, str):
        raise SuiteError(f"{folder / CONFIG}: names no data: restore it, or name the data with --data CLASS")
    if is_path(name) and not is_allowed(name):
        raise SuiteError(
            f"{folder / CONFIG}: its data class {name} is none of this suite's, and is not imported because a folder "
            f"says so: if you trust it, give --allow_import {name.split('.')[0]}"
        )
    log.info("data as in %s", folder / CONFIG)
    return data


def saved_data(folder: Path) -> RunData:
    """The data of a run as far as its folder says."""
    file = folder / CONFIG
    values = read_config(file, "the run's") if file.is_file() else {}
    section = values.get("data") if isinstance(values, dict) else None
    return RunData(folder, section if isinstance(section, dict) else {}, split_in(folder))


def names_data(argv: Sequence[str]) -> bool:
    """Whether flags, or a config among them, say which data."""
    if value_of(argv, "--data") is not None:
        return True
    return any(_has_data(Path(file)) for file in config_files(argv))


def _has_data(file: Path) -> bool:
    """Whether a config says which data; one that cannot be read is named by the parser."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return True
    return not isinstance(values, dict) or "data" in values
