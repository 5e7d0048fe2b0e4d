"""What the service's page draws: a request's scans with their masks and maps, as one block of bytes.

Layout: ``SSV1``, the header's length (uint32, little-endian), the header (JSON, UTF-8, filled up with spaces to a
multiple of 4), and the arrays that the header names by ``offset`` (bytes), ``shape`` and ``type`` (``u1`` or ``u2``).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.readers import formats, volume
from datamodules.readers.limits import Limits
from datamodules.readers.volume import Grid, Plane
from datamodules.resampling import resize_image, resize_mask
from datamodules.types import Scan, ScanInfo
from datamodules.windows import WINDOWS
from scansuite.errors import SuiteError
from tasks.exported.description import Description
from tasks.serving.batching import Runs
from tasks.serving.heat import heat_of
from tasks.serving.predicting import CaseMask, Predicted

MAGIC = b"SSV1"
MOST_CASES = 12  # of a request that are shown
_LONGEST_SIDE = 1536  # pixels of an image that is shown; of a slice half as many
_MOST_BYTES = 64 * 2**20  # of the pixels of a case
_OFTEN = ("lung", "mediastinum", "soft", "bone", "brain")  # windows of CT that are offered


class _Arrays:
    """Arrays one behind the other, and where each is."""

    def __init__(self) -> None:
        self.parts: list[NDArray[Any]] = []
        self._size = 0

    def add(self, array: NDArray[Any]) -> dict[str, Any]:
        kind = array.dtype.newbyteorder("<").str[1:]
        place = {"offset": self._size, "shape": list(array.shape), "type": kind}
        self.parts.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
        self._size += -(-array.nbytes // 4) * 4
        return place


def view_of(model: Runs, predicted: Predicted, answer: Mapping[str, Any], limits: Limits, stream: BinaryIO) -> None:
    """Write what the page draws.

    Args:
        model: that predicted.
        predicted: its files' predictions.
        answer: the same for callers; stands in the header as ``answer``.
        limits: of the readers.
        stream: where to.
    """
    arrays = _Arrays()
    images = []
    for case, path in list(predicted.cases.items())[:MOST_CASES]:
        try:
            images.append(_case(model, case, Path(path), predicted, arrays, limits))
        except SuiteError as error:  # predicted it is; what is shown of it may have no rule
            images.append({"case_id": case, "error": str(error).rsplit("/", 1)[-1]})
    text = json.dumps({"answer": answer, "images": images}, ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    stream.write(MAGIC + struct.pack("<I", len(text)) + text)
    for array in arrays.parts:
        stream.write(array.tobytes())
        stream.write(b"\0" * (-array.nbytes % 4))


def _case(model: Runs, case: str, path: Path, predicted: Predicted, arrays: _Arrays, limits: Limits) -> dict[str, Any]:
    description = model.description
    if path.is_dir() or formats.is_stack(path) or (volume.is_series(path) and formats.count_frames(path, limits) > 1):
        scan, grid, planes = _volume(path, description, limits)
    else:
        scan = formats.read(path, limits)
        grid, planes = None, scan.array[None]
    spacing = scan.info.get("spacing")
    size = (planes.shape[1], planes.shape[2])
    shown = _shown(size, _LONGEST_SIDE if len(planes) == 1 else _LONGEST_SIDE // 2)
    step = max(1, math.ceil(len(planes) * shown[0] * shown[1] * 2 / _MOST_BYTES))
    kept = planes[::step]
    told: dict[str, Any] = {"case_id": case, "size": list(size), "spacing": list(spacing) if spacing else None}
    told |= {"slices": len(planes), "step": step}
    pixels, low, high = _pixels(kept, shown)
    largest = low + float(pixels.max()) * (high - low) / np.iinfo(pixels.dtype).max
    told |= {"pixels": arrays.add(pixels), "low": low, "high": high, "largest": largest}
    told["windows"] = _windows(
        description.preprocess, scan, low, largest, colour=pixels.shape[-1] == 3, several=len(kept) > 1
    )
    if (mask := predicted.masks.get(case)) is not None:
        told["mask"] = arrays.add(_mask_planes(mask, grid, description, step, shown))
    if grid is None and description.task == "classify" and (found := heat_of(model, scan)) is not None:
        told["heat"] = {"kind": found.kind, "classes": found.classes, "maps": arrays.add(found.maps)}
    return told


def _volume(path: Path, description: Description, limits: Limits) -> tuple[Scan, Grid, NDArray[Any]]:
    """The middle slice of a volume, its grid, and all slices."""
    whole = volume.read_volume(path, limits)
    plane = _plane(description)
    planes = volume.to_slices(whole.array, whole.affine, plane)
    planes = planes if planes.ndim == 3 else planes[..., 0]  # of several frames or sequences the first
    _, row, column = volume.slice_spacing(whole.affine, plane)
    middle = np.asarray(planes[len(planes) // 2])
    return Scan(middle, ScanInfo(spacing=(row, column))), whole, planes


def _plane(description: Description) -> Plane:
    plane = (description.slices or {}).get("plane", "axial")
    return plane if plane in volume.PLANES else "axial"


def _shown(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """(h, w) that an image is shown at."""
    share = min(1.0, longest / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _pixels(planes: NDArray[Any], size: tuple[int, int]) -> tuple[NDArray[Any], float, float]:
    """(S, h, w, 1 or 3) of uint8 or uint16, and the stored values that its 0 and its largest number stand for."""
    planes = planes[..., None] if planes.ndim == 3 else planes
    planes = planes[..., :3] if planes.shape[-1] >= 3 else planes[..., :1]
    if planes.shape[1:3] != size:
        planes = np.stack([np.atleast_3d(resize_image(plane, size)) for plane in planes])
        if planes.ndim == 3:
            planes = planes[..., None]
    if planes.dtype == np.uint8:
        return planes, 0.0, 255.0
    low, high = float(planes.min()), float(planes.max())
    if planes.dtype.kind in "bui" and high - low <= 65535:
        if planes.dtype.kind == "b":
            return planes.astype(np.uint8), 0.0, 255.0
        return (planes.astype(np.int64) - int(low)).astype(np.uint16), low, low + 65535.0
    scale = 65535.0 / (high - low) if high > low else 0.0
    return np.rint((planes.astype(np.float64) - low) * scale).astype(np.uint16), low, high if high > low else low + 1.0


def _windows(
    preprocess: Preprocess, scan: Scan, low: float, high: float, *, colour: bool, several: bool
) -> list[dict[str, Any]]:
    """Windows that are offered, the first at the start: name, and the values that are black and white."""
    found: list[tuple[str, float, float]] = []
    if not colour:
        for centre, width in preprocess.windows:
            found.append(("as the model sees it", centre - width / 2, centre + width / 2))
        for number, (centre, width) in enumerate(scan.info.get("windows", ()), start=1):
            name = "of the file" if number == 1 else f"of the file ({number})"
            found.append((name, centre - width / 2, centre + width / 2))
        dark, bright = (float(value) for value in np.percentile(scan.array, (0.5, 99.5)))
        contrast = ("contrast of the image", dark, bright)
        if scan.array.dtype != np.uint8 or several:
            found.append(contrast)
        if scan.array.min() < -500:  # air in HU
            found += [(name, c - w / 2, c + w / 2) for name, (c, w) in WINDOWS.items() if name in _OFTEN]
        found.append(("whole range", low, high))
        if contrast not in found:
            found.append(contrast)
    return [{"name": name, "low": dark, "high": max(bright, dark + 1e-6)} for name, dark, bright in found]


def _mask_planes(
    found: CaseMask, grid: Grid | None, description: Description, step: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(S, h, w): class numbers, or of overlapping regions a bit for each of the first eight."""
    mask = found.mask
    if description.overlapping:
        bits = np.zeros(mask.shape[1:], np.uint8)
        for number, layer in enumerate(mask[:8]):
            bits |= (layer > 0).astype(np.uint8) << number
        mask = bits
    planes = mask[None] if grid is None else volume.to_slices(mask, grid.affine, _plane(description))
    return np.stack([resize_mask(np.ascontiguousarray(plane), size) for plane in planes[::step]]).astype(np.uint8)
