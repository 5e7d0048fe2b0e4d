"""Stored annotations of a data class beside its images; a check asks for it, and does the rest.

A data class says it in :meth:`~datamodules.base.ScanDataModule.stored`; the bases of the three tasks do, so that one of
the user's own need not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datamodules.cases.table import CaseTable
    from datamodules.classification.target import ClassificationTarget, TargetKind
    from datamodules.readers.volume import Grid


@dataclass(frozen=True)
class StoredLabels:
    """Labels of cases.

    Attributes:
        frame: one row a case, classes named as a model will know them.
        columns: those of ``frame`` with labels.
        target: makes the target of some of the cases; what it raises is a mistake in them.
        where: what messages name.
        kind: of the target; None: as the labels say.
        classes: in class order, where they are listed.
        positive: the class asked for as the positive one.
        single: the label of each case as stored, where it has one.
    """

    frame: pd.DataFrame
    columns: Sequence[str]
    target: Callable[[CaseTable], ClassificationTarget]
    where: str
    kind: TargetKind | None = None
    classes: Sequence[str] | None = None
    positive: str | None = None
    single: pd.Series[Any] | None = None


@dataclass(frozen=True)
class StoredBoxes:
    """Boxes of all images.

    Attributes:
        boxes: ``case`` (row of the case table), ``label`` and ``x1, y1, x2, y2`` in pixels as stored.
        classes: in class order.
    """

    boxes: pd.DataFrame
    classes: Sequence[str]


@dataclass(frozen=True)
class StoredMasks:
    """A mask of each image.

    Attributes:
        read: number of the image -> (H, W) class numbers, 0 the background, 255 left out; with ``separate`` (L, H, W)
            of 0 and 1.
        classes: in class order, background first; empty where nobody names them.
        separate: each class has a mask of its own.
    """

    read: Callable[[int], NDArray[np.uint8]]
    classes: Sequence[str] = ()
    separate: bool = False


@dataclass(frozen=True)
class StoredVolume:
    """A whole volume, which training cuts into slices.

    Attributes:
        images: its file or series; several sequences.
        mask: the file of its mask, if it has one.
        classes: grid of the image -> (X, Y, Z) class numbers of the mask, as in :class:`StoredMasks`.
    """

    images: Sequence[Path]
    mask: Path | None = None
    classes: Callable[[Grid], NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Stored:
    """All of it; None where a data class has no such thing.

    Attributes:
        labels: of the cases.
        boxes: of the images.
        masks: of the images.
        volume: number of the image -> the volume that stands there in a check, or None for a flat image.
    """

    labels: StoredLabels | None = None
    boxes: StoredBoxes | None = None
    masks: StoredMasks | None = None
    volume: Callable[[int], StoredVolume | None] | None = None
