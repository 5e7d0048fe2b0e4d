"""Results as structured reports: Comprehensive SR by template TID 1500, "Measurement Report" (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.readers.dicom.geometry import place
from tasks.deployment.dicom.codes import PRIVATE_SCHEME, Code, CodeTable, labels_of
from tasks.deployment.dicom.derived import (
    MANUFACTURER,
    finished,
    instance_number,
    instance_uid,
    made_of,
    private_scheme,
    series_of,
    short,
)
from tasks.deployment.dicom.result import Box, CaseResult, ModelFacts
from tasks.deployment.dicom.source import Plane, Source
from tasks.deployment.dicom.uids import derived_uid

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import ComprehensiveSR, Measurement, TrackingIdentifier

_CERTAINTY = Code("DCM", "111012", "Certainty of Finding")  # in percent, as CAD reports have it (PS3.16, TID 4003)
_PERCENT = Code("UCUM", "%", "Percent")
_VOLUME, _AREA = Code("SCT", "118565006", "Volume"), Code("SCT", "42798000", "Area")
_MM3, _MM2 = Code("UCUM", "mm3", "cubic millimeter"), Code("UCUM", "mm2", "square millimeter")
_PIXELS = Code("UCUM", "{pixels}", "pixels")
_NO_UNITS = Code("UCUM", "1", "no units")
_CALLED = Code(PRIVATE_SCHEME, "CALLED", "Called at the model's operating point")
_PREDICTION = Code(PRIVATE_SCHEME, "PREDICTION", "Prediction of the model")
_PRESENT, _ABSENT = Code("SCT", "52101004", "Present"), Code("SCT", "272519000", "Absent")  # CID 240
_PROCEDURE = Code("SCT", "363679005", "Imaging procedure")


def structured_report(
    case: CaseResult, source: Source, facts: ModelFacts, table: CodeTable, segmented: Segmentation | None = None
) -> ComprehensiveSR:
    """The report of a case: a measurement group for each box, each class, or each segment.

    - Boxes (TID 1410): the rectangle as spatial coordinates on the image, the class, the score as certainty in percent.
    - Segments (TID 1411; of a flat image 1410): a reference to the segmentation's segment, its volume in mm3 (area in
      mm2, or in pixels where these have no size), counted in pixels of the mask.
    - Scores of an image or a case (TID 1501): a group for each class with its score, and whether it is called.

    A class that a detector did not call, or that a mask does not show, is said to be absent.

    Args:
        case: its boxes, scores or mask.
        source: its images.
        facts: of the model.
        table: codes of the classes.
        segmented: the segmentation, where there is a mask.

    Raises:
        SuiteError: no such report can be made of the images.
    """
    import highdicom
    from highdicom.sr import ComprehensiveSR, MeasurementReport, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    uid = instance_uid("sr", source, facts, _content(case, table, facts, segmented))
    groups = _Groups(case, source, facts, table, uid)
    if segmented is not None:
        groups.add_segments(segmented)
    if case.boxes is not None:
        groups.add_boxes(case.boxes)
    if case.scores is not None:
        groups.add_scores()
    if case.prediction is not None:
        groups.add_prediction(case.prediction)
    observer = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=highdicom.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", facts.identity),
            name=short(facts.name) or MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=short(facts.name) or MANUFACTURER,
            serial_number=facts.run[:16] if facts.run else None,
        ),
    )
    with made_of("sr", source):
        content = MeasurementReport(
            observation_context=ObservationContext(observer_device_context=observer),
            procedure_reported=_PROCEDURE.concept(),
            imaging_measurements=groups.made,
            title=codes.DCM.ImagingMeasurementReport,
        )
        made = ComprehensiveSR(
            evidence=[*source.bare, *([] if segmented is None else [segmented])],
            content=content[0],
            sop_instance_uid=uid,
            instance_number=instance_number(source),
            is_complete=True,
            is_final=False,  # preliminary: nobody has verified it
            is_verified=False,
            coding_schemes=private_scheme(),
            **series_of("sr", source, facts),
        )
    finished(made, source, facts.name + "".join(facts.class_names))
    return made


class _Groups:
    """Measurement groups of a report, with UIDs by the rule."""

    def __init__(self, case: CaseResult, source: Source, facts: ModelFacts, table: CodeTable, uid: str) -> None:
        from highdicom.sr import AlgorithmIdentification

        self.case, self.source, self.facts, self.table, self.uid = case, source, facts, table, uid
        self.made: list[Any] = []
        self.algorithm = AlgorithmIdentification(
            name=short(facts.name) or MANUFACTURER,
            version=short(facts.version) or "?",
            parameters=[f"run={facts.run}"] if facts.run else None,
        )

    def add_boxes(self, boxes: Sequence[Box]) -> None:
        from highdicom.sr import (
            ImageRegion,
            PlanarROIMeasurementsAndQualitativeEvaluations,
            SourceImageForRegion,
        )

        plane = self.source.planes[0]
        header = self.source.bare[plane.image]
        for number, box in enumerate(boxes, start=1):
            x1, y1, x2, y2 = box.edges
            corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], np.float64)
            corners = np.clip(corners, 0, [int(header.Columns), int(header.Rows)])
            region = ImageRegion(
                graphic_type="POLYLINE",
                graphic_data=corners,
                source_image=SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, self._frame(plane)),
            )
            name = f"{box.label} {number}"
            code = self.table[box.label]
            self.made.append(
                PlanarROIMeasurementsAndQualitativeEvaluations(
                    tracking_identifier=self._tracking(name),
                    referenced_region=region,
                    finding_type=code.kind.concept(),
                    finding_category=code.category.concept(),
                    finding_sites=None,
                    algorithm_id=self.algorithm,
                    measurements=[self._certainty(box.score)],
                )
            )
        found = {box.label for box in boxes}
        for name in self.facts.class_names:
            if name not in found:
                self._add_presence(name, present=False, measurements=[])

    def add_scores(self) -> None:
        for name, score in (self.case.scores or {}).items():
            self._add_presence(name, present=name in self.case.called, measurements=[self._certainty(score)])

    def add_prediction(self, value: float) -> None:
        from highdicom.sr import Measurement, MeasurementsAndQualitativeEvaluations

        measured = Measurement(_PREDICTION.concept(), value, _NO_UNITS.concept())
        self.made.append(
            MeasurementsAndQualitativeEvaluations(
                tracking_identifier=self._tracking("prediction"),
                algorithm_id=self.algorithm,
                measurements=[measured],
                source_images=self._sources(),
            )
        )

    def add_segments(self, segmented: Segmentation) -> None:
        shown = pixels_of(self.case, self.source, len(self.facts.segments))
        for number, (name, label) in enumerate(
            zip(self.facts.segments, labels_of(self.facts.segments), strict=True), start=1
        ):
            if not shown[number - 1]:
                self._add_presence(name, present=False, measurements=[])
                continue
            self._add_segment(segmented, number, name, label, shown[number - 1])

    def _add_segment(self, segmented: Segmentation, number: int, name: str, label: str, pixels: int) -> None:
        from highdicom.sr import (
            Measurement,
            PlanarROIMeasurementsAndQualitativeEvaluations,
            ReferencedSegment,
            ReferencedSegmentationFrame,
            SourceImageForSegmentation,
            SourceSeriesForSegmentation,
            VolumetricROIMeasurementsAndQualitativeEvaluations,
        )

        code = self.table[name]
        common = {
            "tracking_identifier": self._tracking(label),
            "finding_type": code.kind.concept(),
            "finding_category": code.category.concept(),
            "algorithm_id": self.algorithm,
        }
        uids = (segmented.SOPClassUID, segmented.SOPInstanceUID)
        size, _ = pixel_size(self.source)
        if self.source.grid is not None and size is not None:
            series = SourceSeriesForSegmentation(self.source.first.SeriesInstanceUID)
            self.made.append(
                VolumetricROIMeasurementsAndQualitativeEvaluations(
                    referenced_segment=ReferencedSegment(*uids, number, source_series=series),
                    measurements=[Measurement(_VOLUME.concept(), pixels * size, _MM3.concept())],
                    **common,
                )
            )
            return
        plane = self.source.planes[0]
        header = self.source.bare[plane.image]
        measured = (
            Measurement(_AREA.concept(), pixels, _PIXELS.concept())
            if size is None
            else Measurement(_AREA.concept(), pixels * size, _MM2.concept())
        )
        image = SourceImageForSegmentation(header.SOPClassUID, header.SOPInstanceUID, self._frame(plane))
        referred = ReferencedSegmentationFrame(*uids, _frame_of_segment(segmented, number), number, image)
        _keep_one_number(referred, segmented)
        self.made.append(
            PlanarROIMeasurementsAndQualitativeEvaluations(
                referenced_segment=referred,
                measurements=[measured],
                **common,
            )
        )

    def _add_presence(self, name: str, *, present: bool, measurements: list[Measurement]) -> None:
        from highdicom.sr import MeasurementsAndQualitativeEvaluations, QualitativeEvaluation

        code = self.table[name]
        self.made.append(
            MeasurementsAndQualitativeEvaluations(
                tracking_identifier=self._tracking(name),
                finding_type=code.kind.concept(),
                finding_category=code.category.concept(),
                algorithm_id=self.algorithm,
                measurements=measurements or None,
                qualitative_evaluations=[
                    QualitativeEvaluation(_CALLED.concept(), (_PRESENT if present else _ABSENT).concept())
                ],
                source_images=self._sources(),
            )
        )

    def _sources(self) -> list[Any] | None:
        """The image, where it is one; else all images of the report's evidence are meant."""
        from highdicom.sr import SourceImageForMeasurementGroup

        if len(self.source.planes) != 1:
            return None
        plane = self.source.planes[0]
        header = self.source.bare[plane.image]
        return [SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, self._frame(plane))]

    def _certainty(self, score: float) -> Measurement:
        from highdicom.sr import Measurement

        return Measurement(_CERTAINTY.concept(), 100 * score, _PERCENT.concept())

    def _tracking(self, name: str) -> TrackingIdentifier:
        from highdicom.sr import TrackingIdentifier

        return TrackingIdentifier(
            uid=derived_uid("finding", self.uid, str(len(self.made)), name), identifier=short(name) or "?"
        )

    def _frame(self, plane: Plane) -> list[int] | None:
        return [plane.frame + 1] if self.source.frames[plane.image] > 1 else None


def pixel_size(source: Source) -> tuple[float | None, str]:
    """Mm3 of a voxel, or mm2 of a flat image's pixel, and the unit; None where the header does not say it."""
    if source.grid is not None:
        return float(np.prod(source.grid.spacing)), "mm3"
    plane = source.planes[0]
    found = place(source.images[plane.image], plane.frame)
    return None if found is None else found.spacing[0] * found.spacing[1], "mm2"


def pixels_of(case: CaseResult, source: Source, segments: int) -> list[int]:
    """Number of pixels of each segment of a mask; of fractions those that count from one half on."""
    if case.mask is None:
        assert case.probabilities is not None  # a segmentation was made of them
        return [int(np.count_nonzero(layer >= 0.5)) for layer in case.probabilities]
    if case.mask.ndim == (4 if source.grid is not None else 3):
        return [int(np.count_nonzero(layer)) for layer in case.mask]
    return [int(one) for one in np.bincount(case.mask.ravel(), minlength=segments + 1)[1 : segments + 1]]


def _frame_of_segment(segmented: Segmentation, number: int) -> int:
    """Number from 1 of the frame that shows a segment of a flat image."""
    for index, frame in enumerate(segmented.get("PerFrameFunctionalGroupsSequence", ()), start=1):
        identified = frame.get("SegmentIdentificationSequence")
        if identified and identified[0].ReferencedSegmentNumber == number:
            return index
    return 1  # one segment alone, or a label map


def _keep_one_number(referred: Any, segmented: Segmentation) -> None:
    """Refer to the frame alone, or where a frame shows several segments to the segment (PS3.3, table 10-3)."""
    reference = referred[0].ReferencedSOPSequence[0]
    if segmented.SegmentationType == "LABELMAP":
        del reference.ReferencedFrameNumber
    else:
        del reference.ReferencedSegmentNumber


def _content(case: CaseResult, table: CodeTable, facts: ModelFacts, segmented: Segmentation | None) -> str:
    parts: list[object] = [
        [(box.label, box.score, box.edges) for box in case.boxes or ()],
        sorted((case.scores or {}).items()),
        sorted(case.called),
        case.prediction,
        [str(table[name]) for name in (facts.class_names if segmented is None else facts.segments)],
        None if segmented is None else str(segmented.SOPInstanceUID),
    ]
    return repr(parts)
