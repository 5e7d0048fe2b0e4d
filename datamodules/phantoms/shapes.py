"""Shapes and textures on a pixel grid: smooth closed curves, spiculated ones, lumpy fields, filled polygons."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]

POINTS = 128
THETA = np.arange(POINTS) * (2.0 * np.pi / POINTS)
DIRECTIONS = np.stack([np.cos(THETA), np.sin(THETA)], axis=1)  # (POINTS, 2): x, y
_HARMONICS = np.arange(2, 8)  # the first one only shifts a curve
_WAVES = np.concatenate([np.cos(np.outer(_HARMONICS, THETA)), np.sin(np.outer(_HARMONICS, THETA))])
_DECAY = np.tile(_HARMONICS**-1.5, 2)
_FRACTION_BITS = 4  # polygons are filled with 1/16 pixel accuracy


def wavy(rng: np.random.Generator, amplitude: float) -> Curve:
    """Radius of a smooth closed curve, relative to its mean, at :data:`THETA`.

    A random Fourier series in polar form (the plane version of the Gaussian random sphere, Muinonen 1996), so that any
    curve is seen whole from its centre.

    Args:
        rng: source of the coefficients.
        amplitude: 0 gives a circle, 0.3 a lively outline.
    """
    series: Curve = (rng.standard_normal(_DECAY.size) * _DECAY) @ _WAVES
    return np.asarray(np.maximum(1.0 + amplitude * series, 0.4), np.float64)


def spikes(rng: np.random.Generator, length: float) -> Curve:
    """Spicules to add to a relative radius at :data:`THETA`: 8 to 13 narrow spikes of uneven length.

    Spiculated masses as a smooth body with radiating needles follow de Sisternes et al., Med Phys 42 (2015).

    Args:
        rng: source of numbers, directions, widths and lengths.
        length: the longest, relative to the radius of the body.
    """
    number = int(rng.integers(8, 14))
    place = (np.arange(number) + 0.7 * rng.random(number)) * (2.0 * np.pi / number)
    width = 0.09 + 0.06 * rng.random(number)
    height = length * (0.35 + 0.65 * rng.random(number))
    distance = np.abs(THETA - place[:, None]) % (2.0 * np.pi)
    distance = np.minimum(distance, 2.0 * np.pi - distance)
    needles = height[:, None] * np.maximum(1.0 - distance / (2.0 * width[:, None]), 0.0)
    return np.asarray(needles.max(axis=0), np.float64)


def rotated(points: Curve, angle: float) -> Curve:
    """Points (N, 2) turned by an angle in radians about the origin."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]), np.float64)


def fill(polygon: Curve, size: int) -> NDArray[np.uint8]:
    """Fill a polygon.

    Args:
        polygon: (N, 2) corners x, y in pixels; may leave the image.
        size: side of the square image.

    Returns:
        (size, size), 1 inside and on the outline, so that no polygon within the image is lost, however small.
    """
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [_fixed_point(polygon)], 1, shift=_FRACTION_BITS)
    return canvas


def stroke(lines: list[tuple[Curve, int]], size: int) -> Floats:
    """Draw anti-aliased open lines.

    Args:
        lines: pairs of points (N, 2) in pixels and a thickness in pixels.
        size: side of the square image.

    Returns:
        (size, size) coverage in [0, 1].
    """
    canvas = np.zeros((size, size), np.uint8)
    for points, thickness in lines:
        cv2.polylines(canvas, [_fixed_point(points)], False, 255, thickness, cv2.LINE_AA, _FRACTION_BITS)
    return canvas.astype(np.float32) / np.float32(255.0)


def _fixed_point(points: Curve) -> NDArray[np.int32]:
    return np.asarray(np.round(points * 2**_FRACTION_BITS), np.int32)


def blurred(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; ``sigma`` in pixels, below 0.2 the image itself."""
    if sigma < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def lumpy(rng: np.random.Generator, size: int, cells: int) -> Floats:
    """A smooth random field of mean 0 and deviation 1: a lumpy background (Rolland & Barrett, J Opt Soc Am A 9, 1992).

    Args:
        rng: source of the field.
        size: side of the square image in pixels.
        cells: lumps along a side; the lattice depends on it alone, so one seed gives one texture at every size.
    """
    lattice = rng.standard_normal((cells, cells), dtype=np.float32)
    field = np.asarray(cv2.resize(lattice, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)
    field -= field.mean()
    return field / np.float32(field.std() + 1e-6)
