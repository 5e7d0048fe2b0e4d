"""The scanner: what two sites make of the same anatomy, from tissue signal to stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from datamodules.phantoms.shapes import Floats, blurred


@dataclass(frozen=True)
class Scanner:
    """Properties of one site.

    Attributes:
        field_of_view: side of the square image, mm.
        contrast: exponent on the signal; below 1 flattens the bright end.
        noise: deviation of each of the two channels, in units of a full-scale signal.
        blur: Gaussian sigma of the point spread, mm.
    """

    field_of_view: float
    contrast: float
    noise: float
    blur: float


SCANNERS = {
    "A": Scanner(field_of_view=108.0, contrast=1.0, noise=0.020, blur=0.6),
    "B": Scanner(field_of_view=116.0, contrast=0.8, noise=0.030, blur=0.9),
}
_FULL_SCALE = 3200.0  # counts of a signal of 1; leaves room for gain, bias field and noise below 4095


def acquire(tissue: Floats, scanner: Scanner, difficulty: float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Turn a tissue signal into a stored scan.

    Blur, contrast, a smooth multiplicative bias field (log-gain as a random quadratic; the model that N3 corrects, Sled
    et al., IEEE TMI 17, 1998), a gain without physical meaning as in MR, and Rician noise: the magnitude of a complex
    signal with equal Gaussian noise in both channels (Gudbjartsson & Patz, Magn Reson Med 34, 1995).

    Args:
        tissue: (H, H) signal, 0 for air and about 1 for the brightest tissue.
        scanner: of the site.
        difficulty: 0 to 1; scales the noise from 0.6 to 1.2 times the site's own.
        rng: source of gain, field and noise.

    Returns:
        (H, H): 12-bit counts left-justified in 16 bits (multiples of 16 up to 65520), so that division by the range of
        the type gives [0, 1] without waste.
    """
    size = tissue.shape[0]
    signal = blurred(tissue, scanner.blur * size / scanner.field_of_view)
    signal = np.maximum(signal, np.float32(0.0)) ** np.float32(scanner.contrast)
    coefficients = rng.standard_normal(5).astype(np.float32) * np.float32(0.09)
    log_gain = np.tensordot(coefficients, _quadratics(size), axes=1) + np.float32(0.16 * rng.random() - 0.08)
    signal *= np.exp(log_gain)
    noise = rng.standard_normal((2, size, size), dtype=np.float32)
    noise *= np.float32(scanner.noise * (0.6 + 0.6 * difficulty) * (0.8 + 0.4 * rng.random()))
    magnitude = np.sqrt((signal + noise[0]) ** 2 + noise[1] ** 2)
    counts = np.minimum(np.round(magnitude * np.float32(_FULL_SCALE)), 4095)
    return np.asarray(counts * 16, np.uint16)


@lru_cache(maxsize=4)
def _quadratics(size: int) -> Floats:
    """(5, size, size): x, y, x^2, xy, y^2 over [-1, 1], the squares centred on their mean."""
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    terms = np.stack([x, y, x * x - np.float32(1 / 3), x * y, y * y - np.float32(1 / 3)])
    terms.setflags(write=False)
    return terms
