"""Pictures of a result on its images: as the source's own window shows them, for captures and pages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.canvas import grid, legend, titled
from datamodules.pictures.panels import class_colour, panel_size, scan_panel
from datamodules.readers.dicom.geometry import place
from datamodules.readers.dicom.image import read
from tasks.deployment.boxes import box_picture
from tasks.deployment.dicom.result import NOT_FOR_DIAGNOSIS, CaseResult, ModelFacts
from tasks.deployment.dicom.source import Source

_MOST = 32  # pictures of one case
_PERCENTILES = (1.0, 99.0)


def shown_planes(case: CaseResult, source: Source) -> list[int]:
    """Numbers of the planes that are drawn: those on which something is found, at most 32 of them evenly spaced.

    Where nothing is found it is the middle one; of a bag the first.
    """
    if case.mask is None:
        return [0] if source.grid is None else [len(source.planes) // 2]
    layers = case.mask if case.mask.ndim > (2 if source.grid is None else 3) else case.mask[None]
    found = np.flatnonzero(
        np.any([source.on_images(layer).reshape(len(source.planes), -1).any(axis=1) for layer in layers], axis=0)
    )
    if not len(found):
        return [len(source.planes) // 2]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(_MOST, len(found))).round().astype(int))
    return [int(one) for one in found[chosen]]


def picture_of(case: CaseResult, source: Source, facts: ModelFacts, plane: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of one image with what was found on it, and a line that says by whom and what for."""
    image = displayed(case, source, plane)
    spacing = None
    where = place(source.images[source.planes[plane].image], source.planes[plane].frame)
    if where is not None:
        spacing = where.spacing
    if case.mask is not None:
        from tasks.evaluation.pictures.mask_overlays import called_overlay  # with pandas

        layered = case.mask.ndim > (2 if source.grid is None else 3)
        mask = np.stack([source.on_images(layer)[plane] for layer in (case.mask if layered else case.mask[None])])
        drawn = called_overlay(image, mask if layered else mask[0], facts.class_names, facts.overlapping, spacing)
    elif case.boxes is not None:
        labels, scores = [box.label for box in case.boxes], [box.score for box in case.boxes]
        drawn = box_picture(image, labels, scores, [box.edges for box in case.boxes], facts.class_names)
    else:
        size, _ = panel_size(image.shape[:2], spacing)
        drawn = legend(grid([("scan", scan_panel(image, size))]), _scores(case, facts))
    return titled(drawn, f"{NOT_FOR_DIAGNOSIS}  {facts.name}{_number(source, plane)}")


def displayed(case: CaseResult, source: Source, plane: int) -> NDArray[np.float32]:
    """(H, W, C) of an image in [0, 1]: by the first window of its header, else from its 1st to its 99th percentile."""
    one = source.planes[plane]
    limits = case.limits
    scan = read(source.paths[one.image], frame=one.frame, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)
    array = scan.array.astype(np.float32)
    if array.ndim == 3:
        whole = np.iinfo(scan.array.dtype).max if scan.array.dtype.kind == "u" else max(float(array.max()), 1.0)
        scaled: NDArray[np.float32] = array / np.float32(whole)
        return scaled
    windows = scan.info.get("windows") or ()
    if windows:
        centre, width = windows[0]
        low, high = centre - width / 2, centre + width / 2
    else:
        low, high = (float(edge) for edge in np.percentile(array, _PERCENTILES))
    grey: NDArray[np.float32] = np.clip((array - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    return grey[..., None]


def _scores(case: CaseResult, facts: ModelFacts) -> list[tuple[str, tuple[int, int, int]]]:
    lines = [
        (f"{name} {score:.2f}" + (" (called)" if name in case.called else ""), class_colour(number))
        for number, (name, score) in enumerate((case.scores or {}).items())
    ]
    return lines if case.prediction is None else [*lines, (f"prediction {case.prediction:.4g}", class_colour(0))]


def _number(source: Source, plane: int) -> str:
    return f"  image {plane + 1} of {len(source.planes)}" if len(source.planes) > 1 else ""
