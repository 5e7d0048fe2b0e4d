"""A scale for scans that a trained model has none for: its images brought one, as 8-bit pictures do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from datamodules.settings import numbers, pair
from datamodules.windows import parse_windows
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from datamodules.base import ScanDataModule


def has_scale(spec: Preprocess, slices: SliceSpec | None = None) -> bool:
    """Whether a model says itself which values become 0 and 1: by windows, percentiles or a range."""
    own = bool(spec.windows) or spec.percentiles is not None or spec.value_range is not None
    return own or (slices is not None and slices.percentiles is not None)


def for_data(data: ScanDataModule, spec: Preprocess, slices: SliceSpec | None = None) -> Preprocess:
    """The spec of a model for other data, whose scale counts where the model has none."""
    if has_scale(spec, slices):
        return spec
    return with_scale(spec, window=data.window, percentiles=data.percentiles, value_range=data.value_range)


def with_scale(
    spec: Preprocess,
    *,
    window: Sequence[str] | str | None = None,
    percentiles: Sequence[float] | str | None = None,
    value_range: Sequence[float] | str | None = None,
    slices: SliceSpec | None = None,
) -> Preprocess:
    """The spec of a model with the scale that the user gives.

    Args:
        spec: of the model.
        window: see ``--data.window``.
        percentiles: see ``--data.percentiles``.
        value_range: see ``--data.value_range``.
        slices: how the model's volumes are cut, and perhaps scaled.

    Raises:
        SuiteError: the model has a scale of its own, or what is given is none.
    """
    given = {"window": window, "percentiles": percentiles, "value_range": value_range}
    named = [name for name, value in given.items() if value is not None]
    if not named:
        return spec
    if has_scale(spec, slices):
        raise SuiteError(
            f"--data.{named[0]}: the model was trained with a scale of its own, which is used: leave it out"
        )
    return replace(
        spec,
        windows=() if window is None else parse_windows(window),
        percentiles=pair(numbers(percentiles, "--data.percentiles"), "--data.percentiles"),
        value_range=pair(numbers(value_range, "--data.value_range"), "--data.value_range"),
    )
