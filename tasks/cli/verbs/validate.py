"""``validate``: judge a checkpoint on the validation part."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.cli.judge_checkpoint import judge_checkpoint


def run(task: str, argv: Sequence[str]) -> int:
    """Judge on validation."""
    return judge_checkpoint(task, argv, "val")
