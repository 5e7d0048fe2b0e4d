"""Drawing of a synthetic scan with its truth for classification, segmentation and detection, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.phantoms.anatomy import anatomy_of, grid_of, tissue_signal
from datamodules.phantoms.plan import PIXELS, check_difficulty, plan_patient, seen_lesions, stream
from datamodules.phantoms.scanner import SCANNERS, acquire
from scansuite.errors import SuiteError

_ORGAN, _BENIGN = 1, 2  # of plan.SEGMENTATION_CLASSES; malignant follows benign
_SMALLEST = 32


@dataclass(frozen=True)
class PhantomScan:
    """A scan and its truth.

    Attributes:
        image: (H, W) uint16, 12-bit counts left-justified in 16 bits (multiples of 16).
        mask: (H, W) uint8, index into ``SEGMENTATION_CLASSES``.
        boxes: (N, 4) float32 xyxy pixels around each lesion; the right and lower sides lie one past the last pixel.
        labels: (N,) int64, 0 benign, 1 malignant.
        spacing: mm per (row, column).
    """

    image: NDArray[np.uint16]
    mask: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    spacing: tuple[float, float]

    @property
    def label(self) -> int:
        """The class of the scan: 1 (malignant) if any lesion is, else 0 (benign, also without any lesion)."""
        return int(self.labels.any())


def draw(patient: int, scan: int, *, seed: int, size: int = 96, difficulty: float = 0.5) -> PhantomScan:
    """Draw one scan.

    The result depends on the arguments alone, not on what was drawn before, and the scans of a patient share anatomy,
    lesions and site. The idea of ellipses and random detail with a known truth goes back to the head phantom of Shepp &
    Logan (IEEE Trans Nucl Sci 21, 1974). Another size shows the same patient on another grid. Between machines the last
    bit of a count may differ, because sine and cosine do.

    How hard it is: a plain ResNet-18 trained from scratch for ten epochs on 240 patients told the scans of 60 others
    apart with AUROC 0.96 and 1.00 (seeds 0 and 1) at difficulty 0.2, 0.93 and 0.96 at 0.5, 0.86 and 0.89 at 0.8; a
    linear model on the histogram, cross-validated over patients, stays below 0.66.

    Args:
        patient: number of the patient, from 0.
        scan: number of the scan within the patient, from 0.
        seed: of the cohort, not negative.
        size: side of the square image in pixels, at least 32.
        difficulty: 0 (large clear lesions, typical of their kind) to 1 (small, faint, ambiguous, noisy).

    Raises:
        SuiteError: ``size`` or ``difficulty`` is out of range.
    """
    check_difficulty(difficulty)
    if size < _SMALLEST:
        raise SuiteError(f"phantoms of {size} pixels: lesions would vanish; ask for {_SMALLEST} or more")
    plan = plan_patient(patient, seed, difficulty)
    lesions = seen_lesions(plan, patient, scan, seed)
    scanner = SCANNERS[plan.site]
    spacing = scanner.field_of_view / size
    rng = stream(seed, PIXELS, patient, scan)
    grid = grid_of(patient, scan, seed, size, spacing)
    tissue, mask, found = tissue_signal(anatomy_of(patient, scan, seed), grid, lesions, rng)
    mask *= np.uint8(_ORGAN)
    for lesion, pixels in zip(lesions, found, strict=True):
        mask[pixels] = _BENIGN + int(lesion.malignant)
    return PhantomScan(
        image=acquire(tissue, scanner, difficulty, rng),
        mask=mask,
        boxes=np.array([tight_box(pixels) for pixels in found], np.float32).reshape(-1, 4),
        labels=np.array([int(lesion.malignant) for lesion in lesions], np.int64),
        spacing=(spacing, spacing),
    )


def tight_box(pixels: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest box x1, y1, x2, y2 that holds every true pixel of (H, W); a single pixel gives a box of side 1."""
    columns = np.flatnonzero(pixels.any(axis=0))
    rows = np.flatnonzero(pixels.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
