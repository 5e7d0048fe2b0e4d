"""The verb ``test``: evaluate a checkpoint on the test part, or on a whole other data set."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.cli.evaluate_checkpoint import evaluate_checkpoint


def run(task: str, argv: Sequence[str]) -> int:
    """Evaluate on test."""
    return evaluate_checkpoint(task, argv, "test")
