"""PNG, JPEG, TIFF and BMP files -> arrays in the type they were stored in; and PNG back.

Each format goes to the decoder that keeps its bits and refuses damaged files: libpng (through ``imagecodecs``) for PNG,
because Pillow cuts 16-bit colour to 8 bits; Pillow for JPEG and BMP, because OpenCV fills truncated JPEG files with
grey without a word; ``tifffile`` for TIFF, because Pillow has no 16-bit colour, no float64 and no more than 4 channels.
"""

from __future__ import annotations

import logging
import struct
import warnings
from functools import cache
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.checked import check_image, words_of
from datamodules.readers.format_table import BEGINNING, image_format, known_formats, suffixes_of
from datamodules.readers.limits import DEFAULT, Limits
from datamodules.readers.named_errors import named_errors
from datamodules.readers.orientation import upright
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

_ORIENTATION = 274  # tag of EXIF
_PALETTE = 3
_JPEG = b"\xff\xd8\xff"
_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # by the kind of colour; a palette may become RGBA


def read(path: Path, limits: Limits = DEFAULT, frame: int | None = None, *, labels: bool = False) -> Scan:
    """Read one raster image.

    The format is told by the file's first bytes, so a PNG that is called ``.jpg`` is read as well. 8 and 16 bit are
    kept, as are the further types of TIFF (int16, uint32, float32, ...). Palettes become RGB or RGBA, 1-bit images
    uint8 with 0 and 255, CMYK becomes RGB, grey that is stored inverted (TIFF MinIsWhite) is turned round. JPEG and
    TIFF pictures that say they lie on their side (EXIF orientation) are set upright.

    Args:
        path: the file; its suffix is one of an image format (:mod:`datamodules.readers.format_table`), or it has none.
        limits: checked in the header, before anything is decoded.
        frame: page of a TIFF, from 0; None takes the only one.
        labels: the file is a mask. A palette gives its indices, samples of 1, 2 or 4 bits their values, and TIFF
            MinIsWhite stays as stored where it has more than one bit.

    Returns:
        The array, ``(H, W)`` for grey, ``(H, W, 2)`` for grey with alpha, ``(H, W, 3)`` for RGB, ``(H, W, 4)`` for RGBA
        and ``(H, W, C)`` for TIFF files with other channels; ``info`` has ``path`` and ``original_size``, the (H, W) of
        that array, and of TIFF files ``alpha`` (False) where the last of 2 or 4 channels is a channel like the others,
        and ``stored_range`` where samples have fewer bits than their type (10, 12 or 14, or OME's SignificantBits).

    Raises:
        SuiteError: no such file, not a raster file, damaged or truncated, too large, or a TIFF with several pages and
            no ``frame``.
    """
    if not path.name.lower().endswith(suffixes_of("image")) and has_suffix(path.name):
        raise SuiteError(f"{path}: not a raster image by its name: expected one of {' '.join(suffixes_of('image'))}")
    quiet_decoders()
    with named_errors(path, "cannot be decoded") as attempt, path.open("rb") as file:
        found = image_format(file.read(BEGINNING), path.name)
        attempt.words = words_of(found)
        file.seek(0)
        array, said = found.decoder("image")(file, limits, frame, labels=labels)
        check_image(array, found, limits)
    size = (array.shape[0], array.shape[1])
    return Scan(array, cast("ScanInfo", {"path": str(path), "original_size": size, **said}))


def has_suffix(name: str) -> bool:
    """Whether a file's name says what it is: a number behind a point does not, by which DICOM files are often named."""
    suffix = PurePath(name).suffix
    return bool(suffix) and not suffix[1:].isdigit()


def begins_as_image(path: Path) -> bool:
    """Whether the first bytes of a file are those of an image format that has three or more of its own."""
    try:
        with path.open("rb") as file:
            head = file.read(BEGINNING)
    except OSError:
        return False
    begins = [begin for one in known_formats() if one.image is not None for begin in one.begins if len(begin) > 2]
    return head.startswith(tuple(begins))


def is_jpeg(path: Path) -> bool:
    """Whether a file is JPEG by its first bytes, whatever its name; False where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(len(_JPEG)) == _JPEG
    except OSError:
        return False


def count_pages(path: Path) -> int:
    """Number of images in a file: pages of a TIFF, else 1.

    Raises:
        SuiteError: no such file, or a TIFF that cannot be read.
    """
    quiet_decoders()
    with named_errors(path, "cannot be decoded") as attempt, path.open("rb") as file:
        found = image_format(file.read(BEGINNING), path.name)
        attempt.words = words_of(found)
        file.seek(0)
        return 1 if found.frames is None else int(found.decoder("frames")(file))


def write_png(path: Path, array: NDArray[Any]) -> None:
    """Write an array as PNG without loss.

    Args:
        path: the file; its folder exists.
        array: bool (written as 0 and 255), uint8 or uint16; ``(H, W)`` or ``(H, W, C)`` with C from 1 to 4.

    Raises:
        ValueError: the array is of another type or shape.
    """
    import imagecodecs

    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"PNG holds uint8 and uint16, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and 2 <= array.shape[2] <= 4):
        raise ValueError(f"PNG holds (H, W) or (H, W, C) with up to 4 channels, not {array.shape}")
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))


def is_grey(array: NDArray[Any]) -> bool:
    """Whether a picture has no colour: ``(H, W)``, one channel (with or without alpha), or R = G = B everywhere."""
    if array.ndim == 2 or array.shape[2] <= 2:
        return True
    if array.shape[2] > 4:
        return False
    red, green, blue = (array[:, :, channel] for channel in range(3))
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def _one_frame(frame: int | None) -> None:
    if frame not in (None, 0):
        raise ValueError(f"it has no frame {frame}: it is one image")


def decode_png(file: BinaryIO, limits: Limits, frame: int | None, *, labels: bool) -> tuple[NDArray[Any], ScanInfo]:
    """PNG; see :class:`~datamodules.readers.format_table.Format`."""
    import imagecodecs

    _one_frame(frame)
    data = file.read()
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])  # the header chunk always comes first
    limits.check_pixels(width, height)
    limits.check_bytes(width * height * _PNG_SAMPLES.get(colour, 4) * (2 if bits == 16 else 1))
    if labels and colour == _PALETTE:
        from PIL.PngImagePlugin import PngImageFile

        file.seek(0)
        with PngImageFile(file) as image:
            return np.asarray(image), ScanInfo()
    array: NDArray[Any] = imagecodecs.png_decode(data)
    return array // np.uint8(255 // (2**bits - 1)) if labels and bits < 8 else array, ScanInfo()


def decode_jpeg(file: BinaryIO, limits: Limits, frame: int | None, *, labels: bool) -> tuple[NDArray[Any], ScanInfo]:
    """JPEG; see :class:`~datamodules.readers.format_table.Format`."""
    # The plugin itself, not Image.open, which has a limit of its own and warns on standard error.
    from PIL.JpegImagePlugin import JpegImageFile

    _one_frame(frame)
    with JpegImageFile(file) as image:
        limits.check_pixels(*image.size)
        limits.check_bytes(image.size[0] * image.size[1] * max(3, len(image.getbands())))
        array = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)
        turned = upright(array, image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else array
        return turned, ScanInfo()


def decode_bmp(file: BinaryIO, limits: Limits, frame: int | None, *, labels: bool) -> tuple[NDArray[Any], ScanInfo]:
    """BMP; see :class:`~datamodules.readers.format_table.Format`."""
    from PIL.BmpImagePlugin import BmpImageFile

    _one_frame(frame)
    with BmpImageFile(file) as image:
        limits.check_pixels(*image.size)
        limits.check_bytes(image.size[0] * image.size[1] * max(3, len(image.getbands())))
        if labels and image.mode in ("1", "P"):
            return np.asarray(image).astype(np.uint8), ScanInfo()
        expanded = {"1": "L", "P": "RGB"}.get(image.mode)
        return np.asarray(image.convert(expanded) if expanded else image), ScanInfo()


@cache
def quiet_decoders() -> None:
    """Damaged EXIF blocks and colour profiles are common and harmless; a line on standard error for each is neither.

    What is not harmless raises. Once a process: ``warnings.catch_warnings`` around each file is not safe in threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("imagecodecs", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
