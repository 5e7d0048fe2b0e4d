"""Axes of a TIFF's pages, as ImageJ, OME and tifffile state them: slices or channels, never times.

OME: https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_SLICES = "ZIQ"  # depth, pages, and axes that have no name, as tifffile calls them
_NAMES = {"T": "time points", "A": "angles", "P": "phases", "E": "lifetimes", "R": "tiles", "H": "lifetimes"}
_ALPHA = (1, 2)  # ExtraSamples of TIFF 6.0: associated and unassociated


def planes_of(tiff: TiffFile, count: int) -> NDArray[np.intp]:
    """Planes (pages, or what lies behind one page) of each slice.

    Args:
        tiff: the open file.
        count: how many planes it has.

    Returns:
        (slices, channels) numbers of planes, in the order of the file.

    Raises:
        ValueError: there are time points or other axes that are no slices; several images; channels of several samples;
            or channels that are not all in the file.
    """
    plain = np.arange(count)[:, None]
    if count == 1:
        return plain
    if tiff.is_ome and tiff.ome_metadata:
        sizes, numbers = _ome(tiff, tiff.ome_metadata, count)
    elif tiff.is_imagej or tiff.is_shaped:
        sizes, numbers = _labelled(tiff), None
    else:
        return plain
    for axis, size in sizes:
        if size > 1 and axis not in _SLICES + "C":
            what = _NAMES.get(axis, f"images along its axis {axis}")
            raise ValueError(f"it has {size} {what}, which are no slices: save one of them a file")
    channels = math.prod(size for axis, size in sizes if axis == "C")
    if numbers is None and math.prod(size for _, size in sizes) == count:
        numbers = np.arange(count).reshape([size for _, size in sizes])
    if numbers is None:
        if channels > 1:
            raise ValueError(f"it describes {math.prod(size for _, size in sizes)} pages, but has {count}")
        return plain
    if channels > 1 and tiff.pages.first.samplesperpixel > 1:
        samples = tiff.pages.first.samplesperpixel
        raise ValueError(f"it has {channels} channels of {samples} samples each: save one channel a file")
    order = [index for index, (axis, _) in enumerate(sizes) if axis != "C"]
    order += [index for index, (axis, _) in enumerate(sizes) if axis == "C"]
    return np.ascontiguousarray(numbers.transpose(order)).reshape(-1, channels)


def _labelled(tiff: TiffFile) -> list[tuple[str, int]]:
    """Axes and sizes of the planes, slowest first, as ImageJ or tifffile wrote them."""
    axes = [
        [(axis, int(size)) for axis, size in zip(one.axes, one.shape, strict=True) if axis not in "YXS"]
        for one in tiff.series
    ]
    if len(axes) == 1:
        return axes[0]
    # One after the other they may be the pages of a stack, if none of them is more than that.
    if any(axis not in _SLICES for sizes in axes for axis, size in sizes if size > 1):
        raise ValueError(f"it has {len(axes)} images with axes of their own: save one a file")
    return []


def _ome(tiff: TiffFile, text: str, count: int) -> tuple[list[tuple[str, int]], NDArray[np.intp] | None]:
    """Axes and sizes, slowest first, and the plane of each place along them; None where planes are in other files.

    Not tifffile's own, which opens whatever other file the text names.
    """
    images = re.findall(r"<(?:\w{1,20}:)?Pixels\b([^>]{0,4000})>", text)
    said = _attributes(images[0]) if images else {}
    samples = tiff.pages.first.samplesperpixel
    size_of = {axis: max(1, _whole(said.get(f"Size{axis}"), 1)) for axis in "ZCT"}
    size_of["C"] = max(1, size_of["C"] // samples)
    order = said.get("DimensionOrder", "XYZCT")
    slowest_first = order[:1:-1] if sorted(order) == sorted("XYZCT") and order[:2] == "XY" else "TCZ"
    sizes = [(axis, size_of[axis]) for axis in slowest_first]
    total = math.prod(size for _, size in sizes)
    if len(images) > 1 and total < count:
        raise ValueError(f"it has {len(images)} images, which are no slices: save one a file")
    if total != count:
        return sizes, None
    place = {page.index: number for number, page in enumerate(page for page in tiff.pages if not page.is_reduced)}
    numbers = np.full(total, -1, np.intp)
    blocks = [_attributes(block) for block in re.findall(r"<(?:\w{1,20}:)?TiffData\b([^>]{0,1000})>", text)]
    for block in blocks or [{}]:
        first = [min(_whole(block.get(f"First{axis}"), 0), size - 1) for axis, size in sizes]
        start = int(np.ravel_multi_index(first, [size for _, size in sizes]))
        page = _whole(block.get("IFD"), 0)
        for index in range(min(_whole(block.get("PlaneCount"), 1 if "IFD" in block else total), total - start)):
            numbers[start + index] = place.get(page + index, -1)
    whole = sorted(numbers.tolist()) == list(range(total))
    return sizes, numbers.reshape([size for _, size in sizes]) if whole else None


def _attributes(text: str) -> dict[str, str]:
    return dict(re.findall(r'\b(\w{1,40})="([^"]{0,200})"', text))


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else otherwise


def arranged(planes: NDArray[Any], numbers: NDArray[np.intp]) -> NDArray[Any]:
    """(N, H, W) or (N, H, W, S) planes of a file -> its slices (Z, H, W) or (Z, H, W, C)."""
    if numbers.shape[1] > 1:
        return np.moveaxis(planes[numbers], 1, -1)
    order = numbers[:, 0]
    return planes if np.array_equal(order, np.arange(len(planes))) else planes[order]


def alpha_of(page: TiffPage) -> int | None:
    """Number of the sample that is alpha (ExtraSamples 1 or 2); None where none is."""
    extra = [int(kind) for kind in page.extrasamples]
    alpha = next((index for index, kind in enumerate(extra) if kind in _ALPHA), None)
    return None if alpha is None else page.samplesperpixel - len(extra) + alpha


def stated_range(tiff: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    """(0, highest value) of unsigned samples that have fewer bits than their type; None where they fill it."""
    if page.dtype is None or page.dtype.kind != "u":
        return None
    bits = int(page.bitspersample)
    if tiff.is_ome and tiff.ome_metadata:
        said = re.search(r'\bSignificantBits="(\d{1,2})"', tiff.ome_metadata)
        bits = min(bits, _whole(said[1], bits) or bits) if said is not None else bits
    # 1, 2 and 4 bits are spread over the range of a byte.
    return (0.0, float(2**bits - 1)) if bits not in (1, 2, 4) and bits < 8 * page.dtype.itemsize else None
