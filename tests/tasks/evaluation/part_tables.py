"""Tables of a part in memory, of every kind of target: patients with several scans, from three sites."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.report.content import ReportSettings, Subject
from tasks.evaluation.task_file import RunTask

KINDS = ("binary", "multiclass", "ordinal", "multilabel", "regression", "segment", "detect")
SITES = ("A", "B", "C")


class _Scans:
    """Scans of patients: correlated effects, and what stands in the cases table."""

    def __init__(self, seed: int, patients: int, split: str) -> None:
        self.rng = np.random.default_rng(seed)
        scans = self.rng.integers(1, 5, patients)
        self.patient = np.repeat(np.arange(patients), scans)
        self.n = len(self.patient)
        self.ids = [f"{split}{number}" for number in range(self.n)]
        self.site = self.rng.integers(0, 3, patients)[self.patient]
        self.cases = pd.DataFrame(
            {
                "case_id": self.ids,
                "patient_id": [f"{split}p{number}" for number in self.patient],
                "path": [f"{name}.png" for name in self.ids],
                "split": split,
                "width": 64,
                "height": 64,
                "spacing": "1 1",
                "site": np.array(SITES)[self.site],
                "sex": np.array(["F", "M"])[self.rng.integers(0, 2, patients)][self.patient],
                "patient_age": self.rng.integers(20, 90, patients)[self.patient],
                "view": np.array(["AP", "PA"])[self.rng.integers(0, 2, self.n)],
            }
        )

    def effect(self, icc: float = 0.5) -> Any:
        """Standard normal, alike within a patient: ``(n,)``."""
        own = self.rng.standard_normal(self.patient[-1] + 1)[self.patient]
        return np.sqrt(icc) * own + np.sqrt(1 - icc) * self.rng.standard_normal(self.n)


def part_tables(kind: str, seed: int = 0, patients: int = 150, gap: float = 0.0, split: str = "test") -> PartTables:
    """A part.

    Args:
        kind: one of :data:`KINDS`.
        seed: of the draws.
        patients: with 1 to 4 scans.
        gap: by how much the model is worse at site C, in units of the kind's own.
        split: name of the part.
    """
    scans = _Scans(seed, patients, split)
    worse = np.where(scans.site == 2, gap, 0.0)
    task, predictions, targets = _MADE[kind](scans, worse)
    predictions.insert(0, "split", split)
    if targets is not None:
        targets.insert(0, "split", split)
    return PartTables(task, split, scans.cases, predictions, targets)


def subject_of(*parts: PartTables, **settings: Any) -> Subject:
    """A report's subject of one or two parts, the last of which is reported."""
    cases, predictions = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True) for name in ("cases", "predictions")
    )
    targets = None
    if parts[0].targets is not None:
        targets = pd.concat([part.targets for part in parts if part.targets is not None], ignore_index=True)
    run = EvaluatedRun("run", parts[0].task, cases, predictions, targets)
    return Subject(run, parts[-1].split, ReportSettings(**settings))


def _binary(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, None]:
    ill = scans.rng.random(scans.patient[-1] + 1)[scans.patient] < 0.4
    shift = 1.6 - worse
    score = 1 / (1 + np.exp(-(1.6 * (shift * ill + scans.effect()) - 1.7)))
    names = np.array(["healthy", "ill"])
    table = pd.DataFrame({"case_id": scans.ids, "target": names[ill.astype(int)]})
    table["prediction"] = names[(score >= 0.5).astype(int)]
    table["score_healthy"], table["score_ill"] = 1 - score, score
    table["prediction_op"] = names[(score >= 0.4).astype(int)]
    return RunTask("classify", [*names], {"ill": 0.4}, {"target": "binary", "positive_class": "ill"}), table, None


def _many(kind: str) -> Any:
    def make(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, None]:
        names = np.array(["one", "two", "three"])
        target = scans.rng.integers(0, 3, scans.patient[-1] + 1)[scans.patient]
        logit = np.stack([scans.effect() for _ in names], axis=1)
        logit[np.arange(scans.n), target] += 2.0 - worse
        score = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
        table = pd.DataFrame({"case_id": scans.ids, "target": names[target], "prediction": names[score.argmax(axis=1)]})
        for k, name in enumerate(names):
            table[f"score_{name}"] = score[:, k]
        return RunTask("classify", [*names], {}, {"target": kind, "positive_class": None}), table, None

    return make


def _multilabel(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, None]:
    names = ["mass", "oedema"]
    table = pd.DataFrame({"case_id": scans.ids})
    for name in names:
        target = scans.rng.random(scans.patient[-1] + 1)[scans.patient] < 0.4
        score = 1 / (1 + np.exp(-(1.6 * ((1.6 - worse) * target + scans.effect()) - 1.7)))
        table[f"target_{name}"] = pd.Series(target.astype(float)).mask(scans.rng.random(scans.n) < 0.05)
        table[f"prediction_{name}"], table[f"score_{name}"] = (score >= 0.5).astype(int), score
        table[f"prediction_op_{name}"] = (score >= 0.4).astype(int)
    points = dict.fromkeys(names, 0.4)
    return RunTask("classify", names, points, {"target": "multilabel", "positive_class": None}), table, None


def _regression(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, None]:
    target = 50 + 10 * scans.rng.standard_normal(scans.n)
    table = pd.DataFrame({"case_id": scans.ids, "target": target, "prediction": target + 3 * scans.effect() + worse})
    own = {"target": "regression", "positive_class": None}
    return RunTask("classify", [], {}, own), table.astype({"target": str, "prediction": str}), None


def _segment(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, None]:
    tables = []
    for name in ("liver", "tumour"):
        true = scans.rng.integers(200, 2000, scans.n)
        share = 1 / (1 + np.exp(-(1.5 - worse + 0.8 * scans.effect())))
        tp = np.round(true * share)
        fp = np.round((1 - share) * true)
        dice = 2 * tp / (2 * tp + fp + true - tp)
        own = {"tp": tp, "fp": fp, "fn": true - tp, "tn": 64.0**2 - true - fp, "dice": dice, "iou": dice / (2 - dice)}
        own |= {"sensitivity": tp / true, "specificity": 0.99, "precision": tp / (tp + fp), "f1": dice}
        own |= {"hd95": 20 * (1 - dice), "assd": 5 * (1 - dice), "nsd": dice, "volume_difference": (fp + tp) / true - 1}
        tables.append(pd.DataFrame({"case_id": scans.ids, "class": name, **own}))
    table = pd.concat(tables).sort_values("case_id", kind="stable").reset_index(drop=True)
    return RunTask("segment", ["background", "liver", "tumour"], {}, {}), table, None


def _detect(scans: _Scans, worse: Any) -> tuple[RunTask, pd.DataFrame, pd.DataFrame]:
    rng = scans.rng
    true = np.repeat(np.arange(scans.n), rng.integers(0, 4, scans.n))
    corner = np.stack([rng.integers(0, 4, len(true)) * 16.0, np.zeros(len(true))], axis=1)
    corner[:, 1] = 16.0 * (np.arange(len(true)) % 4)  # boxes of an image do not overlap
    side = rng.integers(6, 14, len(true)).astype(float)
    effect = scans.effect(0.3)[true]
    found = rng.random(len(true)) < 1 / (1 + np.exp(-(1.2 + effect - worse[true])))
    false = np.repeat(np.arange(scans.n), rng.poisson(0.5, scans.n))
    ids = np.array(scans.ids)

    def boxes(image: Any, low: Any, size: Any) -> pd.DataFrame:
        edges = {"x1": low[:, 0], "y1": low[:, 1], "x2": low[:, 0] + size, "y2": low[:, 1] + size}
        return pd.DataFrame({"case_id": ids[image], "label": "nodule", **edges})

    targets = boxes(true, corner, side).assign(ignore=False)
    hits = boxes(true[found], corner[found], side[found]).assign(score=rng.uniform(0.3, 1.0, int(found.sum())))
    wrong = boxes(false, np.full((len(false), 2), 200.0), np.full(len(false), 9.0))
    predictions = pd.concat([hits, wrong.assign(score=rng.uniform(0.1, 0.8, len(false)))], ignore_index=True)
    own = {"max_detections": 100, "froc_iou": 0.5}
    return RunTask("detect", ["nodule"], {"nodule": 0.4}, own), predictions, targets


_MADE: dict[str, Any] = {
    "binary": _binary,
    "multiclass": _many("multiclass"),
    "ordinal": _many("ordinal"),
    "multilabel": _multilabel,
    "regression": _regression,
    "segment": _segment,
    "detect": _detect,
}
