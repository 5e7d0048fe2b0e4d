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
    rows = []
    for split, count, moved, share in (("val", patients[0], 0.0, 0.3), ("test", patients[1], shift, site)):
        for patient in range(count):
            own = generator.normal(moved, 1)
            age, ill = round(60 + 10 * generator.normal(moved, 1)), generator.random() < 0.4
            place, sex = ("B" if generator.random() < share else "A"), generator.choice(["F", "M"])
            for scan in range(scans):
                score = 1 / (1 + np.exp(-(own + ill + 0.3 * generator.normal())))
                rows.append(
                    {
                        "case_id": f"{split}{patient}_{scan}", "patient_id": f"{split}{patient}", "split": split,
                        "path": f"{split}{patient}_{scan}.png", "width": int(200 + 10 * own), "height": 256,
                        "spacing": "0.5 0.5", "age": age, "sex": sex, "site": place,
                        "rows": int(generator.integers(1, 5)), "target": BINARY.class_names[int(ill)], "score": score,
                    }
                )  # fmt: skip
    table = pd.DataFrame(rows)
    score = table.pop("score").to_numpy()
    predictions = table[["case_id", "split", "target"]].copy()
    predictions["prediction"] = np.where(score >= 0.5, *BINARY.class_names[::-1])
    for name, values in zip(BINARY.class_names, (1 - score, score), strict=True):
        predictions[f"score_{name}"] = values
    cases = table.drop(columns="target").astype({"case_id": "str", "patient_id": "str", "split": "str"})
    return EvaluatedRun("run", BINARY, cases, predictions)
