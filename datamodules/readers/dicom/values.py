"""Stored DICOM samples -> the quantity they stand for: HU, counts with black low, or RGB.

The order is the standard's (PS3.3 C.7.6.3, C.11.1, C.11.2): modality LUT or rescale, then, if asked for, a VOI LUT or
window; last the image is turned where low values are meant to be bright, and padding is filled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.readers.dicom.header import Facts, frame_item, items, number, numbers, text, whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PHYSICAL = ("CT", "PT")  # their values are HU or activity, whatever they are to be shown as


class Lookup(NamedTuple):
    """A lookup table: ``values[x - first]``, with what lies outside taken from its ends."""

    first: int
    values: NDArray[np.integer[Any]]
    bits: int

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Look up whole numbers."""
        place = np.clip(array.astype(np.int64) - self.first, 0, len(self.values) - 1)
        return np.take(self.values, place)


def quantity(
    stored: NDArray[Any], facts: Facts, dataset: Dataset, frame: int, voi: int | None, *, labels: bool = False
) -> NDArray[Any]:
    """Physical quantity that the samples of a frame stand for.

    Args:
        stored: (H, W), or (H, W, 3) in RGB.
        facts: of the header.
        dataset: the header.
        frame: number of the frame.
        voi: number of a VOI LUT or window of the header, or None for the quantity itself.
        labels: the values are names of classes or objects: modality LUT or rescale is all that is done to them. What is
            meant to be seen (a palette, low values that are bright, padding) leaves them alone.

    Returns:
        (H, W): the stored type where nothing changes, int16 or int32 where slope and intercept are whole, else float32
        (float64 from 32 bits); uint16 with ``voi``. (H, W, 3) uint8 or uint16 for colour, (H, W) of the palette's
        indices for ``labels``.

    Raises:
        ValueError: a lookup table is damaged or ``voi`` is not in the header.
    """
    if facts.photometric == "PALETTE COLOR" and not labels:
        from pydicom.pixels.processing import apply_color_lut

        return np.asarray(apply_color_lut(stored, dataset))
    if stored.ndim == 3:
        return stored
    table = modality_lookup(dataset, facts)
    slope, intercept = rescale(dataset, frame)
    array = table.apply(stored) if table is not None else rescaled(stored, slope, intercept)
    if labels:
        return array
    mirror = _mirror(facts, table, slope, intercept)
    if voi is not None:
        array, mirror = _shown(array, dataset, facts, frame, voi), 65535
    if is_turned(dataset, facts):
        # A whole number wraps to the right value in its own type; beyond the stated bits nothing may wrap.
        if array.dtype.kind == "u" and array.size and array.max() > mirror:
            mirror = np.iinfo(array.dtype).max
        array = np.subtract(mirror, array, dtype=array.dtype, casting="unsafe")
    return _without_padding(array, stored, dataset, facts)


def rescale(dataset: Dataset, frame: int = 0) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where they are missing, and 1 for a slope of 0, which would leave nothing."""
    item = frame_item(dataset, "PixelValueTransformationSequence", frame)
    slope, intercept = number(item, "RescaleSlope"), number(item, "RescaleIntercept")
    return slope or 1.0, intercept or 0.0


def rescaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """``slope * stored + intercept`` in the smallest type of int16, int32, float32 and float64 that holds it."""
    if (slope, intercept) == (1, 0) or stored.size == 0:
        return stored
    if stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = [int(value) * int(slope) + int(intercept) for value in (stored.min(), stored.max())]
        for kind in (np.int16, np.int32):
            low, high = np.iinfo(kind).min, np.iinfo(kind).max
            if all(low <= value <= high for value in (*ends, int(slope), int(intercept))):
                # Overflow on the way is undone by the end, since the result fits.
                array = (
                    stored.astype(kind)
                    if slope == 1
                    else np.multiply(stored, kind(slope), dtype=kind, casting="unsafe")
                )
                return np.asarray(np.add(array, kind(intercept), out=array))
    kind_ = np.float32 if stored.dtype.itemsize <= 2 or stored.dtype == np.float32 else np.float64
    scaled: NDArray[Any] = stored.astype(kind_)
    scaled *= kind_(slope)
    scaled += kind_(intercept)
    return scaled


def modality_lookup(dataset: Dataset, facts: Facts) -> Lookup | None:
    """The modality LUT, if there is one; it stands in the place of slope and intercept."""
    found = items(dataset, "ModalityLUTSequence")
    return _lookup(found[0], facts.signed) if found else None


def is_turned(dataset: Dataset, facts: Facts) -> bool:
    """Whether the stored values are bright where they are low, so that they are turned.

    PresentationLUTShape (2050,0020) decides where it is given; else MONOCHROME1. HU and PET values stay as they are.
    """
    if facts.samples != 1 or facts.photometric == "PALETTE COLOR" or facts.bits_allocated == 1:
        return False
    if _is_physical(dataset):
        return False
    shape = text(dataset, "PresentationLUTShape")
    return shape == "INVERSE" if shape in ("INVERSE", "IDENTITY") else facts.photometric == "MONOCHROME1"


def stored_range(array: NDArray[Any], dataset: Dataset, facts: Facts, frame: int) -> tuple[float, float] | None:
    """Black and white in units of :func:`quantity`, where the header says more of them than the array's type.

    That is where fewer bits are stored than allocated, and where slope and intercept or a modality LUT move them.
    Physical values (HU, activity) have no black and white; nor have signed samples that fill their word, which says
    nothing of where they lie.

    Args:
        array: what :func:`quantity` has made of the frame; if it goes beyond the range, the header is not believed.
        dataset: the header.
        facts: of it.
        frame: number of the frame.
    """
    if facts.photometric == "PALETTE COLOR" or facts.is_float:
        return None
    slope, intercept = rescale(dataset, frame) if facts.samples == 1 else (1.0, 0.0)
    table = modality_lookup(dataset, facts) if facts.samples == 1 else None
    moved = table is not None or (slope, intercept) != (1, 0)
    if moved and _is_physical(dataset):
        return None
    if facts.bits_stored == facts.bits_allocated > 1 and (facts.signed or not moved):
        return None
    low, high = sorted(slope * end + intercept for end in facts.range) if table is None else (0, 2**table.bits - 1)
    slack = 1e-6 * max(high - low, abs(low), abs(high))  # slope and intercept may be applied in float32
    return (low, high) if array.min() >= low - slack and array.max() <= high + slack else None


def windows(dataset: Dataset, facts: Facts, frame: int) -> tuple[tuple[float, float], ...]:
    """The header's windows, as :attr:`datamodules.preprocess.Preprocess.windows` takes them.

    DICOM's LINEAR function (PS3.3 C.11.2.1.2.1) with centre c and width w is LINEAR_EXACT with c - 0.5 and w - 1. They
    are turned with the image. Those without a width above 0 are left out.

    Returns:
        (centre, width) in units of :func:`quantity`.
    """
    exact = [
        (centre, width) if kind != "LINEAR" else (centre - 0.5, max(width - 1, 1e-3))
        for centre, width, kind in _stated_windows(dataset, frame)
    ]
    if not is_turned(dataset, facts):
        return tuple(exact)
    mirror = _mirror(facts, modality_lookup(dataset, facts), *rescale(dataset, frame))
    return tuple((mirror - centre, width) for centre, width in exact)


def _is_physical(dataset: Dataset) -> bool:
    return text(dataset, "Modality") in _PHYSICAL or text(dataset, "RescaleType") == "HU"


def _stated_windows(dataset: Dataset, frame: int) -> list[tuple[float, float, str]]:
    item = frame_item(dataset, "FrameVOILUTSequence", frame)
    kind = text(item, "VOILUTFunction") or "LINEAR"
    pairs = zip(numbers(item, "WindowCenter"), numbers(item, "WindowWidth"), strict=False)
    return [(centre, width, kind) for centre, width in pairs if width > 0]


def _shown(array: NDArray[Any], dataset: Dataset, facts: Facts, frame: int, voi: int) -> NDArray[np.uint16]:
    """Through VOI LUT or window number ``voi``; LUTs count first. 0..65535 of uint16."""
    tables = items(dataset, "VOILUTSequence")
    stated = _stated_windows(dataset, frame)
    if not 0 <= voi < len(tables) + len(stated):
        raise ValueError(f"it has {len(tables)} VOI LUTs and {len(stated)} windows, so there is no number {voi}")
    if voi < len(tables):
        table = _lookup(tables[voi], facts.signed or rescale(dataset, frame)[1] < 0)
        shown = table.apply(np.rint(array)).astype(np.float64) / (2**table.bits - 1)
    else:
        centre, width, kind = stated[voi - len(tables)]
        values = array.astype(np.float64)
        if kind == "SIGMOID":
            shown = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        elif kind == "LINEAR_EXACT":
            shown = (values - centre) / width + 0.5
        else:
            shown = (values - (centre - 0.5)) / max(width - 1, 1e-3) + 0.5
    return np.asarray(np.rint(np.clip(shown, 0, 1) * 65535), dtype=np.uint16)


def _lookup(item: Dataset, signed: bool) -> Lookup:
    descriptor = numbers(item, "LUTDescriptor")
    data: Any = item.get("LUTData")
    if len(descriptor) != 3 or data is None:
        raise ValueError("a lookup table (0028,3002) has no descriptor or no data")
    count, first, bits = (int(value) for value in descriptor)
    count = count % 65536 or 65536  # 65536 entries are written as 0
    first = (first + 32768) % 65536 - 32768 if signed else first % 65536
    if isinstance(data, bytes):
        order = "<" if item.original_encoding[1] is not False else ">"
        values = np.frombuffer(data, np.uint8 if len(data) < 2 * count else f"{order}u2").astype(np.uint16)
    else:
        values = (np.asarray(data, np.int64).reshape(-1) % 65536).astype(np.uint16)
    if not 1 <= bits <= 16 or len(values) < count:
        raise ValueError(f"a lookup table (0028,3006) has {len(values)} of {count} entries of {bits} bits")
    return Lookup(first, values[:count], bits)


def _mirror(facts: Facts, table: Lookup | None, slope: float, intercept: float) -> Any:
    """The sum of the lowest and the highest value there may be: turning takes a value from it."""
    if table is not None:
        return 2**table.bits - 1
    total = slope * sum(facts.range) + 2 * intercept
    return int(total) if math.isfinite(total) and total.is_integer() else total


def _without_padding(array: NDArray[Any], stored: NDArray[Any], dataset: Dataset, facts: Facts) -> NDArray[Any]:
    """Padding (0028,0120 and 0028,0121), around a round field of view say, gets the darkest value beside it."""
    value = (
        number(dataset, "FloatPixelPaddingValue") if stored.dtype.kind == "f" else whole(dataset, "PixelPaddingValue")
    )
    if value is None:
        return array
    limit = whole(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((_as_stored(value, facts), _as_stored(value if limit is None else limit, facts)))
    mask = stored == low if low == high else (stored >= low) & (stored <= high)
    if mask.any() and not mask.all():
        darkest = array.min(where=~mask, initial=array.max())  # four times as fast as an index
        array = np.array(array) if array is stored else array
        np.putmask(array, mask, darkest)
    return array


def _as_stored(value: float, facts: Facts) -> float:
    """A value of which only the bits are sure, with the sign that the samples have."""
    if not float(value).is_integer() or facts.bits_allocated not in (8, 16):
        return value
    size = 2**facts.bits_allocated
    wrapped: int = int(value) % size
    return wrapped - size if facts.signed and wrapped >= size // 2 else wrapped
