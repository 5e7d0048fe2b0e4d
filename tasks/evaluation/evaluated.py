"""The tables of an evaluated run in memory, without its model: what comparisons, subgroups and reports come from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.evaluation.bootstrap import group_cases
from tasks.evaluation.classification.metrics import classification_metrics
from tasks.evaluation.detection.boxes import read_boxes
from tasks.evaluation.detection.calls import CALL_IOU
from tasks.evaluation.detection.matching import Matches, match_boxes
from tasks.evaluation.detection.metrics import evaluate_boxes
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.segmentation.metrics import segmentation_metrics
from tasks.evaluation.tables import find_table, read_table
from tasks.evaluation.task_file import RunTask, read_task

PARTS = ("val", "test")
KNOWN_TASKS = ("classify", "segment", "detect")


@dataclass(frozen=True, eq=False)
class PartTables:
    """The tables of one part: each case once in ``cases``, its predictions beside it.

    Attributes:
        task: what the tables are about.
        split: the part: ``val`` or ``test``.
        cases: a row a case: ``case_id``, ``patient_id``, ``path``, sizes, and every further column of the user's table.
        predictions: classification: a row a case, in the order of ``cases``; segmentation: a row a case and class;
            detection: a row a found box.
        targets: in detection a row a true box; otherwise None.
    """

    task: RunTask
    split: str
    cases: pd.DataFrame
    predictions: pd.DataFrame
    targets: pd.DataFrame | None = None

    @cached_property
    def patients(self) -> NDArray[np.intp]:
        """Patient number of each row of ``cases``, 0..G-1; a case without a patient counts as its own."""
        return group_cases(self.cases["case_id"], self.cases.get("patient_id"))

    @cached_property
    def matches(self) -> list[Matches]:
        """In detection found and true boxes of each class, matched once at an IoU of 0.5, in class order.

        Image numbers are places in ``cases``.
        """
        assert self.targets is not None
        boxes = read_boxes(self.cases, self.targets, self.predictions, self.task.class_names)
        return match_boxes(boxes, self.task["max_detections"], np.array([CALL_IOU]))

    @property
    def kind(self) -> str:
        """Kind of target in classification (``binary``, ``multiclass``, ...); otherwise the name of the task."""
        return str(self.task["target"]) if self.task.task == "classify" else self.task.task

    @property
    def positive_class(self) -> str | None:
        """The positive class of binary classification; otherwise None."""
        if self.kind != "binary":
            return None
        return str(self.task.own.get("positive_class") or self.task.class_names[-1])

    def take(self, chosen: NDArray[np.bool_]) -> PartTables:
        """The same of some of the cases.

        Args:
            chosen: ``(n,)`` which rows of ``cases``.
        """
        cases = self.cases[chosen].reset_index(drop=True)
        kept = set(cases["case_id"])
        predictions, targets = (
            None if table is None else table[table["case_id"].isin(kept)].reset_index(drop=True)
            for table in (self.predictions, self.targets)
        )
        assert predictions is not None
        return replace(self, cases=cases, predictions=predictions, targets=targets)

    def metrics(self, resamples: int = 1000) -> dict[str, MetricValue]:
        """The metrics of the part, as ``metrics.json`` has them.

        Args:
            resamples: most times that a patient is left out; 0 = no intervals.

        Raises:
            SuiteError: a column is missing, a cell is not what it should be, or the task is none of the suite's.
        """
        if self.task.task == "detect":
            assert self.targets is not None
            return evaluate_boxes(
                self.cases,
                self.targets,
                self.predictions,
                self.task.class_names,
                self.task.operating_points,
                self.task["max_detections"],
                resamples,
                self.task["froc_iou"],
            ).metrics
        patients = self.cases.set_index("case_id")["patient_id"] if "patient_id" in self.cases else None
        of_rows = None if patients is None else patients.reindex(self.predictions["case_id"]).reset_index(drop=True)
        if self.task.task == "segment":
            return segmentation_metrics(self.predictions, self.task.class_names, of_rows, resamples)
        if self.task.task == "classify":
            return classification_metrics(
                self.predictions, self.task["target"], self.task.class_names, self.positive_class, of_rows, resamples
            )
        raise SuiteError(f"task {self.task.task!r}: its metrics are not made from tables alone")


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """The tables of a run, or tables made by another tool that say the same.

    Attributes:
        name: by which it is shown: the run folder, or the file of predictions.
        task: what the tables are about.
        cases: of all parts, each case once; with column ``split``.
        predictions: of all parts; with column ``split``.
        targets: true boxes of all parts; None but in detection.
        folder: of the run; None where the tables come from elsewhere.
    """

    name: str
    task: RunTask
    cases: pd.DataFrame
    predictions: pd.DataFrame
    targets: pd.DataFrame | None = None
    folder: Path | None = None

    @property
    def parts(self) -> list[str]:
        """Parts that were evaluated, validation first."""
        there = set(self.cases["split"].dropna().unique())
        return [*(part for part in PARTS if part in there), *sorted(there - set(PARTS))]

    @property
    def intensities(self) -> pd.DataFrame | None:
        """``intensities.csv``: of some cases, the intensities of an image as the model sees it; None where it is not.

        A damaged one is none: it is a help, and results do not depend on it.
        """
        file = None if self.folder is None else self.folder / "intensities.csv"
        if file is None or not file.is_file():
            return None
        with suppress(SuiteError):
            table = read_table(file)
            return table if "case_id" in table else None
        return None

    def part(self, split: str) -> PartTables:
        """The tables of one part.

        Raises:
            SuiteError: there is no case of it.
        """
        cases = self.cases[self.cases["split"] == split].reset_index(drop=True)
        if cases.empty:
            raise SuiteError(f"{self.name}: no case of split {split!r}: there are {', '.join(self.parts) or 'none'}")
        predictions = self.predictions[self.predictions["split"] == split]
        if self.task.task == "classify":
            predictions = predictions.set_index("case_id").reindex(cases["case_id"]).reset_index()
        targets = None if self.targets is None else self.targets[self.targets["split"] == split].reset_index(drop=True)
        return PartTables(self.task, split, cases, predictions.reset_index(drop=True), targets)


def read_evaluated(run_dir: Path | str) -> EvaluatedRun:
    """Read the tables of a run folder.

    Args:
        run_dir: folder with ``task.json``, ``cases`` and ``predictions`` (in detection ``targets`` too), as ``fit``,
            ``validate`` and ``test`` leave it.

    Raises:
        SuiteError: a file is missing or damaged, a case is duplicated, or predictions and cases are not of the same.
    """
    folder = Path(run_dir)
    task = read_task(folder)
    cases, predictions = (read_table(find_table(folder, name)) for name in ("cases", "predictions"))
    targets = read_table(find_table(folder, "targets")) if task.task == "detect" else None
    return checked(EvaluatedRun(str(folder), task, cases, predictions, targets, folder))


def checked(run: EvaluatedRun) -> EvaluatedRun:
    """The run, whose tables are about the same cases.

    Raises:
        SuiteError: a column is missing, a case is duplicated in a part, or predictions and cases are not of the same.
    """
    tables = {"cases": run.cases, "predictions": run.predictions, "targets": run.targets}
    for name, table in tables.items():
        for column in ("case_id", "split"):
            if table is not None and column not in table:
                found = ", ".join(map(str, table.columns))
                raise SuiteError(f"{run.name}: {name} table: no column {column!r} (found: {found})")
    keys = {
        name: pd.MultiIndex.from_frame(table[["split", "case_id"]])
        for name, table in tables.items()
        if table is not None
    }
    once = ["cases", "predictions"] if run.task.task == "classify" else ["cases"]
    for name in once:
        if not keys[name].is_unique:
            split, case = keys[name][keys[name].duplicated()][0]
            raise SuiteError(f"{run.name}: {name} table: case {case!r} is duplicated in split {split!r}: keep one row")
    for name, index in keys.items():
        strange = index[~index.isin(keys["cases"])]
        if len(strange):
            split, case = strange[0]
            raise SuiteError(
                f"{run.name}: cases table: no row for case {case!r} of split {split!r}, which the {name} table has "
                f"({len(strange.unique())} missing)"
            )
    if run.task.task in ("classify", "segment"):
        missing = keys["cases"][~keys["cases"].isin(keys["predictions"])]
        if len(missing):
            split, case = missing[0]
            raise SuiteError(
                f"{run.name}: predictions table: no row for case {case!r} of split {split!r}, which the cases table "
                f"has ({len(missing)} missing)"
            )
    return run
