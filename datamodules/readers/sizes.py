"""Sizes of flat images, from their headers where that is enough."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from datamodules.readers import formats
from datamodules.readers.limits import DEFAULT, Limits

_ON_THEIR_SIDE = (5, 6, 7, 8)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def image_size(path: Path, limits: Limits = DEFAULT) -> tuple[int, int]:
    """(H, W) of an image as :func:`datamodules.readers.formats.read` gives it.

    Raises:
        SuiteError: no such file, or it cannot be read.
    """
    found = size_in_header(path)
    return found if found is not None else formats.read(path, limits).info["original_size"]


def size_in_header(path: Path) -> tuple[int, int] | None:
    """(H, W) of an image in PNG, JPEG or TIFF, without decoding it; None for others, and where something is wrong."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24:
                width, height = struct.unpack(">II", head[16:])
                return height, width
            if head[:3] == b"\xff\xd8\xff":
                from PIL.JpegImagePlugin import JpegImageFile

                file.seek(0)
                with JpegImageFile(file) as image:
                    # 5 to 8 lie on their side; EXIF 2.3, tag 274.
                    turned = "exif" in image.info and image.getexif().get(274, 1) in _ON_THEIR_SIDE
                    return image.size if turned else (image.size[1], image.size[0])
            if head[:4] in _TIFF:
                return _of_tiff(file)
    except Exception:  # whatever is wrong, the reader has the words for it
        pass
    return None


def _of_tiff(file: BinaryIO) -> tuple[int, int] | None:
    """Of the one page of a TIFF; None where it has several."""
    from tifffile import TiffFile

    from datamodules.readers.tiff import check_chain, count_planes, image_pages

    check_chain(file)
    with TiffFile(file) as tiff:
        if count_planes(tiff) != 1:
            return None
        page = image_pages(tiff)[0]
        height, width = int(page.imagelength), int(page.imagewidth)
        return (width, height) if page.tags.valueof(274, 1) in _ON_THEIR_SIDE else (height, width)
