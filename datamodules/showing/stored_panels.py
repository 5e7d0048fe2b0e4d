"""What files hold of a case: its images as a viewer shows them, or planes of its volumes, and what is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.pictures.views import View, as_seen, stored_view, volume_views
from datamodules.readers.volume import Volume, read_volume
from datamodules.segmentation.base import SegmentationData
from datamodules.stored import StoredVolume
from datamodules.types import Scan

_IGNORED = -1  # class number that boxes are grey with
_MOST_VOLUMES = 4  # sequences, or volumes of one case


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture on the page.

    Attributes:
        title: what it is.
        views: one image, or several side by side.
        lines: what is known of it.
        names: of the classes that are drawn, in the order of their colours.
        bare: masks hide what is below them, so the picture is shown without them too.
    """

    title: str
    views: Sequence[View]
    lines: Sequence[str] = ()
    names: Sequence[str] = ()
    bare: bool = False


def stored_panels(data: ScanDataModule, images: NDArray[np.int64]) -> list[Panel]:
    """Panels of some images of a case; of slices of a volume one of the volume, or one of each of its sequences.

    Args:
        data: whose case it is.
        images: rows of its images.

    Raises:
        SuiteError: a file cannot be read.
    """
    find = data.stored(data.table).volume
    if find is None or find(int(images[0])) is None:
        return [_of_image(data, int(image)) for image in images]
    # The slices of a volume have one path.
    paths = data.table.images["path"].iloc[images]
    volumes = [find(int(image)) for image in images[~paths.duplicated().to_numpy()]][:_MOST_VOLUMES]
    return [panel for volume in volumes if volume is not None for panel in _of_volume(data, volume)]


def stored_names(data: ScanDataModule) -> list[str]:
    """Names of the classes as they are stored, in the order of their colours, without the background."""
    if isinstance(data, SegmentationData):
        return list(data.stored_classes[1:])
    return list(getattr(data, "class_names", ())) if data.has_boxes else []


def annotated(view: View, annotations: dict[str, Any], count: int) -> View:
    """A view with its annotations.

    Args:
        view: of the image.
        annotations: any of ``mask``, ``boxes`` with ``labels``, and ``ignored``, as in a sample.
        count: classes that a mask may have beside the background.
    """
    if (mask := annotations.get("mask")) is not None:
        view = view.with_mask(np.asarray(mask), count, separate=np.ndim(mask) == 3)
    if (boxes := annotations.get("boxes")) is not None:
        ignored = np.asarray(annotations.get("ignored", np.zeros((0, 6))), np.float64).reshape(-1, 6)
        corners = np.concatenate([np.asarray(boxes, np.float64).reshape(-1, 4), ignored[:, :4]])
        labels = [*np.asarray(annotations["labels"], np.int64), *[_IGNORED] * len(ignored)]
        view = replace(view, boxes=corners, labels=np.array(labels, np.int64))
    return view


def _of_image(data: ScanDataModule, image: int) -> Panel:
    scan = data.read(image)
    found: dict[str, Any] = {}
    for annotation in data.annotations(augmented=False):
        found |= annotation.arrays(annotation.read(image, scan))
    if isinstance(data, SegmentationData):  # its classes as they are stored, before they are renamed or joined
        found["mask"] = data.read_classes(image)
    view, shown = viewed(scan)
    names = stored_names(data)
    lines = [_size(scan), _values(scan.array), *_mm(scan.info.get("spacing")), shown]
    if len(found.get("ignored", ())):
        lines.append("grey boxes are ignored (crowd or difficult)")
    return Panel("as stored", [annotated(view, found, len(names))], lines, names)


def _of_volume(data: ScanDataModule, stored: StoredVolume) -> list[Panel]:
    """A panel of three planes for each sequence."""
    panels = []
    names = stored_names(data) if stored.classes is not None else []
    for number, file in enumerate(stored.images[:_MOST_VOLUMES]):
        volume = read_volume(file, data.limits)
        classes = None if stored.classes is None else stored.classes(volume)
        views = volume_views(volume.array, volume.affine, classes, len(names))
        which = f" (sequence {number + 1} of {len(stored.images)})" if len(stored.images) > 1 else ""
        lines = [_voxels(volume), _values(volume.array), *_mm(volume.spacing)]
        panels.append(Panel(f"as stored{which}", views, lines, names))
    return panels


def viewed(scan: Scan) -> tuple[View, str]:
    """An image as a viewer shows it, and how, in words.

    With the window that the file recommends; else 8 bits from 0 to 255, and any other type from its lowest to its
    highest values.
    """
    view = stored_view(scan.array, scan.info.get("spacing"))
    windows = scan.info.get("windows", ())
    if scan.array.ndim == 2 and (windows or scan.array.dtype == np.uint8):
        centre, width = windows[0] if windows else (127.5, 255.0)
        step = -(-scan.array.shape[0] // view.pixels.shape[0])  # what a page does not show is left out
        grey = (scan.array[::step, ::step].astype(np.float32) - (centre - width / 2)) / width
        view = replace(view, pixels=as_seen(grey[:, :, None]))
        return view, f"shown with the file's window {centre:g}:{width:g}" if windows else "shown from 0 to 255"
    if scan.array.dtype == np.uint8:
        return view, "shown from 0 to 255"
    return view, "shown from the lowest to the highest of its values"


def _size(scan: Scan) -> str:
    height, width = scan.array.shape[:2]
    return f"{height} x {width} pixels, {_channels(scan)}, {scan.array.dtype.name}"


def _channels(scan: Scan) -> str:
    count = 1 if scan.array.ndim == 2 else scan.array.shape[2]
    alpha = scan.info.get("alpha", True)
    known = {1: "grey", 3: "RGB", **({2: "grey with alpha", 4: "RGBA"} if alpha else {})}
    return known.get(count, f"{count} channels")


def _voxels(volume: Volume) -> str:
    from nibabel.orientations import aff2axcodes

    shape = volume.array.shape
    frames = f", {shape[3]} frames (the first is shown)" if len(shape) > 3 else ""
    axes = "".join(str(letter) for letter in aff2axcodes(volume.affine))
    return f"{' x '.join(map(str, shape[:3]))} voxels{frames}, axes {axes}, {volume.array.dtype.name}"


def _values(array: NDArray[Any]) -> str:
    return f"values {array.min():g} to {array.max():g}, mean {array.mean(dtype=np.float64):.5g}"


def _mm(spacing: Sequence[float] | None) -> list[str]:
    return [] if spacing is None else [f"{' x '.join(f'{one:.3g}' for one in spacing)} mm"]
