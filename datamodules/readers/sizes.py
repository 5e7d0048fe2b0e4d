"""Sizes of flat images, from their headers where that is enough."""

from __future__ import annotations

import struct
from pathlib import Path

from datamodules.readers import formats
from datamodules.readers.limits import DEFAULT, Limits


def image_size(path: Path, limits: Limits = DEFAULT) -> tuple[int, int]:
    """(H, W) of an image as :func:`datamodules.readers.formats.read` gives it.

    Raises:
        SuiteError: no such file, or it cannot be read.
    """
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
                    turned = "exif" in image.info and image.getexif().get(274, 1) in (5, 6, 7, 8)
                    return image.size if turned else (image.size[1], image.size[0])
    except Exception:  # whatever is wrong, the reader has the words for it
        pass
    return formats.read(path, limits).info["original_size"]
