"""Source of a result: the DICOM images that a model has seen, their headers, and where a mask lies on them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.geometry import measures, place
from datamodules.readers.dicom.header import image_facts, is_dicom, items, number, opened, shows_scan, text
from datamodules.readers.dicom.series import read_grid
from datamodules.readers.dicom.slices import SeriesGrid
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.listing import paths_below
from scansuite.errors import SuiteError
from tasks.deployment.dicom.patient import CARRIED, NEEDED

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_IDENTITY = {
    "StudyInstanceUID": "(0020,000D)",
    "SeriesInstanceUID": "(0020,000E)",
    "SOPInstanceUID": "(0008,0018)",
    "SOPClassUID": "(0008,0016)",
}


@dataclass(frozen=True)
class Plane:
    """An image that a part of a mask lies on.

    Attributes:
        image: number of its file among :attr:`Source.images`.
        frame: number of the frame in the file, from 0.
    """

    image: int
    frame: int


@dataclass(frozen=True, eq=False)
class Source:
    """The images of a case.

    Attributes:
        paths: their files.
        images: their headers without pixels and without private elements, in the order of ``paths``.
        planes: in the order of a volume's Z; of a flat image one; of several flat images (a bag) one each.
        frames: of each file.
        grid: of a volume; None: flat images.
    """

    paths: tuple[Path, ...]
    images: tuple[Dataset, ...]
    planes: tuple[Plane, ...]
    frames: tuple[int, ...]
    grid: SeriesGrid | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.paths[0] if self.grid is None else self.grid.path)

    @property
    def first(self) -> Dataset:
        """Header of the first image."""
        return self.images[0]

    @property
    def multiframe(self) -> bool:
        """Whether it is a file of frames."""
        return self.frames[0] > 1 or "NumberOfFrames" in self.first

    @cached_property
    def located(self) -> bool:
        """Whether all images say where they lie in the patient."""
        says = all(text(header, "FrameOfReferenceUID") for header in self.images)
        return says and all(place(self.images[one.image], one.frame) is not None for one in self.planes)

    @cached_property
    def bare(self) -> tuple[Dataset, ...]:
        """The headers as highdicom takes them: patient and study are put in by ours afterwards, exactly."""
        made = tuple(_bare(header, located=self.located) for header in self.images)
        depth = measures(self.first).depth if self.grid is None else self.grid.spacing[2]
        for header in made:
            _fill_thickness(header, depth)
        return made

    @property
    def uids(self) -> list[str]:
        """SOPInstanceUID of each image."""
        return [str(header.SOPInstanceUID) for header in self.images]

    def on_images(self, mask: NDArray[Any]) -> NDArray[Any]:
        """A mask on the grid of the case -> (planes, rows, columns) in the order of :attr:`planes`; a view.

        Args:
            mask: (H, W) of a flat image, or (X, Y, Z) of a volume, on the grid of
                :func:`datamodules.readers.dicom.series.read_grid`.

        Raises:
            ValueError: it has another shape than the images.
        """
        planes = mask[None] if self.grid is None else mask.transpose(2, 1, 0)[:, ::-1]  # its rows run up
        shape = (len(self.planes), int(self.first.Rows), int(self.first.Columns))
        if planes.shape != shape:
            raise ValueError(f"{self.name}: a mask of shape {mask.shape} for images of {shape}")
        return planes


def open_source(
    paths: Path | Sequence[Path], *, volume: bool = False, frame: int | None = None, limits: Limits = DEFAULT
) -> Source:
    """Read the headers of a case's images.

    Args:
        paths: a file or a folder with a series; several files of one study.
        volume: the case is a volume: a series, or a file with frames, in the order of its grid.
        frame: number of the frame that was seen, from 0; left out: the only one.
        limits: on the size of images.

    Raises:
        SuiteError: it is no DICOM, or no series of images; names the file. Or it lacks a UID, or files are of several
            studies.
    """
    several = [paths] if isinstance(paths, Path) else list(paths)
    for path in several:
        refuse_other(path)
    if volume:
        return _series(several[0], limits)
    if several[0].is_dir():
        several = [file for file in paths_below(several[0]) if file.name != "DICOMDIR" and is_dicom(file)]
    headers, frames = zip(*(_header(path, limits) for path in several), strict=True)
    if len({str(header.StudyInstanceUID) for header in headers}) > 1:
        raise SuiteError(f"{several[0]}: the images of the case are of several studies: a result can go to one alone")
    if frame is not None and not 0 <= frame < frames[0]:
        raise SuiteError(f"{several[0]}: has {frames[0]} frames, so there is no number {frame}")
    planes = tuple(Plane(number, frame or 0) for number in range(len(several)))
    return Source(tuple(several), headers, planes, frames)


def refuse_other(path: Path) -> None:
    """Refuse what is no DICOM: it names neither patient nor study.

    Raises:
        SuiteError: names the file.
    """
    if not path.exists():
        raise SuiteError(f"{path}: no such file or folder")
    if path.is_file() and is_dicom(path):
        return
    if path.is_dir() and any(is_dicom(file) for file in paths_below(path)):
        return
    raise SuiteError(
        f"--dicom: {path} is no DICOM, so nothing says whose it is and which study a result would belong to: give the "
        "DICOM files themselves, or leave --dicom out"
    )


def _series(path: Path, limits: Limits) -> Source:
    grid = read_grid(path, limits.max_pixels)
    slices = grid.series.slices
    files = list(dict.fromkeys(one.path for one in slices))
    headers, frames = zip(*(_header(file, limits) for file in files), strict=True)
    if len(files) > 1 and max(frames) > 1:
        raise SuiteError(f"{path}: its frames lie in {len(files)} files: no DICOM object can refer to such a volume")
    numbers = {file: number for number, file in enumerate(files)}
    planes = tuple(Plane(numbers[one.path], one.frame) for one in slices)
    return Source(tuple(files), headers, planes, frames, grid)


def _header(path: Path, limits: Limits) -> tuple[Dataset, int]:
    with opened(path, limits.max_bytes) as source:
        facts = image_facts(source, limits.max_pixels)
        if not shows_scan(source):
            raise ValueError("it is no scan, but was made from one: give the images that it was made from")
        header = source.dataset
        for keyword, tag in _IDENTITY.items():
            if not text(header, keyword):
                raise ValueError(f"{keyword} {tag} is missing: no other object could refer to it")
        header.remove_private_tags()
        # Filled in by the reader's rules where a header is sloppy.
        header.Rows, header.Columns, header.SamplesPerPixel = facts.rows, facts.columns, facts.samples
        header.PhotometricInterpretation, header.BitsStored = facts.photometric, facts.bits_stored
        return header, facts.frames


def _functional(header: Dataset, keyword: str) -> list[Dataset]:
    """Items of a functional group, of the file and of its frames, and the header itself."""
    groups = [
        *items(header, "SharedFunctionalGroupsSequence"),
        *items(header, "PerFrameFunctionalGroupsSequence"),
    ]
    return [header, *(item for group in groups for item in items(group, keyword))]


def _keep_one_window(header: Dataset) -> None:
    """Keep the first of several windows: a presentation state has one (PS3.3, C.11.8)."""
    for one in _functional(header, "FrameVOILUTSequence"):
        for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"):
            if keyword in one and one[keyword].VM > 1:
                setattr(one, keyword, one[keyword].value[0])


def _fill_thickness(header: Dataset, depth: float) -> None:
    """Say how thick slices are where a header leaves it out, and objects may not: what a slice stands for."""
    for one in _functional(header, "PixelMeasuresSequence"):
        if "PixelSpacing" in one and not number(one, "SliceThickness"):
            one.SliceThickness = f"{depth:.8g}"


def _bare(header: Dataset, *, located: bool) -> Dataset:
    made = deepcopy(header)
    for keyword in (*CARRIED, "SpecificCharacterSet"):
        if keyword in made and keyword != "StudyInstanceUID":
            del made[keyword]
    for keyword in NEEDED:
        setattr(made, keyword, "")
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        for item in items(made, keyword):
            if not isinstance(item.get("LUTData"), bytes):  # as numbers, where the file says so
                item.add_new("LUTData", "OW", np.asarray(item.LUTData, "<u2").tobytes())
    _keep_one_window(made)
    if not text(made, "Modality"):
        made.Modality = "OT"
    if not located and "FrameOfReferenceUID" in made:
        del made.FrameOfReferenceUID  # it says which space, but not where in it
    return made
