"""``--ckpt_path`` and ``--ckpt_paths``: one checkpoint, or the members of an ensemble and what was chosen for it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any, TypeAlias, cast

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.base import Task
from tasks.cli.runs.checkpoints import build_from, find_checkpoint, open_checkpoint
from tasks.cli.runs.run_dir import CHECKPOINTS
from tasks.cli.runs.seen import Known, record_of
from tasks.ensemble import Ensemble
from tasks.specs import spec_of
from tasks.training.provenance import Provenance

# Beside the tables of an ensemble: its members, and what was chosen for it.
RECORD = "ensemble.json"
FLAG = "--ckpt_paths"
HELP = "an ensemble: checkpoints, patterns, run folders (their best checkpoint), or the folder of a --folds run"

Model: TypeAlias = Task | Ensemble


@dataclass(frozen=True)
class Checkpoints:
    """What the flags name.

    Attributes:
        paths: one, or those of an ensemble's members.
        record: of the ensemble, where it was judged before: ``chosen_on`` and what was chosen.
    """

    paths: tuple[Path, ...]
    record: dict[str, Any] | None = None

    def __str__(self) -> str:
        return " ".join(map(str, self.paths))


def find_checkpoints(task: str, one: str | None, several: Sequence[str]) -> Checkpoints:
    """The checkpoints that ``--ckpt_path`` or ``--ckpt_paths`` name.

    Args:
        task: name of the task.
        one: value of ``--ckpt_path``.
        several: values of ``--ckpt_paths``: files, patterns, run folders, folders of ensembles.

    Raises:
        SuiteError: both flags are given or none, a name leads to no checkpoint, or one stands twice.
    """
    if not several:
        return Checkpoints((find_checkpoint(task, one),))
    if one is not None:
        raise SuiteError(f"--ckpt_path {one} and {FLAG} {several[0]}: give one of the two flags")
    paths = [path for name in several for path in _named(task, name)]
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise SuiteError(f"{FLAG}: {path} stands twice: each member of an ensemble counts once")
        seen.add(path.resolve())
    record = _record_of(Path(several[0])) if len(several) == 1 else None
    if record is None and len(paths) > 1:  # the folds of a run, one by one
        record = _record_of(paths[0].parent.parent.parent)
        if record is not None and {path.resolve() for path in record[0]} != seen:
            record = None
    return Checkpoints(tuple(paths), record[1] if record is not None else None)


def _named(task: str, name: str) -> list[Path]:
    """The checkpoints behind one value of the flag."""
    path = Path(name)
    if path.is_dir():
        record = _record_of(path)
        if record is not None:
            for member in record[0]:
                find_checkpoint(task, str(member), flag=f"{FLAG} {path}:")
            return record[0]
        if (path / "fold_0").is_dir():
            raise SuiteError(f"{FLAG} {path}: its folds are not finished: go on with fit --folds and --ckpt_path last")
        return [find_checkpoint(task, str(path / CHECKPOINTS / "best.ckpt"), flag=FLAG)]
    if has_magic(name) and not path.exists():
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise SuiteError(f"{FLAG} {name}: no file is named so")
        return [member for one in found for member in _named(task, str(one))]
    return [find_checkpoint(task, name, flag=FLAG)]


def _record_of(folder: Path) -> tuple[list[Path], dict[str, Any]] | None:
    """Members and record of the ensemble that a folder has tables of, if it has."""
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return [folder / path for path in record["checkpoints"]], record
    except (OSError, ValueError, KeyError, TypeError):
        raise SuiteError(
            f"{file}: cannot be read as the record of an ensemble: name its checkpoints one by one"
        ) from None


def write_record(
    folder: Path, model: Ensemble, checkpoints: Checkpoints, chosen_on: str, seen: Provenance | None = None
) -> None:
    """Write ``ensemble.json``, so that ``--ckpt_paths FOLDER`` means this ensemble with what was chosen for it.

    Args:
        folder: of the tables.
        model: with what was chosen.
        checkpoints: its members; their paths are written relative to the folder.
        chosen_on: where that was chosen, in words.
        seen: the cases of it, where they are not the members' own.
    """
    from backbones.records import as_text

    paths = [Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix() for path in checkpoints.paths]
    more = {} if seen is None else {"provenance": as_text(seen.to_plain())}
    text = json.dumps({"checkpoints": paths, "chosen_on": chosen_on, **model.chosen(), **more}, indent=2)
    write_text(folder / RECORD, text + "\n")


def build_model(task: str, checkpoints: Checkpoints) -> Model:
    """The model of one checkpoint, or the ensemble of several, with their weights.

    Raises:
        SuiteError: a file is no checkpoint of this task, or two members differ in what they must agree in.
    """
    members = [build_from(open_checkpoint(path, task), task, path) for path in checkpoints.paths]
    if len(members) == 1:
        return members[0]
    model = spec_of(task).ensemble_class()(members, [str(path) for path in checkpoints.paths])
    if checkpoints.record is not None:
        model.adopt(checkpoints.record)
    return model


def known_models(model: Model, checkpoints: Checkpoints) -> list[Known]:
    """A model, or each member of an ensemble and what was chosen for it, with what it has seen.

    Raises:
        SuiteError: the record of the ensemble cannot be read.
    """
    from backbones.records import from_text

    members = list(model.members) if isinstance(model, Ensemble) else [model]
    flag = FLAG if len(members) > 1 else "--ckpt_path"
    known = [
        Known(f"{flag} {path}", cast("Task", member).provenance or record_of(path, None))
        for member, path in zip(members, checkpoints.paths, strict=True)
    ]
    text = (checkpoints.record or {}).get("provenance")
    if text is not None:
        try:
            known.append(Known(f"{FLAG}: what was chosen for them", Provenance.from_plain(from_text(text))))
        except Exception:  # damaged text raises whatever its parts raise
            raise SuiteError(f"{FLAG}: {RECORD} is damaged: name its checkpoints one by one") from None
    return known
