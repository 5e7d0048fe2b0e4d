"""The file formats that are read, in one table: what names end in, how files begin, which function decodes them.

A further format is a file with its decoder and a line in :data:`FORMATS`. For one from outside of the suite see
:mod:`datamodules.readers.own_formats`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

from datamodules.readers.dicom.header import SUFFIXES as DICOM_SUFFIXES

Decoder: TypeAlias = str | Callable[..., Any]  # module:function, imported when it is used; or the function


@dataclass(frozen=True)
class Format:
    """A file format.

    A name is looked at first, the longest suffix that fits. It says whether a file is read as an image, as a volume or
    as DICOM; among images the first bytes say which format it really is, so that a PNG that is called ``.jpg`` is read.
    A decoder need not name the file in what it raises: whatever it raises becomes one line that does.

    Attributes:
        name: as messages have it.
        suffixes: of file names, in lower case, with their dot.
        begins: the first bytes of such a file, one of several; empty: it is told by its name alone.
        image: of one flat image, ``decode(file, limits, frame, *, labels)``, with ``file`` open at its beginning,
            ``frame`` the number of the image in the file or None, and ``labels`` whether it is a mask. It returns an
            array, (H, W) or (H, W, C) as stored, and a :class:`~datamodules.types.ScanInfo` with what the file says of
            its values. Before it decodes it checks sizes (``limits.check_pixels``, ``limits.check_bytes``).
        frames: ``count(file)``, how many images a file has; left out: one.
        volume: of a volume, ``decode(path, opened, limits, *, decode, labels)``, with ``opened`` a
            :class:`~datamodules.readers.unpack.Unpacked`. It returns a :class:`~datamodules.readers.grid.Volume`, or
            with ``decode`` false its :class:`~datamodules.readers.grid.Grid` from the header. Where there is no
            ``image``, the slices of the volume are its images.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: tuple[bytes, ...] = ()
    image: Decoder | None = None
    frames: Decoder | None = None
    volume: Decoder | None = None

    def decoder(self, kind: Literal["image", "frames", "volume"]) -> Callable[..., Any]:
        """The function for ``image``, ``frames`` or ``volume``."""
        found: Decoder | None = getattr(self, kind)
        assert found is not None  # asked for by those who have seen it
        if not isinstance(found, str):
            return found
        module, _, function = found.partition(":")
        decoder: Callable[..., Any] = getattr(importlib.import_module(module), function)
        return decoder


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DICOM = Format("DICOM", DICOM_SUFFIXES)  # read by readers.dicom: a volume is a folder of it, and names tell little
FORMATS: tuple[Format, ...] = (
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), image="datamodules.readers.raster:decode_png"),
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), image="datamodules.readers.raster:decode_jpeg"),
    Format(
        "TIFF", (".tif", ".tiff"), _TIFF,
        image="datamodules.readers.tiff:read_page", frames="datamodules.readers.tiff:count_images",
        volume="datamodules.readers.pages:decode_pages",
    ),
    Format("BMP", (".bmp",), (b"BM",), image="datamodules.readers.raster:decode_bmp"),
    DICOM,
    Format("NIfTI", (".nii", ".nii.gz"), volume="datamodules.readers.nifti:decode_nifti"),
    Format("NRRD", (".nrrd", ".nhdr", ".nrrd.gz"), volume="datamodules.readers.itk:decode_itk"),
    Format("MetaImage", (".mha", ".mhd", ".mha.gz"), volume="datamodules.readers.itk:decode_itk"),
)  # fmt: skip

BEGINNING = 32  # bytes of a file by which its format is told
_own: dict[str, Format] = {}  # by name


def known_formats() -> tuple[Format, ...]:
    """Formats of the suite, then those of the user's in the order in which they were added."""
    return (*FORMATS, *_own.values())


def own_formats() -> tuple[Format, ...]:
    """Formats of the user's."""
    return tuple(_own.values())


def add_own(new: Format) -> None:
    """Add a format of the user's, or replace the one of its name (see ``own_formats.register``)."""
    _own[new.name] = new
    suffixes_of.cache_clear()
    _by_suffix.cache_clear()


def forget_own() -> None:
    """Forget all formats of the user's."""
    _own.clear()
    suffixes_of.cache_clear()
    _by_suffix.cache_clear()


@cache
def suffixes_of(kind: Literal["image", "volume"] | None = None) -> tuple[str, ...]:
    """Suffixes of all formats, or of those with a decoder of a kind."""
    return tuple(
        suffix for one in known_formats() if kind is None or getattr(one, kind) is not None for suffix in one.suffixes
    )


@cache
def _by_suffix() -> dict[str, Format]:
    pairs = [(suffix, one) for one in known_formats() for suffix in one.suffixes]
    return dict(reversed(pairs))  # of two formats with one suffix the first


def by_name(name: str) -> Format | None:
    """The format that the name of a file speaks of."""
    name, known = name.lower(), _by_suffix()
    dot = name.find(".")
    while dot >= 0:  # the longest first; there may be a million names, and some thirty suffixes
        if (found := known.get(name[dot:])) is not None:
            return found
        dot = name.find(".", dot + 1)
    return None


def image_format(head: bytes, name: str) -> Format:
    """The format of a flat image: by its first bytes, or by its name where its format has no beginning of its own.

    Args:
        head: the first :data:`BEGINNING` bytes of the file, or all that there are.
        name: of the file.

    Raises:
        ValueError: it is none.
    """
    images = [one for one in known_formats() if one.image is not None]
    named = by_name(name)
    told = next((one for one in images if one.begins and head.startswith(one.begins)), None)
    if told is not None:
        return told
    if named is not None and named in images and not named.begins:
        return named
    names = [one.name for one in images]
    raise ValueError(f"it is not a {', '.join(names[:-1])} or {names[-1]} file" if head else "the file is empty")
