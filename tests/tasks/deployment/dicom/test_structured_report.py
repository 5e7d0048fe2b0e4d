"""Structured reports: measured values, regions and references, read back by highdicom and by dcmtk."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tasks.deployment.dicom.result import Box, CaseResult, Kind, ModelFacts
from tasks.deployment.dicom.writer import DicomWriter
from tests.datamodules.dicom_on_disk import blob, write, write_series
from tests.tasks.deployment.dicom.made import (
    CLASSIFIER,
    DETECTOR,
    FACTS,
    SHAPE,
    assert_valid,
    drawn,
    on_grid,
    program,
)

BOXES = [Box("mass", 0.875, (1.5, 2.0, 7.25, 9.0)), Box("mass", 0.5, (-1.0, 0.0, 4.0, 99.0))]


def report_of(folder: Path, case: CaseResult, facts: ModelFacts, *kinds: Kind) -> tuple[Any, list[Path]]:
    """The report as highdicom reads it, and all files."""
    import highdicom

    writer = DicomWriter(facts, kinds or ("sr",))
    files = writer.write(case, folder / "made")
    assert writer.refused == []
    assert_valid(files)
    return highdicom.sr.srread(folder / "made" / case.case_id / "sr.dcm"), files


def test_boxes_are_regions_with_a_certainty(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", blob((1, *SHAPE[1:]))[0])
    report, files = report_of(tmp_path, CaseResult("case", file, boxes=BOXES), DETECTOR)
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    assert np.array_equal(groups[0].roi.value[:, :2], [[1.5, 2], [7.25, 2], [7.25, 9], [1.5, 9], [1.5, 2]])
    assert groups[1].roi.value.min() == 0  # cut at the image
    assert groups[1].roi.value.max() == SHAPE[1]
    assert groups[0].finding_type.meaning == "Mass"
    (measured,) = groups[0].get_measurements()
    assert (measured.name.value, measured.value, measured.unit.value) == ("111012", 87.5, "%")
    image = groups[0].roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == pydicom.dcmread(file).SOPInstanceUID
    assert len({group.tracking_uid for group in groups}) == 2
    (absent,) = report.content.get_image_measurement_groups()
    assert absent.finding_type.meaning == "Nodule"
    assert absent.get_qualitative_evaluations()[-1].value.meaning == "Absent"
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"
    said = subprocess.run([program("dsrdump"), str(files[0])], capture_output=True, text=True, check=True).stdout
    assert "Comprehensive SR Document" in said
    assert said.count('"Certainty of Finding"') >= 2
    assert "87.5" in said


def test_nothing_called_is_said(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", blob((1, *SHAPE[1:]))[0])
    report, _ = report_of(tmp_path, CaseResult("case", file, boxes=[]), DETECTOR)
    groups = report.content.get_image_measurement_groups()
    assert [group.finding_type.meaning for group in groups] == ["Mass", "Nodule"]
    assert {group.get_qualitative_evaluations()[-1].value.meaning for group in groups} == {"Absent"}


def test_scores_of_an_image(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", blob((1, *SHAPE[1:]))[0])
    case = CaseResult("case", file, scores={"benign": 0.25, "malignant": 0.75}, called=["malignant"])
    report, _ = report_of(tmp_path, case, CLASSIFIER)
    groups = report.content.get_image_measurement_groups()
    told = {
        group.finding_type.meaning: (
            group.get_measurements()[0].value, group.get_qualitative_evaluations()[-1].value.meaning
        )
        for group in groups
    }  # fmt: skip
    assert told == {"Benign": (25.0, "Absent"), "Malignant": (75.0, "Present")}
    sources = groups[0].source_images
    assert [one.referenced_sop_instance_uid for one in sources] == [pydicom.dcmread(file).SOPInstanceUID]


def test_a_bag_refers_to_all_of_its_images(tmp_path: Path) -> None:
    files = write_series(tmp_path / "s", blob(SHAPE))
    case = CaseResult("case", files, scores={"benign": 0.5, "malignant": 0.5})
    report, _ = report_of(tmp_path, case, CLASSIFIER)
    evidence = [
        one.ReferencedSOPInstanceUID
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report.get(keyword, ())
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert sorted(evidence) == sorted(pydicom.dcmread(file).SOPInstanceUID for file in files)


def test_a_regression_says_its_number(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", blob((1, *SHAPE[1:]))[0])
    facts = ModelFacts("bone age", "classify", (), run="11" * 32)
    report, _ = report_of(tmp_path, CaseResult("case", file, prediction=11.5), facts)
    (group,) = report.content.get_image_measurement_groups()
    assert group.get_measurements()[0].value == 11.5


def test_volumes_refer_to_their_segments(tmp_path: Path) -> None:
    write_series(tmp_path / "series", blob(SHAPE))
    case = CaseResult("case", tmp_path / "series", mask=on_grid(drawn()), volume=True)
    facts = ModelFacts("kidneys", "segment", (*FACTS.class_names, "spleen"), run="ab" * 32)
    report, files = report_of(tmp_path, case, facts)
    assert [file.name for file in files] == ["seg.dcm", "sr.dcm"]  # what it refers to is made too
    seg = pydicom.dcmread(files[0])
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.finding_type.meaning for group in groups] == ["Kidney", "blob"]
    for number, group in enumerate(groups, start=1):
        (measured,) = group.get_measurements()
        voxels = int((drawn() == number).sum())
        assert measured.value == pytest.approx(voxels * 0.8 * 0.7 * 2.5)
        assert measured.unit.value == "mm3"
        reference = group.referenced_segment
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert reference.referenced_segment_numbers == [number]
    (absent,) = report.content.get_image_measurement_groups()
    assert absent.finding_type.meaning == "Spleen"


@pytest.mark.parametrize("located", [True, False])
def test_areas_of_flat_images(tmp_path: Path, located: bool) -> None:
    """Mm2 where the header says how large a pixel is in the patient; else it is pixels."""
    place: dict[str, Any] = {
        "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.25],
        "SliceThickness": 2,
    }  # fmt: skip
    if not located:
        place = {"FrameOfReferenceUID": None, "Modality": "US", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}
    file = write(tmp_path / "a.dcm", blob((1, *SHAPE[1:]))[0].astype(np.uint8), **place)
    report, _ = report_of(tmp_path, CaseResult("case", file, mask=drawn()[3]), FACTS)
    groups = report.content.get_planar_roi_measurement_groups()
    for number, group in enumerate(groups, start=1):
        (measured,) = group.get_measurements()
        pixels = int((drawn()[3] == number).sum())
        assert measured.value == pytest.approx(pixels * 0.125 if located else pixels)
        assert measured.unit.value == ("mm2" if located else "{pixels}")
    assert len(groups) == 2
