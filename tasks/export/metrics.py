"""Metrics of a model and of a file made of it on the same cases, and their paired differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Trainer

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.differences import Comparison, compare_models, direction
from tasks.evaluation.comparison.models import models_of
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.metric_names import label_of
from tasks.export.exporter import Exporter
from tasks.export.feeding import RunnableExport
from tasks.hardware import exact_float32
from tasks.running.evaluator import Evaluator
from tasks.training.stopping.callback import without_handlers


@contextmanager
def computed_by(exporter: Exporter[Any], model: RunnableExport) -> Iterator[None]:
    """Let the networks of a model answer with what a file made of it says; all that is around them stays PyTorch.

    Args:
        exporter: of the model.
        model: the file.
    """
    asked: list[int] = []
    changed = [
        stand_in
        for member, prefix in zip(exporter.members, exporter.prefixes, strict=True)
        for stand_in in exporter.stand_ins(member, model, prefix)
    ]
    for place, name, answer in changed:
        assert callable(getattr(place, name))
        object.__setattr__(place, name, _counted(answer, asked))
    try:
        yield
        if not asked:  # figures of PyTorch itself would pass for those of the file
            raise RuntimeError(f"{exporter.names[0]}: its file was not asked for anything")
    finally:
        for place, name, _ in changed:
            object.__delattr__(place, name)


def _counted(answer: Callable[..., Any], asked: list[int]) -> Callable[..., Any]:
    def counted(*given: Any) -> Any:
        asked.append(1)
        return answer(*given)

    return counted


def evaluated(evaluator: Evaluator[Any, Any], model: Any, data: ScanDataModule, split: str, name: str) -> EvaluatedRun:
    """The tables of a part, in memory.

    Args:
        evaluator: of the task, not used before; the data have adopted the model.
        model: with its weights.
        data: with the part.
        split: ``val`` or ``test``.
        name: by which the tables are shown.
    """
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", devices=1, callbacks=[evaluator.callback], enable_model_summary=False,
        use_distributed_sampler=False, **quiet,
    )  # fmt: skip
    without_handlers(trainer)
    model.exact = True
    with exact_float32():
        result = evaluator.run(trainer, model, data, split)
    cases = data.table.cases
    cases = cases[cases["split"] == split].drop(columns=["width", "height", "spacing"], errors="ignore")
    cases = cases.merge(result.scans.drop_duplicates("case_id"), on="case_id", how="left").reset_index(drop=True)
    return EvaluatedRun(name, evaluator.run_task(model), cases, result.predictions, result.targets)


def compared(before: EvaluatedRun, after: EvaluatedRun, split: str, resamples: int = 1000) -> Comparison:
    """A model after something was done to it against itself before, metric by metric on the same cases."""
    runs = [before, after]
    return compare_models(models_of(runs, aligned_parts(runs, split), resamples))[0]


def lost(before: EvaluatedRun, after: EvaluatedRun, split: str, names: Sequence[str]) -> tuple[str, float]:
    """The first of some metrics that there is, and how much of it was lost (below 0: gained).

    Args:
        before: tables of the model as it was.
        after: as it is.
        split: the part.
        names: of metrics, the one that decides first.

    Raises:
        SuiteError: none of them is defined on these cases.
    """
    metrics = [run.part(split).metrics(0) for run in (before, after)]
    name = next((one for one in names if all(one in run for run in metrics)), None)
    values = [] if name is None else [run[name].value for run in metrics]
    if name is None or any(value != value for value in values):
        raise SuiteError(f"{before.name}: no metric that decides is defined on the {split} part: give more cases")
    return name, direction(name) * (values[0] - values[1])


def metrics_of(
    exporter: Exporter[Any],
    model: RunnableExport,
    data: ScanDataModule,
    new_evaluator: Callable[[], Evaluator[Any, Any]],
) -> Comparison:
    """Metrics of PyTorch and of an export on the validation part, case by case.

    Args:
        exporter: of the model.
        model: the export.
        data: that have adopted the model, with a validation part.
        new_evaluator: makes one of the task.

    Raises:
        SuiteError: there is no validation part.
    """
    if not len(data.rows("val")):
        raise SuiteError("--metrics: the data have no validation part: leave it out, or name others with --data")
    before = evaluated(new_evaluator(), exporter.model, data, "val", "PyTorch")
    with computed_by(exporter, model):
        after = evaluated(new_evaluator(), exporter.model, data, "val", "exported")
    return compared(before, after, "val")


def table_of_comparison(comparison: Comparison, before: str, after: str) -> str:
    """Lines of metrics of two models on the same cases, with the paired difference and its 95 % interval.

    Args:
        comparison: of them.
        before: name of the one.
        after: name of the other.
    """
    rows = [f"{'metric':<44}{before:>10}{after:>10}{'difference':>12}   95 % interval, paired"]
    primary = [comparison.primary] if comparison.primary is not None else []
    for one in (*primary, *comparison.secondary):
        low, high = one.value.low, one.value.high
        interval = f"{low:+.4f} to {high:+.4f}" if low == low else "withheld: too few cases"
        values = f"{one.reference.value:>10.4f}{one.other.value:>10.4f}{one.value.value:>+12.4f}"
        rows.append(f"{label_of(one.metric):<44}{values}   {interval}")
    return "\n".join(rows)
