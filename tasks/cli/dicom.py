"""``predict --dicom``: what the flags, a trained model and its checkpoints say to the writers of DICOM objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.deployment.case_results import files_of
from tasks.deployment.dicom.asking import DicomFolder, asked_for, write_refused, writer_of
from tasks.deployment.dicom.result import ModelFacts
from tasks.deployment.dicom.writer import DicomWriter
from tasks.distributed import gather
from tasks.export.describe import fingerprint, run_name
from tasks.exported.results import case_result, facts_of
from tasks.predictor import Predictor

if TYPE_CHECKING:
    from datamodules.cases.table import CaseTable
    from tasks.exported.description import Description
    from tasks.exported.predict import FileRun


def dicom_writer(options: Mapping[str, Any], model: Predictor, checkpoints: Sequence[Path]) -> DicomWriter | None:
    """The writer that ``--dicom`` asks for; None where it is left out.

    Raises:
        SuiteError: a flag is wrong, does not suit the task, or highdicom is missing.
    """
    if not asked_for(options):
        return None
    facts = ModelFacts(
        name=run_name(checkpoints),
        task=model.name,
        class_names=tuple(model.class_names),
        overlapping=bool(getattr(model, "overlapping", False)),
        run=fingerprint(checkpoints),
        calibrated=model.calibration is not None,
    )
    return writer_of(options, facts)


def send_exported(
    run: FileRun, table: CaseTable, description: Description, options: Mapping[str, Any], output: Path
) -> DicomFolder | None:
    """Have the cases of an exported model written as ``--dicom`` asks; None where it is left out.

    Args:
        run: that is about to predict the table.
        table: its cases.
        description: of the model.
        options: values of the flags.
        output: folder for what is written.

    Raises:
        SuiteError: a flag is wrong, does not suit the model, highdicom is missing, or an input is no DICOM.
    """
    if not asked_for(options):
        return None
    writer = writer_of(options, facts_of(description))
    if writer is None:
        return None
    folder = DicomFolder(writer, output)
    folder.refuse_others(table.images["path"])
    files, limits, volumes = files_of(table), run.inputs.limits, description.slices is not None
    run.sink = lambda case: folder.take(case_result(case, files, limits, volumes=volumes))
    return folder


def finish_dicom(folder: DicomFolder | None, output: Path, is_first: bool) -> int:
    """Write what was refused on any rank; on all ranks.

    Returns:
        How many objects were.
    """
    if folder is None:
        return 0
    refused = [one for rank in gather(folder.refused) for one in rank]
    return write_refused(refused, output) if is_first else len(refused)
