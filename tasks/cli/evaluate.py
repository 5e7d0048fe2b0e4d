"""Evaluation of a trained model into the tables and metrics of a run folder, for ``fit``, ``validate`` and ``test``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from pytorch_lightning import Trainer

from datamodules.base import ScanDataModule
from tasks.cli.drift import compare_with_training, training_profile
from tasks.cli.results import calls_text, results_text
from tasks.cli.runs.run_facts import write_run_facts
from tasks.cli.runs.seen import Leaks
from tasks.evaluation.drift.profile import Profile
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.metric_names import distance_unit
from tasks.evaluation.metric_values import MetricValue, write_metrics
from tasks.evaluation.tables import counted, write_table
from tasks.evaluation.task_file import write_task
from tasks.hardware import exact_float32
from tasks.loading import Model
from tasks.registry.specs import spec_of
from tasks.running.drifting import profile_text
from tasks.running.evaluate_run import evaluate_run
from tasks.running.evaluator import EvalResult, Evaluator
from tasks.running.gallery import store_gallery


def evaluator_of(task: str) -> Evaluator[Any, Any]:
    """Evaluator of a task."""
    return spec_of(task).evaluator_class()()


class RunEvaluation:
    """Runs a model over parts of a data set and writes the tables and metrics of a run folder.

    Args:
        trainer: with the evaluation's callback among its own.
        evaluator: the task's own part.
        data: the parts.
        run_dir: where the tables go.
        leaks: of the parts, for ``metrics.json``.

    Attributes:
        pictures: titles and (H, W, 3) uint8 pictures that this rank drew.
        metrics: by part and name, once the tables are written (rank 0 alone).
        charts: files drawn from the tables (rank 0 alone).
        profile: of the model's training data, with which the parts are compared; None: they are not.
        report: the page that was written from them; None where there is none (rank 0 alone).
    """

    def __init__(
        self, trainer: Trainer, evaluator: Evaluator[Any, Any], data: ScanDataModule, run_dir: Path, leaks: Leaks
    ) -> None:
        self.trainer, self.evaluator, self.data, self.run_dir, self.leaks = trainer, evaluator, data, run_dir, leaks
        self.pictures: list[tuple[str, NDArray[Any]]] = []
        self.metrics: dict[str, dict[str, MetricValue]] = {}
        self.charts: list[Path] = []
        self.profile: Profile | None = None
        self.report: Path | None = None
        self._results: dict[str, EvalResult] = {}

    @property
    def parts(self) -> list[str]:
        """Parts that were evaluated."""
        return list(self._results)

    def run(self, model: Model, split: str, *, choose: bool = False) -> None:
        """Run the model over a part; every rank holds the rows of all afterwards.

        Args:
            model: with its weights.
            split: ``val`` or ``test``.
            choose: choose on this part what is chosen on validation, and leave it in the model.
        """
        model.exact = True
        with exact_float32():
            result = self.evaluator.run(self.trainer, model, self.data, split, choose=choose)
        self.pictures += self.evaluator.pictures(result, split, model, self.data, self.run_dir / "overlays")
        store_gallery(self.evaluator, result, split, model, self.data, self.run_dir)
        self._results[split] = result

    def choose(self, model: Model) -> None:
        """Choose on validation what is chosen there, without evaluating it."""
        model.exact = True
        with exact_float32():
            self.evaluator.run(self.trainer, model, self.data, "val", choose=True)

    def keep_profile(self, model: Model) -> None:
        """Make the profile of the training data, and leave it in the model for its checkpoint (rank 0 alone)."""
        if not self.trainer.is_global_zero:
            return
        self.profile = training_profile(self.data, self.evaluator.run_task(model), self._tables(model))
        model.training_profile = None if self.profile is None else profile_text(self.profile)

    def _tables(self, model: Model) -> EvaluatedRun:
        """The tables of the parts that were evaluated."""
        results = list(self._results.values())
        targets = [result.targets for result in results if result.targets is not None]
        return EvaluatedRun(
            str(self.run_dir),
            self.evaluator.run_task(model),
            self._cases(self.parts),
            pd.concat([result.predictions for result in results], ignore_index=True),
            pd.concat(targets, ignore_index=True) if targets else None,
            self.run_dir,
        )

    def write(self, model: Model, *, show: bool = True) -> None:
        """Write the tables, evaluate and draw them, print the metrics unless ``show`` is False (rank 0 alone)."""
        if not self.trainer.is_global_zero:
            return
        predictions = [result.predictions for result in self._results.values()]
        write_table(pd.concat(predictions, ignore_index=True), self.run_dir / "predictions.csv")
        targets = [result.targets for result in self._results.values() if result.targets is not None]
        if targets:
            write_table(pd.concat(targets, ignore_index=True), self.run_dir / "targets.csv")
        cases = self._cases(list(self._results))
        write_table(cases, self.run_dir / "cases.csv")
        write_split(self.data, self.run_dir)
        task = self.evaluator.run_task(model)
        write_task(self.run_dir, task)
        write_run_facts(self.run_dir, model, self.trainer)
        for split in self._results:
            self.metrics[split] = evaluate_run(self.run_dir, split)
            if show:
                here, names = cases[cases["split"] == split], task.class_names
                title, unit = f"{split}: {counted(here['case_id'], here)}", distance_unit(here)
                print(
                    results_text(self.metrics[split], title, task=task.task, class_names=names, distance=unit),
                    end="\n\n",
                )
        if show and model.calibration is not None:
            print(f"scores are calibrated: {model.calibration}")
        if show and task.operating_points and "operating_point" in task.own:
            print(calls_text(task.operating_points, task.own["operating_point"]))
        counts = {
            "split/images_in_two_parts": (self.data.images_in_two_parts, len(self.data.table.images)),
            "split/unreadable_cases": (len(self.data.unreadable), len(self.data.table) + len(self.data.unreadable)),
        }
        told = {
            name: MetricValue(count, float("nan"), float("nan"), of) for name, (count, of) in counts.items() if count
        }
        told |= self.leaks.metrics
        if told:
            write_metrics(self.run_dir / "metrics.json", told)
        self.leaks.note(self.run_dir / "metrics.json")
        if self.profile is not None:
            compare_with_training(self.profile, self._tables(model), self.data)
        from tasks.evaluation.charts.run_charts import draw_charts
        from tasks.evaluation.report.write import report_of_folder

        self.charts = draw_charts(self.run_dir, self.parts)
        self.report = next(iter(report_of_folder(self.run_dir)), None)
        if show:
            page = "" if self.report is None else f"; to read and to print: {self.report.name}"
            print(f"all metrics with their intervals: metrics.json{page}")

    def _cases(self, splits: Sequence[str]) -> pd.DataFrame:
        cases = self.data.table.cases
        evaluated = cases[cases["split"].isin(splits)].drop(columns=["width", "height", "spacing"], errors="ignore")
        scans = pd.concat([result.scans for result in self._results.values()]).drop_duplicates("case_id")
        known = evaluated.merge(scans, on="case_id", how="left")
        lead = ["case_id", "patient_id", "path", "split", "width", "height", "spacing"]
        return known[lead + [column for column in known.columns if column not in lead]]


def write_split(data: ScanDataModule, run_dir: Path) -> None:
    """Write ``split.csv``: who was where; ``--data.split_file`` takes it again."""
    cases = data.table.cases[["case_id", "patient_id", "split"]]
    write_table(cases[cases["split"].notna()], run_dir / "split.csv")
