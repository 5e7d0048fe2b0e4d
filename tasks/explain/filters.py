"""Filters of convolutions as pictures, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from datamodules.pictures.canvas import grid
from datamodules.resampling import resize_image
from scansuite.errors import SuiteError
from tasks.explain.layers import convolutions, module_of, short_name

MOST_FILTERS = 64  # of a picture of whole filters
MOST_PLANES = (12, 12)  # filters, and planes of each, where a filter is no picture
_COLUMNS = 8
_SIDE = {"whole": 96, "plane": 48}  # px of a panel's longer side
_GAP = 4  # px between planes
_BINS = 40
ZERO = 1e-6  # of the layer's largest norm: a filter below it is zero


class FilterRow(NamedTuple):
    """What is said of the filters of a convolution.

    Attributes:
        layer: its name, as timm has it within the backbone.
        filters: how many: its output channels.
        planes: of each: its input channels (by group).
        kernel: height x width.
        zero: how many filters are nothing: their norm is below a millionth of the layer's largest.
        norm_lowest: of the filters' L2 norms; likewise ``norm_median`` and ``norm_highest``.
        zero_weights: share of the weights that are exactly 0, as pruning leaves them.
    """

    layer: str
    filters: int
    planes: int
    kernel: str
    zero: int
    norm_lowest: float
    norm_median: float
    norm_highest: float
    zero_weights: float


def filter_layer(model: nn.Module, name: str) -> str:
    """The convolution of a layer: itself, or the first within it.

    Args:
        model: whose layer it is.
        name: of a module (:func:`~tasks.explain.layers.resolve_layer`).

    Raises:
        SuiteError: there is none in it.
    """
    found = next((one for one in convolutions(model) if one == name or one.startswith(f"{name}.")), None)
    if found is None:
        raise SuiteError(f"--filters {short_name(name)}: is no convolution and has none: name one, such as conv1")
    return found


def weights_of(model: nn.Module, layer: str) -> NDArray[np.float32]:
    """(filters, planes, h, w) weights of a convolution as it is applied, pruned and standardised weights among them."""
    module = cast("nn.Conv2d", module_of(model, layer))
    weights: NDArray[np.float32] = module.weight.detach().float().cpu().numpy()
    return weights


def filter_row(layer: str, weights: NDArray[np.float32]) -> FilterRow:
    """Numbers of a layer's filters.

    Args:
        layer: name of the convolution among the model's modules.
        weights: (filters, planes, h, w).
    """
    norms = np.linalg.norm(weights.reshape(len(weights), -1).astype(np.float64), axis=1)
    return FilterRow(
        short_name(layer),
        len(weights),
        weights.shape[1],
        f"{weights.shape[2]} x {weights.shape[3]}",
        int((norms <= ZERO * norms.max()).sum()),
        float(norms.min()),
        float(np.median(norms)),
        float(norms.max()),
        float((weights == 0).mean()),
    )


def weight_histogram(weights: NDArray[np.float32]) -> tuple[list[float], list[int]]:
    """Edges of 40 bins that lie evenly about 0, and how many weights are in each."""
    reach = float(np.abs(weights).max()) or 1.0
    counts, edges = np.histogram(weights, bins=_BINS, range=(-reach, reach))
    return edges.tolist(), counts.tolist()


def filters_picture(weights: NDArray[np.float32]) -> tuple[NDArray[np.uint8], str]:
    """Filters as a picture, and what of them is on it.

    Filters of one plane are grey and those of three are in colour, 64 at most. Of others a row of planes each is drawn:
    12 filters and 12 planes. Middle grey is 0; each filter has its own scale, to its largest absolute weight.

    Args:
        weights: (filters, planes, h, w).

    Returns:
        (H, W, 3) RGB, and words such as ``64 of 128 filters``.
    """
    filters, planes = weights.shape[:2]
    reach = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = 0.5 + 0.5 * weights / np.where(reach > 0, reach, 1)
    if planes in (1, 3):
        shown = scaled[:MOST_FILTERS].transpose(0, 2, 3, 1)
        panels = [(str(number), _panel(one, _SIDE["whole"])) for number, one in enumerate(shown)]
        return grid(panels, min(_COLUMNS, len(panels))), _of("filter", len(shown), filters)
    some = scaled[: MOST_PLANES[0], : MOST_PLANES[1]]
    rows = [
        (f"filter {number}", _strip([_panel(plane[:, :, None], _SIDE["plane"]) for plane in one]))
        for number, one in enumerate(some)
    ]
    said = f"{_of('filter', some.shape[0], filters)}, {_of('plane', some.shape[1], planes)} of each"
    return grid(rows, 1), said


def _of(what: str, shown: int, count: int) -> str:
    return f"{shown} of {count} {what}s" if shown < count else f"{count} {what}{'s' * (count != 1)}"


def _panel(values: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """(h, w, 1 or 3) in [0, 1] -> pixels with hard edges."""
    height, width = values.shape[:2]
    factor = max(1, side // max(height, width))
    large = resize_image(np.ascontiguousarray(values, np.float32), (height * factor, width * factor), "nearest")
    pixels = np.rint(np.atleast_3d(large) * 255).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _strip(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((panels[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
