"""``predict --dicom``: what the flags, a trained model and its checkpoints say to the writers of DICOM objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.deployment.dicom.asking import DicomFolder, asked_for, write_refused, writer_of
from tasks.deployment.dicom.result import ModelFacts
from tasks.deployment.dicom.writer import DicomWriter
from tasks.distributed import gather
from tasks.export.describe import fingerprint, run_name
from tasks.predictor import Predictor


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


def finish_dicom(folder: DicomFolder | None, output: Path, is_first: bool) -> int:
    """Write what was refused on any rank; on all ranks.

    Returns:
        How many objects were.
    """
    if folder is None:
        return 0
    refused = [one for rank in gather(folder.refused) for one in rank]
    return write_refused(refused, output) if is_first else len(refused)
