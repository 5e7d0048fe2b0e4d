"""Small folders of scans, written for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.classification.image_table import ImageTable
from datamodules.readers.raster import write_png


def write_scans(folder: Path, paths: Iterable[str], shape: tuple[int, ...] = (16, 16)) -> None:
    """One PNG of noise a path; another path, another content."""
    for path in paths:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(path.encode()))
        write_png(file, rng.integers(0, 256, shape, dtype=np.uint8))


def write_table(folder: Path, frame: pd.DataFrame, name: str = "labels.csv") -> Path:
    """``frame`` as CSV, beside a scan for each of its paths."""
    write_scans(folder, frame["path"])
    frame.to_csv(folder / name, index=False)
    return folder / name


def cohort(patients: int = 20, scans: int = 3) -> pd.DataFrame:
    """Rows of ``path, patient_id, label, sex``: classes and sexes alternate from patient to patient."""
    numbers = np.repeat(np.arange(patients), scans)
    return pd.DataFrame(
        {
            "path": [f"p{number:03d}/{scan}.png" for number in range(patients) for scan in range(scans)],
            "patient_id": [f"{number:03d}" for number in numbers],
            "label": np.where(numbers % 2 == 0, "benign", "malignant"),
            "sex": np.where(numbers // 2 % 2 == 0, "F", "M"),
        }
    )


def data_of(folder: Path, **settings: Any) -> ImageTable:
    """The table in a folder as data, read in this process."""
    return ImageTable(str(folder), **{"num_workers": 0, "batch_size": 8, **settings})


def images_of(batches: list[Any]) -> NDArray[np.float32]:
    """All images of some batches, (N, C, H, W)."""
    return np.concatenate([batch["image"].numpy() for batch in batches])
