"""The verb ``validate``: evaluate a checkpoint on the validation part."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.cli.evaluate_checkpoint import evaluate_checkpoint


def run(task: str, argv: Sequence[str]) -> int:
    """Evaluate on validation."""
    return evaluate_checkpoint(task, argv, "val")
