"""Training: learning curves of the run, and the settings that it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scansuite.words import number_of
from tasks.evaluation.charts.learning_curves import best_epoch, own_monitor
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.report.content import FloatArray, Line, LinePlot, Section, Subject, Table
from tasks.evaluation.run_file import asked_monitor, read_config, read_plan_file
from tasks.evaluation.tables import read_table

EPOCHS = "metrics.csv"
# Settings of a training that papers state; those that were left at "none" are left out.
_SETTINGS = (
    "backbone", "weights", "head", "decoder", "detector", "loss", "optimizer", "lr", "weight_decay", "schedule",
    "warmup", "freeze", "dropout", "label_smoothing", "class_weights", "ema", "swa", "early_stopping", "normalize",
    "init",
)  # fmt: skip
_DATA_SETTINGS = ("batch_size", "image_size", "augment", "window", "percentiles", "spacing", "patch_size", "sampler")


def section(subject: Subject) -> Section | None:
    """Curves from ``metrics.csv``; None where the folder trained nothing."""
    folder = subject.run.folder
    if folder is None or not (folder / EPOCHS).is_file():
        return None
    epochs = read_table(folder / EPOCHS)
    if "epoch" not in epochs or not len(epochs):
        return None
    asked = asked_monitor(folder)
    monitor = own_monitor(epochs) if asked is None else (asked, None)
    config = read_config(folder)
    lines = [_length(epochs, monitor)]
    parts = [plot for name in _plotted(epochs, monitor) if (plot := _curves(epochs, name, monitor)) is not None]
    rows = _settings(config)
    table = Table("settings", "Settings", ("setting", "value"), rows, note="All settings: config.yaml of the run.")
    return Section(
        "training",
        "Training",
        lines,
        parts=[*parts, *([table] if rows else []), *_planned(folder)],
        figures={"epochs": len(epochs), "seconds": _seconds(epochs)},
    )


def _plotted(epochs: pd.DataFrame, monitor: tuple[str, str | None] | None) -> list[str]:
    return ["loss", *([monitor[0]] if monitor is not None else [])]


def _curves(epochs: pd.DataFrame, name: str, monitor: tuple[str, str | None] | None) -> LinePlot | None:
    lines = []
    for part, words in (("train", "training"), ("val", "validation")):
        values = _values(epochs, f"{part}/{name}")
        known = np.isfinite(values)
        if known.any():
            lines.append(Line(words, _values(epochs, "epoch")[known] + 1, values[known]))
    if not lines:
        return None
    note = "The best checkpoint was chosen by this metric on validation." if monitor and monitor[0] == name else ""
    every = np.concatenate([line.y for line in lines])
    return LinePlot(
        name,
        label_of(name) if name != "loss" else "Loss",
        "epoch",
        "" if name == "loss" else label_of(name),
        lines,
        log_y=name == "loss" and bool(every.min() > 0) and bool(every.max() > 50 * every.min()),
        note=note,
    )


def _values(epochs: pd.DataFrame, name: str) -> FloatArray:
    if name not in epochs:
        return np.full(len(epochs), np.nan)
    return pd.to_numeric(epochs[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _seconds(epochs: pd.DataFrame) -> float | None:
    seconds = _values(epochs, "seconds")
    return float(np.nansum(seconds)) if np.isfinite(seconds).any() else None


def _length(epochs: pd.DataFrame, monitor: tuple[str, str | None] | None) -> str:
    said = f"Trained for {number_of(len(epochs), 'epoch')}"
    seconds = _seconds(epochs)
    if seconds is not None:
        said += f" in {_time(seconds)}"
    if monitor is None or not np.isfinite(_values(epochs, f"val/{monitor[0]}")).any():
        return f"{said}."
    if monitor[1] is None:  # whether it rises is not known
        return f"{said}; the checkpoint was chosen by {label_of(monitor[0])} on validation."
    values = _values(epochs, f"val/{monitor[0]}")
    losses = _values(epochs, "val/loss") if "val/loss" in epochs else np.zeros(len(values))
    best = best_epoch(values, losses, monitor[1])
    return f"{said}; the best epoch by {label_of(monitor[0])} on validation ({values[best]:.3f}) was number {best + 1}."


def _planned(folder: Path) -> list[Table]:
    """What was not given and a plan has chosen, with its reasons; nothing where there was no plan."""
    planned = read_plan_file(folder)
    if not planned:
        return []
    rows = [(one["flag"], _told(one["value"]), one["reason"], one["source"]) for one in planned]
    note = "Chosen before the training from the data, the machine and the time; what was given by hand is not among it."
    return [Table("plan", "Planned settings", ("setting", "value", "why", "source"), rows, note=note)]


def _told(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    model = config.get("model") if isinstance(config.get("model"), dict) else {}
    data = config.get("data") if isinstance(config.get("data"), dict) else {}
    assert isinstance(model, dict)
    assert isinstance(data, dict)
    trainer = config.get("trainer") if isinstance(config.get("trainer"), dict) else {}
    assert isinstance(trainer, dict)
    given = [
        *((name, model.get(name)) for name in _SETTINGS),
        *((name, (data.get("init_args") or {}).get(name)) for name in _DATA_SETTINGS),
        *((name, trainer.get(name)) for name in ("max_epochs", "precision", "accumulate_grad_batches")),
        ("seed", config.get("seed_everything")),
    ]
    return [
        (name.replace("_", " "), Path(str(value)).name if name == "weights" else str(value))
        for name, value in given
        if value not in (None, "none", [], {})
    ]
