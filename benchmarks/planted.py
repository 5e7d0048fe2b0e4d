"""Faults that are planted in tables of a run, and whether the report flags them; prints the table of docs/report.md.

    python -m benchmarks.planted [--seeds 60] [--patients 300]

A run of two classes, two correlated scans a patient. Fair: scores are calibrated, all subgroups are alike, test is like
validation. Each fault is one change of it. Counted is in how many seeds each section of the report raises a flag.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.differences import compare_models
from tasks.evaluation.comparison.models import models_of
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.report.build import build_sections
from tasks.evaluation.report.content import Section, Subject
from tasks.evaluation.task_file import RunTask

CLASSES = ["healthy", "ill"]
SCANS = 2
SHIFT = 1.5  # distance of both classes in standard deviations of the logit
TASK = RunTask(
    "classify", CLASSES, {"ill": 0.5}, {"target": "binary", "positive_class": "ill", "operating_point": "f1"}
)


def part(
    split: str,
    patients: int,
    rng: np.random.Generator,
    *,
    temper: float = 1.0,
    gap: float = 0.0,
    other_site: bool = False,
    shift: float = SHIFT,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases and predictions of one part.

    Args:
        split: its name.
        patients: how many; a third are ill.
        rng: of the draws.
        temper: logits are multiplied by it; 1 = calibrated.
        gap: how much less the classes are apart in women.
        other_site: another scanner: larger images, coarser spacing, older patients.
        shift: distance of both classes.
    """
    ill = rng.random(patients) < 1 / 3
    female = rng.random(patients) < 0.5
    apart = np.where(female, shift - gap, shift)
    own = rng.normal(0, np.sqrt(0.5), (patients, 1)) + rng.normal(0, np.sqrt(0.5), (patients, SCANS))
    # Of two normal distributions `shift` apart with a third ill: the calibrated logit.
    logit = shift * (own + apart[:, None] * ill[:, None]) - shift**2 / 2 + np.log(1 / 2)
    score = (1 / (1 + np.exp(-temper * logit))).ravel()
    ids = [f"{split}{patient:04d}_{scan}" for patient in range(patients) for scan in range(SCANS)]
    age = rng.normal(70 if other_site else 55, 12, patients).round()
    side = rng.choice([512, 640] if other_site else [256, 320], patients)
    cases = pd.DataFrame(
        {
            "case_id": ids, "patient_id": np.repeat([f"{split}{patient:04d}" for patient in range(patients)], SCANS),
            "path": [f"{name}.png" for name in ids], "split": split, "width": np.repeat(side, SCANS),
            "height": np.repeat(side, SCANS), "spacing": "0.9 0.9" if other_site else "0.5 0.5",
            "sex": np.repeat(np.where(female, "F", "M"), SCANS),
            "age": np.repeat(age, SCANS), "reader": np.repeat(rng.choice(["A", "B", "C"], patients), SCANS),
        }
    )  # fmt: skip
    names = np.array(CLASSES, dtype=object)
    called = names[(score >= 0.5).astype(int)]
    predictions = pd.DataFrame(
        {
            "case_id": ids, "split": split, "target": names[np.repeat(ill, SCANS).astype(int)], "prediction": called,
            "score_healthy": 1 - score, "score_ill": score, "prediction_op": called,
        }
    )  # fmt: skip
    return cases, predictions


def made(seed: int, patients: int, test: dict[str, float | bool], both: dict[str, float | bool]) -> EvaluatedRun:
    """A run whose test part, or both parts, have a fault."""
    rng = np.random.default_rng(seed)
    parts = [part("val", patients, rng, **both), part("test", patients, rng, **both, **test)]  # type: ignore[arg-type]
    cases, predictions = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    return EvaluatedRun("planted", TASK, cases, predictions)


def flags_of_report(run: EvaluatedRun) -> list[Section]:
    """The sections of its report that raise a flag."""
    return [section for section in build_sections(Subject(run, "test"), strict=True) if section.flags]


def compared(seed: int, patients: int, better: bool) -> bool:
    """Whether a comparison of two models on the same cases finds that the second is better in AUROC."""
    run = made(seed, patients, {}, {})
    rng = np.random.default_rng([seed, 1])
    noise = rng.normal(0, 0.3 if better else 0.9, len(run.predictions))
    other = run.predictions.copy()
    logit = np.log(other["score_ill"] / (1 - other["score_ill"]))
    ill = (other["target"] == "ill").to_numpy()
    score = 1 / (1 + np.exp(-(logit + noise + (0.9 * ill if better else 0.0))))
    first = run.predictions.copy()
    own = 1 / (1 + np.exp(-(logit + rng.normal(0, 0.9, len(first)))))
    for table, values in ((other, score), (first, own)):
        table["score_ill"], table["score_healthy"] = values, 1 - values
    runs = [EvaluatedRun(name, TASK, run.cases, table) for name, table in (("first", first), ("second", other))]
    models = models_of(runs, aligned_parts(runs, "test"), 1000)
    (comparison,) = compare_models(models)
    found = comparison.primary
    return found is not None and found.adjusted < 0.05 and (found.value.value > 0 or not better)


FAULTS: dict[str, tuple[dict[str, float | bool], dict[str, float | bool], str]] = {
    "fair": ({}, {}, ""),
    "subgroup gap (AUROC of women lower)": ({}, {"gap": 1.2}, "subgroups"),
    "logits times 3": ({}, {"temper": 3.0}, "calibration"),
    "another site in test": ({"other_site": True}, {}, "drift"),
}


def count(fault: str, seeds: int, patients: int) -> Counter[str]:
    """In how many seeds each section raises a flag; ``any``: of how many one does."""
    test, both, _ = FAULTS[fault]
    found: Counter[str] = Counter()
    for seed in range(seeds):
        flagged = {section.name for section in flags_of_report(made(seed, patients, test, both))}
        found.update(flagged)
        found["any"] += bool(flagged)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--patients", type=int, default=300)
    given = parser.parse_args(argv)
    rows: dict[str, Callable[[], str]] = {
        fault: lambda fault=fault: ", ".join(  # type: ignore[misc]
            f"{name} {times}" for name, times in sorted(count(fault, given.seeds, given.patients).items())
        )
        for fault in FAULTS
    }
    for better in (False, True):
        what = "a better model" if better else "two models alike"
        rows[what] = lambda better=better: str(  # type: ignore[misc]
            sum(compared(seed, given.patients, better) for seed in range(given.seeds))
        )
    print(f"| of {given.seeds} seeds | flags, by section |\n|---|---|", flush=True)
    for fault, told in rows.items():
        print(f"| {fault} | {told()} |", flush=True)


if __name__ == "__main__":
    main()
