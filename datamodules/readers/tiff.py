"""TIFF pages -> arrays as they are meant to be seen, through ``tifffile`` and ``imagecodecs``."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.limits import Limits
from datamodules.readers.orientation import upright
from datamodules.readers.tiff_axes import alpha_of, arranged, planes_of, stated_range
from datamodules.types import ScanInfo

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_ORIENTATION = 274
# Compressions whose decoders stop at the size of the strip or tile, by their numbers in the TIFF registry: none, CCITT,
# LZW, deflate, PackBits, LZMA, Zstandard.
_SIZED = (1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 34926, 50000)
_JPEG = (7, 33007)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_MOST_PAGES = 2**16
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # ITU T.81, table B.1


def check_chain(file: BinaryIO) -> int:
    """Walk from page to page, as TIFF 6.0 (section 2) and BigTIFF chain them.

    A file that was cut off between two of them would otherwise pass for one with fewer pages.

    Returns:
        How many pages there are; 1 for files that are not walked through.

    Raises:
        ValueError: the chain leaves the file, goes round, or is longer than 65536 pages.
    """
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:3] == b"+" or head[3:4] == b"+"
    count_of, offset_of, entry = (order + "Q", order + "Q", 20) if big else (order + "H", order + "I", 12)
    if not big and end >= 2**32:  # microscopes write 64-bit offsets into old files
        return 1
    start = 8 if big else 4
    if len(head) < start + struct.calcsize(offset_of):
        raise ValueError("the file is truncated")
    (offset,) = struct.unpack_from(offset_of, head, start)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) == _MOST_PAGES:
            raise ValueError("its pages go round in a circle" if offset in seen else f"more than {_MOST_PAGES} pages")
        seen.add(offset)
        file.seek(offset)
        start_of_page = file.read(struct.calcsize(count_of))
        if len(start_of_page) < struct.calcsize(count_of):
            raise ValueError("the file is truncated")
        (entries,) = struct.unpack(count_of, start_of_page)
        place = offset + struct.calcsize(count_of) + entries * entry
        if place + struct.calcsize(offset_of) > end:
            raise ValueError("the file is truncated")
        file.seek(place)
        (offset,) = struct.unpack(offset_of, file.read(struct.calcsize(offset_of)))
    file.seek(0)
    return len(seen)


def count_pages(tiff: TiffFile) -> int:
    """Number of images in a file; smaller copies of one (the pyramid of a slide) do not count, nor do channels.

    Raises:
        ValueError: as in :func:`datamodules.readers.tiff_axes.planes_of`.
    """
    return len(planes_of(tiff, count_planes(tiff)))


def count_images(file: BinaryIO) -> int:
    """:func:`count_pages` of an open file; see :class:`~datamodules.readers.format_table.Format`."""
    from tifffile import TiffFile

    check_chain(file)
    with TiffFile(file) as opened:
        return count_pages(opened)


def count_planes(tiff: TiffFile) -> int:
    """Number of planes (pages, or what lies behind one page) in a file: a channel may have one of its own."""
    pages = image_pages(tiff)
    # ImageJ and tifffile can keep a whole stack behind one page.
    behind = 1
    if len(pages) == 1 and (tiff.is_imagej or tiff.is_shaped) and pages[0].size:
        behind = max(1, int(tiff.series[0].size // pages[0].size))
    return len(pages) if len(pages) > 1 else behind * max(1, int(pages[0].imagedepth))


def image_pages(tiff: TiffFile) -> list[TiffPage]:
    """The pages that are images of their own.

    Raises:
        ValueError: there is none.
    """
    pages = [page for page in tiff.pages if not page.is_reduced] if len(tiff.pages) > 1 else list(tiff.pages)
    if not pages:
        raise ValueError("the file has no image")
    return pages


def read_page(
    file: BinaryIO, limits: Limits, frame: int | None, *, labels: bool = False
) -> tuple[NDArray[Any], ScanInfo]:
    """The image of a file, or one of its pages, channels last.

    Args:
        file: the open file.
        limits: checked in the page's tags.
        frame: number of the page, from 0; None wants a file with one.
        labels: the file is a mask.

    Returns:
        The array, and what the file says of it: ``alpha`` False where 2 or 4 samples are none, and ``stored_range``.
        Alpha that is not the last of 2 or 4 samples is left out.

    Raises:
        ValueError: several pages and no ``frame``, or no such frame; too large; cut off; of a kind that is not read.
        Exception: whatever the decoders raise on damaged files.
    """
    from tifffile import TiffFile

    check_chain(file)
    with TiffFile(file) as tiff:
        planes = planes_of(tiff, count_planes(tiff))
        count = len(planes)
        if frame is None and count > 1:
            raise ValueError(
                f"it has {count} pages, and one image is wanted: save one page a file, or read it as a volume"
            )
        if not 0 <= (frame or 0) < count:
            raise ValueError(f"it has no frame {frame}: its {count} pages are numbered from 0")
        pages = image_pages(tiff)
        page = pages[0] if len(pages) == 1 else pages[planes[frame or 0][0]]
        if planes.size > 1 and len(pages) == 1:
            array = arranged(read_planes(tiff, limits, labels=labels), planes)[frame or 0]
        elif planes.shape[1] > 1:
            array = np.moveaxis(_decoded([pages[number] for number in planes[frame or 0]], limits, labels), 0, -1)
        else:
            array = _read_one(file, tiff, page, limits, labels)
        return _said(array, tiff, page, planes.shape[1])


def _read_one(file: BinaryIO, tiff: TiffFile, page: TiffPage, limits: Limits, labels: bool) -> NDArray[Any]:
    from tifffile import COMPRESSION, PHOTOMETRIC

    check_page(page, limits)
    plain = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)
    if page.compression == COMPRESSION.LZW and plain and len(tiff.pages) == 1:  # libtiff undoes LZW twice as fast
        import imagecodecs

        file.seek(0)
        array = imagecodecs.tiff_decode(file.read())
        if math.prod(array.shape) != page.size:
            raise ValueError("its decoded size is not the one in its header")
        return _finished(array, page, labels)
    return decode_page(page, labels)


def _said(array: NDArray[Any], tiff: TiffFile, page: TiffPage, channels: int) -> tuple[NDArray[Any], ScanInfo]:
    """An image without alpha that no rule knows of, and what its file says of it."""
    info = ScanInfo()
    alpha = alpha_of(page) if channels == 1 and array.ndim == 3 and array.shape[2] == page.samplesperpixel else None
    if alpha is not None and (array.shape[2] not in (2, 4) or alpha != array.shape[2] - 1):
        array, alpha = np.delete(array, alpha, axis=2), None
    if array.ndim == 3 and array.shape[2] in (2, 4) and alpha is None:
        info["alpha"] = False
    stated = stated_range(tiff, page)
    if stated is not None and array.max() <= stated[1]:
        info["stored_range"] = stated
    return array, info


def read_planes(tiff: TiffFile, limits: Limits, *, labels: bool = False) -> NDArray[Any]:
    """Read all planes of a file, in its order: (N, H, W), or (N, H, W, S) with samples.

    Args:
        tiff: the open file.
        limits: checked in the tags of its pages.
        labels: the file is a mask.

    Raises:
        ValueError: pages differ in size or type; too large; cut off; of a kind that is not read.
    """
    pages = image_pages(tiff)
    first = pages[0]
    if len(pages) > 1:
        return _decoded(pages, limits, labels)
    check_page(first, limits)
    count = count_planes(tiff)
    if first.imagedepth > 1:  # tiles with a depth of their own
        volume = first.asarray(maxworkers=1)
        if volume.ndim < 3 or len(volume) != first.imagedepth:
            raise ValueError(f"pages of shape {volume.shape} ({first.axes}) are not read")
        return np.asarray(volume)
    limits.check_bytes(count * first.nbytes)
    if count == 1:
        return decode_page(first, labels)[None]
    series = tiff.series[0]
    if first.dataoffsets[0] + series.nbytes > tiff.filehandle.size:
        raise ValueError("the file is truncated")
    stack = np.asarray(series.asarray(maxworkers=1)).reshape(count, *first.shape)
    return np.stack([_finished(one, first, labels) for one in stack])


def _decoded(pages: Sequence[TiffPage], limits: Limits, labels: bool) -> NDArray[Any]:
    """(N, H, W) or (N, H, W, S) of pages that are alike."""
    first = pages[0]
    unlike = next((page for page in pages if (page.shape, page.dtype) != (first.shape, first.dtype)), None)
    if unlike is not None:
        raise ValueError(f"its pages differ in size or type ({first.shape} and {unlike.shape}), so it is no stack")
    limits.check_bytes(sum(page.nbytes for page in pages))
    for page in pages:
        check_page(page, limits)
    return np.stack([decode_page(page, labels) for page in pages])


def plain_stack(tiff: TiffFile, pages: int, limits: Limits) -> NDArray[Any] | None:
    """All planes of a file of ImageJ or tifffile whose values lie in one piece: (N, H, W[, S]), mapped, not yet read.

    Args:
        tiff: the open file.
        pages: how many pages its chain has: one for each image, or one for all.
        limits: checked in the tags of the first page, and for all of them.

    Returns:
        None where the pages must be read one by one.

    Raises:
        ValueError: too large, or cut off.
    """
    from tifffile import PHOTOMETRIC

    if not (tiff.is_shaped or tiff.is_imagej) or len(tiff.series) != 1:
        return None
    series, page = tiff.series[0], tiff.pages.first
    check_page(page, limits)
    count = series.size // page.size
    as_it_is = page.photometric in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB) and page.axes in ("YX", "YXS")
    upright_already = page.tags.valueof(_ORIENTATION, 1) == 1 and page.bitspersample == 8 * page.dtype.itemsize
    if (
        not as_it_is
        or not upright_already
        or page.is_reduced
        or pages not in (1, count)
        or count * page.size != series.size
    ):
        return None
    start = series.dataoffset
    if start is None:
        return None
    limits.check_bytes(count * page.nbytes)
    if start + count * page.nbytes > tiff.filehandle.size:
        raise ValueError("the file is truncated")
    stored = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    return np.asarray(tiff.filehandle.memmap_array(stored, (count, *page.shape), start))


def check_page(page: TiffPage, limits: Limits) -> None:
    """Refuse, before anything is decoded, a page that is too large, cut off or of a kind that is not read.

    Raises:
        ValueError: says which.
    """
    if not page.shape or 0 in page.shape or page.dtype is None:
        raise ValueError("it has no pixels, or pixels of a type that is not read")
    limits.check_pixels(page.imagewidth, page.imagelength)
    item = max(1, page.dtype.itemsize)
    limits.check_bytes(page.size * item)
    part = math.prod(page.chunks) * item  # a strip or a tile: it may be larger than the image
    limits.check_bytes(part)
    file = page.parent.filehandle
    if any(offset + count > file.size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise ValueError("the file is truncated")  # JPEG strips would be filled up with grey
    if page.compression in _JPEG or page.compression in _JPEG_2000:
        _check_streams(page)
    elif page.compression not in _SIZED:
        name = getattr(page.compression, "name", page.compression)
        raise ValueError(f"TIFF compression {name} is not read; save it with LZW or deflate")


def _check_streams(page: TiffPage) -> None:
    """Refuse tiles whose own header says another size: their decoders would believe it."""
    file = page.parent.filehandle
    longest, widest = (page.chunks[0], page.chunks[1]) if len(page.chunks) > 1 else (page.chunks[0], 1)
    if len(page.chunks) > 2 and page.chunks[-1] > 4:  # planes apart: (S, H, W)
        longest, widest = page.chunks[-2:]
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if not count:
            continue
        file.seek(offset)
        size = _size_in(file.read(min(count, 2**16)))
        if size is not None and (size[0] > longest + 16 or size[1] > widest + 16):
            raise ValueError(f"a tile of {widest} x {longest} pixels holds a picture of {size[1]} x {size[0]}")


def _size_in(data: bytes) -> tuple[int, int] | None:
    """(H, W) that a JPEG or JPEG 2000 stream says of itself."""
    start = data.find(b"\xff\x4f\xff\x51")  # start of codestream and SIZ; ISO/IEC 15444-1, annex A
    if start >= 0 and len(data) >= start + 24:
        width, height, left, top = struct.unpack(">4I", data[start + 8 : start + 24])
        return height - top, width - left
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">2H", data[place + 5 : place + 9])
            return height, width
        if marker == 0xFF:
            place += 1
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def decode_page(page: TiffPage, labels: bool = False) -> NDArray[Any]:
    """Decode a page that :func:`check_page` has let through."""
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"pixels along the axes {page.axes} are not read")
    return _finished(page.asarray(maxworkers=1), page, labels)


def _finished(array: NDArray[Any], page: TiffPage, labels: bool) -> NDArray[Any]:
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    return upright(_as_labels(array, page) if labels else _as_seen(array, page), page.tags.valueof(_ORIENTATION, 1))


def shown_samples(page: TiffPage, *, labels: bool) -> int:
    """Number of samples of the pixels of a decoded page, alpha left out."""
    from tifffile import PHOTOMETRIC

    if page.photometric == PHOTOMETRIC.PALETTE:
        return 1 if labels else 3
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return 3
    return int(page.samplesperpixel) - (alpha_of(page) is not None)


def _as_labels(array: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Stored TIFF samples -> label values: as they are; of 1 bit, black is 0 and white 1, whichever was stored as 0."""
    from tifffile import PHOTOMETRIC

    if page.bitspersample != 1:
        return array
    return np.asarray(array != (page.photometric == PHOTOMETRIC.MINISWHITE), np.uint8)


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
