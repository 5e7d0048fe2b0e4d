"""Limits of what one file may ask for: checked in headers before anything is decoded, and while streams are unpacked.

What rides with it to every reader, in whatever process, are the names of the modules that read formats of the user's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scansuite.errors import SuiteError


@dataclass(frozen=True)
class Limits:
    """Limits that readers refuse to go beyond.

    A file of a few kilobytes may say that it has a thousand million pixels, or unpack to as many bytes: by accident, or
    to fill a machine's memory.

    Attributes:
        max_pixels: largest height times width of one image (a slice of a volume, a frame, a page).
        max_bytes: largest size of one file's values, as stored and unpacked.
        readers: see :class:`~datamodules.readers.own_formats.OwnReaders`; no limit, and in no key of what is kept.
    """

    max_pixels: int = 2**28
    max_bytes: int = 2**30
    readers: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes"):
            if getattr(self, name) < 1:
                raise SuiteError(f"--data.{name} {getattr(self, name)}: must be at least 1")

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse an image that is too large.

        Raises:
            ValueError: says how large it is, and which flag allows it; a reader adds the file's name.
        """
        if width * height > self.max_pixels:
            raise ValueError(
                f"{width} x {height} pixels are more than the {self.max_pixels} allowed; cut it into tiles, or raise "
                "--data.max_pixels"
            )

    def check_bytes(self, count: int) -> None:
        """Refuse values that would take too much memory.

        Raises:
            ValueError: says how many bytes, and which flag allows them; a reader adds the file's name.
        """
        if count > self.max_bytes:
            raise ValueError(
                f"it unpacks to {_size(count)}, more than the {_size(self.max_bytes)} allowed; if you trust the file, "
                "raise --data.max_bytes"
            )


DEFAULT = Limits()


def _size(count: int) -> str:
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.4g} {unit}"
    return f"{count} bytes"
