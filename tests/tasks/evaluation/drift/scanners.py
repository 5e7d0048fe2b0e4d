"""Tables of two parts with several scans a patient, alike or from a shifted site."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.task_file import RunTask

BINARY = RunTask("classify", ["<b>benign</b>", "NA"], {"NA": 0.4}, {"target": "binary", "positive_class": "NA"})


def two_parts(
    seed: int, patients: tuple[int, int] = (60, 80), scans: int = 4, *, shift: float = 0.0, site: float = 0.3
) -> EvaluatedRun:
    """A binary run whose scans of a patient are alike; the test part is moved by ``shift`` standard deviations.

    Args:
        seed: of all.
        patients: in validation and test.
        scans: of a patient.
        shift: of scores, ages and sizes of the test part.
        site: share of test patients of site ``B``; 0.3 in validation.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for split, count, moved, share in (("val", patients[0], 0.0, 0.3), ("test", patients[1], shift, site)):
        patient = np.repeat(np.arange(count), scans)
        own, ill = generator.normal(moved, 1, count), generator.random(count) < 0.4
        noise = 0.3 * generator.normal(size=len(patient))
        names = np.char.add(split, patient.astype(str))
        parts.append(
            pd.DataFrame(
                {
                    "case_id": np.char.add(np.char.add(names, "_"), np.tile(np.arange(scans), count).astype(str)),
                    "patient_id": names,
                    "split": split,
                    "path": "scan.png",
                    "width": (200 + 10 * own).astype(int)[patient],
                    "height": 256,
                    "spacing": "0.5 0.5",
                    "age": (60 + 10 * generator.normal(moved, 1, count)).round()[patient],
                    "sex": generator.choice(["F", "M"], count)[patient],
                    "site": np.where(generator.random(count) < share, "B", "A")[patient],
                    "rows": generator.integers(1, 5, len(patient)),
                    "target": np.array(BINARY.class_names)[ill.astype(int)][patient],
                    "score": 1 / (1 + np.exp(-((own + ill)[patient] + noise))),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    score = table.pop("score").to_numpy()
    predictions = table[["case_id", "split", "target"]].copy()
    predictions["prediction"] = np.where(score >= 0.5, *BINARY.class_names[::-1])
    for name, values in zip(BINARY.class_names, (1 - score, score), strict=True):
        predictions[f"score_{name}"] = values
    cases = table.drop(columns="target").astype({"case_id": "str", "patient_id": "str", "split": "str"})
    return EvaluatedRun("run", BINARY, cases, predictions)
