"""Loading of trained models: checkpoints opened safely and built again, one by itself or several as an ensemble."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

import torch

from scansuite.errors import SuiteError
from scansuite.own_parts import PartError, own_paths
from tasks.registry.specs import is_task, spec_of

if TYPE_CHECKING:
    from tasks.base import Task
    from tasks.ensemble import Ensemble

T = TypeVar("T", bound="Task")
Model: TypeAlias = Union["Task", "Ensemble[Any]"]
Open: TypeAlias = Callable[[Path, str | None], dict[str, Any]]

# Beside the tables of an ensemble: its members, and what was chosen for it.
RECORD = "ensemble.json"
_NONE = "it is damaged, or none"
_GIVE = "give one that fit has written"


class DamagedCheckpointError(SuiteError):
    """A file that is no checkpoint any more, or never was one."""


def open_checkpoint(path: Path, task: str | None = None, *, mend: str = "") -> dict[str, Any]:
    """The contents of a checkpoint of the suite; pickled code is refused, not run.

    Args:
        path: of the file.
        task: name of the task that it must be of; None: of any.
        mend: what to do about a checkpoint of something else.

    Raises:
        DamagedCheckpointError: the file is cut off, its checksums say that it is not what was written, or it is none.
        SuiteError: it is unsafe, or made by something else.
    """
    from pickle import UnpicklingError

    _refuse_damage(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        code = re.search(r"\bGLOBAL (\S+)", str(error))
        if code is None and not zipfile.is_zipfile(path):
            raise DamagedCheckpointError(f"{path}: cannot be read as a checkpoint: {_NONE}") from None
        what = f" ({code[1][:80]})" if code is not None else ""
        raise SuiteError(
            f"{path}: holds more than weights and plain values{what}, and pickled code is never run: {_GIVE}"
        ) from None
    except Exception:  # damaged pickles raise whatever their parts raise
        raise DamagedCheckpointError(f"{path}: cannot be read as a checkpoint: {_NONE}") from None
    made_by = task_of(checkpoint)
    if made_by is None or (task is not None and made_by != task):
        what = "no checkpoint of this suite" if made_by is None else f"a checkpoint of the task {made_by!r}"
        wanted = "" if task is None or made_by is None else f", not of {task!r}"
        raise SuiteError(f"{path}: is {what}{wanted}: {mend or _GIVE}")
    for part in ("hyper_parameters", "state_dict"):
        if not isinstance(checkpoint.get(part), dict):
            raise SuiteError(f"{path}: has no {part}: it is damaged, or was not made by fit")
    return dict(checkpoint)


def _refuse_damage(path: Path) -> None:
    """Compare the parts of a checkpoint, which is a zip archive, with their checksums: torch reads them without."""
    try:
        if not zipfile.is_zipfile(path):
            return  # cut off, or of another kind: torch says what
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except Exception as error:  # damaged directories of the archive raise whatever their parts raise
        wrong = " ".join(str(error).split())[:120] or type(error).__name__
    if wrong is not None:
        raise DamagedCheckpointError(f"{path}: is damaged: its checksum does not fit ({wrong})")


def task_of(checkpoint: object) -> str | None:
    """Name of the task that made a checkpoint; None where it is none of the suite."""
    ours = checkpoint.get("scansuite") if isinstance(checkpoint, dict) else None
    name = ours.get("task") if isinstance(ours, dict) else None
    return name if isinstance(name, str) and is_task(name) else None


def build_from(checkpoint: dict[str, Any], task: str, path: Path) -> Task:
    """The model that a checkpoint holds, with its weights.

    Raises:
        SuiteError: there is no such network, or the weights do not fit the one that the checkpoint describes; or it was
            trained with parts of the user's own that are not allowed here, or cannot be imported.
    """
    return rebuild(spec_of(task).task_class(), checkpoint, path)


def rebuild(cls: type[T], checkpoint: dict[str, Any], path: Path, *, strict: bool = True) -> T:
    """The model of a class that a checkpoint holds, with its weights.

    Args:
        cls: of the model.
        checkpoint: opened.
        path: of its file, for messages.
        strict: False lets weights be missing or left over.

    Raises:
        SuiteError: as in :func:`build_from`.
    """
    hparams = dict(checkpoint["hyper_parameters"])
    hparams["weights"] = None  # they are in the checkpoint; nothing is downloaded or looked for again
    try:
        model = cls(**hparams)
    except PartError as error:
        own = ", ".join(own_paths(hparams))
        raise SuiteError(f"{path}: was trained with {own}, which must be importable and allowed: {error}") from error
    except (SuiteError, TypeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SuiteError(f"{path}: its model cannot be built again ({reason}): was it made by this version?") from error
    model.note_weights(checkpoint["hyper_parameters"].get("weights"))
    load_into(model, checkpoint, path, strict=strict)
    model.pruned = True  # if at all, and not once more where training goes on
    return model


def load_into(model: Task, checkpoint: dict[str, Any], path: Path, *, strict: bool = True) -> None:
    """Fill a model of the same layout with everything that a checkpoint holds.

    Raises:
        SuiteError: the weights do not fit.
    """
    try:
        model.on_load_checkpoint(checkpoint)  # first the sizes of pruned layers
        model.load_state_dict(checkpoint["state_dict"], strict=strict)
    except SuiteError as error:
        raise SuiteError(f"{path}: {error}") from None
    except (RuntimeError, AttributeError, KeyError) as error:
        raise SuiteError(f"{path}: the weights do not fit: {' '.join(str(error).split())[:200]}") from None


@dataclass(frozen=True)
class Checkpoints:
    """One checkpoint, or those of an ensemble's members.

    Attributes:
        paths: one, or those of the members.
        record: of the ensemble, where it was evaluated before: ``chosen_on`` and what was chosen.
    """

    paths: tuple[Path, ...]
    record: dict[str, Any] | None = None

    def __str__(self) -> str:
        return " ".join(map(str, self.paths))


def joined(names: Sequence[Path], paths: Sequence[Path], where: str) -> Checkpoints:
    """The checkpoints that were found, with the record of their ensemble where there is one.

    Args:
        names: files and folders as the user named them.
        paths: what they lead to.
        where: the flag or argument, for messages.

    Raises:
        SuiteError: a checkpoint is there twice, or a record cannot be read.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise SuiteError(f"{where}: {path} is duplicated: each member of an ensemble counts once")
        seen.add(path.resolve())
    record = read_record(names[0]) if len(names) == 1 else None
    if record is None and len(paths) > 1:  # the folds of a run, one by one
        record = read_record(paths[0].parent.parent.parent)
        if record is not None and {path.resolve() for path in record[0]} != seen:
            record = None
    return Checkpoints(tuple(paths), record[1] if record is not None else None)


def read_record(folder: Path) -> tuple[list[Path], dict[str, Any]] | None:
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


def build_model(checkpoints: Checkpoints, task: str | None = None, opened: Open = open_checkpoint) -> Model:
    """The model of one checkpoint, or the ensemble of several, with their weights.

    Args:
        checkpoints: found before.
        task: name of the task that they must be of; None: that of the first.
        opened: how checkpoints are opened.

    Raises:
        SuiteError: a file is no checkpoint of this task, or two members differ in what they must agree in.
    """
    members: list[Task] = []
    for path in checkpoints.paths:
        checkpoint = opened(path, task)
        task = str(task_of(checkpoint))
        members.append(build_from(checkpoint, task, path))
    if len(members) == 1:
        return members[0]
    model = spec_of(str(task)).ensemble_class()(members, [str(path) for path in checkpoints.paths])
    if checkpoints.record is not None:
        model.adopt(checkpoints.record)
    return model
