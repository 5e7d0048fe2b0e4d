"""``check`` on voxels at the ends of what floats hold."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tifffile import imwrite

from tests.tasks.cli.conftest import Run

SHAPE = (16, 16)


def speckled(low: float, high: float, kind: type) -> NDArray[Any]:
    return np.where(np.random.default_rng(0).random(SHAPE) < 0.5, low, high).astype(kind)


VALUES: dict[str, NDArray[Any]] = {
    "all of 3e38": np.full(SHAPE, 3e38, np.float32),
    "from -3e38 to 3e38": speckled(-3e38, 3e38, np.float32),
    "the largest of float64": speckled(-1.7e308, 1.7e308, np.float64),
    "infinite": np.full(SHAPE, np.inf, np.float32),
    "NaN": np.full(SHAPE, np.nan, np.float32),
    "all alike": np.full(SHAPE, 7, np.float32),
    "subnormal": speckled(0, 1e-44, np.float32),
    "the smallest of float64": speckled(0, 5e-324, np.float64),
    "close together": speckled(1e8, 1e8 + 1, np.float64),
}


@pytest.mark.parametrize("name", VALUES)
def test_check_ends_in_findings_whatever_the_voxels_hold(run_task: Run, tmp_path: Path, name: str) -> None:
    for number in range(6):
        file = tmp_path / "scans" / "ab"[number % 2] / f"{number}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        imwrite(file, VALUES[name])
    flags = ["--data", "ImageFolder", "--data.root", "scans", "--data.num_workers", "0", "--output", "out"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        status, out, err = run_task("classify", "check", *flags)
    assert status in (0, 1), err
    assert "Traceback" not in err
    assert (tmp_path / "out" / "check.html").is_file()
    assert "out/check.csv" in out
