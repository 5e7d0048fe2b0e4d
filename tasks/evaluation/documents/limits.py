"""What a run cannot say, from its own data and files: each limit with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from scansuite.words import number_of
from tasks.evaluation.documents.facts import RunFacts
from tasks.evaluation.metric_values import BIASED, LEAST_PATIENTS, LEAST_RESTS
from tasks.evaluation.report.content import Subject
from tasks.evaluation.report.header import part_name

# Cases with and without the finding that a validation should have: G. S. Collins, E. O. Ogundimu and D. G. Altman,
# Statistics in Medicine 35:214-226, 2016.
EVENTS = 100
PLACE = re.compile(r"site|cent(er|re)|hospital|institut|clinic|scanner|vendor|manufactur|device", re.IGNORECASE)
_PERSON = re.compile(r"\bage\b|_age|^age|sex|gender|ethnic|race", re.IGNORECASE)
_NAMED = 5  # classes
_KINDS = {"case_id": "case id", "patient": "patient", "image": "identical image"}


@dataclass(frozen=True)
class Limit:
    """Something that a run cannot say.

    Attributes:
        what: is not known or not sure.
        why: by the data or files of the run.
        flag: it must not be missed.
    """

    what: str
    why: str
    flag: bool = False


def limits_of(subject: Subject, facts: RunFacts) -> list[Limit]:
    """All limits that can be read off, the gravest first.

    Args:
        subject: the run, and the part that is reported.
        facts: of its files.
    """
    found = [*_leaks(subject, facts), *_size(subject, facts), *_classes(subject), *_reach(subject, facts)]
    return sorted(found, key=lambda limit: not limit.flag)


def _leaks(subject: Subject, facts: RunFacts) -> Iterator[Limit]:
    part = part_name(subject.split)
    seen = facts.seen(subject.split)
    if seen is not None and seen.value > 0:
        kinds = ", ".join(
            f"{count} by {_KINDS.get(kind, kind)}" for kind, count in facts.seen_by(subject.split).items() if count
        )
        yield Limit(
            "How the model does on cases that it has not seen",
            f"{int(seen.value)} of {seen.n} {part} cases are among those that it was trained or chosen on ({kinds}): "
            "results flatter.",
            flag=True,
        )
    if facts.shared:
        yield Limit(
            "How the model does on new patients",
            f"{number_of(facts.shared, 'patient')} {'has' if facts.shared == 1 else 'have'} cases in two parts of the "
            "split: results flatter.",
            flag=True,
        )
    if facts.in_two_parts:
        yield Limit(
            "How the model does on new images",
            f"{number_of(facts.in_two_parts, 'identical image')} {'is' if facts.in_two_parts == 1 else 'are'} in two "
            "parts of the split.",
            flag=True,
        )
    if facts.doubt:
        yield Limit("Whether cases were seen in training", f"{facts.doubt[0].upper()}{facts.doubt[1:]}.")
    elif subject.run.folder is None:
        yield Limit("Whether cases were seen in training", "The tables are of another tool and do not say.")
    if facts.data("check_files") is False:
        yield Limit("Whether identical images are in two parts", "Files were not compared (--data.check_files false).")
    if "fold" in subject.tables.predictions:
        yield Limit(
            "How the model does on cases that nothing was chosen on",
            "The results are out of fold: no model has trained on the cases that it predicts here, but its epoch and "
            "the operating point were chosen on them: they flatter.",
            flag=True,
        )
    elif subject.split == "val":
        yield Limit(
            "How the model does on cases that nothing was chosen on",
            "The results are of validation, on which the checkpoint and its operating point were chosen: they flatter.",
            flag=True,
        )
    yield from _looks(subject, facts)


def _looks(subject: Subject, facts: RunFacts) -> Iterator[Limit]:
    if subject.split != "test":
        return
    if facts.looks is None:
        yield Limit("How often the test part was looked at", "No list of evaluations (index.csv) has this run.")
    elif facts.looks.model > 1:
        yield Limit(
            "Results of a first look at test",
            f"Models of this run were evaluated on test {facts.looks.model} times (index.csv lists {facts.looks.all} "
            "evaluations in all): whatever was changed in between was chosen on test.",
        )


def _size(subject: Subject, facts: RunFacts) -> Iterator[Limit]:
    tables, part = subject.tables, part_name(subject.split)
    patients = int(tables.patients.max(initial=-1)) + 1
    who = "patient" if _patients_known(tables.cases) else "case"
    if patients < LEAST_PATIENTS:
        yield Limit("How sure any result is", f"{number_of(patients, who)} in {part}: intervals are withheld.")
    elif patients < EVENTS:
        yield Limit("Small differences", f"{number_of(patients, who)} in {part}: intervals are wide.")
    positive = tables.positive_class
    if positive is not None and patients >= LEAST_PATIENTS:
        target = tables.predictions["target"]
        counts = int((target == positive).sum()), int((target.notna() & (target != positive)).sum())
        if min(counts) < EVENTS:
            yield Limit(
                "Sensitivity and specificity to a few percent",
                f"{counts[0]} cases with {positive} and {counts[1]} without; {EVENTS} of each are advised (Collins "
                "2016).",
            )
    withheld = [metric.withheld for metric in subject.metrics.values() if metric.withheld not in (None, BIASED)]
    if withheld and patients >= LEAST_PATIENTS:
        one, reasons = len(withheld) == 1, "; ".join(sorted(set(map(str, withheld))))
        yield Limit(
            f"How sure {number_of(len(withheld), 'metric')} {'is' if one else 'are'}",
            f"{'Its interval is' if one else 'Their intervals are'} withheld: {reasons}.",
        )
    if who == "case":
        yield Limit(
            "Intervals by patient",
            "No patients are given: where a patient has several cases the intervals are too narrow, and a patient may "
            "be in two parts.",
        )
    if facts.unreadable:
        yield Limit(
            "The cases that could not be read", f"{number_of(facts.unreadable, 'case')} left out; they may be special."
        )


def _patients_known(cases: pd.DataFrame) -> bool:
    return "patient_id" in cases and bool(cases["patient_id"].notna().any())


def _classes(subject: Subject) -> Iterator[Limit]:
    """Classes that the part has in no case, or in hardly any patient."""
    tables = subject.tables
    counts = _patients_by_class(subject)
    if counts is None:
        return
    part = part_name(subject.split)
    absent = [name for name, count in counts.items() if count == 0]
    rare = [name for name, count in counts.items() if 0 < count < LEAST_RESTS]
    if absent:
        yield Limit(
            "Anything of some classes", f"No {part} case has {_listed(absent)}.", flag=len(absent) < len(counts)
        )
    if rare and int(tables.patients.max(initial=-1)) + 1 >= LEAST_PATIENTS:
        yield Limit("Much of rare classes", f"Fewer than {LEAST_RESTS} patients in {part} have {_listed(rare)}.")


def _patients_by_class(subject: Subject) -> dict[str, int] | None:
    tables, task = subject.tables, subject.run.task
    numbers = pd.Series(tables.patients, index=tables.cases["case_id"])
    if task.task == "detect":
        assert tables.targets is not None
        owners = tables.targets.assign(patient=tables.targets["case_id"].map(numbers))
        counts = owners.groupby("label")["patient"].nunique()
        return {name: int(counts.get(name, 0)) for name in task.class_names}
    if task.task == "segment":
        table = tables.predictions
        if not {"class", "tp", "fn"} <= set(table.columns):
            return None
        there = table[(table["tp"] + table["fn"]) > 0]
        counts = there.assign(patient=there["case_id"].map(numbers)).groupby("class")["patient"].nunique()
        known = set(table["class"])  # the background has no rows where it is not evaluated
        return {name: int(counts.get(name, 0)) for name in task.class_names if name in known}
    if tables.kind == "regression":
        return None
    if tables.kind == "multilabel":
        return {
            name: int(numbers[(tables.predictions[f"target_{name}"] == 1).to_numpy()].nunique())
            for name in task.class_names
            if f"target_{name}" in tables.predictions
        }
    target = tables.predictions["target"]
    return {name: int(numbers[(target == name).to_numpy()].nunique()) for name in task.class_names}


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _reach(subject: Subject, facts: RunFacts) -> Iterator[Limit]:
    cases = subject.tables.cases
    if facts.data("split") == "all_test":
        yield Limit(
            "Whether the cases come from another place than those of training",
            "The whole of a data set was evaluated; where it comes from the authors know.",
        )
    elif subject.run.folder is not None:
        yield Limit(
            "How the model does elsewhere",
            "All parts are of one data set: no external data were evaluated.",
        )
    places = [name for name in cases.columns if PLACE.search(str(name)) and cases[name].notna().any()]
    if not places:
        yield Limit(
            "Whether the cases are of one centre or scanner",
            "No column of the table names a site or scanner.",
        )
    elif all(cases[name].nunique() == 1 for name in places):
        yield Limit("How the model does at other centres", f"Column {places[0]} has one value only.")
    if not any(_PERSON.search(str(name)) for name in cases.columns):
        yield Limit("Whether results differ by age or sex", "No column of the table names them.")
    prevalence = _prevalence(subject)
    if prevalence is not None:
        yield Limit(
            "Predictive values where the finding is rarer or more common",
            f"Precision and NPV hold at the share of {subject.tables.positive_class} in these cases, "
            f"{100 * prevalence:.1f} %.",
        )
    yield Limit("How right the truth is", "The files do not say who annotated the cases, how, and how well they agree.")
    if facts.trained:
        yield Limit(
            "How much another training would differ",
            "One training was evaluated: intervals hold the chance of the patients, not that of training.",
        )


def _prevalence(subject: Subject) -> float | None:
    positive = subject.tables.positive_class
    if positive is None:
        return None
    known = subject.tables.predictions["target"].dropna()
    return float((known == positive).mean()) if len(known) else None
