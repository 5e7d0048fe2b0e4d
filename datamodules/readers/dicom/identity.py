"""Identity of a DICOM file's patient, without a name: a keyed hash for the patient, and what subgroups are made of."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.readers.dicom.header import is_dicom, opened, text
from datamodules.readers.listing import paths_below
from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

COLUMNS = ("patient_id", "study_uid", "series_uid", "instance_uid", "age", "sex", "manufacturer", "modality")

_KEY_BYTES = 32
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}  # PS3.5 6.2, value representation AS


def identity(path: Path, *, keep_ids: bool = False) -> dict[str, str | None]:
    """Read who and what an image is of.

    Nothing else of the header is kept: no names, dates, addresses or numbers of visits.

    Args:
        path: a DICOM file, or a folder, of which the first DICOM file by name is read (without ``instance_uid``).
        keep_ids: give PatientID as it stands, instead of its keyed hash.

    Returns:
        Every one of :data:`COLUMNS`; None for what the header lacks. ``patient_id`` is ``p`` and 16 hexadecimal digits
        of HMAC-SHA256 over IssuerOfPatientID and PatientID, with a key of this user (:func:`key`). ``age`` is in years,
        from PatientAge, else from birth and study date.

    Raises:
        SuiteError: the file cannot be read, or the key can neither be read nor made.
    """
    first = path
    if path.is_dir():
        found = next((file for file in paths_below(path) if file.name != "DICOMDIR" and is_dicom(file)), None)
        if found is None:
            raise SuiteError(f"{path}: no DICOM images in it")
        first = found
    with opened(first) as source:
        header = source.dataset
        sex = (text(header, "PatientSex") or "").upper()
        return {
            "patient_id": _patient(header, keep_ids),
            "study_uid": text(header, "StudyInstanceUID"),
            "series_uid": text(header, "SeriesInstanceUID"),
            "instance_uid": None if path.is_dir() else text(header, "SOPInstanceUID"),
            "age": _age(header),
            "sex": sex if sex in ("F", "M", "O") else None,
            "manufacturer": text(header, "Manufacturer"),
            "modality": text(header, "Modality"),
        }


def hashed(patient: str, issuer: str = "") -> str:
    """The keyed hash that stands for a patient: the same on every run of this user, and no use to others."""
    message = f"{issuer}\0{patient}".encode("utf-8", "surrogatepass")
    return "p" + hmac.new(key(), message, hashlib.sha256).hexdigest()[:16]


@cache
def key() -> bytes:
    """The user's key, from ``identity.key`` in ``$SCANSUITE_CONFIG`` or the user's configuration folder.

    It is made the first time, readable by its owner alone. Whoever has it can tell whether a known PatientID is in a
    table; copy it to another machine to get the same hashes there.

    Raises:
        SuiteError: the file can neither be read nor made.
    """
    from platformdirs import user_config_path

    folder = Path(os.environ.get("SCANSUITE_CONFIG") or user_config_path("scansuite"))
    file = folder / "identity.key"
    try:
        if not file.is_file():
            _make(file)
        content = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no key"
        raise SuiteError(
            f"{file}: the key that patients are hashed with cannot be used ({reason}): give another folder in "
            "$SCANSUITE_CONFIG, or keep the patients' own ids with --data.keep_ids true"
        ) from None
    if len(content) < _KEY_BYTES:
        raise SuiteError(f"{file}: holds {len(content)} of {_KEY_BYTES} bytes of a key: restore it, or delete it")
    return content


def _make(file: Path) -> None:
    """Write a key whole or not at all; of several processes the first one's stays (``files.replacing``: the last's)."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened_file:
            opened_file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        with suppress(FileExistsError):
            os.link(part, file)
    finally:
        part.unlink(missing_ok=True)


def _patient(header: Dataset, keep_ids: bool) -> str | None:
    patient = text(header, "PatientID")
    if patient is None or keep_ids:
        return patient
    return hashed(patient, text(header, "IssuerOfPatientID") or "")


def _age(header: Dataset) -> str | None:
    """Years, with two digits below one year of resolution, or None."""
    stated = text(header, "PatientAge") or ""
    if len(stated) > 1 and stated[:-1].isdigit() and stated[-1] in _YEARS:
        return f"{round(int(stated[:-1]) * _YEARS[stated[-1]], 2):g}"
    born, studied = text(header, "PatientBirthDate") or "", text(header, "StudyDate") or ""
    if not (len(born) == len(studied) == 8 and (born + studied).isdigit()) or born > studied:
        return None
    return str(int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:]))
