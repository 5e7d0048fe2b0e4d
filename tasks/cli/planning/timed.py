"""``fit --time 30m``: the callback that ends the training on time, by what was asked for or begun with."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.base import ScanDataModule
from tasks.cli.planning.given import given_flags
from tasks.planning.budget import QUICK_SECONDS, seconds_of
from tasks.planning.settle.length import BASE, BY_VALIDATION, LENGTH, SHARE, views
from tasks.tile import evaluated_patches
from tasks.training.on_time import OnTime

_IMPORTED = time.monotonic()
_LEAST_SHARE = 0.25  # of a core; who waits for a GPU or for loaders has less, and needs no more time for it


def started() -> float:
    """When this process was started, by the monotonic clock.

    Imports take seconds before any line of ours runs: on Linux the kernel knows; elsewhere it is this module's import.
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
        age = up - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return _IMPORTED
    return min(_IMPORTED, time.monotonic() - age)


def asked_seconds(config: Mapping[str, Any]) -> float | None:
    """Seconds that ``--time``, or a quick look, leaves the whole command; None: as long as it takes."""
    if config["time"] is not None:
        return seconds_of(config["time"])
    return QUICK_SECONDS if config["quality"] == "quick" else None


def uses_all(words: Sequence[str]) -> bool:
    """Whether a time is used to its end: it was asked for, and no other length was.

    Args:
        words: flags of the user's, without a plan's.
    """
    names = given_flags(words)
    return "time" in names and not names & set(LENGTH)


def on_time(
    config: Mapping[str, Any],
    words: Sequence[str],
    data: ScanDataModule,
    checkpoint: Mapping[str, Any] | None,
    *,
    testing: bool,
) -> list[OnTime]:
    """The callback that keeps time; none where there is no end to keep.

    Args:
        config: the parsed flags.
        words: flags of the user's, without a plan's.
        data: that is trained on.
        checkpoint: that the training goes on from: what it began with holds unless a time is given anew.
        testing: the test part is evaluated at the end.

    Raises:
        SuiteError: the time is no time.
    """
    seconds, stretches = asked_seconds(config), uses_all(words)
    validating = SHARE if stretches and "trainer.check_val_every_n_epoch" not in given_flags(words) else None
    before = {} if checkpoint is None else dict(checkpoint["callbacks"]).get(OnTime.__qualname__, {})
    if before:
        seconds = float(before["seconds"]) if seconds is None else seconds
        stretches, validating = bool(before["stretches"]), before.get("validating")
    if seconds is None or config["trainer"]["fast_dev_run"]:
        return []
    validated = len(data.rows("val"))
    judged = validated + (len(data.rows("test")) if testing else 0)
    model = config["model"]
    splits = ("val", "test") if testing else ("val",)
    an_image = evaluated_patches(model.get("window"), float(model.get("overlap") or 0), data, splits)
    ratio = BY_VALIDATION * views(model.get("tta")) * an_image * judged / max(1, validated)
    began, computed = time.monotonic(), time.process_time()

    def behind(validation: float) -> float:
        # A process that gets half of a core, beside others, takes twice as long for charts and the report.
        share = (time.process_time() - computed) / max(1e-3, time.monotonic() - began)
        return BASE / min(1.0, max(_LEAST_SHARE, share)) + ratio * validation

    return [OnTime(seconds, started(), behind, stretches=stretches, validating=validating)]
