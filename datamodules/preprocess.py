"""Preprocessing of stored scan values for a network: float32 in [0, 1] at the model's size.

The same :class:`Preprocess` serves training, prediction and export; it is saved in checkpoints as plain types.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.opened_image import OpenedImage
from datamodules.resampling import resize_image, resize_mask
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError
from scansuite.words import number_of

# Types whose whole range has a meaning: 0 is black and the largest value is white.
_TYPE_RANGE = {"bool": 1.0, "uint8": 255.0, "uint16": 65535.0}
# Types in which an image is kept and travels; torch and OpenCV know them all. What has another becomes one of them.
_STORED_TYPES = ("uint8", "uint16", "int16", "float32")
_WIDER = {"bool": "uint8", "int8": "int16"}  # others become float32, as every type does before it is scaled
LUMINANCE = tuple(np.float32(weight) for weight in (0.299, 0.587, 0.114))  # of R, G and B, ITU-R BT.601
_MOST_VALUES = 2**24  # that percentiles are taken from: 64 MiB of float32
_BLOCK_VALUES = 2**20  # converted at once to look at all values of an image
_WINDOW_FLAG = "--data.window (a name such as brain, or CENTRE:WIDTH in stored units such as 40:400)"

_NOTHING_SAID = ScanInfo()


@dataclass(frozen=True)
class Preprocess:
    """Preprocessing of stored values: float32 in [0, 1], shape (H, W, C).

    At most one of ``windows``, ``percentiles`` and ``value_range`` is given. With none of them the range that the file
    states (``info["stored_range"]``: 0..4095 of 12-bit DICOM), else that of the type (uint8: 0..255, uint16: 0..65535;
    floats must lie in [0, 1] already) becomes 0..1.

    The order is: channels, then size (in stored units, so that partial volume is linear, as in a coarser scan), then
    the scale, clipped to [0, 1], then the exponent. A side that shrinks is averaged over the area, one that grows is
    interpolated.

    Attributes:
        size: (H, W) in pixels, or None for the size as stored.
        channels: channels of the output. RGBA and grey with alpha lose it, unless ``info["alpha"]`` says that they have
            none; grey is repeated for 3; colour becomes grey by ITU-R
            BT.601 luminance; equal counts pass.
        windows: (centre, width) pairs in stored units: ``(x - centre) / width + 0.5``, DICOM's LINEAR_EXACT function
            (PS3.3 C.11.2.1.3.2). Several windows of a one-channel scan become its channels.
        percentiles: (low, high) in 0..100, taken from each image at its stored size: over all channels of a colour
            image together, otherwise for each channel. An image of one value becomes 0. Images of more than 2**24
            values give those of every second, third, ... row and column, so that they fit.
        value_range: (lower, upper) in stored units that become 0 and 1.
        enlarge: ``linear`` stays between the stored values; ``cubic`` is sharper, but rings beside metal and bone.
        fit: ``stretch`` makes images of ``size`` whatever their aspect; ``pad`` keeps the aspect, and fills what is
            missing below or on the right with 0.
        zoom: with ``size`` None, factor on both sides of the stored size; 2 shows an object twice as large.
        gamma: exponent of the values in [0, 1]. Below 1 what is dim comes out brighter; 0.5 gives noise that grows with
            the root of the signal (counts of photons) about one spread (F. J. Anscombe, The transformation of Poisson,
            binomial and negative-binomial data, Biometrika 35:246-254, 1948).
        stored_range: whether the range that a file states is looked at. False in what models were saved with before it
            was: they go on seeing the range of the type.
        round_resized: whether a resized image of uint8, uint16 or int16 is rounded to that type again, before the
            scale: in memory, and on the way to a GPU, it is then as small as an image of the size as stored. Half a
            stored unit is lost at most.
    """

    size: tuple[int, int] | None = None
    channels: int = 3
    windows: tuple[tuple[float, float], ...] = ()
    percentiles: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None
    enlarge: Literal["linear", "cubic"] = "linear"
    fit: Literal["stretch", "pad"] = "stretch"
    zoom: float = 1.0
    gamma: float = 1.0
    stored_range: bool = True
    round_resized: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise SuiteError(f"--data.image_size {self.size}: needs a height and a width of at least 1 px")
        if self.channels < 1:
            raise SuiteError(f"--data.channels {self.channels}: an image has at least one: give 1 (grey) or 3 (colour)")
        if (len(self.windows) > 0) + (self.percentiles is not None) + (self.value_range is not None) > 1:
            raise SuiteError("windows, percentiles and value_range exclude each other: give one of them")
        if len(self.windows) > 1 and self.channels != len(self.windows):
            raise SuiteError(
                f"--data.window: {len(self.windows)} windows make as many channels, but the model takes {self.channels}"
            )
        if any(not (math.isfinite(centre) and 0 < width < math.inf) for centre, width in self.windows):
            raise SuiteError(f"--data.window {self.windows}: a width must be a number above 0")
        if self.percentiles is not None and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise SuiteError(f"percentiles {self.percentiles}: need 0 <= low < high <= 100")
        if self.value_range is not None and not -math.inf < self.value_range[0] < self.value_range[1] < math.inf:
            raise SuiteError(f"value_range {self.value_range}: needs two numbers, lower < upper")
        if self.enlarge not in ("linear", "cubic"):
            raise SuiteError(f"enlarge {self.enlarge!r} is neither linear nor cubic")
        if self.fit not in ("stretch", "pad"):
            raise SuiteError(f"fit {self.fit!r} is neither stretch nor pad")
        if not 0.05 <= self.zoom <= 20:
            raise SuiteError(f"--data.zoom {self.zoom}: must lie between 0.05 and 20")
        if not 0.1 <= self.gamma <= 10:
            raise SuiteError(f"--data.gamma {self.gamma}: must lie between 0.1 and 10")
        if self.zoom != 1 and self.size is not None:
            raise SuiteError(f"--data.zoom {self.zoom}: images are resized to --data.image_size: give one of the two")

    def __call__(self, scan: Scan) -> NDArray[np.float32]:
        """The image of a scan: (H, W, C) float32 in [0, 1], contiguous."""
        opened = self.opened(scan)
        return opened.tile(0, 0, *opened.size)

    def image(self, array: NDArray[Any], where: str) -> NDArray[np.float32]:
        """Turn stored values into a model's image.

        Args:
            array: (H, W) or (H, W, C), of any real type.
            where: the path, for messages.

        Returns:
            (H, W, C) float32 in [0, 1], contiguous, with memory of its own.

        Raises:
            SuiteError: not an image; NaN or infinite values; a channel count with no rule; values without a scale.
        """
        opened = self._opened(array, where)
        return opened.tile(0, 0, *opened.size)

    def opened(self, scan: Scan) -> OpenedImage:
        """The image of a scan, to be converted tile by tile.

        The checks and the limits are those of the whole image, taken in blocks of rows. Where another size than the
        stored one is asked for, the whole image is resized here, once.

        Raises:
            SuiteError: as in :meth:`image`.
        """
        return self._opened(scan.array, scan.info.get("path", "image"), scan.info)

    @property
    def fills(self) -> bool:
        """Whether images are filled up to one size."""
        return self.fit == "pad" and self.size is not None

    def content_size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the model's image that show a scan of (H, W) pixels as stored; beyond it is filling."""
        if self.size is None:
            height, width = (max(1, round(side * self.zoom)) for side in stored)
            return height, width
        if self.fit == "stretch":
            return self.size
        scale = min(most / side for most, side in zip(self.size, stored, strict=True))
        height, width = (min(most, max(1, round(side * scale))) for most, side in zip(self.size, stored, strict=True))
        return height, width

    def _opened(self, array: NDArray[Any], where: str, info: ScanInfo = _NOTHING_SAID) -> OpenedImage:
        if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
            raise SuiteError(
                f"{where}: an array of shape {array.shape} and type {array.dtype} is no 2D image: expected (H, W) or "
                "(H, W, channels) with numbers"
            )
        if array.dtype.kind == "f" and not all(np.isfinite(block).all() for block in _blocks(array)):
            raise SuiteError(f"{where}: NaN or infinite values: repair or leave out this file", kind="not_finite")
        if not info.get("alpha", True) and array.ndim == 3 and array.shape[2] in {2, 4} - {self._wanted}:
            raise self._unlike(array.shape[2], where)
        limits = self._limits(array, where, info.get("stored_range") if self.stored_range else None)
        content = self.content_size((array.shape[0], array.shape[1]))
        if content != array.shape[:2]:
            array = self._resized(array, content, where)
        else:
            self._to_channels(array[:1, :1], where)  # refuses channels that there is no rule for
        return OpenedImage(self, self._as_stored(array), limits, where)

    def scaled(self, stored: NDArray[Any], limits: NDArray[np.float32], where: str = "image") -> NDArray[np.float32]:
        """Turn values as stored into those that the model sees, one pixel like the other.

        Args:
            stored: (h, w) or (h, w, c), part of :attr:`OpenedImage.stored`.
            limits: :attr:`OpenedImage.limits`.
            where: the path, for messages.

        Returns:
            (h, w, C) float32 in [0, 1], contiguous, with memory of its own.

        Raises:
            SuiteError: a channel count with no rule.
        """
        values = self._to_channels(stored, where)
        if len(self.windows) > 1:
            image = np.stack([_scale(values, *window) for window in limits.T], axis=-1)
        else:
            image = _scale(values, *(limits[:, 0] if limits.shape[1] == 1 else limits))
        if self.gamma != 1:
            np.power(image, np.float32(self.gamma), out=image)
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if self.channels == 3 else image[:, :, None]
        return image

    def darkest(self, stored: NDArray[Any], limits: NDArray[np.float32]) -> NDArray[Any] | None:
        """The stored value that the model sees as 0 in all channels, in the type of an image; None where it has none.

        Args:
            stored: an image; it says type and channels.
            limits: of it.
        """
        low = limits[0].min() if stored.dtype.kind == "f" else np.iinfo(stored.dtype).min
        value = np.asarray(low, stored.dtype)
        seen = self.scaled(np.full((1, 1, *stored.shape[2:]), value), limits)
        return None if seen.any() else value

    def _resized(self, array: NDArray[Any], size: tuple[int, int], where: str) -> NDArray[Any]:
        """An image at another size: as float32, or rounded to its own type."""
        resized = resize_image(self._to_channels(array, where), size, self.enlarge)
        if not self.round_resized or array.dtype.kind == "f" or array.dtype.name not in _STORED_TYPES:
            return resized
        kind = array.dtype.newbyteorder("=")
        limits = np.iinfo(kind)
        return np.asarray(np.rint(resized, out=resized).clip(limits.min, limits.max), dtype=kind)

    def _as_stored(self, array: NDArray[Any]) -> NDArray[Any]:
        """An image in one of the types that are kept, without channels that are not looked at."""
        if array.ndim == 3 and self._wanted in (1, 3):
            count = array.shape[2]
            array = array[:, :, 0] if count in (1, 2) else array[:, :, :3] if count == 4 else array
        kind = array.dtype.newbyteorder("=").name
        kind = kind if kind in _STORED_TYPES else _WIDER.get(kind, "float32")
        return np.asarray(array, dtype=kind)

    def mask(self, array: NDArray[Any]) -> NDArray[Any]:
        """Bring a mask (H, W) or (L, H, W) to the model's size by nearest neighbour; type and values stay.

        Mask and image keep the same grid (:mod:`datamodules.resampling`). What is filled up (``fit``) is 0.
        """
        content = self.content_size((array.shape[-2], array.shape[-1]))
        size = self.size if self.size is not None else content
        resized = resize_mask(array, content)
        if content == size:
            return resized
        filling = [(0, most - side) for most, side in zip(size, content, strict=True)]
        return np.pad(resized, [(0, 0)] * (array.ndim - 2) + filling)

    def to_dict(self) -> dict[str, Any]:
        """The spec in plain types (lists, numbers, text), for checkpoints and JSON."""
        plain = asdict(self)
        plain["windows"] = [[float(number) for number in window] for window in self.windows]
        for name, kind in (("size", int), ("percentiles", float), ("value_range", float)):
            if plain[name] is not None:
                plain[name] = [kind(number) for number in plain[name]]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Preprocess:
        """Read back what :meth:`to_dict` wrote.

        Raises:
            SuiteError: a field is unknown here (the file comes from a newer version), or a value is not allowed.
        """
        unknown = sorted(set(plain) - {field.name for field in fields(cls)})
        if unknown:
            raise SuiteError(f"saved preprocessing has unknown fields {', '.join(unknown)}: made by a newer version")
        values = {"stored_range": False, **plain}
        for name in ("size", "percentiles", "value_range"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values["windows"] = tuple((float(centre), float(width)) for centre, width in values.get("windows", ()))
        return cls(**values)

    def _to_channels(self, array: NDArray[Any], where: str) -> NDArray[np.float32]:
        """Stored values as grey (H, W) or (H, W, channels); grey that the model wants thrice is repeated at the end.

        What is already so stays so. Each pixel comes out the same whatever stands around it.
        """
        values = np.ascontiguousarray(array, dtype=np.float32)
        wanted = self._wanted
        if values.ndim == 3 and values.shape[2] == 2 and wanted in (1, 3):
            values = values[:, :, 0]  # grey with alpha
        stored = 1 if values.ndim == 2 else values.shape[2]
        if stored == 1 and wanted in (1, 3):
            return np.ascontiguousarray(values.reshape(values.shape[:2]))
        if stored == wanted:
            return values
        if stored in (3, 4) and wanted == 3:
            return np.ascontiguousarray(values[:, :, :3])
        if stored in (3, 4) and wanted == 1:
            # Not cv2.cvtColor, which rounds the last pixels of a row in another way: a tile is as the whole image.
            grey: NDArray[np.float32] = values[:, :, 0] * LUMINANCE[0]
            for channel in (1, 2):
                grey += values[:, :, channel] * LUMINANCE[channel]
            return grey
        raise self._unlike(stored, where)

    @property
    def _wanted(self) -> int:
        """Channels that a scan should have."""
        return 1 if len(self.windows) > 1 else self.channels

    def _unlike(self, stored: int, where: str) -> SuiteError:
        """What is said of channels that no rule makes as many as there should be."""
        several = len(self.windows) > 1
        target = f"{len(self.windows)} windows take a scan with 1" if several else f"the model takes {self._wanted}"
        return SuiteError(
            f"{where}: has {number_of(stored, 'channel')}, but {target}, and no rule turns one into the other: give "
            f"--data.channels {stored}"
        )

    def _limits(self, array: NDArray[Any], where: str, stated: tuple[float, float] | None) -> NDArray[np.float32]:
        """The stored values that become 0 and 1, as :attr:`OpenedImage.limits`."""
        if self.windows:
            return _limits([(centre - width / 2, centre + width / 2) for centre, width in self.windows])
        if self.value_range is not None:
            return _limits([self.value_range])
        if self.percentiles is not None:
            step = math.ceil(math.sqrt(array.size / _MOST_VALUES))
            values = self._to_channels(array[::step, ::step], where)
            together = values.ndim == 2 or values.shape[2] in (3, 4)
            # With a step the values are a copy of our own, which may be sorted in place.
            axis = None if together else (0, 1)
            lower, upper = np.percentile(values, self.percentiles, axis=axis, overwrite_input=step > 1)
            return _limits([(lower, upper)])
        if stated is not None:
            return _limits([stated])
        if array.dtype.name in _TYPE_RANGE:
            return _limits([(0.0, _TYPE_RANGE[array.dtype.name])])
        if array.dtype.kind != "f":
            raise SuiteError(f"{where}: {array.dtype.name} values have no scale of their own: give {_WINDOW_FLAG}")
        ranges = [(block.min(), block.max()) for block in (self._to_channels(rows, where) for rows in _blocks(array))]
        low, high = float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))
        if low < 0 or high > 1:
            raise SuiteError(
                f"{where}: {array.dtype.name} values from {low:.4g} to {high:.4g} lie outside [0, 1]: give "
                f"{_WINDOW_FLAG}"
            )
        return _limits([(0.0, 1.0)])


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """All values of an image as float32, some rows at a time."""
    rows = max(1, _BLOCK_VALUES * len(array) // array.size)
    for first in range(0, len(array), rows):
        yield np.ascontiguousarray(array[first : first + rows], dtype=np.float32)


def _limits(pairs: Sequence[tuple[NDArray[Any] | float, NDArray[Any] | float]]) -> NDArray[np.float32]:
    """:attr:`OpenedImage.limits` of the values that become 0 and 1; what has one value alone becomes 0."""
    lower = np.concatenate([np.atleast_1d(np.asarray(low, np.float32)) for low, _ in pairs])
    width = np.concatenate([np.atleast_1d(np.asarray(np.subtract(high, low), np.float32)) for low, high in pairs])
    return np.stack([lower, np.where(width > 0, width, np.float32(1))])


def _scale(values: NDArray[np.float32], lower: NDArray[np.float32], width: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map what lies from ``lower`` on to 0..1 and clip, into new memory."""
    scaled = values - lower
    scaled /= width
    return np.clip(scaled, 0, 1, out=scaled)
