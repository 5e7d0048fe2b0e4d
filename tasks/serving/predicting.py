"""Predictions of uploaded files as the service hands them out: rows, masks, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.grid import Grid
from tasks.serving.batching import Runs
from tasks.serving.settings import RequestLimits


class CaseMask(NamedTuple):
    """A predicted mask.

    Attributes:
        mask: (H, W) or (X, Y, Z) class numbers, or (L, ...) of 0 and 1 where regions overlap.
        grid: of the volume that it lies on; None for a flat image.
    """

    mask: NDArray[np.uint8]
    grid: Grid | None


@dataclass(frozen=True)
class Predicted:
    """Predictions of the files of one request.

    Attributes:
        rows: of ``predictions.csv``, without ``split``; ``path`` is the file's.
        cases: path of the file or folder of each case by its id, also of those without a row.
        masks: by case id, in segmentation.
        unreadable: (path, reason) of the files that were left out.
        passed_over: (path, reason) of the files that are no scans.
    """

    rows: list[dict[str, Any]]
    cases: dict[str, str]
    masks: dict[str, CaseMask] = field(default_factory=dict)
    unreadable: Sequence[tuple[str, str]] = ()
    passed_over: Sequence[tuple[str, str]] = ()


def predict_upload(model: Runs, paths: Sequence[Path], limits: RequestLimits) -> Predicted:
    """Predict files or folders as the verb ``predict`` does, and keep everything in memory.

    Args:
        model: that is run.
        paths: of files or folders.
        limits: of requests; a window of theirs counts where the model has no scale of its own.

    Raises:
        SuiteError: there is no scan in them.
    """
    from datamodules.input_cases import InputCases
    from datamodules.readers.volume import read_grid
    from datamodules.samples.scaling import has_scale
    from datamodules.samples.slices import SliceSpec
    from tasks.exported.predict import predict_files

    about = model.description
    cut = None if about.slices is None else SliceSpec.from_dict(about.slices)
    window = None if has_scale(about.preprocess, cut) else limits.window
    inputs = InputCases(max_pixels=limits.max_pixels, max_bytes=limits.max_bytes, window=window)
    found = predict_files(model, inputs, [str(path) for path in paths])
    known = found.table.astype(object).where(found.table.notna(), None)
    rows = [dict(zip(known.columns, row, strict=True)) for row in known.itertuples(index=False, name=None)]
    cases = {str(case): found.paths[case] for case in found.cases}
    flat = 2 + model.description.overlapping
    masks = {
        str(case): CaseMask(mask, None if mask.ndim == flat else read_grid(Path(cases[str(case)]), limits.of_files))
        for case, mask in getattr(found, "masks", {}).items()
    }
    return Predicted(rows, cases, masks, list(found.unreadable), list(inputs.passed_over))


class Predict(Protocol):
    """From files to predictions: :func:`predict_upload`, and what tests have in its place."""

    def __call__(self, model: Runs, paths: Sequence[Path], limits: RequestLimits) -> Predicted:
        """Predict files or folders."""
