"""Random predictions tables with ties, unknown targets and classes that never occur."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LABELS = ("mass", "oedema", "hernia", "007")


def single_label(n: int, class_names: list[str], seed: int, absent: tuple[str, ...] = ()) -> pd.DataFrame:
    """One class a case; every ninth target is unknown."""
    generator = np.random.default_rng(seed)
    size = len(class_names)
    present = [k for k, name in enumerate(class_names) if name not in absent]
    target = generator.choice(present, n)
    chance = (generator.dirichlet(np.ones(size), n) + 0.4 * np.eye(size)[target]) / 1.4
    score = generator.multinomial(41, chance) / 41  # few values, so many ties; 41: none on an edge between bins
    names = np.array(class_names, dtype=object)
    frame = pd.DataFrame({"case_id": [f"case{i}" for i in range(n)], "split": "test"})
    frame["target"] = pd.Series(names[target], dtype="str").mask(np.arange(n) % 9 == 0)
    frame["prediction"] = pd.Series(names[score.argmax(axis=1)], dtype="str")
    for k, name in enumerate(class_names):
        frame[f"score_{name}"] = score[:, k]
    return frame


def multilabel(n: int, seed: int) -> pd.DataFrame:
    """Four labels with unknown cells; ``hernia`` occurs nowhere and ``007`` is never predicted."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"case_id": [f"case{i}" for i in range(n)], "split": "test"})
    for name, prevalence in zip(LABELS, (0.3, 0.5, 0.0, 0.2), strict=True):
        target = np.where(generator.random(n) < prevalence, 1.0, 0.0)
        score: NDArray[np.float64] = np.clip(0.6 * generator.random(n) + 0.3 * target, 0, 1).round(2)
        if name == "007":
            score = score / 2
        target[generator.random(n) < 0.2] = np.nan
        target[0] = np.nan  # a case without any known label
        frame[f"target_{name}"] = target
        frame[f"prediction_{name}"] = (score >= 0.5).astype(int)
        frame[f"prediction_op_{name}"] = (score >= 0.3).astype(int)
        frame[f"score_{name}"] = score
    return frame
