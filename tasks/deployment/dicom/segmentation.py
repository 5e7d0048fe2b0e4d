"""Masks as DICOM segmentations (PS3.3, A.51 and A.101), on the images that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datamodules.pictures.panels import class_colour
from datamodules.readers.dicom.geometry import place
from scansuite.errors import SuiteError
from tasks.deployment.dicom.codes import ClassCode, CodeTable, labels_of
from tasks.deployment.dicom.derived import (
    algorithm,
    finished,
    instance_number,
    instance_uid,
    made_of,
    private_scheme,
    series_of,
)
from tasks.deployment.dicom.result import NOT_FOR_DIAGNOSIS, CaseResult, ModelFacts, SegmentationType
from tasks.deployment.dicom.source import Source
from tasks.deployment.dicom.uids import derived_uid

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription


def segmentation(
    case: CaseResult, source: Source, facts: ModelFacts, table: CodeTable, kind: SegmentationType = "binary"
) -> Segmentation:
    """The segmentation of a case's mask.

    Each frame refers to the image that it was made from; frame of reference, positions and pixel measures are the
    images'. Images without a place in the patient are allowed alone. Frames without a segment are left out, all of them
    where nothing was found but one segment's.

    Args:
        case: with ``mask``, or ``probabilities`` where fractions are asked for.
        source: its images.
        facts: of the model.
        table: codes of the classes.
        kind: ``binary``, ``labelmap`` (classes that do not overlap; few programs read it yet), or ``fractional``.

    Raises:
        SuiteError: the images lie nowhere, or fractions or label maps are asked for that there are not.
        ValueError: the mask has another shape than the images.
    """
    from highdicom.seg import Segmentation

    pixels = _pixels(case, source, facts, kind)
    codes = [table[name] for name in facts.segments]
    uid = instance_uid("seg", source, facts, kind, *_code_texts(codes), *facts.segments, _bytes(pixels))
    with made_of("seg", source):
        made = Segmentation(
            source_images=list(source.bare),
            pixel_array=pixels,
            segmentation_type=kind.upper(),
            segment_descriptions=_described(facts, codes, uid),
            sop_instance_uid=uid,
            instance_number=instance_number(source),
            content_label="SEGMENTATION",
            content_description=f"{NOT_FOR_DIAGNOSIS}: segmentation by a model",
            coding_schemes=private_scheme() if any(code.private for code in codes) else None,
            **series_of("seg", source, facts),
            **_place(source),
        )
    _describe(made, source)
    finished(made, source, facts.name + "".join(facts.segments))
    return made


def _pixels(case: CaseResult, source: Source, facts: ModelFacts, kind: SegmentationType) -> NDArray[Any]:
    """(frames, rows, columns) class numbers, or with an axis of segments behind, in the order of the files' frames."""
    if source.grid is not None and not source.located:
        raise SuiteError(f"{source.name}: says no frame of reference (0020,0052), so that nothing can lie in it")
    if kind == "fractional":
        if case.probabilities is None:
            raise SuiteError("--dicom_seg fractional: there are no probabilities of the pixels here: give binary")
        layers = [source.on_images(layer) for layer in case.probabilities]
    elif case.mask is None:
        raise SuiteError(f"{case.case_id}: has no mask: a segmentation is of one")
    elif facts.overlapping:
        if kind == "labelmap":
            raise SuiteError("--dicom_seg labelmap: the model's regions overlap, and a label map has one a pixel")
        layers = [source.on_images(layer) for layer in case.mask]
    else:
        return _by_frame(source.on_images(case.mask), source)
    return _by_frame(np.stack(layers, axis=-1), source)


def _by_frame(planes: NDArray[Any], source: Source) -> NDArray[Any]:
    """Planes in the order of Z -> in the order of the frames of the one file; of several files as they are."""
    if not source.multiframe or source.grid is None:
        return np.ascontiguousarray(planes)
    ordered = np.empty_like(planes)
    ordered[[plane.frame for plane in source.planes]] = planes
    return ordered


def _place(source: Source) -> dict[str, Any]:
    """Where the one frame lies that was seen of several; else highdicom takes the images' own places."""
    from highdicom import PlanePositionSequence

    plane = source.planes[0]
    found = place(source.images[plane.image], plane.frame)
    if source.grid is not None or source.frames[0] == 1 or not source.located or found is None:
        return {}
    return {"plane_positions": [PlanePositionSequence("PATIENT", [float(side) for side in found.origin])]}


def _described(facts: ModelFacts, codes: list[ClassCode], uid: str) -> list[SegmentDescription]:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    described = []
    labels = labels_of(facts.segments)
    for number, (label, code) in enumerate(zip(labels, codes, strict=True), start=1):
        one = SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=code.category.concept(),
            segmented_property_type=code.kind.concept(),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm(facts),
            tracking_uid=derived_uid("segment", uid, str(number)),
            tracking_id=label,
            display_color=CIELabColor.from_rgb(*class_colour(number - 1)),
        )
        if code.modifier is not None:
            one.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
                code.modifier.concept()
            ]
        described.append(one)
    return described


def _describe(made: Segmentation, source: Source) -> None:
    """Say what the standard asks for beside what highdicom does."""
    if not source.located:  # the sides of the picture, where positions do not say them
        made.PatientOrientation = source.first.get("PatientOrientation")
    made.DerivationDescription = f"{NOT_FOR_DIAGNOSIS}: segmented by a model"
    made.BurnedInAnnotation = "NO"


def _code_texts(codes: list[ClassCode]) -> list[str]:
    return [str(code) for code in codes]


def _bytes(pixels: NDArray[Any]) -> bytes:
    return str((pixels.shape, pixels.dtype)).encode() + np.ascontiguousarray(pixels).tobytes()
