"""Captures, presentation states and PDF: pictures of a result in the patient's study."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.deployment.dicom.pdf import document_of
from tasks.deployment.dicom.presentation import outlines_of
from tasks.deployment.dicom.result import Box, CaseResult, Kind, ModelFacts
from tasks.deployment.dicom.writer import DicomWriter
from tests.datamodules.dicom_on_disk import blob, write, write_enhanced, write_series
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

GREY = blob((1, *SHAPE[1:]))[0]
SCORES = {"benign": 0.25, "malignant": 0.75}


def made_of(folder: Path, case: CaseResult, facts: ModelFacts, *kinds: Kind) -> list[Path]:
    writer = DicomWriter(facts, kinds)
    files = writer.write(case, folder / "made")
    assert writer.refused == []
    assert_valid(files)
    return files


def segmented(folder: Path) -> CaseResult:
    write_series(folder / "series", blob(SHAPE))
    return CaseResult("case", folder / "series", mask=on_grid(drawn()), volume=True)


def test_captures_show_each_image_with_a_finding(tmp_path: Path) -> None:
    files = made_of(tmp_path, segmented(tmp_path), FACTS, "sc")
    found = [number for number, plane in enumerate(drawn()) if plane.any()]
    assert len(files) == len(found)
    sources = sorted((tmp_path / "series").iterdir(), key=lambda file: pydicom.dcmread(file).InstanceNumber)
    for number, file in zip(found, files, strict=True):
        made = pydicom.dcmread(file)
        picture = made.pixel_array
        assert picture.shape[2] == 3
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
        source = pydicom.dcmread(sources[number])
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert "BurnedInAnnotation" not in made  # the source does not say
        assert "NOT FOR DIAGNOSIS" in made.SeriesDescription
    assert len({pydicom.dcmread(file).SeriesInstanceUID for file in files}) == 1
    assert len({pydicom.dcmread(file).SOPInstanceUID for file in files}) == len(files)


def test_a_capture_says_of_burned_in_words_what_its_source_says(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", GREY, BurnedInAnnotation="YES")
    (made,) = made_of(tmp_path, CaseResult("case", file, scores=SCORES), CLASSIFIER, "sc")
    assert pydicom.dcmread(made).BurnedInAnnotation == "YES"


def covered(lines: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside by the even-odd rule."""
    from matplotlib.path import Path as Line

    rows, columns = np.indices(shape) + 0.5
    centres = np.c_[columns.ravel(), rows.ravel()]
    inside = np.zeros(len(centres), bool)
    for line in lines:
        inside ^= Line(line).contains_points(centres)
    return inside.reshape(shape)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_outlines_enclose_the_region_and_nothing_else(region: NDArray[np.bool_]) -> None:
    lines = outlines_of(region)
    for line in lines:
        assert np.array_equal(line[0], line[-1])
        assert line.min() >= 0
        assert (line <= [region.shape[1], region.shape[0]]).all()
    assert np.array_equal(covered(lines, region.shape), region)


def test_outlines_of_masks_are_drawn_on_their_images(tmp_path: Path) -> None:
    (file,) = made_of(tmp_path, segmented(tmp_path), FACTS, "gsps")
    state = pydicom.dcmread(file)
    assert [layer.GraphicLayerDescription for layer in state.GraphicLayerSequence] == ["left kidney", "blob"]
    instances = {
        pydicom.dcmread(one).SOPInstanceUID: pydicom.dcmread(one).InstanceNumber - 1
        for one in (tmp_path / "series").iterdir()
    }
    found = np.zeros(SHAPE, np.uint8)
    for annotation in state.GraphicAnnotationSequence:
        plane = instances[annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID]
        label = int(annotation.GraphicLayer.split()[1])
        lines = [np.reshape(one.GraphicData, (-1, 2)) for one in annotation.GraphicObjectSequence]
        found[plane][covered(lines, SHAPE[1:])] = label
    assert np.array_equal(found, drawn())
    (window,) = state.SoftcopyVOILUTSequence
    assert float(window.WindowCenter[0] if hasattr(window.WindowCenter, "__len__") else window.WindowCenter) == 40
    done = subprocess.run([program("dcmpschk"), str(file)], capture_output=True, text=True, check=False)
    assert "Test passed" in done.stdout + done.stderr


def test_boxes_and_scores_are_drawn_too(tmp_path: Path) -> None:
    file = write(tmp_path / "a.dcm", GREY, PhotometricInterpretation="MONOCHROME1", Modality="CR",
                 SOPClassUID="1.2.840.10008.5.1.4.1.1.1", FrameOfReferenceUID=None)  # fmt: skip
    boxes = [Box("nodule", 0.5, (1, 2, 7, 9))]
    (made,) = made_of(tmp_path, CaseResult("box", file, boxes=boxes), DETECTOR, "gsps")
    state = pydicom.dcmread(made)
    (annotation,) = state.GraphicAnnotationSequence
    assert annotation.GraphicLayer == "CLASS 2"
    assert annotation.TextObjectSequence[0].UnformattedTextValue == "nodule 0.50"
    assert annotation.GraphicObjectSequence[0].GraphicData == [1, 2, 7, 2, 7, 9, 1, 9, 1, 2]
    assert state.PresentationLUTShape == "INVERSE"
    (made,) = made_of(tmp_path, CaseResult("score", file, scores=SCORES, called=["malignant"]), CLASSIFIER, "gsps")
    (annotation,) = pydicom.dcmread(made).GraphicAnnotationSequence
    assert "malignant 0.75 (called)" in annotation.TextObjectSequence[0].UnformattedTextValue


def test_frames_are_referred_to_by_number(tmp_path: Path) -> None:
    file = write_enhanced(tmp_path / "x.dcm", blob(SHAPE))
    case = CaseResult("case", file, mask=on_grid(drawn()), volume=True)
    files = made_of(tmp_path, case, FACTS, "sc", "gsps")
    frames = [pydicom.dcmread(one).SourceImageSequence[0].ReferencedFrameNumber for one in files[:-1]]
    assert frames == [number + 1 for number, plane in enumerate(drawn()) if plane.any()]
    state = pydicom.dcmread(files[-1])
    told = {one.ReferencedImageSequence[0].ReferencedFrameNumber for one in state.GraphicAnnotationSequence}
    assert told == set(frames)


def test_a_colour_image_has_no_greyscale_state(tmp_path: Path) -> None:
    file = write(tmp_path / "us.dcm", np.zeros((8, 8, 3), np.uint8), FrameOfReferenceUID=None)
    writer = DicomWriter(DETECTOR, ("gsps", "sr"))
    files = writer.write(CaseResult("case", file, boxes=[]), tmp_path / "made")
    assert [one.name for one in files] == ["sr.dcm"]
    assert [one.kind for one in writer.refused] == ["gsps"]
    assert "is in colour" in writer.refused[0].reason


def test_a_page_about_the_case_is_a_pdf(tmp_path: Path) -> None:
    (file,) = made_of(tmp_path, segmented(tmp_path), FACTS, "pdf")
    made = pydicom.dcmread(file)
    page = made.EncapsulatedDocument[: made.EncapsulatedDocumentLength]
    assert page.startswith(b"%PDF-")
    assert page.rstrip().endswith(b"%%EOF")
    assert made.PatientName.family_name.encode() not in page
    subprocess.run([program("dcm2pdf"), str(file), str(tmp_path / "a.pdf")], check=True, capture_output=True)
    assert (tmp_path / "a.pdf").read_bytes() == page


def test_a_pdf_of_the_users_is_taken_as_it_is(tmp_path: Path) -> None:
    given_pdf = tmp_path / "report.pdf"
    given_pdf.write_bytes(b"%PDF-1.4 odd")
    file = write(tmp_path / "a.dcm", GREY)
    writer = DicomWriter(CLASSIFIER, ("pdf",), document=document_of(given_pdf))
    (made,) = writer.write(CaseResult("case", file, scores=SCORES), tmp_path / "made")
    dataset = pydicom.dcmread(made)
    assert dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength] == b"%PDF-1.4 odd"
    assert dataset.BurnedInAnnotation == "YES"
    assert_valid([made])


def test_other_documents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "a.docx"
    other.write_bytes(b"PK")
    with pytest.raises(SuiteError, match="is neither a PDF nor a page of HTML"):
        document_of(other)
    with pytest.raises(SuiteError, match=r"none\.pdf: cannot be read"):
        document_of(tmp_path / "none.pdf")
    page = tmp_path / "report.html"
    page.write_text("<p>report")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SuiteError, match="no browser"):
        document_of(page)


@pytest.mark.slow
def test_a_report_is_printed_by_a_browser(tmp_path: Path) -> None:
    program("chromium")
    page = tmp_path / "report.html"
    page.write_text("<h1>Report</h1>")
    assert document_of(page).startswith(b"%PDF-")
