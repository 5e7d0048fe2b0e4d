"""Overlays as Secondary Capture images (PS3.3, A.8.1): pictures that any viewer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datamodules.readers.dicom.header import text
from tasks.deployment.dicom.derived import finished, instance_uid, made_of, series_of
from tasks.deployment.dicom.result import NOT_FOR_DIAGNOSIS, CaseResult, ModelFacts
from tasks.deployment.dicom.shown import picture_of, shown_planes
from tasks.deployment.dicom.source import Source

if TYPE_CHECKING:
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset


def captures(case: CaseResult, source: Source, facts: ModelFacts) -> list[SCImage]:
    """RGB pictures of a case, one for each image that :func:`~tasks.deployment.dicom.shown.shown_planes` names.

    Raises:
        SuiteError: the image cannot be read.
    """
    from highdicom import ReferencedImageSequence
    from highdicom.sc import SCImage

    made = []
    for plane in shown_planes(case, source):
        picture = np.ascontiguousarray(picture_of(case, source, facts, plane))
        header = source.bare[source.planes[plane].image]
        uid = instance_uid("sc", source, facts, str(plane), str(picture.shape), picture.tobytes())
        with made_of("sc", source):
            one = SCImage(
                pixel_array=picture,
                photometric_interpretation="RGB",
                bits_allocated=8,
                coordinate_system="PATIENT",
                patient_orientation=("L", "P"),  # taken away below: a picture with panels lies nowhere
                study_instance_uid=header.StudyInstanceUID,
                sop_instance_uid=uid,
                instance_number=plane + 1,
                **series_of("sc", source, facts),
            )
            one.copy_patient_and_study_information(header)
            frames = source.frames[source.planes[plane].image]
            number = source.planes[plane].frame + 1 if frames > 1 else None
            one.SourceImageSequence = ReferencedImageSequence([header], referenced_frame_number=number)
        one.ImageType = ["DERIVED", "SECONDARY"]
        one.PatientOrientation = None
        one.ConversionType = "SYN"  # made by a program
        one.DerivationDescription = f"{NOT_FOR_DIAGNOSIS}: result of a model drawn on its source image"
        _say_of_source(one, source.images[source.planes[plane].image])
        made.append(finished(one, source, facts.name))
    return made


def _say_of_source(made: Dataset, header: Dataset) -> None:
    """What the source says of its own pixels holds for a picture of them; where it is silent, so is the picture."""
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures", "LossyImageCompression"):
        said = text(header, keyword)
        if said is not None:
            setattr(made, keyword, said)
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in header and made.get("LossyImageCompression") == "01":
            made[keyword] = header[keyword]
