"""Parts that the arrays of all tasks share: images in memory, their patients, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from datamodules.base import ScanDataModule
from datamodules.cases.ids import clean_ids
from datamodules.cases.table import CaseTable, split_words, table_of_images
from datamodules.readers.hashing import array_hash
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

ManyArrays: TypeAlias = NDArray[Any] | Tensor | Sequence[ArrayLike]  # one for each image
CHANNELS = range(1, 5)  # of an image, by which its axis of channels is known


class ArrayScans(ScanDataModule):
    """Images in memory, each a case.

    Args:
        images: numpy or torch: (N, H, W), (N, H, W, C) or (N, C, H, W), or a list of N images of any sizes. Values are
            those that a file would hold (0..255 in uint8, HU, ...): floats lie in 0..1, or ``window``, ``percentiles``
            or ``value_range`` says what becomes 0 and 1.
        patients: (N,) the patient of each image; a patient's images are always in one part. Left out: not known.
        case_ids: (N,) names of the images; left out: 0, 1, 2, ...
        parts: (N,) ``train``, ``val`` or ``test``, where the split is yours; left out: it is drawn.
        channels_first: whether images are (C, H, W); left out: the axis of one to four channels, if only one can be.
        kwargs: of the task's own base class.

    Raises:
        SuiteError: names the argument, and the first image concerned.
    """

    def __init__(
        self,
        images: ManyArrays,
        *,
        patients: Iterable[Any] | None = None,
        case_ids: Iterable[Any] | None = None,
        parts: Iterable[str] | None = None,
        channels_first: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.images = images_of(images, channels_first)
        count = len(self.images)
        given = range(count) if case_ids is None else _listed("case_ids", case_ids)
        names = clean_ids(pd.Series(list(given)).astype("str"))
        same_length("case_ids", len(names), count)
        if names.isna().any() or names.duplicated().any():
            wrong = names[names.isna() | names.duplicated()].index[0]
            raise SuiteError(f"case_ids: that of image {wrong} is empty or a duplicate: give each image its own name")
        columns = {"path": names, "case_id": names}
        if patients is not None:
            columns["patient_id"] = pd.Series(_listed("patients", patients), dtype="object")
            same_length("patients", len(columns["patient_id"]), count)
        if parts is not None:
            columns["split"] = split_words(pd.Series(_listed("parts", parts), dtype="str"), "parts")
            same_length("parts", len(columns["split"]), count)
        self.cases = pd.DataFrame(columns)
        self._number = {name: number for number, name in enumerate(names)}

    def not_on_disk(self) -> str | None:
        """Why images are not kept on disk."""
        return "the images are arrays in memory"

    @property
    def origin(self) -> str:
        """Where the scans come from, in words."""
        return f"{len(self.images)} images in memory"

    @property
    def where(self) -> str:
        """What messages about labels name."""
        return "labels"

    def build_table(self) -> CaseTable:
        """One case an image."""
        return table_of_images(self.cases)

    def number_of(self, image: int) -> int:
        """Which of the arrays an image of the table is."""
        return self._number[str(self.table.images["path"].iat[image])]

    def read(self, image: int) -> Scan:
        """An image as it was given."""
        return as_scan(self.images[self.number_of(image)], str(self.table.images["path"].iat[image]))

    def hashes(self, table: CaseTable) -> list[str]:
        """A content hash for each row of ``table.images``."""
        return [array_hash(self.images[self._number[path]]) for path in table.images["path"]]


def as_scan(array: NDArray[Any], path: str) -> Scan:
    """An array (H, W) or (H, W, C) as what a reader returns of a file.

    Args:
        array: stored values.
        path: name of the image, in the place of its file's.
    """
    info = ScanInfo(path=path, original_size=(array.shape[0], array.shape[1]))
    if array.ndim == 3:
        info["alpha"] = False  # no file says that one of the channels is
    return Scan(array, info)


def images_of(images: ManyArrays, channels_first: bool | None = None) -> list[NDArray[Any]]:
    """Images as a list of arrays (H, W) or (H, W, C), which share their memory with what was given.

    Args:
        images: see :class:`ArrayScans`.
        channels_first: see :class:`ArrayScans`.

    Raises:
        SuiteError: no images, a shape with no rule or with two, values that are no numbers, NaN or infinite.
    """
    arrays = list_of_arrays("images", images)
    if not arrays:
        raise SuiteError("images: there are none")
    found = []
    for number, array in enumerate(arrays):
        if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
            raise SuiteError(
                f"images: image {number} has shape {array.shape} and type {array.dtype}: expected numbers (N, H, W), "
                "(N, H, W, C) or (N, C, H, W)"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SuiteError(f"images: image {number} has NaN or infinite values: mend it, or leave it out")
        found.append(array if array.ndim == 2 else _channels_last(array, number, channels_first))
    return found


def _channels_last(array: NDArray[Any], number: int, channels_first: bool | None) -> NDArray[Any]:
    if channels_first is None:
        first, last = array.shape[0] in CHANNELS, array.shape[2] in CHANNELS
        if first == last:
            why = "the first axis or the last may be that of the channels" if first else "no axis has 1 to 4 channels"
            raise SuiteError(f"images: image {number} has shape {array.shape}: {why}: say channels_first=True or False")
        channels_first = first
    return np.moveaxis(array, 0, 2) if channels_first else array


def list_of_arrays(name: str, given: ManyArrays) -> list[NDArray[Any]]:
    """One array an image, of an array whose first axis counts images, or of a list.

    Args:
        name: of the argument, for messages.
        given: numpy, torch, or a list of either.

    Raises:
        SuiteError: neither, or a single number.
    """
    if isinstance(given, Tensor):
        given = as_numpy(given)
    listed = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if not listed and not (isinstance(given, np.ndarray) and given.ndim):
        raise SuiteError(f"{name}: expected an array of numpy or torch, or a list of them, not {type(given).__name__}")
    return [as_numpy(one) for one in given]


def as_numpy(values: Any) -> NDArray[Any]:
    """Values of numpy, torch or a list as an array; bfloat16, which numpy does not know, becomes float32."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return np.asarray((values.float() if values.dtype == torch.bfloat16 else values).numpy())


def same_length(name: str, found: int, images: int) -> None:
    """Refuse an argument that does not fit the images.

    Raises:
        SuiteError: says how many there are of each.
    """
    if found != images:
        raise SuiteError(f"{name}: {found} for {images} images: give one for each image")


def _listed(name: str, values: Iterable[Any]) -> list[Any]:
    """One value an image, in plain types where numpy or torch has them."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise SuiteError(f"{name}: expected a list or an array with one for each image, not {type(values).__name__}")
    return list(values.tolist() if isinstance(values, Tensor | np.ndarray) else values)
