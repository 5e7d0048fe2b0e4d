"""Who an image is of, without a name."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.cases.identity import join_identity
from datamodules.cases.table import table_of_images
from datamodules.classification.image_table import ImageTable
from datamodules.readers.dicom import identity as dicom_identity
from datamodules.readers.dicom.identity import COLUMNS, identity
from scansuite.errors import SuiteError
from tests.datamodules.dicom_on_disk import NAME, PATIENT, blob, write, write_series

IMAGE = np.arange(20, dtype=np.uint16).reshape(4, 5)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "config"
    monkeypatch.setenv("SCANSUITE_CONFIG", str(folder))
    dicom_identity.key.cache_clear()
    yield folder
    dicom_identity.key.cache_clear()


def test_what_is_kept_of_a_header(tmp_path: Path, config: Path) -> None:
    file = write(tmp_path / "x.dcm", IMAGE, SOPInstanceUID="1.2.3", PatientComments="calls herself Jane")
    found = identity(file)
    assert tuple(found) == COLUMNS
    assert found | {"patient_id": ""} == {
        "patient_id": "", "study_uid": "1.2.826.0.1.1", "series_uid": "1.2.826.0.1.1.1", "instance_uid": "1.2.3",
        "age": "60", "sex": "F", "manufacturer": "ACME", "modality": "CT",
    }  # fmt: skip
    for secret in (PATIENT, *NAME.split("^")):
        assert secret not in str(found)
    assert identity(file, keep_ids=True)["patient_id"] == PATIENT
    other = identity(write(tmp_path / "y.dcm", IMAGE, IssuerOfPatientID="elsewhere"))
    assert other["patient_id"] != found["patient_id"]
    assert identity(write(tmp_path / "z.dcm", IMAGE, PatientID=" "))["patient_id"] is None


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path, config: Path) -> None:
    file = write(tmp_path / "x.dcm", IMAGE)
    first = identity(file)["patient_id"]
    key = config / "identity.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [one.name for one in config.iterdir()] == ["identity.key"]
    dicom_identity.key.cache_clear()  # as another process would
    assert identity(file)["patient_id"] == first
    key.unlink()
    dicom_identity.key.cache_clear()
    assert identity(file)["patient_id"] != first
    key.write_text("no key")
    dicom_identity.key.cache_clear()
    with pytest.raises(SuiteError, match=r"identity.key: .* holds no key.*--data.keep_ids true"):
        identity(file)


@pytest.mark.parametrize(
    ("tags", "age"),
    [
        ({"PatientAge": "006M"}, "0.5"),
        ({"PatientAge": "010D"}, "0.03"),
        ({"PatientAge": None}, "60"),
        ({"PatientAge": None, "PatientBirthDate": "19600302"}, "59"),
        ({"PatientAge": "x", "PatientBirthDate": "1960"}, None),
    ],
)
def test_age(tmp_path: Path, config: Path, tags: dict[str, str | None], age: str | None) -> None:
    assert identity(write(tmp_path / "x.dcm", IMAGE, **tags))["age"] == age


def test_series_folders_and_other_files(tmp_path: Path, config: Path) -> None:
    write_series(tmp_path / "s", blob((3, 4, 5)))
    found = identity(tmp_path / "s")
    assert found["series_uid"] == "1.2.826.0.1.1.1"
    assert found["instance_uid"] is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match="no DICOM images in it"):
        identity(tmp_path / "empty")


def test_columns_of_the_case_table(tmp_path: Path, config: Path) -> None:
    for case in range(3):
        write(tmp_path / f"{case}.dcm", IMAGE, PatientID=f"P{case // 2}", PatientSex="M")
    (tmp_path / "3.png").write_bytes(b"")
    frame = pd.DataFrame({"path": [f"{case}.dcm" for case in range(3)] + ["3.png"], "sex": ["X"] * 4})
    table = join_identity(table_of_images(frame), tmp_path)
    patients = table.cases["patient_id"]
    assert patients[0] == patients[1] != patients[2]
    assert pd.isna(patients[3])
    assert table.cases["sex"].tolist() == ["X"] * 4  # the user's own column stays
    assert table.cases["age"].tolist()[:3] == [60, 60, 60]
    named = join_identity(table_of_images(frame.assign(patient_id=["a", "b", "c", "d"])), tmp_path)
    assert named.cases["patient_id"].tolist() == ["a", "b", "c", "d"]
    kept = join_identity(table_of_images(frame), tmp_path, keep_ids=True)
    assert kept.cases["patient_id"].tolist()[:3] == ["P0", "P0", "P1"]
    plain = table_of_images(frame[3:])
    assert join_identity(plain, tmp_path) is plain


def test_image_tables_split_by_the_patients_of_the_headers(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCANSUITE_CACHE", str(tmp_path / "cache"))
    rows = []
    for case in range(24):
        write(tmp_path / f"{case}.dcm", IMAGE + case, PatientID=f"P{case // 3}")
        rows.append({"path": f"{case}.dcm", "label": "ab"[case // 3 % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "labels.csv", index=False)
    cases = ImageTable(str(tmp_path), folds=2).table.cases
    assert cases["patient_id"].nunique() == 8
    assert (cases.groupby("patient_id")["split"].nunique() == 1).all()
    assert PATIENT not in cases.to_csv()
