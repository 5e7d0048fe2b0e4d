"""Images of one size as the graph of an exported model takes them, and its output for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.exported.description import IMAGE, Description

FloatArray = NDArray[np.float32]

_LEAST_DEVIATION = 1e-6  # of an image that is standardised by its own


class Runnable(Protocol):
    """What is asked of an exported model (:class:`~tasks.exported.model_file.ExportedModel`), or of what stands for it.

    Attributes:
        description: what the file says of itself.
        where: the file, for messages.
    """

    description: Description
    where: str

    def run(self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None) -> dict[str, FloatArray]:
        """Arrays by name of the input -> arrays by name of the output; left out: outputs of the first stage."""


def image_batch(images: Sequence[NDArray[np.float32]]) -> FloatArray:
    """(H, W) or (H, W, C) images of one shape -> (B, C, H, W), contiguous."""
    stacked = np.stack([image if image.ndim == 3 else image[:, :, None] for image in images])
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2), np.float32)


def fed(about: Description, images: FloatArray) -> FloatArray:
    """What goes into the graph for images of one size: standardised and filled up, where that is done outside of it.

    Args:
        about: the model.
        images: (B, C, H, W) float32 in [0, 1].

    Returns:
        (B, C, H, W) filled up below and on the right by repeating the last pixels.
    """
    if about.standardised:
        mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
        deviation = images.std(axis=(1, 2, 3), keepdims=True, dtype=np.float64, ddof=1)
        images = images - mean.astype(np.float32)
        images /= np.maximum(deviation, _LEAST_DEVIATION).astype(np.float32)
    missing = [-side % about.multiple for side in images.shape[2:]]
    if not any(missing):
        return images
    return np.pad(images, [(0, 0), (0, 0), (0, missing[0]), (0, missing[1])], mode="edge")


def run_images(model: Runnable, images: FloatArray, asked: Sequence[str]) -> dict[str, FloatArray]:
    """The output of a model for a batch, which goes through by parts where the graph takes no more at a time.

    Args:
        model: that runs.
        images: (B, C, H, W) float32 in [0, 1], filled up.
        asked: names of outputs, each with the images first.

    Raises:
        SuiteError: the graph takes no images of that size.
    """
    refuse_size(model, images)
    most = model.description.most_images or len(images)
    parts = [model.run({IMAGE: images[start : start + most]}, asked) for start in range(0, len(images), most)]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in asked}


def refuse_size(model: Runnable, images: FloatArray) -> None:
    """Stop where a graph takes images of other sizes alone.

    Raises:
        SuiteError: with the sizes that it takes.
    """
    about = model.description
    channels, *size = images.shape[1:]
    if channels != about.in_channels:
        raise SuiteError(f"{model.where}: takes images of {about.in_channels} channels, and these have {channels}")
    if about.sizes and tuple(size) not in about.sizes:
        taken = ", ".join(f"{height} x {width}" for height, width in about.sizes)
        raise SuiteError(
            f"{model.where}: takes images of {taken} px alone, and this one has {size[0]} x {size[1]}: export the "
            "model with this size too"
        )
