"""``augmented.png``: what training images, their classes, masks and boxes look like to the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import ScanDataModule
from datamodules.transforms.sheet import SheetRow, choose_rows, write_sheet
from datamodules.types import Sample

_ROWS = 8
# Where masks or boxes say what is in an image, it has to be read to know; so many cases and images are.
_CASES, _IMAGES = 12, 24


def write_augmented_sheet(data: ScanDataModule, file: Path) -> None:
    """Write a sheet of training cases, of as many classes as fit on it.

    Args:
        data: whose training part is shown.
        file: the PNG to write.

    Raises:
        SuiteError: an image cannot be read, or the file cannot be written.
    """
    rows, names = data.rows("train"), list(getattr(data, "class_names", ()))
    labels = data.case_labels(rows)
    if labels is None:
        dataset = data.single_images(rows[_spread(len(rows), _CASES)])
        chosen = choose_rows((_row(dataset[int(number)]) for number in _spread(len(dataset), _IMAGES)), _ROWS)
        if any(row.mask is not None and row.mask.ndim == 2 for row in chosen):
            names = names[1:]
    else:
        cases = take_turns(_by_class(labels), _ROWS)
        captions = [_label_words(labels[case], names) for case in cases]
        # The middle image of a case that has several.
        shown = [data.single_images(rows[case : case + 1]) for case in cases]
        samples = [dataset[len(dataset) // 2] for dataset in shown]
        chosen = [_row(sample, caption) for sample, caption in zip(samples, captions, strict=True)]
    write_sheet(chosen, data.training_augmentation(), file, class_names=names)


def take_turns(groups: Sequence[NDArray[np.int64]], count: int) -> list[int]:
    """Members of groups in turn, the first of each before the second of any; none twice.

    Args:
        groups: their members; of more groups than ``count`` some are taken, evenly spaced.
        count: most members to take.
    """
    some = [groups[place] for place in _spread(len(groups), count)]
    taken: dict[int, None] = {}
    for turn in range(max(map(len, some), default=0)):
        for members in some:
            if turn < len(members) and len(taken) < count:
                taken[int(members[turn])] = None
        if len(taken) >= count:
            break
    return list(taken)


def _by_class(labels: Tensor) -> list[NDArray[np.int64]]:
    """Row numbers of each class, of each label and of those without any, or of ranges of numbers."""
    values = labels.numpy()
    if values.ndim == 2:
        groups = [np.flatnonzero(column == 1) for column in values.T]
        return [group for group in (*groups, np.flatnonzero(~(values == 1).any(axis=1))) if len(group)]
    if values.dtype.kind == "f":
        return [part for part in np.array_split(np.argsort(values, kind="stable"), _ROWS) if len(part)]
    numbers = np.unique(values)
    return [np.flatnonzero(values == numbers[place]) for place in _spread(len(numbers), _ROWS)]


def _label_words(label: Tensor, names: Sequence[str]) -> str:
    if label.ndim:
        present = [name for name, value in zip(names, label.tolist(), strict=True) if value == 1]
        return ", ".join(present) or "none of the labels"
    return f"{names[0] if names else 'target'} {float(label):g}" if label.is_floating_point() else names[int(label)]


def _spread(length: int, count: int) -> NDArray[np.int64]:
    """Numbers below ``length``, evenly spaced, at most so many."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).astype(np.int64)) if length else np.arange(0)


def _row(sample: Sample, caption: str = "") -> SheetRow:
    mask, boxes, labels = (sample[name].numpy() if name in sample else None for name in ("mask", "boxes", "labels"))
    return SheetRow(sample["image"].permute(1, 2, 0).numpy(), mask, boxes, labels, caption)
