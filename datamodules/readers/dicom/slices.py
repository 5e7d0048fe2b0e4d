"""Frames of a DICOM series, and the grid that they make once they are in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datamodules.readers.dicom.geometry import Measures, Place
from datamodules.readers.dicom.header import Facts
from datamodules.readers.grid import Grid


@dataclass(frozen=True, eq=False)
class Slice:
    """A frame of a series.

    Attributes:
        path: its file.
        frame: number in the file.
        place: where it lies, if the header says.
        facts: of its samples.
        instance: SOPInstanceUID of the file.
        localizer: the header calls it a scout or localiser.
        measures: its thickness, and the spacing of slices.
        reference: FrameOfReferenceUID of the file, if the header says.
        time: number of the time point, if the header says.
        echo: number or time of the echo, if the header says.
    """

    path: Path
    frame: int
    place: Place | None
    facts: Facts
    instance: str
    localizer: bool
    measures: Measures
    reference: str | None
    time: float | None
    echo: float | None

    @property
    def name(self) -> str:
        """Name of the series in messages."""
        return self.path.name if self.facts.frames == 1 else f"{self.path.name} frame {self.frame}"


@dataclass(frozen=True, eq=False)
class Series:
    """Frames of one SeriesInstanceUID.

    Attributes:
        uid: the SeriesInstanceUID.
        label: how messages call it: number, modality and count.
        reference: FrameOfReferenceUID of the first file.
        slices: in the order of the files' names; those of a :class:`SeriesGrid` in their own order.
    """

    uid: str
    label: str
    reference: str | None
    slices: tuple[Slice, ...]


@dataclass(frozen=True, eq=False)
class SeriesGrid(Grid):
    """Grid of the voxels of a series; ``series.slices`` are the Z of ``shape``, in order."""

    series: Series
