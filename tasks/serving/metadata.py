"""A model as the Open Inference Protocol describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.exported.description import IMAGE, Description
from tasks.serving.names import FILE, PREDICTIONS


def inputs_of(description: Description) -> list[dict[str, Any]]:
    """Inputs; -1 is any size."""
    height, width = description.sizes[0] if len(description.sizes) == 1 else (-1, -1)
    count = -1 if description.most_images is None or description.most_images > 1 else description.most_images
    return [
        {"name": IMAGE, "datatype": "FP32", "shape": [count, description.in_channels, height, width]},
        {"name": FILE, "datatype": "BYTES", "shape": [-1]},
    ]


def outputs_of(shapes: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Outputs, of their shapes by name."""
    raw = [{"name": name, "datatype": "FP32", "shape": shapes[name]} for name in first_stage(list(shapes))]
    return [*raw, {"name": PREDICTIONS, "datatype": "BYTES", "shape": [-1]}]


def first_stage(names: Sequence[str]) -> list[str]:
    """The outputs that an image alone gives."""
    return [name for name in names if "region_" not in name]
