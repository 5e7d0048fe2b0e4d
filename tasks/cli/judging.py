"""From a trained model to tables and figures: what ``fit`` ends with, and what ``validate`` and ``test`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pytorch_lightning import Trainer

from datamodules.base import ScanDataModule
from tasks.base import Task
from tasks.evaluation.figures import Figure, write_metrics
from tasks.evaluation.judge import judge_classification, results_table
from tasks.evaluation.operating_point import call_at, operating_points
from tasks.evaluation.tables import write_table
from tasks.recorder import Recorder


class Judge:
    """Runs a model over parts of a data set and writes the tables and figures of a run folder.

    Args:
        trainer: with ``recorder`` among its callbacks.
        recorder: collects the rows.
        data: the parts.
        run_dir: where the tables go.
    """

    def __init__(self, trainer: Trainer, recorder: Recorder, data: ScanDataModule, run_dir: Path) -> None:
        self.trainer, self.recorder, self.data, self.run_dir = trainer, recorder, data, run_dir
        self._predictions: list[pd.DataFrame] = []
        self._scans: list[pd.DataFrame] = []

    def run(self, model: Task, split: str, *, choose_operating_point: bool = False) -> None:
        """Run the model over a part; every rank holds the rows of all afterwards.

        Args:
            model: with its weights.
            split: ``val`` or ``test``.
            choose_operating_point: choose it on this part, and leave it in ``model.operating_points``.
        """
        model.exact = True
        self.recorder.active = True
        if split == "val":
            self.trainer.validate(model, dataloaders=self.data.val_dataloader(), verbose=False)
        else:
            self.trainer.test(model, dataloaders=self.data.test_dataloader(), verbose=False)
        self.recorder.active = False
        predictions, scans = self.recorder.take()
        predictions.insert(1, "split", split)
        facts = target_facts(model)
        if choose_operating_point:
            model.operating_points = operating_points(predictions, **facts)
        self._predictions.append(call_at(predictions, model.operating_points, **facts))
        self._scans.append(scans)

    def write(self, model: Task) -> None:
        """Write the tables, judge them, and print the figures (rank 0 alone)."""
        if not self.trainer.is_global_zero:
            return
        splits = [str(table["split"].iloc[0]) for table in self._predictions]
        write_table(pd.concat(self._predictions, ignore_index=True), self.run_dir / "predictions.csv")
        write_table(self._cases(splits), self.run_dir / "cases.csv")
        write_split(self.data, self.run_dir)
        from rich.console import Console

        console = Console()
        for split in splits:
            figures = judge_classification(self.run_dir, split, split, **target_facts(model))
            console.print(results_table(figures, split))
        if self.data.images_in_two_parts:
            twice = Figure(self.data.images_in_two_parts, float("nan"), float("nan"), len(self.data.table.images))
            write_metrics(self.run_dir / "metrics.json", {"split/images_in_two_parts": twice})

    def _cases(self, splits: Sequence[str]) -> pd.DataFrame:
        cases = self.data.table.cases
        judged = cases[cases["split"].isin(splits)].drop(columns=["width", "height", "spacing"], errors="ignore")
        known = judged.merge(pd.concat(self._scans).drop_duplicates("case_id"), on="case_id", how="left")
        lead = ["case_id", "patient_id", "path", "split", "width", "height", "spacing"]
        return known[lead + [column for column in known.columns if column not in lead]]


def write_split(data: ScanDataModule, run_dir: Path) -> None:
    """Write ``split.csv``: who was where; ``--data.split_file`` takes it again."""
    write_table(data.table.cases[["case_id", "patient_id", "split"]], run_dir / "split.csv")


def target_facts(model: Task) -> dict[str, Any]:
    """What a table must be told about the target to be judged."""
    facts = cast("Any", model)
    return {"kind": facts.target, "class_names": facts.class_names, "positive_class": facts.positive_class}
