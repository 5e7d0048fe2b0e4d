"""Results as Grayscale Softcopy Presentation States (PS3.3, A.33.1): outlines over the source images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.panels import class_colour
from scansuite.errors import SuiteError
from tasks.deployment.dicom.codes import labels_of
from tasks.deployment.dicom.derived import finished, instance_number, instance_uid, made_of, series_of
from tasks.deployment.dicom.result import NOT_FOR_DIAGNOSIS, Box, CaseResult, ModelFacts
from tasks.deployment.dicom.source import Source
from tasks.deployment.dicom.uids import digest_of

if TYPE_CHECKING:
    from highdicom.pr import GraphicAnnotation, GraphicLayer, GrayscaleSoftcopyPresentationState

_MOST_POINTS = 8000  # of an outline: its value takes at most 65534 bytes in explicit VR (PS3.5, 7.1.2)
_FLAT = 0.25  # px: how far an outline may run beside the pixels' edges


class Outline:
    """Lines that are drawn on an image.

    Attributes:
        plane: number of the image among the source's planes.
        label: number of the class among those that are shown.
        points: (N, 2) columns and rows from the upper left corner of the first pixel; the last is the first again.
        words: beside it.
    """

    def __init__(self, plane: int, label: int, points: NDArray[np.float64], words: str = "") -> None:
        self.plane, self.label, self.points, self.words = plane, label, points, words


def presentation_state(case: CaseResult, source: Source, facts: ModelFacts) -> GrayscaleSoftcopyPresentationState:
    """A presentation state with an outline for each box, or around each region of a mask, a layer for each class.

    The window is that of the source's header. Of a classifier the scores are written into the corner of the image.

    Raises:
        SuiteError: the images are in colour, or no such state can be made of them.
    """
    from highdicom import PresentationLUTTransformation
    from highdicom.pr import GrayscaleSoftcopyPresentationState

    if any(
        int(header.SamplesPerPixel) != 1 or header.PhotometricInterpretation == "PALETTE COLOR"
        for header in source.images
    ):
        raise SuiteError(f"{source.name}: is in colour, and a greyscale presentation state is for grey images alone")
    names = facts.segments if case.mask is not None else facts.class_names
    outlines = list(_outlines(case, source, facts))
    uid = instance_uid("gsps", source, facts, digest_of(_texts(outlines)), repr(sorted((case.scores or {}).items())))
    inverse = source.first.PhotometricInterpretation == "MONOCHROME1"
    with made_of("gsps", source):
        layers = _layers(names)
        annotations = _annotations(outlines, source, layers) or [_words_of(case, source, facts, layers[0])]
        made = GrayscaleSoftcopyPresentationState(
            referenced_images=list(source.bare),
            sop_instance_uid=uid,
            instance_number=instance_number(source),
            content_label="MODEL RESULT",
            content_description=f"{NOT_FOR_DIAGNOSIS}: result of a model",
            graphic_layers=layers,
            graphic_annotations=annotations,
            presentation_lut_transformation=PresentationLUTTransformation(
                presentation_lut_shape="INVERSE" if inverse else "IDENTITY"
            ),
            **series_of("gsps", source, facts),
        )
    return finished(made, source, facts.name + "".join(names))


def outlines_of(region: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed lines around the parts of a region and its holes, along the pixels' edges but for cut corners.

    Args:
        region: (H, W).

    Returns:
        (N, 2) columns and rows each, the first point again at the end; 0, 0 is the upper left corner of the image.
    """
    import cv2
    from contourpy import contour_generator

    padded = np.pad(region.astype(np.float64), 1)
    lines: Any = contour_generator(z=padded).lines(0.5)
    found = []
    for line in lines:
        # In the padded grid the centre of the first pixel is at 1; in the image it is at 0.5.
        whole, beside = (line[:-1, None] - 0.5).astype(np.float32), _FLAT
        points = cv2.approxPolyDP(whole, beside, closed=True)[:, 0]
        while len(points) >= _MOST_POINTS:
            beside *= 2
            points = cv2.approxPolyDP(whole, beside, closed=True)[:, 0]
        if len(points) > 2:
            found.append(np.concatenate([points, points[:1]]).astype(np.float64))
    return found


def _outlines(case: CaseResult, source: Source, facts: ModelFacts) -> Iterator[Outline]:
    if case.boxes is not None:
        yield from _rectangles(case.boxes, source, facts.class_names)
    if case.mask is None:
        return
    layered = case.mask.ndim > (2 if source.grid is None else 3)
    layers = [layer > 0 for layer in case.mask] if layered else _classes(case.mask)
    for label, layer in enumerate(layers):
        planes = source.on_images(layer)
        for plane in np.flatnonzero(planes.reshape(len(planes), -1).any(axis=1)):
            for points in outlines_of(planes[plane]):
                yield Outline(int(plane), label, points)


def _classes(mask: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    return [mask == number for number in range(1, int(mask.max(initial=0)) + 1)]


def _rectangles(boxes: Sequence[Box], source: Source, names: Sequence[str]) -> Iterator[Outline]:
    header = source.first
    for box in boxes:
        x1, y1, x2, y2 = box.edges
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], np.float64)
        points = np.clip(corners, 0, [int(header.Columns), int(header.Rows)])
        yield Outline(0, names.index(box.label), points, f"{box.label} {box.score:.2f}")


def _layers(names: tuple[str, ...]) -> list[GraphicLayer]:
    from highdicom.color import CIELabColor
    from highdicom.pr import GraphicLayer

    return [
        GraphicLayer(
            layer_name=f"CLASS {number + 1}",
            order=number + 1,
            description=label,
            display_color=CIELabColor.from_rgb(*class_colour(number)),
        )
        for number, label in enumerate(labels_of(names))
    ]


def _annotations(outlines: list[Outline], source: Source, layers: list[GraphicLayer]) -> list[GraphicAnnotation]:
    from highdicom.pr import GraphicAnnotation, GraphicObject, TextObject

    made = []
    for (plane, label), group in groupby(outlines, key=lambda one: (one.plane, one.label)):
        some = list(group)
        where = source.planes[plane]
        header = source.bare[where.image]
        texts = [
            TextObject(one.words, units="PIXEL", anchor_point=(float(one.points[0, 0]), float(one.points[0, 1])))
            for one in some
            if one.words
        ]
        made.append(
            GraphicAnnotation(
                referenced_images=[header],
                referenced_frame_number=where.frame + 1 if source.frames[where.image] > 1 else None,
                graphic_layer=layers[label],
                graphic_objects=[GraphicObject("POLYLINE", one.points, units="PIXEL") for one in some],
                text_objects=texts or None,
            )
        )
    return made


def _words_of(case: CaseResult, source: Source, facts: ModelFacts, layer: GraphicLayer) -> GraphicAnnotation:
    """What is said where nothing is outlined: the scores, or that nothing was found."""
    from highdicom.pr import GraphicAnnotation, TextObject

    lines = [
        f"{name} {score:.2f}" + (" (called)" if name in case.called else "")
        for name, score in (case.scores or {}).items()
    ]
    if case.prediction is not None:
        lines.append(f"prediction {case.prediction:.4g}")
    where = source.planes[len(source.planes) // 2]
    words = "\r\n".join([f"{NOT_FOR_DIAGNOSIS}: {facts.name}", *(lines or ["nothing found"])])
    box = (0.01, 0.01, 0.5, min(0.99, 0.05 * (len(lines) + 2)))
    return GraphicAnnotation(
        referenced_images=[source.bare[where.image]],
        referenced_frame_number=where.frame + 1 if source.frames[where.image] > 1 else None,
        graphic_layer=layer,
        text_objects=[TextObject(words[:1000], units="DISPLAY", bounding_box=box, text_justification="LEFT")],
    )


def _texts(outlines: list[Outline]) -> Iterator[str | bytes]:
    for one in outlines:
        yield f"{one.plane} {one.label} {one.words}"
        yield one.points.tobytes()
