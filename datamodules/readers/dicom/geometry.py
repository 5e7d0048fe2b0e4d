"""Geometry of a DICOM frame: spacing, position, direction (PS3.3 C.7.6.2, C.7.6.16, 10.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.header import frame_item, items, number, numbers, whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_CENTIMETRE = 3  # PhysicalUnitsXDirection, PS3.3 C.8.5.5.1.15


@dataclass(frozen=True, eq=False)
class Place:
    """Place of a frame in DICOM's own coordinates (LPS, mm).

    Attributes:
        origin: (3,) centre of the first pixel.
        across: (3,) unit vector along a row, from column to column.
        down: (3,) unit vector along a column, from row to row.
        spacing: mm from row to row, and from column to column.
    """

    origin: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    spacing: tuple[float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector out of the plane: from right foot to head for an axial slice."""
        return np.cross(self.across, self.down)

    def affine(self, step: NDArray[np.float64]) -> NDArray[np.float64]:
        """(4, 4): (column, row, slice) index -> RAS mm, where ``step`` (3,) leads from slice to slice in LPS mm."""
        matrix = np.eye(4)
        matrix[:3, 0] = self.across * self.spacing[1]
        matrix[:3, 1] = self.down * self.spacing[0]
        matrix[:3, 2] = step
        matrix[:3, 3] = self.origin
        matrix[:3] = _LPS_TO_RAS @ matrix[:3]
        return matrix


def place(dataset: Dataset, frame: int = 0) -> Place | None:
    """Place of a frame, or None where position, direction or PixelSpacing are missing or impossible."""
    position = numbers(frame_item(dataset, "PlanePositionSequence", frame), "ImagePositionPatient")
    direction = numbers(frame_item(dataset, "PlaneOrientationSequence", frame), "ImageOrientationPatient")
    spacing = numbers(frame_item(dataset, "PixelMeasuresSequence", frame), "PixelSpacing")
    if len(position) != 3 or len(direction) != 6 or len(spacing) != 2 or min(spacing) <= 0:
        return None
    across, down = np.array(direction[:3]), np.array(direction[3:])
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if min(lengths) < 0.5 or abs(across @ down) > 0.01:  # cosines are often rounded, but not so much
        return None
    return Place(np.array(position), across / lengths[0], down / lengths[1], (spacing[0], spacing[1]))


def flat_affine(dataset: Dataset, frame: int = 0) -> NDArray[np.float64] | None:
    """(4, 4): (column, row, 0) of a frame -> RAS mm; the third axis is the normal, as long as the frame is thick."""
    found = place(dataset, frame)
    if found is None:
        return None
    return found.affine(found.normal * measures(dataset, frame).depth)


class Measures(NamedTuple):
    """Thickness and spacing of a frame across its plane; 0 and less say nothing.

    Attributes:
        thickness: SliceThickness in mm.
        spacing: SpacingBetweenSlices in mm.
    """

    thickness: float | None
    spacing: float | None

    @property
    def depth(self) -> float:
        """Mm that a frame without neighbours stands for, as dcm2niix has it: the spacing, else thickness, else 1."""
        return self.spacing or self.thickness or 1.0


def measures(dataset: Dataset, frame: int = 0) -> Measures:
    """Thickness and spacing of a frame: its own, else those that all share, else the file's."""
    item = frame_item(dataset, "PixelMeasuresSequence", frame)
    found = [
        number(item, keyword) or number(dataset, keyword) for keyword in ("SliceThickness", "SpacingBetweenSlices")
    ]
    thickness, spacing = (length if length is not None and length > 0 else None for length in found)
    return Measures(thickness, spacing)


def pixel_spacing(dataset: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """Mm from row to row and from column to column, from the first of these that is there.

    PixelSpacing (of the frame, or of the image); ImagerPixelSpacing (at the detector, larger than in the patient);
    NominalScannedPixelSpacing; the one region of an ultrasound image that is measured in cm.
    """
    for source in (frame_item(dataset, "PixelMeasuresSequence", frame), dataset):
        for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
            found = numbers(source, keyword)
            if len(found) == 2 and min(found) > 0:
                return found[0], found[1]
    regions = items(dataset, "SequenceOfUltrasoundRegions")
    if len(regions) == 1:
        units = [whole(regions[0], f"PhysicalUnits{side}Direction") for side in "YX"]
        steps = [number(regions[0], f"PhysicalDelta{side}") for side in "YX"]
        if units == [_CENTIMETRE, _CENTIMETRE] and all(steps):
            return 10 * abs(steps[0] or 0), 10 * abs(steps[1] or 0)
    return None
