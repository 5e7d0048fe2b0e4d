"""Images into an exported model, as its runner does it, and its output at the size of the images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.exported.description import IMAGE
from tasks.exported.images import fed
from tasks.exported.model_file import ExportedModel, Outputs


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
