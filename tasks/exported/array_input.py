"""An image in memory in the place of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable, table_of_images
from datamodules.input_cases import InputCases
from datamodules.loading.case_source import CaseSource, FileCases, LazyScans
from datamodules.preprocess import Preprocess
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.samples.slices import SliceSpec

NAME = "image"  # of the case


class ArrayInput(InputCases):
    """One array; see :class:`~datamodules.input_cases.InputCases`.

    Args:
        array: (H, W) or (H, W, C) stored values.
        like: whose scale of values counts, where a model has none.

    Raises:
        SuiteError: another shape.
    """

    def __init__(self, array: NDArray[Any], like: InputCases) -> None:
        super().__init__(
            batch_size=like.batch_size,
            num_workers=0,
            window=like.window,
            percentiles=like.percentiles,
            value_range=like.value_range,
        )
        if array.ndim not in (2, 3):
            raise SuiteError(f"an array of shape {array.shape} is no image: expected (H, W) or (H, W, channels)")
        self.array = array

    def table(
        self, inputs: Sequence[str] = (), *, volumes: bool = False, sequences: int = 1, together: bool = False
    ) -> CaseTable:
        """One case.

        Raises:
            SuiteError: the model takes volumes.
        """
        del inputs, sequences, together
        if volumes:
            raise SuiteError("this model takes volumes: give it a file or the folder of a series, not an array")
        return table_of_images(pd.DataFrame({"path": [NAME], "case_id": [NAME]}))

    def source(self, table: CaseTable, preprocess: Preprocess, slices: SliceSpec | None = None) -> CaseSource:
        """The array."""
        return _ArrayCase(table, self.array)


class _ArrayCase(FileCases):
    def __init__(self, table: CaseTable, array: NDArray[Any]) -> None:
        super().__init__(table)
        self.array = array

    def images(self, case: int) -> Sequence[Scan]:
        return LazyScans(1, lambda _: self._scan())

    def _scan(self) -> Scan:
        info = ScanInfo(path=NAME, original_size=(self.array.shape[0], self.array.shape[1]))
        if self.array.ndim == 3:
            info["alpha"] = False  # no file says that one of the channels is
        return Scan(self.array, info)
