"""Exported models write the same DICOM objects: their finished cases go the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from datamodules.input_cases import InputCases
from scansuite.errors import SuiteError
from tasks.cli.dicom import finish_dicom, send_exported
from tasks.exported.predict import FileRun
from tests.datamodules.dicom_on_disk import write
from tests.tasks.deployment.dicom.made import assert_valid
from tests.tasks.exported.by_torch import TorchRunnable
from tests.tasks.exported.test_predict import NO_PICTURES, classifier, detector, segmenter


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for number in range(2):
        write(
            folder / f"{number}.dcm", rng.integers(0, 4096, (48, 40), dtype=np.uint16), Modality="CR",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.1", FrameOfReferenceUID=None,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("model", "kinds", "names"),
    [
        (classifier, "sr", ["sr"]),
        (segmenter, "seg sr", ["seg", "sr"]),
        (detector, "sr gsps", ["gsps", "sr"]),
    ],
)
def test_three_tasks(scans: Path, tmp_path: Path, model: Any, kinds: str, names: list[str]) -> None:
    task = model()
    runnable = TorchRunnable(task)
    options = {} if model is classifier else NO_PICTURES
    run = FileRun(runnable, InputCases(), tmp_path, options)
    table = run.table([str(scans)])
    flags = {"dicom": kinds.split(), "dicom_seg": "binary", "dicom_codes": None, "dicom_pdf": None}
    folder = send_exported(run, table, runnable.description, flags, tmp_path)
    assert folder is not None
    result = run.predict(table)
    assert finish_dicom(folder, tmp_path, True) == 0
    made = sorted((tmp_path / "dicom").rglob("*.dcm"))
    assert folder.written == len(made) == 2 * len(names)
    assert sorted({file.stem for file in made}) == names
    assert_valid(made)
    assert {file.parent.name for file in made} == set(result.cases)
    for file in made:
        assert pydicom.dcmread(file).PatientName == "Doe^Jane"


def test_no_flag_is_no_object(scans: Path, tmp_path: Path) -> None:
    runnable = TorchRunnable(classifier())
    run = FileRun(runnable, InputCases(), tmp_path, {})
    table = run.table([str(scans)])
    assert send_exported(run, table, runnable.description, {"dicom": None}, tmp_path) is None
    assert finish_dicom(None, tmp_path, True) == 0
    with pytest.raises(SuiteError, match="--dicom seg: is for masks"):
        send_exported(run, table, runnable.description, {"dicom": ["seg"]}, tmp_path)
