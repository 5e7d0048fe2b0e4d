"""Measurements of one image or volume: a record of fixed size, so that a million of them are one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.checks.perceptual import perceptual_hash
from datamodules.checks.scale import is_given, seen
from datamodules.checks.text import suspect_text
from datamodules.preprocess import Preprocess
from datamodules.readers.hashing import array_hash, volume_hash
from datamodules.readers.raster import is_grey
from datamodules.readers.volume import Volume
from datamodules.types import Scan, ScanInfo
from scansuite.errors import SuiteError

READ, FAILED = 1, 2
TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
         "float64")  # fmt: skip
RECORD = np.dtype(
    [
        ("status", "u1"),  # 0 (not looked at), READ or FAILED
        ("type", "u1"),  # index into TYPES
        ("grey", "?"),
        ("alpha", "?"),  # of 2 or 4 channels the last
        ("channels", "u2"),
        ("shape", "i4", 3),  # H, W and, of a volume, slices (else 1)
        ("spacing", "f4", 3),  # mm, NaN where unknown
        ("low", "f8"),
        ("high", "f8"),
        ("mean", "f8"),
        ("hash", "u8", 2),  # of type, shape and values: as training has it
        ("look", "u8"),  # perceptual hash
        ("labels", "u8", 4),  # bits: which stored classes its mask shows
        ("modality", "S4"),  # of DICOM
    ]
)
Note = Callable[[str, str], None]  # kind, detail

_SATURATED = 0.3
_FAINT = 0.02
_NARROW = 0.1
_MOST_SAMPLES = 1 << 18
_LARGE = 1e30  # sums of a picture's values still are float32


def measure(scan: Scan, record: np.void, note: Note, scale: Preprocess | None) -> None:
    """Fill a record with what an image (H, W[, C]) or a volume (S, H, W) says, and note what is wrong with it.

    Args:
        scan: as stored; ``info["slice"]`` does not matter.
        record: of :data:`RECORD`.
        note: takes findings.
        scale: what makes of the values what a network sees; None: percentiles of the image, which fill the range.
    """
    array = scan.array
    record["type"] = TYPES.index(array.dtype.name)
    record["channels"] = 1 if array.ndim == 2 else array.shape[2]
    record["alpha"] = array.ndim == 3 and array.shape[2] in (2, 4) and scan.info.get("alpha", True)
    record["grey"] = is_grey(array) and not (array.ndim == 3 and array.shape[2] == 2 and not record["alpha"])
    record["shape"] = (*array.shape[:2], 1)
    _spacing(scan, record)
    keep_hash(record, array_hash(array))
    _values(array, record, note, scale, scan.info)
    grey = picture_of(array)
    record["look"] = perceptual_hash(grey)
    if record["grey"] and suspect_text(grey):
        note("burned_in_text", "a row of small thin-lined shapes near the edge: look at it")


def measure_volume(volume: Volume, record: np.void, note: Note, scale: Preprocess | None) -> None:
    """Measure a volume in the same way (X, Y, Z[, C]); its look is that of its middle slice."""
    array = volume.array
    record["type"] = TYPES.index(array.dtype.name)
    record["channels"] = 1 if array.ndim == 3 else array.shape[3]
    record["grey"], record["alpha"] = True, False
    record["shape"] = array.shape[:3]
    record["spacing"] = volume.spacing[:3]
    keep_hash(record, volume_hash(volume))
    _values(array, record, note, scale, ScanInfo())
    record["look"] = perceptual_hash(picture_of(array[:, :, array.shape[2] // 2]))


def keep_hash(record: np.void, content: str) -> None:
    """Put a content hash into a record."""
    record["hash"] = int(content[:16], 16), int(content[16:], 16)


def kept_hashes(records: NDArray[Any]) -> list[str]:
    """The content hashes of records; what was not read equals nothing."""
    return [
        f"{first:016x}{second:016x}" if status == READ else f"record {number}"
        for number, (status, (first, second)) in enumerate(
            zip(records["status"].tolist(), records["hash"].tolist(), strict=True)
        )
    ]


def picture_of(array: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W[, C]) of any type -> grey (H, W) float32; values too large for sums of them are made smaller together."""
    array = _bounded(array)
    if array.ndim == 2:
        return np.ascontiguousarray(array, dtype=np.float32)
    colours = array[:, :, :3] if array.shape[2] in (3, 4) else array[:, :, :1]
    return np.asarray(np.ascontiguousarray(colours, dtype=np.float32).mean(axis=2), dtype=np.float32)


def _bounded(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as they are, NaN and infinite ones as 0, and below :data:`_LARGE`."""
    if array.dtype.kind != "f":
        return array
    array = np.nan_to_num(array, posinf=0, neginf=0)
    largest = max(abs(float(array.max())), abs(float(array.min()))) if array.size else 0.0
    return array * (_LARGE / largest) if largest > _LARGE else array


def _mean(array: NDArray[Any], largest: float) -> float:
    """The mean, also where the sum is more than a float64 holds."""
    if largest > np.finfo(np.float64).max / max(1, array.size):
        return float((array / array.size).sum(dtype=np.float64))
    return float(array.mean(dtype=np.float64))


def _spacing(scan: Scan, record: np.void) -> None:
    spacing = [float(one) for one in scan.info.get("spacing") or ()]
    record["spacing"] = [*spacing[:3], *[np.nan] * (3 - len(spacing[:3]))]


def _values(array: NDArray[Any], record: np.void, note: Note, scale: Preprocess | None, info: ScanInfo) -> None:
    if array.dtype.kind == "f":
        strange = array.size - int(np.isfinite(array).sum())
        if strange:
            note("not_finite", f"{strange} of {array.size} values are NaN or infinite: repair or leave out this file")
            array = np.nan_to_num(array, posinf=0, neginf=0)
    low, high = float(array.min()), float(array.max())
    record["low"], record["high"], record["mean"] = low, high, _mean(array, max(abs(low), abs(high)))
    if low == high:
        note("constant", f"every pixel is {low:g}")
        return
    flat = array[..., :-1] if record["alpha"] else array  # alpha is no part of the picture
    values = flat.ravel()[:: max(1, flat.size // _MOST_SAMPLES)]
    # Values that are there, not between them: the distance of the largest floats is none.
    lower, upper = np.percentile(values, 0.5, method="lower"), np.percentile(values, 99.5, method="higher")
    if lower == upper:
        note("nearly_constant", f"more than 99 % of the pixels are {lower:g}")
        return
    top = float((values == values.max()).mean())
    often = float(np.quantile(values, 1 - _SATURATED / 2, method="lower")) == high
    if top > _SATURATED and often and len(np.unique(values)) > 8:
        note("saturated", f"{100 * top:.0f} % of the pixels have the highest value, {high:g}")
    _scaled(values, (low, high), note, scale, info)


def _scaled(
    values: NDArray[Any], ends: tuple[float, float], note: Note, scale: Preprocess | None, info: ScanInfo
) -> None:
    """Note values of which a network would see little, or nothing."""
    low, high = ends
    if values.dtype.kind == "u" and not is_given(scale):
        black, white = info.get("stored_range", (0, np.iinfo(values.dtype).max))
        if high - low < _FAINT * (white - black):
            note(
                "faint",
                f"values from {low:g} to {high:g} in {values.dtype.name}: give --data.percentiles or value_range",
            )
            return
    if scale is None:
        return
    try:
        dark, bright = seen(values, scale, info)
    except SuiteError as error:
        note("no_scale", str(error))
        return
    if bright - dark < _NARROW:
        note(
            "narrow",
            f"values from {low:g} to {high:g}: a network would see {dark:.3f} to {bright:.3f} of 0 to 1: give "
            "--data.window, percentiles or value_range that fit",
        )
