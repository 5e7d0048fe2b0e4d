"""Log lines on the screen: our own lines, on rank 0, without the libraries' chatter."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from datamodules.remote import as_typed
from tasks.cli.display.console import is_quiet
from tasks.cli.runs.run_dir import global_rank

OURS = ("backbones", "datamodules", "tasks")
# Said by libraries of things that are so on purpose here.
QUIET = (
    r".*does not have many workers.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*The dataloader is already configured.*",
    r".*The `srun` command is available.*",
    r".*recommended to use .*sync_dist=True.*",
    r".*Precision bf16-mixed is not supported by the model summary.*",
)


def configure_logs() -> None:
    """Send our lines to stderr, warnings of every rank, the rest of rank 0 alone."""
    for pattern in QUIET:
        warnings.filterwarnings("ignore", pattern)
    handler = _Stderr()
    handler.setFormatter(_AsTyped("%(message)s"))
    level = logging.WARNING if is_quiet() else logging.INFO
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level if global_rank() == 0 else logging.ERROR)
        logger.propagate = False
    for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Stderr(logging.Handler):
    """Prints on what is standard error by then: where a bar is drawn, lines go above it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # logging's own way: what cannot be said ends nothing
            self.handleError(record)


class _AsTyped(logging.Formatter):
    """Lines that name data as the user does: by their URL, not by the local copy."""

    def format(self, record: logging.LogRecord) -> str:
        return as_typed(super().format(record))


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing but errors for a while."""
    loggers = [logging.getLogger(name) for name in OURS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
