"""Data: which cases there were, what they are like in each part, and which were left out on the way."""

from __future__ import annotations

import math

import numpy as np

from scansuite.words import number_of
from tasks.evaluation.documents.characteristics import PART_STEPS, Characteristics, characteristics_of, flow_of
from tasks.evaluation.documents.facts import RunFacts, facts_of
from tasks.evaluation.report.content import BarPlot, Section, Subject, Table
from tasks.evaluation.report.header import part_name

_FEW = 0.15  # of the standard error of a standardised difference, from which it is said
_CLASSES = 20


def section(subject: Subject) -> Section:
    """Flow of the cases, and their characteristics by part."""
    facts, run = facts_of(subject), subject.run
    found = characteristics_of(run)
    several = len(found.parts) > 1
    flow = Table("flow", "Flow of the cases", ("step", "cases", "patients", "remark"), flow_of(facts, run))
    head = ("characteristic", *found.parts, *(["standardised difference"] if several else []))
    rows = [row if several else row[:-1] for row in found.rows]
    table = Table("characteristics", "Characteristics", head, rows, note=_note(found, facts))
    return Section(
        "data",
        "Data",
        _lines(subject, facts),
        parts=[flow, table, *([balance] if (balance := _balance(subject)) is not None else [])],
        figures={
            "source": facts.source,
            "parts": {name: {"cases": part.cases, "patients": part.patients} for name, part in facts.parts.items()},
            "unreadable": facts.unreadable,
            "left_out": dict(found.left_out),
        },
    )


def _note(found: Characteristics, facts: RunFacts) -> str:
    said = ["Cases as evaluated. Shares are of the cases with a known value."]
    if len(found.parts) > 1:
        said.append(
            f"Standardised difference of {found.parts[-1]} from {found.parts[0]}, in standard deviations; of "
            "categories without a sign. Below 0.1 is usually taken for alike."
        )
        if _chance(facts) >= _FEW:
            said.append(f"Among so few patients alike parts differ by about {_chance(facts):.1f}.")
    if found.left_out:
        reasons = "; ".join(f"{name}: {why}" for name, why in found.left_out.items())
        said.append(f"Columns not described: {reasons}.")
    return " ".join(said)


def _balance(subject: Subject) -> BarPlot | None:
    """Shares of the classes in each part, where a case has one."""
    run = subject.run
    if run.task.task != "classify" or subject.tables.kind in ("regression", "multilabel"):
        return None
    names = run.task.class_names[:_CLASSES]
    shares = {}
    for part in run.parts:
        known = run.predictions.loc[run.predictions["split"] == part, "target"].dropna().astype("str")
        counts = known.value_counts().reindex(names, fill_value=0).to_numpy(dtype=np.float64)
        shares[part_name(part)] = counts / max(1, len(known))
    return BarPlot("classes", "Classes by part", "class", "share of cases", names, shares)


def _chance(facts: RunFacts) -> float:
    """About how large a standardised difference two alike parts have: one standard error."""
    sizes = [part.patients or part.cases for name, part in facts.parts.items() if name != "train"]
    return math.sqrt(sum(1 / max(1, size) for size in sizes))


def _lines(subject: Subject, facts: RunFacts) -> list[str]:
    parts = "; ".join(f"{PART_STEPS.get(name, name)} {one.text}" for name, one in facts.parts.items())
    said = [f"{facts.source}: {parts}." if facts.source else f"{parts[0].upper()}{parts[1:]}."]
    if facts.unreadable:
        why = "was left out because it" if facts.unreadable == 1 else "were left out because they"
        said.append(f"{number_of(facts.unreadable, 'case')} {why} cannot be read.")
    if "fold" in subject.tables.predictions:
        said.append("Validation is out of fold: each case was predicted by the model that did not train on it.")
    if facts.shared:
        said.append(f"{number_of(facts.shared, 'patient')} in two parts: results on their cases flatter.")
    elif facts.patients_known:
        patients = subject.run.cases.get("patient_id")
        unnamed = 0 if patients is None else int(patients.isna().sum())
        if len(facts.parts) > 1:
            said.append(f"No {'known ' if unnamed else ''}patient has cases in two parts.")
        if unnamed:
            said.append(f"No patient is given of {number_of(unnamed, 'case')}: each counts as one of its own.")
    else:
        said.append("No patients are given: each case counts as a patient of its own.")
    return said
