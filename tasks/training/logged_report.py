"""The end of a run for the programs that follow trainings: its final metrics, and its report as a file."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

log = logging.getLogger(__name__)


def log_report(loggers: Iterable[Logger], metrics: Mapping[str, float], report: Path | None) -> None:
    """Hand the metrics of the best checkpoint, as ``final/<part>/<metric>``, and the report to the loggers.

    TensorBoard, which keeps no files, gets the metrics alone. A logger that fails costs a line, not the run.

    Args:
        loggers: of the trainer; on rank 0 alone.
        metrics: ``<part>/<metric>`` -> value; undefined ones are left out.
        report: the page; None = there is none.
    """
    known = {f"final/{name}": value for name, value in metrics.items() if math.isfinite(value)}
    for logger in loggers:
        try:
            _hand_over(logger, known, report)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            log.warning("%s: final metrics and report are not there: %s", type(logger).__name__, reason)


def _hand_over(logger: Logger, metrics: Mapping[str, float], report: Path | None) -> None:
    own: Any = getattr(logger, "experiment", None)
    if isinstance(logger, TensorBoardLogger):
        for name, value in metrics.items():
            own.add_scalar(name, value)
        own.close()
    elif isinstance(logger, WandbLogger):
        own.summary.update(dict(metrics))
        if report is not None:
            own.save(str(report), base_path=str(report.parent), policy="now")
    elif isinstance(logger, MLFlowLogger):
        for name, value in metrics.items():
            own.log_metric(logger.run_id, name.replace("@", "_at_"), value)  # MLflow takes no "@" in names
        if report is not None:
            own.log_artifact(logger.run_id, str(report))
    elif isinstance(logger, CSVLogger):
        logger.log_metrics(dict(metrics))
        logger.save()
