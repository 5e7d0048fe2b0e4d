"""Reading of any image file: which reader a file wants is told by its first bytes and its name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from datamodules.readers import raster, volume
from datamodules.readers.dicom import header as dicom_header
from datamodules.readers.format_table import DICOM, by_name, suffixes_of
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.listing import files_below
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

Kind: TypeAlias = Literal["raster", "dicom", "volume"]


def suffixes() -> tuple[str, ...]:
    """Suffixes of images; DICOM may have other names."""
    return suffixes_of()


def is_image(file: Path) -> bool:
    """Whether a file may be an image by its name, or without a suffix (or a number for one) by its first bytes.

    A ``DICOMDIR`` is no image. Files with other names are not opened.
    """
    if file.name.lower().endswith(suffixes()):
        return True
    if (file.suffix and not file.suffix[1:].isdigit()) or file.name.upper() == "DICOMDIR":
        return False
    return file.is_file() and (dicom_header.is_dicom(file) or raster.begins_as_image(file))


def images_below(folder: Path) -> list[str]:
    """The images (:func:`is_image`) among :func:`~datamodules.readers.listing.files_below`."""
    return files_below(folder, is_image)


def is_stack(path: Path | str) -> bool:
    """Whether a path has slices rather than one image: a folder (of a series), a volume, or a TIFF with pages.

    A volume is told by its name, also where it has one slice. A damaged TIFF has no pages: reading it says why.
    """
    return os.path.isdir(path) or is_stack_file(path)  # noqa: PTH112 - as below


def is_stack_file(path: Path | str) -> bool:
    """:func:`is_stack` for what is known to be no folder."""
    name = os.path.basename(path)  # noqa: PTH119 - a table may have a million, and a Path costs more than the answer
    found = by_name(name)
    if found is not None and found.frames is not None:
        with suppress(SuiteError):
            return raster.count_pages(Path(path)) > 1
        return False
    return volume.is_volume(name)


def is_damaged_tiff(path: Path) -> bool:
    """Whether a file is a TIFF by its name (or of another format with pages) whose pages cannot be counted."""
    found = by_name(path.name)
    if found is None or found.frames is None:
        return False
    try:
        return raster.count_pages(path) < 1
    except SuiteError:
        return True


def kind_of(file: Path) -> Kind:
    """Reader that a file wants; ``raster`` for what is none of the others."""
    found = by_name(file.name)
    if found is None:
        return "dicom" if dicom_header.is_dicom(file) else "raster"
    return "dicom" if found is DICOM else "raster" if found.image is not None else "volume"


def read(file: Path, limits: Limits = DEFAULT, frame: int | None = None, *, labels: bool = False) -> Scan:
    """Read a flat image of any format: PNG, JPEG, BMP, TIFF, DICOM, NIfTI, NRRD or MetaImage.

    Args:
        file: the file.
        limits: checked in the header, before anything is decoded.
        frame: number of the page (TIFF), frame (DICOM) or axial slice (volumes), from 0; None wants a file with one.
            The one slice of a flat volume is seen as it lies in the patient (``readers.volume.PLANES``).
        labels: the file is a mask: its values are neither turned, nor filled, nor coloured (a palette gives its
            indices), nor spread over a range (1 bit gives 0 and 1).

    Returns:
        The array, ``(H, W)`` or ``(H, W, C)``, in the type it was stored in, and what the file says of its geometry.

    Raises:
        SuiteError: no such file, of another format, damaged, truncated, too large, or with several images where one is
            wanted.
    """
    kind = kind_of(file)
    if kind == "dicom":
        from datamodules.readers.dicom import image as dicom

        return dicom.read(file, frame=frame, labels=labels, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    if kind == "volume":
        return _slice(file, limits, frame)
    return raster.read(file, limits, frame, labels=labels)


def count_frames(file: Path, limits: Limits = DEFAULT) -> int:
    """Number of images in a file for :func:`read`: pages, frames or axial slices; from its header.

    Raises:
        SuiteError: as :func:`read`, as far as the header tells.
    """
    kind = kind_of(file)
    if kind == "volume":
        grid = volume.read_grid(file, limits)
        return 1 if 1 in grid.shape else grid.shape[volume.slice_axis(grid.affine, "axial")]
    if kind == "raster":
        return raster.count_pages(file)
    from datamodules.readers.dicom import image as dicom

    return dicom.count_frames(file)


def _slice(file: Path, limits: Limits, frame: int | None) -> Scan:
    """A slice of a volume as a flat image."""
    read = volume.read_volume(file, limits)
    thin = [axis for axis in range(3) if read.shape[axis] == 1]
    across = [plane for plane in volume.PLANES if volume.slice_axis(read.affine, plane) in thin]
    plane: volume.Plane = across[0] if across else "axial"
    slices = volume.to_slices(read.array, read.affine, plane)
    if frame is None and len(slices) > 1:
        raise SuiteError(
            f"{file}: has {len(slices)} slices, and one image is wanted: save one slice a file, or take a model of "
            "volumes (--data Volumes)"
        )
    if not 0 <= (frame or 0) < len(slices):
        raise SuiteError(f"{file}: has no frame {frame}: its {len(slices)} slices are numbered from 0")
    image = slices[frame or 0].copy()
    info = ScanInfo(
        path=str(file),
        spacing=volume.slice_spacing(read.affine, plane)[1:],
        affine=read.affine,
        slice=frame or 0,
        original_size=(image.shape[0], image.shape[1]),
    )
    if image.ndim == 3:
        info["alpha"] = False  # channels are frames
    return Scan(image, info)
