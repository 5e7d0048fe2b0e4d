"""A run that goes on: what its checkpoint was made with, and as it was where an earlier version did not yet keep it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datamodules.base import ScanDataModule
from datamodules.cases.sides import sided_names
from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.base import Task
from tasks.cli.runs.checkpoints import open_checkpoint
from tasks.cli.runs.run_data import RunData, as_lists
from tasks.loading import DamagedCheckpointError
from tasks.training.saving import LAST, PREVIOUS

log = logging.getLogger(__name__)

_BEFORE = {"--data.patches": 1}  # what a run had before there was such a flag


def open_last(folder: Path, task: str) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint that a run goes on from: the last one, or the one before where the last one is damaged.

    Args:
        folder: of the checkpoints.
        task: name of the task.

    Returns:
        Its path and contents; None where none was written yet.

    Raises:
        SuiteError: both are damaged, or the last one is made by something else.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    try:
        if last.is_file():
            return last, open_checkpoint(last, task)
        reason = f"{last}: is gone"
    except DamagedCheckpointError as error:
        if not previous.is_file():
            raise SuiteError(f"{error}; and there is none from before it: start a new run") from None
        reason = str(error)
    if not previous.is_file():
        return None
    try:
        found = open_checkpoint(previous, task)
    except DamagedCheckpointError as error:
        raise SuiteError(f"{reason}; and so is the one from before it ({error}): start a new run") from None
    log.warning("%s: goes on from the save before, %s", reason, previous)
    return previous, found


def as_begun(checkpoint: dict[str, Any], kept: RunData, config: Any) -> Callable[[ScanDataModule], None]:
    """Let the data of a run go on as they were when it began, where an earlier version knew less of them.

    Ranges that files state were not looked at, images were mirrored whatever their classes were called
    (``--data.sided true`` ends that), augmentation ran on the CPU, and an image gave one patch an epoch. A run that was
    augmented on a GPU goes on so on any machine.

    Args:
        checkpoint: that training goes on from.
        kept: the data of the run.
        config: the parsed flags; changed in place.

    Returns:
        What the new data module must be shown to before anything is read from it.

    Raises:
        SuiteError: the checkpoint says what cannot be of its images.
    """
    spec = _saved(checkpoint["hyper_parameters"].get("preprocess"))
    stored_range = spec is None or spec.stored_range
    before, now = kept.section.get("init_args") or {}, config["data"]["init_args"]
    mirrors = bool(before) and "sided" not in before and now.get("sided") is None
    if mirrors:
        now["sided"] = False
    if before and "patches" not in before and now.get("patches") == "auto":
        now["patches"] = _BEFORE["--data.patches"]
    if before and "augment_on" not in before and now.get("augment_on") == "auto":
        now["augment_on"] = "cpu"

    def begin(data: ScanDataModule) -> None:
        data.augmented_on_gpu_before = before.get("augment_on") == "gpu"
        data.stored_range = stored_range
        names = sided_names(getattr(data, "class_names", None) or ()) if mirrors else []
        if names:
            log.warning(
                "classes have sides (%s), but %s began with images that were mirrored, and goes on so: "
                "--data.sided true ends it",
                ", ".join(names[:4]),
                kept.folder,
            )

    return begin


def refuse_changed_model(model: Task, checkpoint: dict[str, Any]) -> None:
    """Flags that a resumed run cannot honour are an error, not silently those of the checkpoint.

    Raises:
        SuiteError: names the first argument that is not what it was; one that the checkpoint lacks is new since.
    """
    for name, value in checkpoint["hyper_parameters"].items():
        now = model.hparams.get(name)
        if as_lists(now) == as_lists(value):
            continue
        if name == "preprocess" and (spec := _saved(value)) is not None and now == spec.to_dict():
            continue  # but for fields that came since
        if name in model.facts:
            raise SuiteError(f"the data differ from those of the checkpoint: {name} was {value} and is {now} now")
        raise SuiteError(
            f"--model.{name} {now} differs from {value} in the checkpoint: go on with the old value, or start a "
            "new run with --model.weights"
        )


def _saved(plain: Any) -> Preprocess | None:
    """The spec that a checkpoint holds, if it holds one."""
    try:
        return None if plain is None else Preprocess.from_dict(plain)
    except (SuiteError, TypeError, ValueError, AttributeError) as error:
        text = " ".join(str(error).split())[:160]
        raise SuiteError(f"last.ckpt: its preprocess cannot be read ({text}): was it made by this version?") from error


def refuse_changed_length(now: Mapping[str, Any], model: Task, config: Path | None) -> None:
    """Refuse to stretch a schedule that was laid out for so many epochs, of so many steps.

    Args:
        now: the parsed flags.
        model: with its schedule.
        config: ``config.yaml`` of the run; None: it has none yet.

    Raises:
        SuiteError: names the flag that sets another length.
    """
    schedule, args = model.schedule.name, model.schedule.args
    if config is None or schedule in ("constant", "plateau"):
        return
    flags = [
        "--data.batch_size",
        "--data.total_batch_size",
        "--trainer.accumulate_grad_batches",
        "--trainer.limit_train_batches",
        *(("--data.patches",) if "patches" in now["data"]["init_args"] else ()),
    ]
    if schedule in ("cosine", "onecycle", "polynomial") and "t_max" not in args:
        flags += ["--trainer.max_epochs", "--trainer.max_steps"]
    import yaml

    earlier = yaml.safe_load(config.read_text(encoding="utf-8"))
    for flag in flags:
        group, name = flag.removeprefix("--").split(".")
        before, value = (
            (values[group]["init_args"] if group == "data" else values[group]).get(name, _BEFORE.get(flag))
            for values in (earlier, now)
        )
        if value != before:
            length = "without it" if before in (None, -1) else f"for {before}"
            longer = ""
            if flag == "--trainer.max_epochs":
                best = config.parent / "checkpoints" / "best.ckpt"
                words = ["--config", str(config), "--model.weights", str(best), flag, str(value)]
                longer = f"; to train on from what is there: fit {shlex.join(words)}"
            raise SuiteError(
                f"{flag} {value}: the schedule {schedule} was laid out {length}: go on with the old value, or start a "
                f"new run with --model.weights{longer}"
            )
