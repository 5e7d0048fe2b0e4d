"""PNG, JPEG, TIFF and BMP files -> arrays in the type they were stored in; and PNG back.

Each format goes to the decoder that keeps its bits and refuses damaged files: libpng (through ``imagecodecs``) for PNG,
because Pillow cuts 16-bit colour to 8 bits; Pillow for JPEG and BMP, because OpenCV fills truncated JPEG files with
grey without a word; ``tifffile`` for TIFF, because Pillow has no 16-bit colour, no float64 and no more than 4 channels.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.types import Scan, ScanInfo, SuiteError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_ORIENTATION = 274  # tag of EXIF and TIFF


def read(path: Path, max_pixels: int = 2**28) -> Scan:
    """Read one raster image.

    The format is told by the file's first bytes, so a PNG that is called ``.jpg`` is read as well. 8 and 16 bit are
    kept, as are the further types of TIFF (int16, uint32, float32, ...). Palettes become RGB or RGBA, 1-bit images
    uint8 with 0 and 255, CMYK becomes RGB, grey that is stored inverted (TIFF MinIsWhite) is turned round. JPEG and
    TIFF pictures that say they lie on their side (EXIF orientation) are set upright.

    Args:
        path: the file; its suffix is one of :data:`SUFFIXES`.
        max_pixels: largest height times width; checked in the header, before anything is decoded.

    Returns:
        The array, ``(H, W)`` for grey, ``(H, W, 2)`` for grey with alpha, ``(H, W, 3)`` for RGB, ``(H, W, 4)`` for RGBA
        and ``(H, W, C)`` for TIFF files with other channels; ``info`` has ``path`` and ``original_size``, the (H, W) of
        that array.

    Raises:
        SuiteError: no such file, not a raster file, damaged or truncated, too large, or a TIFF with several pages.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SuiteError(f"{path}: not a raster image by its name: expected one of {' '.join(SUFFIXES)}")
    _quiet_decoders()
    try:
        with path.open("rb") as file:
            array = _decoder(file.read(8))(file, max_pixels)
    except FileNotFoundError:
        raise SuiteError(f"{path}: no such file") from None
    except (IsADirectoryError, PermissionError) as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # decoders raise whatever they like on damaged files: struct.error, SyntaxError, ...
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise SuiteError(f"{path}: cannot be decoded: {reason}") from None
    return Scan(array, ScanInfo(path=str(path), original_size=(array.shape[0], array.shape[1])))


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


def _decoder(head: bytes) -> Callable[[BinaryIO, int], NDArray[Any]]:
    if head == b"\x89PNG\r\n\x1a\n":
        return _read_png
    if head[:3] == b"\xff\xd8\xff":
        return _read_jpeg
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _read_tiff
    if head[:2] == b"BM":
        return _read_bmp
    raise ValueError("it is not a PNG, JPEG, TIFF or BMP file" if head else "the file is empty")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels are more than the {max_pixels} allowed; cut it into tiles")


def _read_png(file: BinaryIO, max_pixels: int) -> NDArray[Any]:
    import imagecodecs

    file.seek(0)
    data = file.read()
    width, height = struct.unpack(">II", data[16:24])  # the header chunk always comes first
    _check_size(width, height, max_pixels)
    array: NDArray[Any] = imagecodecs.png_decode(data)
    return array


def _read_jpeg(file: BinaryIO, max_pixels: int) -> NDArray[Any]:
    # The plugin itself, not Image.open, which has a limit of its own and warns on standard error.
    from PIL.JpegImagePlugin import JpegImageFile

    file.seek(0)
    with JpegImageFile(file) as image:
        _check_size(*image.size, max_pixels)
        array = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)
        return _upright(array, image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else array


def _read_bmp(file: BinaryIO, max_pixels: int) -> NDArray[Any]:
    from PIL.BmpImagePlugin import BmpImageFile

    file.seek(0)
    with BmpImageFile(file) as image:
        _check_size(*image.size, max_pixels)
        expanded = {"1": "L", "P": "RGB"}.get(image.mode)
        return np.asarray(image.convert(expanded) if expanded else image)


def _read_tiff(file: BinaryIO, max_pixels: int) -> NDArray[Any]:
    import imagecodecs
    from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile

    end = file.seek(0, 2)
    file.seek(0)
    with TiffFile(file) as tiff:
        page = _only_page(tiff)
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        if any(offset + count > end for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
            raise ValueError("the file is truncated")  # JPEG strips would be filled up with grey
        plain = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
        if page.compression == COMPRESSION.LZW and plain:  # libtiff undoes LZW twice as fast
            file.seek(0)
            array = imagecodecs.tiff_decode(file.read())
        else:
            array = page.asarray(maxworkers=1)
        if page.axes == "SYX":
            array = np.moveaxis(array, 0, -1)
        return _upright(_as_seen(array, page), page.tags.valueof(_ORIENTATION, 1))


def _only_page(tiff: TiffFile) -> TiffPage:
    """The one image of a file; smaller copies of it (the pyramid of a slide) do not count as pages."""
    pages = [page for page in tiff.pages if not page.is_reduced] if len(tiff.pages) > 1 else list(tiff.pages)
    if not pages:
        raise ValueError("the file has no image")
    page = pages[0]
    count = len(pages)
    if count == 1 and (tiff.is_imagej or tiff.is_shaped):  # both can keep a whole stack behind one page
        count = tiff.series[0].size // page.size
    if count > 1 or page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"it has {max(count, page.imagedepth)} pages, which are not read yet; save one page a file")
    return page


def _as_seen(array: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Stored TIFF samples -> grey or RGB values, by the photometric interpretation (TIFF 6.0, tag 262)."""
    from PIL import Image
    from tifffile import COMPRESSION, PHOTOMETRIC

    meaning = page.photometric
    bits = page.bitspersample
    if bits in (1, 2, 4) and meaning != PHOTOMETRIC.PALETTE:  # spread over the range of the type, as PNG decoders do
        array = array * np.uint8(255 // (2**bits - 1))
    if meaning in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        return array
    if meaning == PHOTOMETRIC.MINISWHITE and array.dtype.kind == "u":
        inverted: NDArray[Any] = array.dtype.type(2 ** max(bits, 8) - 1) - array
        return inverted
    if meaning == PHOTOMETRIC.PALETTE and page.colormap is not None:
        colours: NDArray[np.uint8] = (np.moveaxis(page.colormap, 0, -1) >> 8).astype(np.uint8)
        return np.take(colours, array, axis=0)
    if meaning == PHOTOMETRIC.YCBCR and page.compression == COMPRESSION.JPEG:
        return array  # the JPEG decoder has already made it RGB
    if meaning == PHOTOMETRIC.SEPARATED and array.dtype == np.uint8 and array.shape[-1] == 4:
        return np.asarray(Image.frombytes("CMYK", array.shape[1::-1], array.tobytes()).convert("RGB"))
    raise ValueError(f"TIFF colours of kind {PHOTOMETRIC(meaning).name} in {array.dtype} are not read; save it as RGB")


@cache
def _quiet_decoders() -> None:
    """Damaged EXIF blocks and colour profiles are common and harmless; a line on standard error for each is neither.

    What is not harmless raises. Once a process: ``warnings.catch_warnings`` around each file is not safe in threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("imagecodecs", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an orientation (EXIF 2.3 and TIFF 6.0, tag 274); a number that is none of 2-8 changes nothing."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
