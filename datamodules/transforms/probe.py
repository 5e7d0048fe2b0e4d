"""Refuse at start what would fail, or silently spoil images, in the middle of training."""

from __future__ import annotations

import random
import warnings

import albumentations
import numpy as np
from albumentations.core.composition import TransformType
from numpy.typing import NDArray

from scansuite.errors import SuiteError

_DRAWS = 4
# Filters that overshoot at edges stay within this distance of [0, 1] and are clipped; a transform that goes further
# has another scale in mind (Normalize, for one).
_OVERSHOOT = 0.5


def dummy_image(size: tuple[int, int], channels: int) -> NDArray[np.float32]:
    """Noise with a black and a white rectangle, whose edges bring out filters that overshoot."""
    height, width = size
    image = np.random.default_rng(0).random((height, width, channels), dtype=np.float32)
    image[: height // 4, : width // 4] = 0
    image[: height // 4, width // 4 : width // 2] = 1
    return image


def probe_transform(step: TransformType, image: NDArray[np.float32], boxes: bool) -> NDArray[np.float32]:
    """Apply a transform a few times whatever its probability, and each member of a composition by itself.

    Args:
        step: a transform or composition of albumentations, with its random state set.
        image: (H, W, C) float32 in [0, 1].
        boxes: whether it must be able to move boxes.

    Returns:
        The image after the transform, for the next one.

    Raises:
        SuiteError: it raises or warns, or its result is no finite float32 image of the same channel count near [0, 1].
    """
    if isinstance(step, albumentations.BaseCompose) and not isinstance(step, albumentations.SelectiveChannelTransform):
        in_turn = isinstance(step, albumentations.Compose | albumentations.Sequential)
        result = image
        for member in step.transforms:
            result = probe_transform(member, result if in_turn else image, boxes)
        return result
    for _ in range(_DRAWS):
        result = _apply(step, image, boxes)
    return result


def _apply(step: TransformType, image: NDArray[np.float32], boxes: bool) -> NDArray[np.float32]:
    name = type(step).__name__
    channels = image.shape[2]
    given = f"{channels} channel{'s' if channels > 1 else ''} of float32"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            # Inside a pipeline boxes are in fractions of the sides, with their row number as a fifth column.
            data = {"bboxes": np.array([[0.2, 0.2, 0.8, 0.8, 0]], np.float32)} if boxes else {}
            result = step(image=image.copy(), **data, force_apply=True)["image"]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        what = f"{given}, with boxes" if boxes else given
        raise SuiteError(f"augmentation {name} cannot be used on images with {what}: {reason}: leave it out") from error
    if not isinstance(result, np.ndarray) or result.dtype != np.float32:
        kind = result.dtype if isinstance(result, np.ndarray) else type(result).__name__
        raise SuiteError(f"augmentation {name} turns float32 images into {kind}: leave it out")
    if result.ndim != 3 or result.shape[2] != channels:
        raise SuiteError(f"augmentation {name} turns {given} into an array of shape {result.shape}: leave it out")
    if not np.isfinite(result).all():
        raise SuiteError(f"augmentation {name} makes NaN or infinite values: leave it out or weaken it")
    if result.min() < -_OVERSHOOT or result.max() > 1 + _OVERSHOOT:
        raise SuiteError(
            f"augmentation {name} takes values from [0, 1] to [{result.min():.3g}, {result.max():.3g}]: leave it out "
            "(mean and std are applied later: --data.normalize)"
        )
    return result


def probe_steps(compose: albumentations.Compose, image: NDArray[np.float32], boxes: bool) -> None:
    """Probe a pipeline's transforms in order, each on what the ones before it made of the dummy.

    Raises:
        SuiteError: see :func:`probe_transform`.
    """
    compose.set_random_state(np.random.default_rng(0), random.Random(0))
    for step in compose.transforms:
        image = np.clip(probe_transform(step, image, boxes), 0, 1)
