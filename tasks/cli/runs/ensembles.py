"""``--ckpt_path`` and ``--ckpt_paths``: one checkpoint, or the members of an ensemble and what was chosen for it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from typing import Any, cast

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks import loading
from tasks.base import Task
from tasks.cli.runs.checkpoints import find_checkpoint, open_checkpoint
from tasks.cli.runs.seen import Known, record_of
from tasks.ensemble import Ensemble
from tasks.loading import RECORD, Checkpoints, Model, joined, read_record
from tasks.training.provenance import Provenance

log = logging.getLogger(__name__)

FLAG = "--ckpt_paths"
HELP = (
    "an ensemble: checkpoints, patterns, run folders (their best checkpoint), or the folder of a --folds run; left "
    "out: --ckpt_path alone"
)


def find_checkpoints(task: str, one: str | None, several: Sequence[str]) -> Checkpoints:
    """The checkpoints that ``--ckpt_path`` or ``--ckpt_paths`` name.

    Args:
        task: name of the task.
        one: value of ``--ckpt_path``.
        several: values of ``--ckpt_paths``: files, patterns, run folders, folders of ensembles.

    Raises:
        SuiteError: both flags are given or none, a name leads to no checkpoint, or one is duplicated.
    """
    if not several:
        path = find_checkpoint(task, one)
        if str(path) != one:
            log.info("--ckpt_path %s: %s", one, path)
        return Checkpoints((path,))
    if one is not None:
        raise SuiteError(f"--ckpt_path {one} and {FLAG} {several[0]}: give one of the two flags")
    paths = [path for name in several for path in _named(task, name)]
    return joined([Path(name) for name in several], paths, FLAG)


def _named(task: str, name: str) -> list[Path]:
    """The checkpoints behind one value of the flag."""
    path = Path(name)
    if path.is_dir():
        record = read_record(path)
        if record is not None:
            for member in record[0]:
                find_checkpoint(task, str(member), flag=f"{FLAG} {path}:")
            return record[0]
        if (path / "fold_0").is_dir():
            raise SuiteError(f"{FLAG} {path}: its folds are not finished: go on with fit --folds and --ckpt_path last")
        return [find_checkpoint(task, name, flag=FLAG)]
    if has_magic(name) and not path.exists():
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not found:
            raise SuiteError(f"{FLAG} {name}: no file is named so")
        return [member for one in found for member in _named(task, str(one))]
    return [find_checkpoint(task, name, flag=FLAG)]


def write_record(
    folder: Path, model: Ensemble[Any], checkpoints: Checkpoints, chosen_on: str, seen: Provenance | None = None
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
    return loading.build_model(checkpoints, task, lambda path, _: open_checkpoint(path, task))


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
