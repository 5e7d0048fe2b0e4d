"""DICOM segmentations made with highdicom, for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
from numpy.typing import NDArray


def write_seg(
    file: Path, sources: Sequence[Path], mask: NDArray[Any], labels: Mapping[int, str], kind: str = "BINARY"
) -> Path:
    """Write a mask (slices, rows, columns) of segment numbers, drawn on the images of a series.

    Args:
        file: to write.
        sources: the images, in the order of the mask's slices.
        mask: segment numbers, 0 where there is none; or (slices, rows, columns, segments) fractions.
        labels: segment number -> label.
        kind: BINARY, FRACTIONAL or LABELMAP.
    """
    import highdicom
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    described = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
        )
        for number, label in labels.items()
    ]
    seg = Segmentation(
        source_images=[pydicom.dcmread(source) for source in sources],
        pixel_array=mask,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="ACME",
        manufacturer_model_name="pen",
        software_versions="1",
        device_serial_number="1",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(file)
    return file
