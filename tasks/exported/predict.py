"""Predictions of an exported model for files: what the verb ``predict`` writes, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from scansuite.errors import SuiteError
from scansuite.progress import progress
from tasks.deployment.flags import TASK_FLAGS
from tasks.exported.images import Runnable

if TYPE_CHECKING:
    from datamodules.cases.table import CaseTable
    from datamodules.input_cases import InputCases
    from tasks.deployment.predictions import Predictions
    from tasks.deployment.segmented import SegmentedCase
    from tasks.exported.batches import Unreadable
    from tasks.exported.classification.runner import ClassifiedCase
    from tasks.exported.detection.runner import DetectedCase
    from tasks.exported.runner import Runner
    from tasks.registry.flag import OwnFlags

    Finished: TypeAlias = ClassifiedCase | SegmentedCase | DetectedCase


def runner_class(task: str) -> type[Runner[Any]]:
    """How the cases of a task run.

    Raises:
        SuiteError: the task is not known here.
    """
    # Imported when they are needed: the runtime's help must not wait for scipy and pandas.
    if task == "classify":
        from tasks.exported.classification.runner import ClassificationRunner

        return ClassificationRunner
    if task == "segment":
        from tasks.exported.segmentation.runner import SegmentationRunner

        return SegmentationRunner
    if task == "detect":
        from tasks.exported.detection.runner import DetectionRunner

        return DetectionRunner
    raise SuiteError(f"task {task!r} of an exported model is not known here: it was exported by a newer version")


def flags_of(task: str) -> OwnFlags:
    """Further flags of a task's ``predict``, see :class:`~tasks.registry.flag.Flag`."""
    return TASK_FLAGS.get(task, {})


def predict_files(
    model: Runnable,
    inputs: InputCases,
    paths: Sequence[str],
    output: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Predictions:
    """Predict files, and write what ``predict`` writes. A file that cannot be read does not stop the rest.

    Args:
        model: that runs.
        inputs: how files are read.
        paths: files, folders and tables.
        output: new folder for what is written; None: nothing is, and the result has the masks.
        options: values of :func:`flags_of`, None where left out.

    Raises:
        SuiteError: a path does not exist, nothing is found, an option is none, or the graph takes no such images.
    """
    run = FileRun(model, inputs, output, options)
    return run.predict(run.table(paths))


def predict_cases(model: Runnable, inputs: InputCases, paths: Sequence[str]) -> Iterator[Finished | Unreadable]:
    """Predict files one by one, each as soon as it is through; nothing is written.

    Args:
        model: that runs.
        inputs: how files are read.
        paths: files, folders and tables.

    Raises:
        SuiteError: as :func:`predict_files`.
    """
    runner = runner_class(model.description.task)(model, inputs)
    yield from runner.cases(runner.table(paths))


def predict_scan(model: Runnable, scan: Path | str | NDArray[Any], inputs: InputCases | None = None) -> list[Finished]:
    """Predict one file, or one image in memory.

    Args:
        model: that runs.
        scan: a file, the folder of a series; or an image (H, W) or (H, W, C) with the values that a file would hold.
        inputs: how files are read; left out: as by default.

    Returns:
        The case; where a classifier judges each slice of a volume for itself, all of them.

    Raises:
        SuiteError: it cannot be read, is no image, or the model takes something else.
    """
    from datamodules.input_cases import InputCases
    from tasks.exported.array_input import ArrayInput
    from tasks.exported.batches import Unreadable

    reads, paths = inputs or InputCases(num_workers=0), []
    if isinstance(scan, (str, Path)):
        paths = [str(scan)]
    else:
        reads = ArrayInput(scan, reads)
    cases: list[Finished] = []
    for case in predict_cases(model, reads, paths):
        if isinstance(case, Unreadable):
            raise SuiteError(case.reason)
        cases.append(case)
    if not cases:
        raise SuiteError(f"{scan}: nothing was predicted")
    return cases


class FileRun:
    """A model over files, in two steps: finding the cases, and predicting them.

    Args:
        model: see :func:`predict_files`.
        inputs: likewise.
        output: likewise.
        options: likewise.

    Attributes:
        sink: takes each finished case too; None: nobody asks.

    Raises:
        SuiteError: an option is none of the task's.
    """

    def __init__(
        self, model: Runnable, inputs: InputCases, output: Path | None, options: Mapping[str, Any] | None
    ) -> None:
        self.runner = runner_class(model.description.task)(model, inputs)
        self.inputs, self.output = inputs, output
        unknown = sorted(set(options or {}) - set(self.runner.flags))
        if unknown:
            raise SuiteError(f"--{unknown[0]}: {model.description.task} has no such flag")
        self.options = {**dict.fromkeys(self.runner.flags), **(options or {})}
        self.sink: Callable[[Finished], None] | None = None

    def table(self, paths: Sequence[str]) -> CaseTable:
        """The cases found in files, folders and tables.

        Raises:
            SuiteError: a path does not exist, or nothing is found.
        """
        return self.runner.table(paths)

    def predict(self, table: CaseTable) -> Predictions:
        """Predict the cases of a table, and write what comes of them.

        Raises:
            SuiteError: an option is none, or the graph takes no such images.
        """
        from tasks.deployment.tables import write_predictions
        from tasks.exported.batches import Unreadable

        taker = self.runner.output(table, self.output, self.options)
        failed: set[tuple[str, str]] = set()
        with progress("predicting", "cases", len(table)) as tell:
            for done, case in enumerate(self.runner.cases(table), start=1):
                if isinstance(case, Unreadable):
                    failed.add((case.path, case.reason))
                else:
                    taker.add(case)
                    if self.sink is not None:
                        self.sink(case)
                tell(min(done, len(table)))  # a volume may be a case of each slice
        result = taker.result(table, sorted(failed))
        if self.output is not None:
            write_predictions(
                self.output,
                result.table,
                cases=result.cases,
                unreadable=result.unreadable,
                passed_over=self.inputs.passed_over,
            )
        return result
