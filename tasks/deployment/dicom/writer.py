"""Results as DICOM objects, for a folder or for the network: the one door of this room."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from scansuite.errors import SuiteError, nearest
from scansuite.files import replacing, safe_path
from tasks.deployment.dicom.codes import CodeTable
from tasks.deployment.dicom.derived import check_installed, made_of
from tasks.deployment.dicom.result import KINDS, CaseResult, Kind, ModelFacts, SegmentationType
from tasks.deployment.dicom.source import Source

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

log = logging.getLogger(__name__)


def kinds_of(words: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds of objects that a user asks for, each once, in the order they are made in.

    Raises:
        SuiteError: a word is none of them.
    """
    asked = [part.strip().lower() for word in words for part in str(word).split(",") if part.strip()]
    for word in asked:
        if word not in KINDS:
            raise SuiteError(f"--dicom {word}: {nearest(word, KINDS)}")
    return tuple(kind for kind in KINDS if kind in asked)


@dataclass(frozen=True)
class Refused:
    """An object that could not be made.

    Attributes:
        case_id: of the case.
        path: of its first image.
        kind: of the object.
        reason: in one line.
    """

    case_id: str
    path: str
    kind: str
    reason: str


class DicomWriter:
    """Makes the DICOM objects of a model's results.

    Args:
        facts: of the model.
        kinds: of the objects. A segmentation model's report refers to a segmentation, which is then made too.
        codes: CSV of the user's with codes of classes.
        segmentation_type: of segmentations.
        document: PDF that is encapsulated instead of a page about the case.

    Attributes:
        refused: what could not be made, case by case.

    Raises:
        SuiteError: highdicom is missing, the table of codes cannot be read, or a kind does not suit the task.
    """

    def __init__(
        self,
        facts: ModelFacts,
        kinds: Sequence[Kind],
        codes: Path | None = None,
        segmentation_type: SegmentationType = "binary",
        document: bytes | None = None,
    ) -> None:
        check_installed()
        if facts.task != "segment" and "seg" in kinds:
            raise SuiteError(f"--dicom seg: is for masks, and the model's task is {facts.task}")
        if segmentation_type not in get_args(SegmentationType):
            raise SuiteError(
                f"--dicom_seg {segmentation_type}: {nearest(segmentation_type, get_args(SegmentationType))}"
            )
        self.facts, self.kinds, self.document = facts, tuple(kinds), document
        self.codes, self.segmentation_type = CodeTable(codes), segmentation_type
        self.refused: list[Refused] = []

    def objects(self, case: CaseResult) -> dict[str, Dataset]:
        """The objects of a case by file name without suffix, in the order in which they refer to one another.

        Where one cannot be made the others are, and :attr:`refused` says why.

        Raises:
            SuiteError: the case is no DICOM, or cannot be read.
        """
        source = case.source()
        made: dict[str, Dataset] = {}
        for kind in self.kinds:
            try:
                with made_of(kind, source):
                    made |= self._made(kind, case, source, made)
            except SuiteError as error:
                log.warning("%s", error)
                self.refused.append(Refused(case.case_id, source.name, kind, str(error)))
        return made

    def write(self, case: CaseResult, folder: Path) -> list[Path]:
        """Write the objects of a case as ``<folder>/<case id>/<name>.dcm``, each whole or not at all.

        Raises:
            SuiteError: as in :meth:`objects`, or the folder cannot be written to.
        """
        objects = self.objects(case)
        place = folder / safe_path(case.case_id)
        if objects:
            place.mkdir(parents=True, exist_ok=True)
        files = []
        for name, made in objects.items():
            file = place / f"{name}.dcm"
            with replacing(file) as temporary:
                made.save_as(temporary, enforce_file_format=True)
            files.append(file)
        return files

    def _made(self, kind: Kind, case: CaseResult, source: Source, made: dict[str, Dataset]) -> dict[str, Dataset]:
        facts = self.facts
        if kind == "seg":
            from tasks.deployment.dicom.segmentation import segmentation

            return {"seg": segmentation(case, source, facts, self.codes, self.segmentation_type)}
        if kind == "sr":
            return self._report(case, source, made)
        if kind == "sc":
            from tasks.deployment.dicom.capture import captures

            some = captures(case, source, facts)
            return {"sc" if len(some) == 1 else f"sc_{number:03d}": one for number, one in enumerate(some, start=1)}
        if kind == "gsps":
            from tasks.deployment.dicom.presentation import presentation_state

            return {"gsps": presentation_state(case, source, facts)}
        from tasks.deployment.dicom.pdf import encapsulated

        return {"report": encapsulated(case, source, facts, self.document)}

    def _report(self, case: CaseResult, source: Source, made: dict[str, Dataset]) -> dict[str, Dataset]:
        from tasks.deployment.dicom.segmentation import segmentation
        from tasks.deployment.dicom.structured_report import structured_report

        also: dict[str, Dataset] = {}
        if "seg" in self.kinds and "seg" not in made:
            raise SuiteError(f"{source.name}: a report refers to the segmentation, which could not be made")
        if self.facts.task == "segment" and "seg" not in made:
            also["seg"] = segmentation(case, source, self.facts, self.codes, self.segmentation_type)
        segmented = also.get("seg", made.get("seg"))
        return {**also, "sr": structured_report(case, source, self.facts, self.codes, segmented)}
