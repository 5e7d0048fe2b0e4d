"""Evaluated runs of simulated patients, with calls at an operating point."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.evaluation.classification.operating_point import call_at, operating_points
from tasks.evaluation.decisions.findings import Finding
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.operating_rules import read_rule
from tasks.evaluation.task_file import RunTask


def finding(seed: int, patients: int = 60, shift: float = 1.6, decimals: int | None = None) -> Finding:
    """Scans of patients, in whom the finding comes and goes; scores are probabilities of a model that is calibrated."""
    generator = np.random.default_rng([seed, patients])
    groups = np.repeat(np.arange(patients), generator.integers(1, 4, patients)).astype(np.intp)
    truth = (generator.random(patients) < 0.5)[groups] & (generator.random(len(groups)) < 0.8)
    noise = (generator.standard_normal(patients)[groups] + generator.standard_normal(len(groups))) / np.sqrt(2)
    share = 0.4
    odds = shift * (noise + shift * truth - shift / 2) + np.log(share / (1 - share))
    score = 1 / (1 + np.exp(-odds))
    return Finding("ill", score if decimals is None else score.round(decimals), truth, groups, 0.4)


def binary_run(seed: int = 0, patients: int = 60, rule: str = "youden", shift: float = 1.6) -> EvaluatedRun:
    """Validation and test of as many patients each, from the same population."""
    parts = {}
    for number, split in enumerate(("val", "test")):
        own = finding(2 * seed + number, patients, shift)
        ids = [f"{split}{case}" for case in range(len(own.score))]
        parts[split] = pd.DataFrame(
            {
                "case_id": ids,
                "split": split,
                "target": np.where(own.truth, "ill", "well"),
                "prediction": np.where(own.score >= 0.5, "ill", "well"),
                "score_well": 1 - own.score,
                "score_ill": own.score,
                "patient_id": [f"{split}-{patient}" for patient in own.groups],
            }
        )
    table = pd.concat(list(parts.values()), ignore_index=True)
    facts = {"kind": "binary", "class_names": ["well", "ill"], "positive_class": "ill"}
    points = operating_points(table[table["split"] == "val"], **facts, rule=read_rule(rule, "cases"))  # type: ignore[arg-type]
    task = RunTask(
        "classify", ["well", "ill"], points, {"target": "binary", "positive_class": "ill", "operating_point": rule}
    )
    cases = table[["case_id", "patient_id", "split"]].assign(path="scan.png")
    predictions = call_at(table.drop(columns="patient_id"), points, **facts)  # type: ignore[arg-type]
    return EvaluatedRun("demo", task, cases, predictions)


def box_run(seed: int = 0, images: int = 40, rule: str = "f1") -> EvaluatedRun:
    """Boxes of one or two classes an image, found with noise; two images a patient."""
    from tasks.evaluation.detection.metrics import detection_operating_points

    generator = np.random.default_rng(seed)
    cases, targets, found = [], [], []
    for split in ("val", "test"):
        for image in range(images):
            case = f"{split}{image}"
            cases.append((case, f"{split}-{image // 2}", "scan.png", split, 200, 200, "0.5 0.5"))
            for _ in range(int(generator.integers(0, 4))):
                corner, size = generator.integers(0, 120, 2), generator.integers(6, 70, 2)
                label = ("cyst", "mass")[int(generator.integers(2))]
                box = np.concatenate([corner, corner + size]).astype(np.float64)
                targets.append((case, split, label, *box))
                if generator.random() < 0.5 + size.min() / 150:
                    score = float(generator.beta(4, 2))
                    found.append((case, split, label, score, *(box + generator.normal(0, 1, 4).round(1) * 0.5)))
            for _ in range(int(generator.integers(0, 4))):
                corner = generator.integers(0, 120, 2).astype(np.float64)
                found.append((case, split, "mass", float(generator.beta(2, 4)), *corner, *(corner + 20)))
    corners = ["x1", "y1", "x2", "y2"]
    case_table = pd.DataFrame(cases, columns=["case_id", "patient_id", "path", "split", "width", "height", "spacing"])
    target_table = pd.DataFrame(targets, columns=["case_id", "split", "label", *corners])
    found_table = pd.DataFrame(found, columns=["case_id", "split", "label", "score", *corners])
    seen, true, called = (table[table["split"] == "val"] for table in (case_table, target_table, found_table))
    points = detection_operating_points(seen, true, called, ["cyst", "mass"], rule=read_rule(rule, "boxes"))
    own = {"max_detections": 100, "froc_iou": 0.5, "operating_point": rule}
    return EvaluatedRun(
        "boxes", RunTask("detect", ["cyst", "mass"], points, own), case_table, found_table, target_table
    )
