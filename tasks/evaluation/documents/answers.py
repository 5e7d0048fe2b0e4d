"""Answers that a run has for the questions of checklists and model cards: on its data and its evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import pandas as pd

from scansuite.words import number_of
from tasks.evaluation.documents.characteristics import PART_STEPS
from tasks.evaluation.documents.facts import RunFacts
from tasks.evaluation.documents.limits import PLACE, limits_of
from tasks.evaluation.documents.model_answers import model_answers
from tasks.evaluation.drift.profile import FILE as PROFILE
from tasks.evaluation.metric_names import first_metrics, label_of
from tasks.evaluation.report.content import Subject
from tasks.evaluation.report.header import part_name
from tasks.evaluation.report.words import with_interval

_NAMED = 12  # metrics, classes


@dataclass(frozen=True)
class Answer:
    """What a run knows of a question.

    Attributes:
        text: the answer.
        source: file or section of the report that it is from.
        whole: nothing is left for the authors to add.
    """

    text: str
    source: str
    whole: bool = True


# Model card and checklists ask for the same answers; they are forgotten with the subject.
_KNOWN: WeakKeyDictionary[Subject, dict[str, Answer]] = WeakKeyDictionary()


def answers_of(subject: Subject, facts: RunFacts) -> dict[str, Answer]:
    """All answers by their names in the item tables; what the run does not know is not among them.

    Args:
        subject: the run, and the part that is reported.
        facts: of its files.
    """
    if subject not in _KNOWN:
        _KNOWN[subject] = _answers(subject, facts)
    return _KNOWN[subject]


def _answers(subject: Subject, facts: RunFacts) -> dict[str, Answer]:
    given: Mapping[str, tuple[str, str, bool]] = {
        **_data(subject, facts), **_evaluation(subject, facts), **model_answers(subject, facts)
    }  # fmt: skip
    return {name: Answer(*one) for name, one in given.items() if one[0]}


def _data(subject: Subject, facts: RunFacts) -> dict[str, tuple[str, str, bool]]:
    parts = "; ".join(f"{PART_STEPS.get(name, name)}: {part.text}" for name, part in facts.parts.items())
    cases = subject.tables.cases
    level = "patient" if facts.patients_known else "case (no patients are given)"
    shared = f", but {number_of(facts.shared, 'patient')} in two parts" if facts.shared else ""
    found = {
        "source": (f"Data class {facts.source}." if facts.source else "", "config.yaml", False),
        "centres": (_centres(subject), "cases.csv", False),
        "size": (f"{_first_upper(parts)}.", "split.csv", False),
        "flow": (f"{_first_upper(parts)}." + _left_out(facts), "section Data", True),
        "events": (_events(subject), "predictions.csv", True),
        "missing": (_missing(subject, facts), "section Data", False),
        "partition": (_partition(facts, parts), "config.yaml, split.csv", True),
        "separation": (f"Parts are disjoint by {level}{shared}.", "split.csv", True),
        "characteristics": ("A table by part is in the report.", "section Data", False),
        "geometry": (_geometry(subject), "cases.csv", False),
        "outcome": (_outcome(subject, facts), "task.json, config.yaml", False),
    }
    if "patient_id" not in cases:
        del found["separation"]
    return found


def _first_upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _left_out(facts: RunFacts) -> str:
    return f" Left out: {number_of(facts.unreadable, 'case')} that cannot be read." if facts.unreadable else ""


def _centres(subject: Subject) -> str:
    cases = subject.run.cases
    found = [name for name in cases.columns if PLACE.search(str(name)) and cases[name].notna().any()]
    return "; ".join(f"column {name}: {number_of(cases[name].nunique(), 'value')}" for name in found)


def _events(subject: Subject) -> str:
    """Cases with the outcome in each part."""
    run = subject.run
    if run.task.task != "classify" or subject.tables.kind == "regression":
        return ""
    said = []
    for part in run.parts:
        own = run.predictions[run.predictions["split"] == part]
        if subject.tables.kind == "multilabel":
            counts = {
                name: int((own[f"target_{name}"] == 1).sum())
                for name in run.task.class_names[:_NAMED]
                if f"target_{name}" in own
            }
        else:
            counts = {name: int((own["target"] == name).sum()) for name in run.task.class_names[:_NAMED]}
        said.append(f"{part_name(part)}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
    return f"{_first_upper('; '.join(said))}."


def _missing(subject: Subject, facts: RunFacts) -> str:
    said = []
    if facts.trained or facts.unreadable:
        said.append(f"{number_of(facts.unreadable, 'case')} left out because files cannot be read.")
    table = subject.tables.predictions
    targets = [name for name in table.columns if name == "target" or str(name).startswith("target_")]
    if subject.run.task.task == "classify" and targets:
        unknown = int(table[targets].isna().all(axis=1).sum())
        said.append(f"{number_of(unknown, 'case')} of {part_name(subject.split)} without a known target.")
    said.append("Unknown values are left out, none is imputed.")
    return " ".join(said)


def _partition(facts: RunFacts, parts: str) -> str:
    if not facts.config:
        return ""
    if facts.data("split") == "all_test":
        return f"The whole data set was evaluated as test. {_first_upper(parts)}."
    if facts.data("split_file"):
        how = "The parts are those of a given file"
    else:
        seed, share, folds = (facts.data(name) for name in ("split_seed", "test_fraction", "folds"))
        how = (
            "Where the data bring no split, parts are drawn by patient and stratified by class (test fraction "
            f"{share}, then one of {folds} folds for validation, seed {seed})"
        )
    return f"{how}: {parts}."


def _geometry(subject: Subject) -> str:
    cases = subject.tables.cases
    said = []
    if {"width", "height"} <= set(cases.columns) and cases["width"].notna().any():
        said.append(f"Images of {_range(cases['width'])} x {_range(cases['height'])} pixels (width x height)")
    if "spacing" in cases and cases["spacing"].notna().any():
        spacings = cases["spacing"].dropna().astype("str")
        said.append(f"spacing {spacings.iloc[0]} mm" if spacings.nunique() == 1 else "spacing by case in cases.csv")
    return f"{', '.join(said)}." if said else ""


def _range(sizes: pd.Series) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return str(low) if low == high else f"{low} to {high}"


def _outcome(subject: Subject, facts: RunFacts) -> str:
    task = subject.run.task
    columns = facts.data("label_columns")
    named = ", ".join(task.class_names[:_NAMED])
    what = {"segment": "Mask of each class", "detect": "Boxes of each class"}.get(task.task, "Target of each case")
    text = f"{what}: {named}" if subject.tables.kind != "regression" else f"A number for each case: {named}"
    positive = subject.tables.positive_class
    text += f"; positive: {positive}" if positive is not None else ""
    return f"{text}; column {columns}." if isinstance(columns, str) else f"{text}."


def _evaluation(subject: Subject, facts: RunFacts) -> dict[str, tuple[str, str, bool]]:
    task, metrics = subject.run.task, subject.metrics
    first = [name for name in first_metrics(task.task, list(metrics)) if not math.isnan(metrics[name].value)]
    own = [label_of(name) for name in dict.fromkeys(name for name in metrics if "/" not in name)]
    part = part_name(subject.split)
    all_test = facts.data("split") == "all_test"
    inner = f"Evaluated on the {part} part of the data set that the model was trained on."
    outer = "A whole data set was evaluated; whether it is of another source the authors know."
    limits = limits_of(subject, facts)
    results = "; ".join(f"{label_of(name)} {with_interval(metrics[name])}" for name in first[:_NAMED])
    return {
        "study": (_study(facts), "run folder", False),
        "metrics": (f"{', '.join(own[: 2 * _NAMED])}. Headline: {', '.join(label_of(name) for name in first[:3])}."
                    if first else "", "metrics.json", False),
        "uncertainty": (
            "95 % intervals by patient: Wilson's with effective n for shares, DeLong's clustered one for AUROC, "
            "jackknife or studentised bootstrap otherwise; withheld where too few patients are behind them.",
            "docs/intervals.md", True,
        ),
        "results": (f"{_first_upper(part)}: {results}." if results else "", "section Results", True),
        "subgroups": ("Metrics by subgroup are in the report where the table has columns for it.",
                      "section Subgroups", False),
        "clusters": ("Intervals treat cases of a patient as correlated; subgroups by site or scanner are tested for "
                     "heterogeneity where there is such a column.", "section Subgroups", False),
        "drift": (_drift(subject), "section Drift", False),
        "internal": ("" if all_test or subject.run.folder is None else inner, "config.yaml", True),
        "external": (outer if all_test else "", "config.yaml", False),
        "failures": ("Best, worst and typical cases are in the gallery of the report.", "section Gallery", False),
        "limits": (" ".join(f"{limit.what}: {limit.why}" for limit in limits), "section Limits", False),
    }  # fmt: skip


def _study(facts: RunFacts) -> str:
    if facts.trained:
        return "A model was developed (trained, chosen on validation) and evaluated."
    return "A model that exists was evaluated."


def _drift(subject: Subject) -> str:
    folder = subject.run.folder
    others = ["training"] if folder is not None and (folder / PROFILE).is_file() else []
    if subject.validation is not None and subject.split != "val":
        others.append("validation")
    if not others:
        return ""
    return (
        f"{_first_upper(part_name(subject.split))} is compared with {' and '.join(others)} in sizes, intensities, "
        "scores, truth and columns of the table."
    )
