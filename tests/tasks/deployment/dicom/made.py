"""Sources, results and outside programs for the tests of DICOM objects."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tasks.deployment.dicom.result import ModelFacts

SHAPE = (6, 16, 12)  # slices, rows, columns
FACTS = ModelFacts("kidneys", "segment", ("background", "left kidney", "blob"), run="ab" * 32)
DETECTOR = ModelFacts("finder", "detect", ("mass", "nodule"), run="cd" * 32)
CLASSIFIER = ModelFacts("reader", "classify", ("benign", "malignant"), run="ef" * 32)


def drawn() -> NDArray[np.uint8]:
    """(slices, rows, columns) of two classes, alike in no direction."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 3:9, 4:11] = 1
    mask[3:5, 10:15, 2:6] = 2
    mask[2, 0, 0] = 2
    return mask


def on_grid(mask: NDArray[Any]) -> NDArray[Any]:
    """As a series' voxels lie: (columns, rows from below, slices)."""
    return mask[:, ::-1].transpose(2, 1, 0)


def saved(made: Dataset, file: Path) -> Path:
    made.save_as(file, enforce_file_format=True)
    return file


def program(name: str) -> str:
    """Path of a program beside Python or in the PATH; the test is skipped where it is absent."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def assert_valid(files: Sequence[Path]) -> None:
    """No error of ``dciodvfy``, and no warning but those that ``docs/dicom_out.md`` names."""
    verify = program("dciodvfy")
    for file in files:
        done = subprocess.run([verify, str(file)], capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        named = ("<99SCANSUITE>", "only permitted to be empty when actually unknown")
        assert [line for line in lines if not any(one in line for one in named)] == [], file
