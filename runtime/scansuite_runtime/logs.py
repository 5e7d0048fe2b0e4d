"""Lines on the screen: what is said on the way goes to standard error, results to standard output."""

from __future__ import annotations

import logging
import sys


def configure_logs(*, quiet: bool) -> None:
    """Show the lines of the suite and of the runtime, or their warnings alone.

    Args:
        quiet: warnings and errors alone.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsTyped("%(message)s"))
    for name in ("datamodules", "tasks", "scansuite_runtime"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        logger.propagate = False


class _AsTyped(logging.Formatter):
    """Lines that name data as the user does: by their URL, not by the local copy."""

    def format(self, record: logging.LogRecord) -> str:
        remote = sys.modules.get("datamodules.remote")
        text = super().format(record)
        return text if remote is None else str(remote.as_typed(text))
