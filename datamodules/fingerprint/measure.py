"""Measure the fingerprint of a data set, looking at a sample of its images within a bound on time."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import SPLITS
from datamodules.classification.base import ClassificationData
from datamodules.detection.base import DetectionData
from datamodules.fingerprint.fingerprint import Fingerprint, Kind, Spread


def spread(values: NDArray[np.float64]) -> Spread:
    """The spread of numbers, at least one."""
    return Spread(*(float(one) for one in np.quantile(values, (0, 0.05, 0.5, 0.95, 1))))


def measure_fingerprint(data: ScanDataModule) -> Fingerprint:
    """The fingerprint of a data module, whose table and split are made on the way.

    Args:
        data: of any task.

    Raises:
        SuiteError: the data cannot be trained on as they are.
    """
    began = time.monotonic()
    table = data.table
    train = data.rows("train")
    kind: Kind = (
        "classify"
        if isinstance(data, ClassificationData)
        else "detect"
        if isinstance(data, DetectionData)
        else "segment"
    )
    patients = table.cases["patient_id"]
    facts = data.image_facts
    (low_h, low_w), (high_h, high_w) = facts.smallest or (0, 0), facts.largest or (0, 0)
    return Fingerprint(
        task=kind,
        target=data.target if isinstance(data, ClassificationData) else "",
        cases={part: len(data.rows(part)) for part in SPLITS},
        patients={part: int(patients.iloc[data.rows(part)].nunique()) for part in SPLITS},
        samples=len(data.dataset(train)),
        images=len(data.first_images(train)),
        classes=tuple(getattr(data, "class_names", ())),
        channels=data.preprocess.channels,
        height=spread(np.array([low_h, high_h], float)),
        width=spread(np.array([low_w, high_w], float)),
        seconds=time.monotonic() - began,
    )
