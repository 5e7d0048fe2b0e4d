"""``augmented.png``: what training images, their classes, masks and boxes look like to the model."""

from __future__ import annotations

from pathlib import Path

from datamodules.base import ScanDataModule
from datamodules.evenly import evenly
from datamodules.showing.turns import by_class, label_words, take_turns
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
        dataset = data.single_images(rows[evenly(len(rows), _CASES)])
        chosen = choose_rows((_row(dataset[int(number)]) for number in evenly(len(dataset), _IMAGES)), _ROWS)
        if any(row.mask is not None and row.mask.ndim == 2 for row in chosen):
            names = names[1:]
    else:
        cases = take_turns(by_class(labels.numpy(), _ROWS), _ROWS)
        captions = [label_words(labels[case].numpy(), names) for case in cases]
        # The middle image of a case that has several.
        shown = [data.single_images(rows[case : case + 1]) for case in cases]
        samples = [dataset[len(dataset) // 2] for dataset in shown]
        chosen = [_row(sample, caption) for sample, caption in zip(samples, captions, strict=True)]
    write_sheet(chosen, data.training_augmentation(), file, class_names=names)


def _row(sample: Sample, caption: str = "") -> SheetRow:
    mask, boxes, labels = (sample[name].numpy() if name in sample else None for name in ("mask", "boxes", "labels"))
    return SheetRow(sample["image"].permute(1, 2, 0).numpy(), mask, boxes, labels, caption)
