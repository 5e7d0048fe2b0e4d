"""Survey of a data set: the facts that are known while it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.cases.table import NO_CASES, CaseTable
from datamodules.checks.labels import Labels
from datamodules.checks.measures import RECORD
from datamodules.checks.plots import Plot
from datamodules.checks.units import FileUnits, Units


@dataclass
class Survey:
    """A data set under a check.

    Attributes:
        data: the data module.
        units: what is read.
        table: the cases; empty where no table can be built.
        records: (M,) what was measured of each unit; a mapped scratch file.
        owners: (M,) row of the case table of each unit, -1 without a table.
        refused: (M,) units that training stops at, or leaves out with ``--data.skip_unreadable``.
        labels: of the cases, where they have some.
        plots: for the page.
    """

    data: ScanDataModule
    units: Units
    table: CaseTable = NO_CASES
    records: NDArray[Any] = field(default_factory=lambda: np.zeros(0, RECORD))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    refused: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    labels: Labels | None = None
    plots: list[Plot] = field(default_factory=list)

    @classmethod
    def of(cls, data: ScanDataModule) -> Survey:
        """Survey in which nothing is known yet."""
        return cls(data, FileUnits(data, ()))

    def cases(self) -> pd.DataFrame:
        """``case_id``, ``path`` and ``split`` of each case."""
        return self.table.cases[["case_id", "path", "split"]]
