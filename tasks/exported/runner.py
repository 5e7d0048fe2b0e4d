"""An exported model over cases: how the cases of a task are found, and what comes of each; for a subclass to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from datamodules.cases.table import CaseTable
from datamodules.input_cases import InputCases
from datamodules.samples.slices import SliceSpec
from datamodules.types import ScanInfo
from tasks.deployment.predictions import Predictions
from tasks.exported.batches import Unreadable
from tasks.exported.images import Runnable
from tasks.registry.flag import OwnFlags


class FinishedCase(Protocol):
    """A case that was predicted.

    Attributes:
        scan: identity and geometry, ``case_id`` and ``path`` among them; of many images those of the first.
    """

    @property
    def scan(self) -> ScanInfo:
        """See the class."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of ``predictions.csv``, without ``split`` and ``path``; of a detector there may be none."""


Case = TypeVar("Case", bound=FinishedCase)
Taken = TypeVar("Taken", contravariant=True)


class Output(Protocol[Taken]):
    """What becomes of finished cases: files, and a result for Python."""

    def add(self, case: Taken) -> None:
        """Take a case, and write what is its own."""

    def result(self, table: CaseTable, failed: Sequence[tuple[str, str]]) -> Predictions:
        """All of them together; what is of all cases is written.

        Args:
            table: of the cases that were asked for.
            failed: (path, reason) of the files that could not be read.
        """


class Runner(ABC, Generic[Case]):
    """The cases of a task under an exported model.

    Args:
        model: that runs.
        inputs: how files are read.

    Attributes:
        flags: own flags of the task's ``predict``, and their meaning.
        preprocess: of the model, with the scale that the user gives where it has none.
        slices: how volumes are cut; None: the model is for images alone.

    Raises:
        SuiteError: the user gives a scale, and the model has one of its own.
    """

    flags: ClassVar[OwnFlags] = {}

    def __init__(self, model: Runnable, inputs: InputCases) -> None:
        self.model, self.inputs, self.about = model, inputs, model.description
        cut = self.about.slices
        self.slices = None if cut is None else SliceSpec.from_dict(cut)
        self.preprocess = inputs.prepared(self.about.preprocess, self.slices)

    @abstractmethod
    def table(self, paths: Sequence[str]) -> CaseTable:
        """The cases found in files, folders or a table."""

    @abstractmethod
    def cases(self, table: CaseTable) -> Iterator[Case | Unreadable]:
        """Predict the cases of a table, each as soon as its last piece is through."""

    @abstractmethod
    def output(self, table: CaseTable, folder: Path | None, options: Mapping[str, Any]) -> Output[Case]:
        """What takes the finished cases.

        Args:
            table: of all cases.
            folder: for what is written; None: nothing is.
            options: values of :attr:`flags`, None where left out.

        Raises:
            SuiteError: an option is none.
        """


def predicted(table: CaseTable, failed: Sequence[tuple[str, str]]) -> list[str]:
    """Ids of the cases of a table that were predicted, where the files in ``failed`` could not be read."""
    missing = {path for path, _ in failed}
    pairs = zip(table.cases["case_id"], table.cases["path"], strict=True)
    return [str(case) for case, path in pairs if path not in missing]


def paths_of(table: CaseTable) -> dict[str, str]:
    """Case id -> path."""
    pairs = zip(table.cases["case_id"], table.cases["path"], strict=True)
    return {str(case): str(path) for case, path in pairs}
