"""``--trainer.limit_*_batches 0`` where a verb would be left with nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from scansuite.errors import SuiteError

Part = Literal["train", "val", "test", "predict"]

_VERBS: dict[Part, str] = {"train": "train on", "val": "validate on", "test": "test on", "predict": "predict"}
_MENDS: dict[Part, str] = {
    "train": "leave it out",
    "val": "leave it out; --trainer.check_val_every_n_epoch N validates less often",
    "test": "leave it out; fit --judge_test false leaves the test part alone",
    "predict": "leave it out",
}


def refuse_no_batches(trainer: Mapping[str, Any], *parts: Part) -> None:
    """Stop before any work where no batch of a part would be looked at.

    Args:
        trainer: the flags of the trainer.
        parts: those that the verb needs.

    Raises:
        SuiteError: names the flag.
    """
    for part in parts:
        if trainer[f"limit_{part}_batches"] == 0:
            raise SuiteError(f"--trainer.limit_{part}_batches 0: nothing is left to {_VERBS[part]}: {_MENDS[part]}")
