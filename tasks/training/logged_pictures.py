"""Pictures of a run for the programs that follow trainings: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

log = logging.getLogger(__name__)


def read_pictures(files: Iterable[Path]) -> dict[str, NDArray[np.uint8]]:
    """PNGs as (H, W, 3) RGB, by file name without suffix."""
    from PIL import Image

    pictures = {}
    for file in files:
        with Image.open(file) as image:
            pictures[file.stem] = np.asarray(image.convert("RGB"))
    return pictures


def log_pictures(loggers: Iterable[Logger], pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    """Hand pictures to the loggers that take any, each in its own way; a logger that fails costs a line, not the run.

    Args:
        loggers: of the trainer; on rank 0 alone.
        pictures: (H, W, 3) RGB by name.
    """
    if not pictures:
        return
    for logger in loggers:
        try:
            _hand_over(logger, pictures)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            log.warning("%s: pictures are not shown there: %s", type(logger).__name__, reason)


def _hand_over(logger: Logger, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    if isinstance(logger, TensorBoardLogger):
        writer: Any = logger.experiment  # opens a new event file where the training has closed its own
        for name, picture in pictures.items():
            writer.add_image(name, picture, dataformats="HWC")
        writer.close()
    elif isinstance(logger, WandbLogger):
        for name, picture in pictures.items():
            logger.log_image(name, [picture])
    elif isinstance(logger, MLFlowLogger):
        client: Any = logger.experiment
        for name, picture in pictures.items():
            client.log_image(logger.run_id, picture, artifact_file=f"pictures/{name}.png")
