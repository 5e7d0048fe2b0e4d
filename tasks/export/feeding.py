"""Images into an exported model, as its runner does it, and its output at the size of the images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.export.graph import filled_up
from tasks.exported.description import IMAGE, Description
from tasks.exported.model_file import ExportedModel, Outputs


def fed(description: Description, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, C, H, W) in [0, 1] -> what goes into the graph: standardised and filled up, where it wants that outside."""
    if description.standardised:
        mean, deviation = (
            image.mean(axis=(1, 2, 3), keepdims=True), image.std(axis=(1, 2, 3), ddof=1, keepdims=True)
        )  # fmt: skip
        image = ((image - mean) / np.maximum(deviation, 1e-6)).astype(np.float32)
    height, width = image.shape[-2:]
    rows, columns = filled_up((height, width), description.multiple)
    if (rows, columns) == (height, width):
        return image
    return np.pad(image, ((0, 0), (0, 0), (0, rows - height), (0, columns - width)), mode="edge")


def run_model(model: ExportedModel, image: NDArray[np.float32]) -> Outputs:
    """Raw output for images of one size, by name; maps as large as an image are cut to it again."""
    given = fed(model.description, image)
    most = model.description.most_images or len(given)
    parts = [model.run({IMAGE: given[start : start + most]}) for start in range(0, len(given), most)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if model.description.task == "segment":
        height, width = image.shape[-2:]
        found = {name: value[..., :height, :width] for name, value in found.items()}
    return found
