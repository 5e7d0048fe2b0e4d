"""A page about a case, or a PDF of the user's, as Encapsulated PDF (PS3.3, A.45.1)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scansuite.errors import SuiteError
from tasks.deployment.dicom.derived import finished, instance_number, instance_uid, series_of, short
from tasks.deployment.dicom.result import NOT_FOR_DIAGNOSIS, CaseResult, ModelFacts
from tasks.deployment.dicom.shown import picture_of, shown_planes
from tasks.deployment.dicom.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_EXPLICIT = "1.2.840.10008.1.2.1"
_MOST_BYTES = 2**28
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_A4 = (8.27, 11.69)  # inches
_LINES = 24  # of a page's table


def encapsulated(case: CaseResult, source: Source, facts: ModelFacts, document: bytes | None = None) -> Dataset:
    """A PDF in the patient's study.

    Args:
        case: what the page shows.
        source: its images.
        facts: of the model.
        document: a PDF that is taken instead of the page.
    """
    from highdicom import SOPClass
    from pydicom.dataset import Dataset

    content = page(case, source, facts) if document is None else document
    header = source.bare[0]
    title = f"{NOT_FOR_DIAGNOSIS}: {'result of' if document is None else 'report on'} {facts.name}"
    # Of our own page the result counts, not the bytes: they hold the versions of the drawing library.
    result = content if document is not None else _result_text(case, facts)
    made = SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        sop_class_uid=_ENCAPSULATED_PDF,
        sop_instance_uid=instance_uid("pdf", source, facts, result),
        instance_number=instance_number(source),
        modality="DOC",
        transfer_syntax_uid=_EXPLICIT,
        **series_of("pdf", source, facts),
    )
    made.copy_patient_and_study_information(header)
    made.ConversionType = "WSD"  # from a workstation
    made.BurnedInAnnotation = "NO" if document is None else "YES"  # a page of the user's may name anyone
    made.AcquisitionDateTime = None
    made.DocumentTitle = short(title)
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    made.EncapsulatedDocumentLength = len(content)
    made.SourceInstanceSequence = [_reference(one) for one in source.bare]
    finished(made, source, facts.name)
    assert isinstance(made, Dataset)
    return made


def page(case: CaseResult, source: Source, facts: ModelFacts) -> bytes:
    """A page in A4: what for, the model, a picture of the result, and a table of it. Names no patient."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    planes = shown_planes(case, source)
    picture = picture_of(case, source, facts, planes[len(planes) // 2])
    rows, columns = _table(case, source, facts)
    figure = Figure(figsize=_A4)
    FigureCanvasPdf(figure)
    figure.text(0.07, 0.955, f"{NOT_FOR_DIAGNOSIS}", fontsize=15, weight="bold", color="#b00020")
    about = [f"Result of the model {facts.name}", f"scansuite {facts.version}, {facts.task}"]
    about += [f"run {facts.run}"] if facts.run else []
    figure.text(0.07, 0.94, "\n".join(_plain(line) for line in about), fontsize=8, va="top", color="#333333")
    axes = figure.add_axes((0.07, 0.46, 0.86, 0.42))
    axes.imshow(picture, interpolation="antialiased")
    axes.set_axis_off()
    below = figure.add_axes((0.07, 0.08, 0.86, 0.36))
    below.set_axis_off()
    if rows:
        table = below.table(cellText=rows[:_LINES], colLabels=columns, loc="upper left", cellLoc="left")
        table.auto_set_font_size(False)
        table.set_fontsize(8)
        for cell in table.get_celld().values():
            cell.set_linewidth(0.4)
    left_out = f"{len(rows) - _LINES} further rows stand in the structured report. " if len(rows) > _LINES else ""
    scores = "Scores are calibrated." if facts.calibrated else "Scores rank; they are no probabilities."
    words = f"{left_out}Computed without a person's review. {scores}"
    figure.text(0.07, 0.05, words, fontsize=7, color="#333333")
    file = io.BytesIO()
    figure.savefig(file, format="pdf", metadata={"Creator": "scansuite", "Producer": None, "CreationDate": None})
    return file.getvalue()


def document_of(file: Path) -> bytes:
    """The PDF of a file of the user's: a PDF itself, or a page of HTML such as a report's, printed by a browser.

    Raises:
        SuiteError: there is no such file, it is neither, or no browser is there.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise SuiteError(f"--dicom_pdf {file}: is larger than {_MOST_BYTES} bytes")
        content = file.read_bytes()
    except OSError as error:
        raise SuiteError(f"--dicom_pdf {file}: cannot be read ({error.strerror})") from None
    if content.startswith(b"%PDF-"):
        return content
    if file.suffix.lower() in (".html", ".htm"):
        return _printed(file)
    raise SuiteError(f"--dicom_pdf {file}: is neither a PDF nor a page of HTML")


def _printed(file: Path) -> bytes:
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SuiteError(f"--dicom_pdf {file}: no browser (chromium) is here to print it: print it to a PDF yourself")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.pdf"
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"),
            *(f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}", file.resolve().as_uri()),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            return made.read_bytes()
        except (OSError, subprocess.SubprocessError):
            raise SuiteError(
                f"--dicom_pdf {file}: {Path(browser).name} could not print it: print it to a PDF yourself"
            ) from None


def _table(case: CaseResult, source: Source, facts: ModelFacts) -> tuple[list[list[str]], list[str]]:
    """Rows and heads of the page's table."""
    if case.mask is not None:
        return _sizes(case, source, facts)
    if case.boxes is not None:
        boxes = [
            [_plain(box.label), f"{box.score:.3f}", ", ".join(f"{edge:.1f}" for edge in box.edges)]
            for box in case.boxes
        ]
        return boxes or [["nothing was called", "", ""]], ["class", "score", "x1, y1, x2, y2 (pixels)"]
    rows = [
        [_plain(name), f"{score:.3f}", "yes" if name in case.called else ""]
        for name, score in (case.scores or {}).items()
    ]
    if case.prediction is not None:
        rows.append(["prediction", f"{case.prediction:.4g}", ""])
    return rows, ["class", "score", "called"]


def _sizes(case: CaseResult, source: Source, facts: ModelFacts) -> tuple[list[list[str]], list[str]]:
    from tasks.deployment.dicom.structured_report import pixel_size, pixels_of

    size, unit = pixel_size(source)
    counts = pixels_of(case, source, len(facts.segments))
    rows = [
        [_plain(name), str(count), f"{count * size:.1f}" if size is not None else ""]
        for name, count in zip(facts.segments, counts, strict=True)
    ]
    return rows, ["class", "pixels", unit]


def _result_text(case: CaseResult, facts: ModelFacts) -> str:
    parts: list[Any] = [
        [(box.label, box.score, box.edges) for box in case.boxes or ()],
        sorted((case.scores or {}).items()),
        sorted(case.called),
        case.prediction,
        facts.class_names,
        None if case.mask is None else (case.mask.shape, case.mask.tobytes()),
    ]
    return repr(parts)


def _plain(words: str) -> str:
    """Words without what matplotlib would take for formulas."""
    return words.replace("$", r"\$")


def _reference(header: Dataset) -> Dataset:
    from pydicom.dataset import Dataset

    one = Dataset()
    one.ReferencedSOPClassUID = header.SOPClassUID
    one.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return one
