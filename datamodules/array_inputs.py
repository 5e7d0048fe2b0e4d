"""Arrays to apply a model to: numpy or torch, in memory already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from datamodules.arrays.scans import CHANNELS, ManyArrays, as_scan, images_of
from datamodules.cases.table import CaseTable, table_of_images
from datamodules.inputs import InputFiles
from datamodules.loading.case_source import CaseSource, FileCases, LazyScans
from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.samples.slices import SliceSpec


def image_list(images: ManyArrays, channels_first: bool | None = None, channels: int = 1) -> list[NDArray[Any]]:
    """Numpy or torch images as a list of arrays (H, W) or (H, W, C), which share their memory.

    Args:
        images: one image (H, W) or (H, W, C) with at most four channels; several of one size (N, H, W), (N, H, W, C) or
            (N, C, H, W); or a list of images of any sizes. Values are those that a file would hold (0..255 in uint8,
            HU, ...), not scaled.
        channels_first: see :class:`~datamodules.arrays.scans.ArrayScans`.
        channels: of the images that the model takes.

    Raises:
        SuiteError: no image, an array of another shape, or one of (C, H, W) that may be one image or C.
    """
    if isinstance(images, (np.ndarray, Tensor)):
        shape = tuple(images.shape)
        if channels_first is None and len(shape) == 3 and shape[0] == channels > 1 and shape[2] not in CHANNELS:
            raise SuiteError(
                f"images: shape {shape} may be one image of {channels} channels, or {channels} grey ones: "
                "say channels_first=True or False"
            )
        if _is_one(shape, channels_first):
            images = images[None]
    return images_of(images, channels_first)


def _is_one(shape: tuple[int, ...], channels_first: bool | None) -> bool:
    """Whether an array is one image and not several."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0 if channels_first else 2] in CHANNELS)


class InputArrays(InputFiles):
    """Arrays in the place of files; see :class:`~datamodules.inputs.InputFiles`.

    Args:
        images: see :func:`image_list`.
        case_ids: of the images; left out: 0, 1, 2, ...
        channels_first: see :func:`image_list`.
        channels: of the images that the model takes.
        kwargs: ``batch_size``, ``window``, ``percentiles`` and ``value_range`` of
            :class:`~datamodules.inputs.InputFiles`.

    Raises:
        SuiteError: no image, another number of ids than of images, or an id twice.
    """

    def __init__(
        self,
        images: ManyArrays,
        case_ids: Sequence[str] | None = None,
        channels_first: bool | None = None,
        channels: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "num_workers": 0})
        arrays = image_list(images, channels_first, channels)
        names = [str(name) for name in (range(len(arrays)) if case_ids is None else case_ids)]
        if len(names) != len(arrays):
            raise SuiteError(f"case_ids: {len(names)} names for {len(arrays)} images")
        if len(set(names)) < len(names):
            raise SuiteError(f"case_ids: {pd.Series(names)[pd.Series(names).duplicated()].iat[0]} is there twice")
        self.images = dict(zip(names, arrays, strict=True))

    def table(
        self, inputs: Sequence[str] = (), *, volumes: bool = False, sequences: int = 1, together: bool = False
    ) -> CaseTable:
        """One case an array.

        Raises:
            SuiteError: the model takes volumes, or cases of many images.
        """
        del inputs, sequences
        if volumes or together:
            what = "volumes" if volumes else "cases of many images (--model.aggregate)"
            raise SuiteError(f"this model takes {what}: give it files or folders, not arrays")
        return table_of_images(pd.DataFrame({"path": list(self.images), "case_id": list(self.images)}))

    def read(self, path: str) -> Scan:
        """An array as a scan."""
        return as_scan(self.images[path], path)

    def reader(self, table: CaseTable) -> Callable[[int], Scan]:
        """Row number of an image of a table -> the array as a scan."""
        paths = list(table.images["path"])
        return lambda image: self.read(paths[image])

    def source(self, table: CaseTable, preprocess: Preprocess, slices: SliceSpec | None = None) -> CaseSource:
        """The arrays one by one."""
        return _ArrayCases(table, self)


class _ArrayCases(FileCases):
    """Arrays, one a case."""

    def __init__(self, table: CaseTable, inputs: InputArrays) -> None:
        super().__init__(table)
        self.inputs = inputs

    def images(self, case: int) -> Sequence[Scan]:
        """The array of a case."""
        return LazyScans(1, lambda _: self.inputs.read(self.scan_of(case)["path"]))
