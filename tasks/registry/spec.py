"""Entry of a task in the list of tasks: what it is made of, as import paths. Imports nothing heavy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scansuite.errors import SuiteError
from scansuite.own_parts import SUITE

if TYPE_CHECKING:
    from pathlib import Path

    from datamodules.base import ScanDataModule
    from tasks.base import Task
    from tasks.ensemble import Ensemble
    from tasks.evaluation.metric_values import MetricValue
    from tasks.evaluation.task_file import RunTask
    from tasks.running.evaluator import Evaluator
    from tasks.running.inference import Inference

Part = Literal["task", "evaluator", "inference", "ensemble", "data_base", "explainer", "exporter"]


@dataclass(frozen=True)
class TaskSpec:
    """A task: its name on the command line, and where its classes are. Each is imported when it is asked for.

    Attributes:
        name: on the command line, and in checkpoints.
        help: what it does, in one line.
        task: path (``package.module.Class``) of the :class:`~tasks.base.Task`.
        evaluator: of the :class:`~tasks.running.evaluator.Evaluator`.
        inference: of the :class:`~tasks.running.inference.Inference`.
        ensemble: of the :class:`~tasks.ensemble.Ensemble`.
        metrics: path (``package.module.function``) of what makes the metrics of a run folder: it takes the folder, the
            part and the :class:`~tasks.evaluation.task_file.RunTask`, reads tables alone and needs no torch.
        data_base: of the data class that all data of the task derive from.
        data: of the data classes that are known by name; the first is what is taken without ``--data``.
        examples: commands to begin with, from the verb on.
        explainer: of the :class:`~tasks.explain.explainer.Explainer`; left out: its models cannot be explained.
        program: how it is called; left out: ``scansuite <name>``.
        exporter: of the :class:`~tasks.export.exporter.Exporter`; left out: its models cannot be exported.
    """

    name: str
    help: str
    task: str
    evaluator: str
    inference: str
    ensemble: str
    metrics: str
    data_base: str
    data: tuple[str, ...]
    examples: tuple[str, ...] = ("fit",)
    explainer: str = ""
    program: str = field(default="")
    exporter: str = ""

    def __post_init__(self) -> None:
        if not self.program:
            object.__setattr__(self, "program", f"scansuite {self.name}")

    @property
    def own_packages(self) -> list[str]:
        """The packages of a task that is not of the suite; they were installed to be run."""
        paths = (self.task, self.evaluator, self.inference, self.ensemble, self.data_base, *self.data)
        return sorted({path.split(".")[0] for path in paths} - set(SUITE))

    def part(self, part: Part) -> Any:
        """The class of a part."""
        return load(getattr(self, part))

    def task_class(self) -> type[Task]:
        """The class of the model."""
        return self.part("task")  # type: ignore[no-any-return]

    def evaluator_class(self) -> type[Evaluator[Any, Any]]:
        """How it is evaluated."""
        return self.part("evaluator")  # type: ignore[no-any-return]

    def inference_class(self) -> type[Inference[Any]]:
        """How it predicts."""
        return self.part("inference")  # type: ignore[no-any-return]

    def ensemble_class(self) -> type[Ensemble[Any]]:
        """Several of its models as one."""
        return self.part("ensemble")  # type: ignore[no-any-return]

    def exporter_class(self) -> type[Any]:
        """How its models become files that run without torch: a :class:`~tasks.export.exporter.Exporter`.

        Raises:
            SuiteError: the task does not say.
        """
        if not self.exporter:
            raise SuiteError(
                f"task {self.name!r}: its models cannot be exported: its TaskSpec names no exporter (docs/export.md)"
            )
        exporter: type[Any] = self.part("exporter")
        return exporter

    def evaluate(self, run_dir: Path, split: str, task: RunTask) -> dict[str, MetricValue]:
        """Evaluate the tables of a run folder; see :func:`~tasks.running.evaluate_run.evaluate_run`."""
        return load(self.metrics)(run_dir, split, task)  # type: ignore[no-any-return]

    def data_base_class(self) -> type[ScanDataModule]:
        """What all its data classes derive from."""
        return self.part("data_base")  # type: ignore[no-any-return]

    def data_names(self) -> list[str]:
        """Names of its data classes for ``--data``."""
        return [path.rpartition(".")[2] for path in self.data]

    def data_classes(self) -> dict[str, type[ScanDataModule]]:
        """Its data classes by name."""
        return dict(zip(self.data_names(), map(load, self.data), strict=True))


def load(path: str) -> Any:
    """What stands at an import path (``package.module.name``)."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
