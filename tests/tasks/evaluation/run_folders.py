"""Run folders as an evaluation leaves them, from made-up scores: no model, no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.evaluation.tables import write_table
from tasks.evaluation.task_file import RunTask, write_task

CLASSES = ["healthy", "ill"]
THRESHOLD = 0.5


def binary_tables(
    patients: int = 60, scans: int = 2, seed: int = 0, shift: float = 1.5, split: str = "test"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases and predictions of two classes; scans of a patient are alike, and the scores are calibrated.

    Args:
        patients: how many, half of them ill.
        scans: of each.
        seed: of the draws.
        shift: distance of both classes, in standard deviations of the score's logit within a class.
        split: the part.
    """
    rng = np.random.default_rng(seed)
    ill = np.arange(patients) % 2 == 1
    own = rng.normal(0, np.sqrt(0.5), patients)
    logit: NDArray[np.float64] = (own[:, None] + rng.normal(0, np.sqrt(0.5), (patients, scans))) + shift * ill[:, None]
    # Two normal distributions as far apart as `shift`: the log of their ratio is the calibrated logit.
    score = 1 / (1 + np.exp(-(shift * logit - shift**2 / 2)))
    ids = [f"{split}{patient:03d}_{scan}" for patient in range(patients) for scan in range(scans)]
    truth = np.repeat(ill, scans)
    flat = score.ravel()
    cases = pd.DataFrame(
        {
            "case_id": ids,
            "patient_id": np.repeat([f"{split}{patient:03d}" for patient in range(patients)], scans),
            "path": [f"{name}.png" for name in ids],
            "split": split,
            "width": 64,
            "height": 64,
            "spacing": "0.5 0.5",
            "sex": np.repeat(np.where(rng.random(patients) < 0.5, "F", "M"), scans),
            "age": np.repeat(rng.integers(20, 90, patients), scans),
        }
    )
    names = np.array(CLASSES, dtype=object)
    predictions = pd.DataFrame(
        {
            "case_id": ids,
            "split": split,
            "target": names[truth.astype(int)],
            "prediction": names[(flat >= 0.5).astype(int)],
            "score_healthy": 1 - flat,
            "score_ill": flat,
            "prediction_op": names[(flat >= THRESHOLD).astype(int)],
        }
    )
    return cases, predictions


def write_binary_run(folder: Path, seed: int = 0, shift: float = 1.5, patients: int = 60) -> Path:
    """A run folder of two classes with validation and test.

    Args:
        folder: made here.
        seed: of the draws.
        shift: see :func:`binary_tables`.
        patients: of each part.
    """
    folder.mkdir(parents=True)
    parts = [
        binary_tables(patients, seed=seed + number, shift=shift, split=part)
        for number, part in enumerate(("val", "test"))
    ]
    write_table(pd.concat([cases for cases, _ in parts], ignore_index=True), folder / "cases.csv")
    write_table(pd.concat([predictions for _, predictions in parts], ignore_index=True), folder / "predictions.csv")
    own = {"target": "binary", "positive_class": "ill", "operating_point": "youden"}
    write_task(folder, RunTask("classify", CLASSES, {"ill": THRESHOLD}, own))
    return folder
