"""Plan of the folds of a cross-validation, drawn for all before the first is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from datamodules.base import ScanDataModule
from datamodules.classification.base import ClassificationData
from scansuite.errors import SuiteError
from tasks.cli.parser import TaskParser
from tasks.cli.runs.run_data import split_in
from tasks.evaluation.tables import read_table, write_table


class FoldPlan(NamedTuple):
    """Plan of folds: the fold of each case.

    Attributes:
        cases: ``case_id,patient_id,split,fold`` of all cases: ``train`` with the fold that holds the case out, or
            ``test`` without one.
        split: the part of a fold's run in which its cases stand: ``val``, or ``test`` where no test part was drawn
            outside the folds.
        dealt: cases of a validation part of the data's own that are dealt into the folds.
        images_in_two_parts: identical images of train and test that a published split has.
    """

    cases: pd.DataFrame
    split: str
    dealt: int = 0
    images_in_two_parts: int = 0

    def of_fold(self, fold: int, count: int) -> pd.DataFrame:
        """``case_id,patient_id,split`` of the run of a fold, as it would draw it."""
        cases = self.cases[["case_id", "patient_id", "split"]].copy()
        held = self.cases["fold"]
        if self.split == "test":  # the next fold validates
            cases.loc[(held == (fold + 1) % count).fillna(False), "split"] = "val"
        cases.loc[(held == fold).fillna(False), "split"] = self.split
        return cases


def plan_folds(cli: TaskParser, count: int) -> FoldPlan:
    """Draw all folds before the first is trained.

    Args:
        cli: parsed for data alone.
        count: number of folds.

    Raises:
        SuiteError: there are too few patients, the parts are given and stay as they are, a fold has no training cases,
            or none of a class, or the folds would see their images in different ways.
    """
    tables: list[pd.DataFrame] = []
    seen: list[Any] = []
    for fold in range(count):
        cli.config["data"]["init_args"]["fold"] = fold
        data = cli.build_data()
        data.cross_validates = True
        tables.append(data.table.cases[["case_id", "patient_id", "split"]])
        seen.append(data.preprocess)
        _check_classes(data, f"--folds {count}: fold {fold}")
    known = data.prepared  # alike in all folds
    plan = _plan(tables)._replace(dealt=known.dealt_validation, images_in_two_parts=known.images_in_two_parts)
    for fold, spec in enumerate(seen):
        if spec != seen[0]:
            raise SuiteError(
                f"--folds {count}: the training images of fold 0 and of fold {fold} lead to another size or other "
                f"channels ({seen[0].size}, {seen[0].channels} and {spec.size}, {spec.channels}): give "
                "--data.image_size and --data.channels"
            )
    return plan


def _check_classes(data: ScanDataModule, which: str) -> None:
    """Refuse a fold whose training part lacks a class: the folds before it would have been trained for nothing."""
    if isinstance(data, ClassificationData):
        try:
            _ = data.targets
        except SuiteError as error:
            raise SuiteError(f"{which}: {error}") from None


def _plan(tables: Sequence[pd.DataFrame]) -> FoldPlan:
    tested = [frozenset(table["case_id"][table["split"] == "test"]) for table in tables]
    split = "val" if len(set(tested)) == 1 else "test"
    cases = tables[0].assign(split="train", fold=pd.array([pd.NA] * len(tables[0]), dtype="Int64"))
    if split == "val":
        cases.loc[cases["case_id"].isin(tested[0]), "split"] = "test"
    for fold, table in enumerate(tables):
        if not (table["split"] == "train").any():
            more = " (one fold is evaluated and another validates: give at least 3)" if split == "test" else ""
            raise SuiteError(f"--folds {len(tables)}: fold {fold} has no training cases{more}")
        held = (table["split"] == split).to_numpy()
        if cases["fold"][held].notna().any():
            raise SuiteError(
                f"--folds {len(tables)}: fold {fold} validates on cases of another one: parts that are given stay as "
                "they are with --data.new_cases leave_out, and in folds that were trained singly by --data.fold: leave "
                "the first out, or start a new run with --folds"
            )
        cases.loc[held, "fold"] = fold
    left = cases["case_id"][cases["fold"].isna() & (cases["split"] == "train")]
    if len(left):
        raise SuiteError(f"--folds {len(tables)}: case {left.iloc[0]!r} would be in no fold ({len(left)} cases)")
    return FoldPlan(cases, split)


def write_splits(plan: FoldPlan, run_dir: Path, count: int) -> None:
    """Write each fold's ``split.csv`` before the first is trained: cases that come meanwhile do not move the others."""
    for fold in range(count):
        folder = run_dir / f"fold_{fold}"
        folder.mkdir(exist_ok=True)
        if split_in(folder) is None:
            write_table(plan.of_fold(fold, count), folder / "split.csv")


def read_plan(run_dir: Path, count: int) -> FoldPlan | None:
    """The plan that a run of folds began with; None where a fold has no ``split.csv`` yet."""
    splits = [split_in(run_dir / f"fold_{fold}") for fold in range(count)]
    tables = [read_table(file)[["case_id", "patient_id", "split"]] for file in splits if file is not None]
    return _plan(tables) if len(tables) == count else None


def refuse_changed(plan: FoldPlan, run_dir: Path, count: int) -> None:
    """Stop where a fold that was trained by itself is another one than is drawn now.

    Raises:
        SuiteError: names the fold.
    """
    for fold in range(count):
        file = split_in(run_dir / f"fold_{fold}")
        if file is None:
            continue
        before, now = (table.set_index("case_id")["split"] for table in (read_table(file), plan.of_fold(fold, count)))
        if before.to_dict() != now.to_dict():
            raise SuiteError(
                f"{file}: parts the cases in another way than fold {fold} of {count} is drawn now: have the data or "
                "--data flags changed since it was trained? Start a new run"
            )
