"""From the flags of ``predict`` to a writer of DICOM objects, and the folder that it fills case by case."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from scansuite.errors import SuiteError
from scansuite.files import write_text
from tasks.deployment.dicom.result import CaseResult, Kind, ModelFacts, SegmentationType
from tasks.deployment.dicom.source import refuse_other
from tasks.deployment.dicom.writer import DicomWriter, Refused, kinds_of


def asked_for(options: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Kinds of the objects that ``--dicom`` names; nothing where it is left out.

    Raises:
        SuiteError: a word is no kind, or a flag that goes with ``--dicom`` stands alone.
    """
    kinds = kinds_of(options.get("dicom") or ())
    if not kinds:
        for name in ("dicom_codes", "dicom_pdf"):
            if options.get(name) is not None:
                raise SuiteError(f"--{name} {options[name]}: goes with --dicom: say which objects are to be made")
    elif options.get("dicom_pdf") is not None and "pdf" not in kinds:
        raise SuiteError(f"--dicom_pdf {options['dicom_pdf']}: goes with --dicom pdf")
    return kinds


def writer_of(options: Mapping[str, Any], facts: ModelFacts) -> DicomWriter | None:
    """The writer that the flags ask for; None where they ask for none.

    Args:
        options: values of ``dicom``, ``dicom_seg``, ``dicom_codes`` and ``dicom_pdf``; None or absent: left out.
        facts: of the model.

    Raises:
        SuiteError: highdicom is missing, or a flag is wrong.
    """
    kinds = asked_for(options)
    if not kinds:
        return None
    document = None
    if options.get("dicom_pdf") is not None:
        from tasks.deployment.dicom.pdf import document_of

        document = document_of(Path(str(options["dicom_pdf"])))
    codes = options.get("dicom_codes")
    kind = cast("SegmentationType", options.get("dicom_seg") or "binary")  # which the writer checks
    return DicomWriter(facts, kinds, None if codes is None else Path(str(codes)), kind, document)


class DicomFolder:
    """The folder ``dicom`` of an output.

    Args:
        writer: of its objects.
        output: that it lies in.

    Attributes:
        written: number of files.
    """

    def __init__(self, writer: DicomWriter, output: Path) -> None:
        self.writer, self.folder = writer, output / "dicom"
        self.written = 0

    @property
    def refused(self) -> list[Refused]:
        """What could not be made."""
        return self.writer.refused

    @staticmethod
    def refuse_others(paths: Iterable[str]) -> None:
        """Refuse inputs that are no DICOM, before anything is computed.

        Raises:
            SuiteError: names the first.
        """
        for path in paths:
            refuse_other(Path(path))

    def take(self, case: CaseResult) -> None:
        """Write the objects of a case; what cannot be made goes to :attr:`refused`."""
        try:
            self.written += len(self.writer.write(case, self.folder))
        except SuiteError as error:
            path = case.paths if isinstance(case.paths, Path) else case.paths[0]
            self.refused.append(Refused(case.case_id, str(path), "", str(error)))


def write_refused(refused: Iterable[Refused], output: Path) -> int:
    """Write ``dicom/errors.csv`` (``case_id,path,kind,error``) where something was refused.

    Returns:
        How many objects were.
    """
    rows = list(refused)
    if rows:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("case_id", "path", "kind", "error"))
        table.writerows((one.case_id, one.path, one.kind, one.reason) for one in rows)
        folder = output / "dicom"
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "errors.csv", text.getvalue())
    return len(rows)
