"""``--logger``: the program that follows a training."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, cast

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from scansuite.errors import SuiteError

LoggerName: TypeAlias = Literal["tensorboard", "wandb", "mlflow", "csv"]

# Packages of which one must be there.
_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow", "mlflow_skinny")}


def refuse_missing_logger(name: str, own: object) -> None:
    """Refuse a logger whose package is missing, and a second one, before a folder is made.

    Args:
        name: value of ``--logger``.
        own: value of ``--trainer.logger``.

    Raises:
        SuiteError: says what to install, or which flag to leave out.
    """
    if own is not None and name != "tensorboard":
        raise SuiteError(f"--logger {name} with --trainer.logger: give one of the two")
    packages = _PACKAGES.get(name, ())
    if packages and not any(find_spec(package) for package in packages):
        raise SuiteError(
            f"--logger {name}: needs the package {packages[0]}, which is missing: pip install {packages[0]}, or "
            "--logger csv"
        )


def make_logger(name: str, run_dir: Path) -> Logger:
    """The logger of a run: its files are in the run folder; ``wandb`` and ``mlflow`` send to their server as well.

    Where the server is, and who one is there, say the programs' own settings (``WANDB_MODE=offline``,
    ``MLFLOW_TRACKING_URI``; without it MLflow keeps its files in ``mlruns`` in the run folder).
    """
    if name == "csv":
        return CSVLogger(save_dir=str(run_dir), name="", version="csv_logs")
    if name == "wandb":
        return cast("Logger", WandbLogger(name=run_dir.name, save_dir=str(run_dir), project="scansuite"))
    if name == "mlflow":
        return MLFlowLogger(experiment_name="scansuite", run_name=run_dir.name, save_dir=str(run_dir / "mlruns"))
    return TensorBoardLogger(save_dir=str(run_dir), name="", version="", default_hp_metric=False)
