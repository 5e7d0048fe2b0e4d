"""A look at some training images, within a bound on time: sizes, values, spacing, masks, directions."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.checks.units import dicom_modality
from datamodules.detection.base import DetectionData
from datamodules.evenly import evenly
from datamodules.fingerprint.directions import profiles
from datamodules.fingerprint.foreground import values_of_classes
from datamodules.fingerprint.order import spread_out
from datamodules.fingerprint.regions import ObjectTable, regions_of
from datamodules.readers.raster import is_grey
from datamodules.readers.sizes import size_in_header
from datamodules.readers.volume import Plane, Volume, is_series, read_volume, slice_spacing, to_slices
from datamodules.samples.label_values import IGNORE
from datamodules.segmentation.base import SegmentationData
from datamodules.stored import StoredVolume
from datamodules.types import Scan
from scansuite.errors import SuiteError
from scansuite.words import plain_words

log = logging.getLogger(__name__)

MOST_IMAGES, MOST_VOLUMES, MOST_SLICES = 128, 48, 24
LEAST = 8  # images or volumes that are looked at, however long it takes
SECONDS = 20.0
_VALUES = 4096  # of an image that count for the spread of intensities, of a volume for that of its classes
_PROFILE_SIDE = 128  # pixels: enough for what differs between the halves of an image
_LARGEST = 2**27  # pixels of an image: of larger ones the header alone is read


@dataclass
class Look:
    """What was seen.

    Attributes:
        objects: regions of masks.
        looked: how many images or volumes were read.
        complete: these are all.
        seconds: that it took.
        sizes: (H, W) of images, or of the slices of a volume.
        slices: of each volume.
        spacings: mm of rows, columns and slices, where known.
        types: of stored values.
        values: some of each image.
        means: of each image.
        dark: share of each image's pixels that have its lowest value.
        colours: for each image whether its channels are unlike.
        rows: profiles of images from above to below.
        columns: from left to right.
        pixels: (C,) of each class of the masks, without the background.
        all_pixels: that were counted, background included.
        dicom: Modality of DICOM files.
        stated: images whose range of values is stated.
        foreground: some values of the voxels of each volume that bear a class; of volumes of one sequence.
    """

    objects: ObjectTable
    pixels: NDArray[np.float64]
    looked: int = 0
    complete: bool = False
    seconds: float = 0.0
    all_pixels: float = 0.0
    stated: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    slices: list[int] = field(default_factory=list)
    spacings: list[tuple[float, ...]] = field(default_factory=list)
    types: set[str] = field(default_factory=set)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    dark: list[float] = field(default_factory=list)
    colours: list[bool] = field(default_factory=list)
    rows: list[NDArray[np.float64]] = field(default_factory=list)
    columns: list[NDArray[np.float64]] = field(default_factory=list)
    dicom: Counter[str] = field(default_factory=Counter)
    foreground: list[NDArray[np.float64]] = field(default_factory=list)

    def take_values(
        self, array: NDArray[Any], *, alpha: bool = False, lowest: float | None = None, directed: bool = True
    ) -> None:
        """Take the values of an image.

        Args:
            array: (H, W) or (H, W, C) as stored.
            alpha: the last channel is no part of the picture.
            lowest: of the volume that it is a slice of; None: its own.
            directed: its directions count; slices of one volume have the same.
        """
        shown = array[..., :-1] if alpha else array
        self.types.add(shown.dtype.name)
        values = shown.ravel()[evenly(shown.size, _VALUES)].astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return
        self.values.append(values)
        self.means.append(float(values.mean()))
        self.dark.append(float((values <= (values.min() if lowest is None else lowest)).mean()))
        if not directed:
            return
        step = max(1, max(shown.shape[:2]) // _PROFILE_SIDE)
        shown = shown[::step, ::step]
        grey = shown if shown.ndim == 2 else shown[:, :, 0] if shown.shape[2] not in (3, 4) else shown.mean(axis=2)
        found = profiles(np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0))
        if found is not None:
            self.rows.append(found[0])
            self.columns.append(found[1])

    def take_mask(self, mask: NDArray[np.uint8], spacing: tuple[float, float] | None, *, background: bool) -> None:
        """Take the mask of an image: (H, W) class numbers, or (L, H, W)."""
        self.objects.add(regions_of(mask, background=background), (mask.shape[-2], mask.shape[-1]), spacing)
        if mask.ndim == 3:
            counts = (mask == 1).sum(axis=(1, 2)).astype(np.float64)
            self.all_pixels += float((mask[0] != IGNORE).sum())
        else:
            every = np.bincount(mask.ravel(), minlength=IGNORE + 1)[:IGNORE].astype(np.float64)
            self.all_pixels += float(every.sum())
            counts = every[1 if background else 0 :]
        self.pixels += counts[: len(self.pixels)]


def look_at(data: ScanDataModule, images: NDArray[np.int64], *, least: int = LEAST, seconds: float = SECONDS) -> Look:
    """Look at images, or at the volumes that they stand for, until the time is over.

    Args:
        data: whose images they are.
        images: rows of ``table.images`` in the order in which they are looked at.
        least: that are looked at however long it takes.
        seconds: after which no further one is begun.

    Raises:
        SuiteError: none of them can be read.
    """
    began = time.monotonic()
    classes = len(data.class_names) - (not data.overlapping) if isinstance(data, SegmentationData) else 0
    look = Look(ObjectTable(classes), np.zeros(classes))
    volume_of = data.stored(data.table).volume
    refused: list[str] = []
    number = 0
    for number, image in enumerate(images, start=1):
        if number > least and time.monotonic() - began > seconds:
            number -= 1
            break
        try:
            volume = None if volume_of is None else volume_of(int(image))
            if volume is None:
                _look_at_image(look, data, int(image))
            else:
                _look_at_volume(look, data, volume)
        except SuiteError as error:
            refused.append(str(error))
        except Exception as error:  # whatever a crafted file brings about: training names it
            refused.append(f"{data.path_of(int(image))}: {plain_words(error)}")
    if refused and not look.sizes:
        raise SuiteError(refused[0])
    look.complete, look.seconds = number == len(images), time.monotonic() - began
    return look


class TrainingUnits(NamedTuple):
    """What is read as one in the training part.

    Attributes:
        images: rows of ``table.images``: flat images, or a slice of each volume.
        volumes: they stand for volumes.
    """

    images: NDArray[np.int64]
    volumes: bool

    @property
    def most(self) -> int:
        """How many of them are looked at."""
        return MOST_VOLUMES if self.volumes else MOST_IMAGES

    def chosen(self) -> NDArray[np.int64]:
        """Rows of those that are looked at, in their order."""
        return self.images[spread_out(len(self.images), self.most)]


def training_units(data: ScanDataModule) -> TrainingUnits:
    """Images, or volumes, of the training part, each once: slices of one volume may be many cases."""
    images = data.table.images_by_case.together(data.rows("train"))[0]
    volume_of = data.stored(data.table).volume
    if volume_of is None or not len(images) or volume_of(int(images[0])) is None:
        return TrainingUnits(images, False)
    paths = data.table.images["path"].iloc[images]
    return TrainingUnits(images[~paths.duplicated().to_numpy()], True)


def _look_at_image(look: Look, data: ScanDataModule, image: int) -> None:
    file = data.root / str(data.table.images["path"].iat[image])
    size = data.stored_size(image) if isinstance(data, DetectionData) else size_in_header(file)
    if size is not None and size[0] * size[1] > _LARGEST:
        look.sizes.append(size)
        return
    scan = data.read(image)
    mask = data.read_mask(image) if isinstance(data, SegmentationData) else None
    array = scan.array
    spacing = _pixel_spacing(data, image, scan)
    look.looked += 1
    look.sizes.append((array.shape[0], array.shape[1]))
    if spacing is not None:
        look.spacings.append(spacing)
    alpha = array.ndim == 3 and array.shape[2] in (2, 4) and bool(scan.info.get("alpha", True))
    look.colours.append(array.ndim == 3 and array.shape[2] in (3, 4) and not is_grey(array))
    look.stated += "stored_range" in scan.info
    look.take_values(array, alpha=alpha)
    word = dicom_modality(file) if file.is_file() else ""
    if word:
        look.dicom[word] += 1
    if mask is not None and isinstance(data, SegmentationData):
        look.take_mask(mask, spacing, background=not data.overlapping)


def _pixel_spacing(data: ScanDataModule, image: int, scan: Scan) -> tuple[float, float] | None:
    """Mm of rows and columns; what cannot be is unknown."""
    found: tuple[float, ...] | None = scan.info.get("spacing")
    if found is not None and len(found) > 2:  # of a volume: its slice
        case = int(data.table.images["case"].to_numpy()[image])
        asked = getattr(data, "pixel_spacing", None)
        found = asked(case, scan.info) if asked is not None else None
    if found is None or not all(np.isfinite(found)) or min(found) <= 0:
        return None
    return float(found[0]), float(found[1])


def _look_at_volume(look: Look, data: ScanDataModule, stored: StoredVolume) -> None:
    volumes = [read_volume(file, data.limits) for file in stored.images]
    first = volumes[0]
    cut = getattr(data, "slices", None)
    plane: Plane = "axial" if cut is None else cut.plane
    between, row, column = slice_spacing(first.affine, plane)
    slices = to_slices(first.array, first.affine, plane)
    chosen = evenly(len(slices), MOST_SLICES)
    masks = _masks(data, stored, first, plane)
    look.looked += 1
    look.sizes.append((slices.shape[1], slices.shape[2]))
    look.slices.append(len(slices))
    known = all(np.isfinite((row, column, between))) and min(row, column, between) > 0
    if known:
        look.spacings.append((row, column, between))
    look.colours.append(False)
    word = _series_modality(stored)
    if word:
        look.dicom[word] += 1
    for volume in volumes:
        lowest = float(np.nanmin(volume.array)) if volume.array.size else 0.0
        some = to_slices(volume.array, volume.affine, plane)
        middle = chosen[len(chosen) // 2]
        for number in chosen[chosen < len(some)]:
            look.take_values(some[number], lowest=lowest, directed=number == middle)
    if masks is not None and isinstance(data, SegmentationData):
        for number in chosen:
            mask = data.as_model_sees(np.ascontiguousarray(masks[number]))
            look.take_mask(mask, (row, column) if known else None, background=not data.overlapping)
        if len(volumes) == 1 and slices.ndim == 3:  # several may be of several quantities, which have no range together
            look.foreground.append(values_of_classes(slices, masks, data.as_model_sees, _VALUES))


def _masks(data: ScanDataModule, stored: StoredVolume, volume: Volume, plane: Plane) -> NDArray[np.uint8] | None:
    """(S, H, W) stored class numbers of a volume's mask, or None where it has none."""
    if stored.classes is None or not isinstance(data, SegmentationData):
        return None
    return to_slices(stored.classes(volume), volume.affine, plane)


def _series_modality(stored: StoredVolume) -> str:
    """Modality of a volume's first DICOM file, "" where it is of another format."""
    file = stored.images[0]
    if not is_series(file):
        return dicom_modality(file) if file.is_file() else ""
    inside = sorted(one for one in file.iterdir() if one.is_file()) if file.is_dir() else []
    return next((word for one in inside[:8] if (word := dicom_modality(one))), "")
