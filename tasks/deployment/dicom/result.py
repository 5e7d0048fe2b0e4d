"""What is written as DICOM: a model's result on one case, and what the objects say of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.limits import DEFAULT, Limits
from scansuite.version import __version__
from tasks.deployment.dicom.source import Source, open_source

Kind: TypeAlias = Literal["seg", "sr", "sc", "gsps", "pdf"]
KINDS: dict[Kind, str] = {
    "seg": "segmentation (DICOM-SEG)",
    "sr": "structured report (TID 1500)",
    "sc": "secondary capture of the overlays",
    "gsps": "greyscale softcopy presentation state",
    "pdf": "encapsulated PDF",
}
SegmentationType: TypeAlias = Literal["binary", "labelmap", "fractional"]
NOT_FOR_DIAGNOSIS = "NOT FOR DIAGNOSIS"


@dataclass(frozen=True)
class ModelFacts:
    """What objects say of the model that made them.

    Attributes:
        name: of the model, for people.
        task: ``classify``, ``segment`` or ``detect``.
        class_names: in class order; of masks background first, or the L regions.
        overlapping: masks have a layer for each region.
        run: SHA-256 (hexadecimal) of the checkpoint, as :attr:`tasks.exported.description.Description.run` has it;
            None: not known, and its name stands for it.
        version: of the software.
        calibrated: scores are shares of cases (``docs/calibration.md``), and not ranks alone.
    """

    name: str
    task: str
    class_names: tuple[str, ...]
    overlapping: bool = False
    run: str | None = None
    version: str = __version__
    calibrated: bool = False

    @property
    def identity(self) -> str:
        """What tells the model from every other one."""
        return self.run or "\0".join((self.name, self.version, *self.class_names))

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of what a mask may show: the classes but the background, or the regions."""
        return self.class_names if self.overlapping else self.class_names[1:]


@dataclass(frozen=True)
class Box:
    """A call of a detector.

    Attributes:
        label: its class.
        score: in [0, 1].
        edges: x1, y1, x2, y2 in pixels of the image as stored.
    """

    label: str
    score: float
    edges: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class CaseResult:
    """A model's result on one case.

    Attributes:
        case_id: names the folder of its files, and nothing in them.
        paths: DICOM file, folder of a series, or the files of a bag.
        mask: (H, W) or (X, Y, Z) class numbers on the grid as stored; with overlapping regions (L, ...) of 0 and 1.
        probabilities: (K, ...) of the segments on the same grid, in [0, 1]; for fractional segmentations.
        boxes: the calls of a detector.
        scores: of a classifier, by class.
        called: classes that are called, of a classifier.
        prediction: of a regression.
        volume: the case is a volume.
        frame: number of the frame that was seen, from 0; None: the only one.
        limits: on the size of images.
    """

    case_id: str
    paths: Path | Sequence[Path]
    mask: NDArray[np.uint8] | None = None
    probabilities: NDArray[np.floating[Any]] | None = None
    boxes: Sequence[Box] | None = None
    scores: Mapping[str, float] | None = None
    called: Sequence[str] = ()
    prediction: float | None = None
    volume: bool = False
    frame: int | None = None
    limits: Limits = field(default=DEFAULT)

    def source(self) -> Source:
        """The images.

        Raises:
            SuiteError: see :func:`~tasks.deployment.dicom.source.open_source`.
        """
        return open_source(self.paths, volume=self.volume, frame=self.frame, limits=self.limits)
