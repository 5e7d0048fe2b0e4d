"""From flags to a writer, and the folder it fills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scansuite.errors import SuiteError
from tasks.deployment.dicom.asking import DicomFolder, asked_for, write_refused, writer_of
from tasks.deployment.dicom.result import Box, CaseResult
from tasks.deployment.dicom.rows import scored
from tasks.deployment.dicom.writer import DicomWriter, kinds_of
from tests.datamodules.dicom_on_disk import blob, write
from tests.tasks.deployment.dicom.made import CLASSIFIER, DETECTOR, FACTS


def test_kinds_are_words_or_a_list() -> None:
    assert kinds_of(["sr", "SEG", "sr"]) == ("seg", "sr")
    assert kinds_of(["pdf,sc"]) == ("sc", "pdf")
    with pytest.raises(SuiteError, match="--dicom segm: did you mean 'seg'"):
        kinds_of(["segm"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dicom_codes": "a.csv"}, "--dicom_codes a.csv: goes with --dicom"),
        ({"dicom_pdf": "a.pdf"}, "--dicom_pdf a.pdf: goes with --dicom"),
        ({"dicom": ["sr"], "dicom_pdf": "a.pdf"}, "goes with --dicom pdf"),
        ({"dicom": ["seg"]}, "--dicom seg: is for masks, and the model's task is detect"),
        ({"dicom": ["sr"], "dicom_seg": "binery"}, "--dicom_seg binery: did you mean 'binary'"),
        ({"dicom": ["sr"], "dicom_codes": "none.csv"}, "none.csv: cannot be read"),
    ],
)
def test_wrong_flags_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        writer_of(options, DETECTOR)
    assert words in str(caught.value)


def test_nothing_asked_is_nothing_written() -> None:
    assert asked_for({"dicom": None, "dicom_seg": "binary"}) == ()
    assert writer_of({"dicom": []}, FACTS) is None


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(SuiteError, match=r"highdicom is missing: pip install 'scansuite\[dicom-out\]'"):
        DicomWriter(DETECTOR, ("sr",))


def test_one_bad_case_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = DicomFolder(DicomWriter(DETECTOR, ("sr",)), tmp_path)
    good = write(tmp_path / "good.dcm", blob((1, 8, 6))[0])
    bad = write(tmp_path / "bad.dcm", blob((1, 8, 6))[0], StudyInstanceUID=None)
    boxes = [Box("mass", 0.5, (0, 0, 3, 3))]
    folder.take(CaseResult("a/../bad", bad, boxes=boxes))
    folder.take(CaseResult("a/good", good, boxes=boxes))
    assert folder.written == 1
    assert [file.relative_to(tmp_path).as_posix() for file in (tmp_path / "dicom").rglob("*.dcm")] == [
        "dicom/a/good/sr.dcm"
    ]
    assert write_refused(folder.refused, tmp_path) == 1
    lines = (tmp_path / "dicom" / "errors.csv").read_text().splitlines()
    assert lines[0] == "case_id,path,kind,error"
    assert "StudyInstanceUID (0020,000D) is missing" in lines[1]


def test_rows_of_all_targets() -> None:
    binary = {"score_benign": 0.2, "score_malignant": 0.8, "prediction": "malignant", "prediction_op": "benign"}
    assert scored(binary, CLASSIFIER.class_names) == {"scores": {"benign": 0.2, "malignant": 0.8}, "called": ["benign"]}
    several = {"score_a": 0.9, "score_b": 0.1, "prediction_op_a": 1, "prediction_op_b": 0}
    assert scored(several, ("a", "b"))["called"] == ["a"]
    assert scored({"score_a": 0.9, "score_b": 0.1, "prediction": "a"}, ("a", "b"))["called"] == ["a"]
    assert scored({"prediction": 3.5}, ()) == {"prediction": 3.5}
    assert scored({"prediction": float("nan")}, ()) == {}
