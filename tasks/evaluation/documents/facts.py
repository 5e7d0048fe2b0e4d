"""What the files of a run say beside its predictions: who was where, what was left out, who looked at test."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from scansuite.errors import SuiteError
from scansuite.words import number_of
from tasks.evaluation.bootstrap import group_cases
from tasks.evaluation.metric_values import MetricValue, read_metrics, read_notes
from tasks.evaluation.report.content import Subject
from tasks.evaluation.run_file import read_config, read_run_file
from tasks.evaluation.tables import find_table, read_table

SPLITS = ("train", "val", "test")
_SEEN = "_cases_seen_in_training"
_INDEX = ("time", "task", "run_dir", "checkpoint", "cases")


@dataclass(frozen=True)
class PartCount:
    """Cases of a part.

    Attributes:
        cases: how many.
        patients: that they are of; None where no patients are given.
        most: cases of one patient; None likewise.
    """

    cases: int
    patients: int | None
    most: int | None = None

    @property
    def text(self) -> str:
        """``20 cases of 12 patients``."""
        said = number_of(self.cases, "case")
        return said if self.patients is None else f"{said} of {number_of(self.patients, 'patient')}"


@dataclass(frozen=True)
class Looks:
    """Evaluations of test parts, as ``index.csv`` counts them.

    Attributes:
        model: of the checkpoint of this run, this one included.
        all: of all checkpoints in the list.
    """

    model: int
    all: int


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Facts of a run from its files; what is not known is empty or None.

    Attributes:
        parts: by name, training first, as far as ``split.csv`` or the tables have them.
        config: of ``config.yaml``.
        made: of ``run.json``.
        notes: entries of ``metrics.json`` about the split: images in two parts, cases seen in training or unreadable.
        doubt: why it cannot be told whether cases were seen in training.
        looks: at test; None where there is no list.
        trained: the folder holds a training.
        shared: patients that are in two parts, by ``split.csv``.
    """

    parts: Mapping[str, PartCount]
    config: Mapping[str, Any]
    made: Mapping[str, Any]
    notes: Mapping[str, MetricValue]
    doubt: str
    looks: Looks | None
    trained: bool
    shared: int = 0

    @property
    def patients_known(self) -> bool:
        """Whether some case has a patient."""
        return any(part.patients is not None for part in self.parts.values())

    @property
    def unreadable(self) -> int:
        """Cases that were left out because they cannot be read."""
        return self._count("split/unreadable_cases")

    @property
    def in_two_parts(self) -> int:
        """Identical images in more than one part."""
        return self._count("split/images_in_two_parts")

    def seen(self, split: str) -> MetricValue | None:
        """Cases of a part that share something with what the model was trained or chosen on; None where none does."""
        return self.notes.get(f"split/{split}{_SEEN}")

    def seen_by(self, split: str) -> dict[str, int]:
        """The same by what they share: ``case_id``, ``patient``, ``image``."""
        lead = f"split/{split}{_SEEN}/"
        return {name.removeprefix(lead): int(one.value) for name, one in self.notes.items() if name.startswith(lead)}

    def _count(self, name: str) -> int:
        return int(self.notes[name].value) if name in self.notes else 0

    def model(self, name: str) -> Any:
        """A flag of the model, as ``config.yaml`` has it; None where it does not say."""
        return _entry(self.config.get("model"), name)

    def data(self, name: str) -> Any:
        """A flag of the data; None where ``config.yaml`` does not say."""
        return _entry(_entry(self.config.get("data"), "init_args"), name)

    @property
    def data_class(self) -> str:
        """Name of the data class; empty where it is not known."""
        return str(_entry(self.config.get("data"), "class_path") or "").rpartition(".")[2]

    @property
    def source(self) -> str:
        """Data class and last part of the folder, ``ImageTable (nih_cxr64)``; empty where it is not known."""
        folder = Path(str(self.data("root") or "")).name
        return f"{self.data_class} ({folder})" if folder and self.data_class else self.data_class


def _entry(section: Any, name: str) -> Any:
    return section.get(name) if isinstance(section, dict) else None


# Several sections ask for the facts of one subject; they are forgotten with it.
_KNOWN: WeakKeyDictionary[Subject, RunFacts] = WeakKeyDictionary()


def facts_of(subject: Subject) -> RunFacts:
    """Facts of the run that a report is about, read once; of tables of another tool those that the tables have."""
    if subject not in _KNOWN:
        _KNOWN[subject] = _facts_of(subject)
    return _KNOWN[subject]


def _facts_of(subject: Subject) -> RunFacts:
    run = subject.run
    folder = run.folder
    parts = {part: counted_part(run.cases[run.cases["split"] == part]) for part in run.parts}
    shared = shared_patients(run.cases)
    if folder is None:
        return RunFacts(_ordered(parts), {}, {}, {}, "", None, trained=False, shared=shared)
    with suppress(SuiteError):  # none, or damaged: the tables say of what was evaluated
        split = read_table(find_table(folder, "split"))
        if {"case_id", "split"} <= set(split.columns):
            named = {str(name): counted_part(cases) for name, cases in split.groupby("split")}
            if in_folds := "fold" in run.predictions:  # what others train on, each fold predicts: no part of its own
                named.pop("train", None)
            parts = named | parts
            shared = max(shared, 0 if in_folds else shared_patients(split))
    notes: dict[str, MetricValue] = {}
    doubt = ""
    with suppress(SuiteError):
        file = folder / "metrics.json"
        notes = {name: one for name, one in read_metrics(file).items() if name.startswith("split/")}
        doubt = str(read_notes(file).get("split/seen_in_training_unknown", ""))
    config = read_config(folder)
    trained = (folder / "metrics.csv").is_file()
    made, looks = read_run_file(folder), looks_at_test(folder)
    return RunFacts(_ordered(parts), config, made, notes, doubt, looks, trained, shared)


def _ordered(parts: Mapping[str, PartCount]) -> dict[str, PartCount]:
    return {name: parts[name] for name in (*SPLITS, *sorted(set(parts) - set(SPLITS))) if name in parts}


def counted_part(cases: pd.DataFrame) -> PartCount:
    """Cases and patients of a part; a case without a patient counts as its own where others have one."""
    patients = cases.get("patient_id")
    if patients is None or not patients.notna().any():
        return PartCount(len(cases), None)
    counts = np.bincount(group_cases(cases["case_id"], patients))
    return PartCount(len(cases), len(counts), int(counts.max()))


def shared_patients(cases: pd.DataFrame) -> int:
    """Patients with cases in more than one part."""
    if not {"patient_id", "split"} <= set(cases.columns):
        return 0
    pairs = cases[["patient_id", "split"]].dropna().drop_duplicates()
    return int((pairs["patient_id"].value_counts() > 1).sum())


def looks_at_test(folder: Path) -> Looks | None:
    """How often the test part was evaluated, by the ``index.csv`` that lists the run; None where none does."""
    for place in (folder, folder.parent, folder.parent.parent):
        rows = _index(place / "index.csv")
        if rows is None:
            continue
        own = folder.resolve()
        here = [row for row in rows if Path(row["run_dir"]).resolve() == own]
        if not here:
            continue
        homes = {_home(row) for row in here} | {own}
        return Looks(sum(_home(row) in homes for row in rows), len(rows))
    return None


def _home(row: Mapping[str, str]) -> Path:
    """The run folder of the checkpoint that was evaluated; ``fit`` names the checkpoint alone."""
    checkpoint = Path(row["checkpoint"])
    return (checkpoint.parent.parent if len(checkpoint.parts) > 2 else Path(row["run_dir"])).resolve()


def _index(file: Path) -> list[dict[str, str]] | None:
    with suppress(OSError, ValueError, csv.Error), file.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        if tuple(reader.fieldnames or ()) == _INDEX:
            return [row for row in reader if row["run_dir"] and row["checkpoint"]]
    return None
