"""Parameters of one case's augmentation: a vector of numbers that is drawn in a loader's process, and its layout.

Whatever a case is not changed by has its neutral value there (a gain of 1, a noise of 0), so that a batch needs no
decisions on the device. All chances are those of :func:`~datamodules.transforms.presets.transforms_of`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.transforms.device import pixel_noise
from datamodules.transforms.elastic import POINTS
from datamodules.transforms.names import CHANCES, AugmentConfig

# Columns.
GAIN, PULL = 0, 1  # brightness and contrast: value * gain + mean * pull
GAMMA = 2  # exponent
SHADE = 3  # three: value * (s0 + s1 * x + s2 * y), x and y from 0 to 1 across the image
SATURATION, HUE = 6, 7  # factor; turn in sixths of the circle
SPECKLE, NOISE = 8, 9  # share of the pixel's value; share of the image's standard deviation
BLUR = 10  # standard deviation in pixels
MAP = 11  # six: from a pixel of the result to a place in the image, both in pixels from the middle
MOVED = 17  # 1 where places lie between pixels
SPECKLE_WORD, NOISE_WORD = 18, 20  # two each: where the pixels' noise is drawn from (`pixel_noise.word`)
ELASTIC = 22  # control points: (POINTS, POINTS, 2) pixels; only where there is an elastic deformation

_PLAIN = 22  # columns without elastic
_CONTROL = POINTS * POINTS * 2
_UNIFORMS = 27  # random numbers of a case, whatever it is changed by: one range of a user's does not shift the others


def length(config: AugmentConfig) -> int:
    """Number of columns."""
    return _PLAIN + (_CONTROL if config.elastic else 0)


def draw(config: AugmentConfig, size: tuple[int, int], seed: Sequence[int]) -> NDArray[np.float32]:
    """Draw the parameters of a case.

    Args:
        config: ranges.
        size: (H, W) of the images.
        seed: words of the draw; equal words, equal parameters.

    Returns:
        (:func:`length`,) float32.
    """
    # A SeedSequence takes (5,) and (5, 0) for the same words; their number as the last word tells them apart.
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*seed, len(seed) + 1))))
    number = int(rng.integers(2**32))
    u = rng.random(_UNIFORMS).tolist()  # plain floats: NumPy's scalars are slow to reckon with
    row = [0.0] * _PLAIN
    row[SPECKLE_WORD : SPECKLE_WORD + 2] = pixel_noise.word(number, stream=1)
    row[NOISE_WORD : NOISE_WORD + 2] = pixel_noise.word(number, stream=2)
    _values(row, u, config)
    _places(row, u, config, size)
    if not config.elastic:
        return np.array(row, np.float32)
    reach = config.elastic * u[25] * (u[26] < CHANCES.elastic)
    if reach:
        row[MOVED] = 1.0
    control = (rng.random(_CONTROL) * 2 - 1).reshape(-1, 2) * (reach * np.array([size[1], size[0]]))
    return np.concatenate([row, control.ravel()]).astype(np.float32)


def _values(row: list[float], u: list[float], config: AugmentConfig) -> None:
    """Fill in what changes values."""
    row[GAIN], row[PULL], row[GAMMA] = 1.0, 0.0, 1.0
    row[SHADE], row[SATURATION] = 1.0, 1.0
    if u[0] < CHANCES.brightness_contrast:
        contrast, brightness = 1 + _within(config.contrast, u[1]), 1 + _within(config.brightness, u[2])
        row[GAIN], row[PULL] = contrast * brightness, (1 - contrast) * brightness
    if u[3] < CHANCES.gamma:
        row[GAMMA] = 1 + _within(config.gamma, u[4])
    if config.bias_field and u[5] < CHANCES.bias_field:
        # From 1 - s to 1 + s along a direction, or from 1 + s to 1 - s.
        strength, angle = 0.01 + (config.bias_field - 0.01) * u[6], 2 * math.pi * u[7]
        sign = 1 if u[8] > 0.5 else -1
        slope = 2 * sign * strength
        row[SHADE : SHADE + 3] = [1 - sign * strength, slope * math.cos(angle), slope * math.sin(angle)]
    if u[9] < CHANCES.color:
        row[SATURATION] = max(0.0, 1 + _within(config.color, u[10]))
        row[HUE] = 6 * _within(config.color / 5, u[11])
    row[SPECKLE] = config.speckle * (u[12] < CHANCES.speckle)
    row[NOISE] = config.noise * u[13] * (u[14] < CHANCES.noise)
    if config.blur and u[15] < CHANCES.blur:
        row[BLUR] = 0.1 + (config.blur - 0.1) * u[16]


def _places(row: list[float], u: list[float], config: AugmentConfig, size: tuple[int, int]) -> None:
    """Fill in where each pixel comes from: flips, quarter turns, then rotation, scale and shift, in one map."""
    height, width = size
    # Backwards, from the result to the image: (x, y) = (xx * x + xy * y, yx * x + yy * y), from the middle.
    xx, xy, yx, yy, right, down = 1.0, 0.0, 0.0, 1.0, 0.0, 0.0
    if u[17] < CHANCES.affine and (config.rotation or config.scale or config.shift):
        angle = math.radians(_within(config.rotation, u[18]))
        scale = 1 + _within(config.scale, u[19])
        right, down = (
            float(int(_within(config.shift, part) * side)) for part, side in ((u[20], width), (u[21], height))
        )
        xx, xy, yx, yy = (
            math.cos(angle) / scale, -math.sin(angle) / scale, math.sin(angle) / scale, math.cos(angle) / scale
        )  # fmt: skip
        row[MOVED] = float(bool(config.rotation or config.scale))  # shifts are by whole pixels
    if config.quarter_turns:
        for _ in range(_turns(u[22], height == width)):
            xx, xy, yx, yy = -yx, -yy, xx, xy
    if config.vertical_flip and u[23] < CHANCES.flip:
        yx, yy = -yx, -yy
    if config.horizontal_flip and u[24] < CHANCES.flip:
        xx, xy = -xx, -xy
    row[MAP : MAP + 6] = [xx, xy, -(xx * right + xy * down), yx, yy, -(yx * right + yy * down)]


def _turns(uniform: float, square: bool) -> int:
    """Quarter turns against the clock; an image that is not square keeps its shape."""
    turns = int(uniform * 4)
    return turns if square else turns // 2 * 2


def _within(range_: float, uniform: float) -> float:
    """Uniform in -range..range."""
    return range_ * (2 * uniform - 1)
