"""Images in memory with a target each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from datamodules.arrays.scans import ArrayScans, ManyArrays, as_numpy, same_length
from datamodules.classification.base import ClassificationData
from scansuite.errors import SuiteError


class LabelledArrays(ArrayScans, ClassificationData):
    """Arrays for classification.

    Args:
        images: see :class:`~datamodules.arrays.scans.ArrayScans`.
        labels: (N,) class numbers or names, or numbers (``target="regression"``); or (N, L) of 0, 1 and NaN (unknown),
            several labels an image.
        class_names: of class numbers 0, 1, ..., or of the L labels; left out: the numbers.
        kwargs: see :class:`~datamodules.arrays.scans.ArrayScans` and
            :class:`~datamodules.classification.base.ClassificationData`.
    """

    def __init__(
        self,
        images: ManyArrays,
        labels: ManyArrays | ArrayLike,
        *,
        class_names: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        names = None if class_names is None else [str(name) for name in class_names]
        super().__init__(images, class_names=names, **kwargs)
        values = _values(labels)
        same_length("labels", len(values), len(self.images))
        if values.ndim == 2:
            columns = names or [str(number) for number in range(values.shape[1])]
            if len(columns) != values.shape[1]:
                raise SuiteError(f"class_names: {len(columns)} names for {values.shape[1]} labels")
            self.task_kind = self.task_kind or "multilabel"
            self.label_columns = columns
            self.cases = self.cases.join(pd.DataFrame(values, columns=columns))
            return
        missing = np.flatnonzero(pd.isna(values))
        if len(missing):
            raise SuiteError(f"labels: that of image {missing[0]} is missing: leave the image out")
        whole = values.dtype.kind in "bui" or (values.dtype.kind == "f" and bool((values % 1 == 0).all()))
        if names is not None and whole and self.task_kind != "regression":
            wrong = np.flatnonzero((values < 0) | (values >= len(names)))
            if len(wrong):
                raise SuiteError(
                    f"labels: that of image {wrong[0]} is {values[wrong[0]]}, but class_names has {len(names)} classes"
                )
            values = np.array(names, dtype=object)[values.astype(np.int64)]
        self.cases["label"] = values


def _values(labels: ManyArrays | ArrayLike) -> NDArray[Any]:
    """(N,) or (N, L).

    Raises:
        SuiteError: another shape.
    """
    values = as_numpy(labels)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2):
        raise SuiteError(f"labels: shape {values.shape}: expected (N,), or (N, L) of several labels an image")
    return values
