"""Codes of classes: plain names -> the coded concepts that DICOM objects need, from a table and from the user's own."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from scansuite.errors import SuiteError

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

log = logging.getLogger(__name__)

COLUMNS = ("name", "category", "category_meaning", "type", "type_meaning", "modifier", "modifier_meaning")
PRIVATE_SCHEME = "99SCANSUITE"  # coding scheme designators that begin with 99 are private (PS3.16, 8)
_LONGEST_VALUE, _LONGEST_SCHEME, _LONGEST_MEANING = 16, 16, 64  # of SH and LO (PS3.5, 6.2)
_MOST_BYTES = 2**20
_SIDES = ("left", "right")


@dataclass(frozen=True)
class Code:
    """A coded concept.

    Attributes:
        scheme: designator of its coding scheme: ``SCT`` is SNOMED CT.
        value: code within the scheme, at most 16 characters.
        meaning: in words, at most 64 characters.
    """

    scheme: str
    value: str
    meaning: str

    def concept(self) -> CodedConcept:
        """The code as highdicom takes it."""
        from highdicom.sr import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


_ANATOMY = Code("SCT", "91723000", "Anatomical Structure")
_SIDE_CODES = {"left": Code("SCT", "7771000", "Left"), "right": Code("SCT", "24028007", "Right")}


@dataclass(frozen=True)
class ClassCode:
    """What a class is, in codes.

    Attributes:
        category: of the property, such as (91723000, SCT, "Anatomical Structure").
        kind: the property itself, such as (10200004, SCT, "Liver").
        modifier: such as (7771000, SCT, "Left"), where there is one.
    """

    category: Code
    kind: Code
    modifier: Code | None = None

    @property
    def private(self) -> bool:
        """Whether no public coding scheme names it."""
        return self.kind.scheme == PRIVATE_SCHEME


def private_code(name: str) -> Code:
    """A code of the suite's own scheme: its value are twelve digits of the name's SHA-256, its meaning the name."""
    value = hashlib.sha256(_key(name).encode("utf-8", "surrogatepass")).hexdigest()[:12].upper()
    return Code(PRIVATE_SCHEME, value, _fitted(name))


class CodeTable:
    """Codes of classes by their plain names.

    Upper and lower case, underscores and hyphens do not count. ``left`` or ``right`` beside a name that the table has
    becomes its modifier. A name that is in no table gets :func:`private_code` and, once, a line in the log.

    Args:
        file: CSV of the user's, whose rows come before ours; see :data:`COLUMNS`. A code is written ``SCHEME:VALUE``.

    Raises:
        SuiteError: the file cannot be read, lacks a column, or a row has no code; names the row.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._codes = dict(_own_codes())
        if file is not None:
            self._codes |= _read(_text_of(file), str(file))
        self._said: set[str] = set()

    def __getitem__(self, name: str) -> ClassCode:
        key = _key(name)
        if (found := self._codes.get(key)) is not None:
            return found
        words = key.split()
        for side in _SIDES:
            rest = " ".join(word for word in words if word != side)
            if side in words and (found := self._codes.get(rest)) is not None and found.modifier is None:
                return replace(found, modifier=_SIDE_CODES[side])
        if key not in self._said:
            self._said.add(key)
            log.warning(
                "class %s is in no table of codes: it gets a private one (%s), which no other program knows; "
                "--dicom_codes FILE.csv gives it a public one",
                name, PRIVATE_SCHEME,
            )  # fmt: skip
        return ClassCode(_ANATOMY, private_code(name))


def _own_codes() -> Mapping[str, ClassCode]:
    return _read((resources.files(__package__) / "codes.csv").read_text(encoding="utf-8"), "codes.csv")


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise SuiteError(f"--dicom_codes {file}: is larger than {_MOST_BYTES} bytes: no table of codes")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SuiteError(f"--dicom_codes {file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SuiteError(f"--dicom_codes {file}: is no text in UTF-8: save it as CSV in UTF-8") from None


def _read(text: str, where: str) -> dict[str, ClassCode]:
    """The codes of a table, by key of the name."""
    rows = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS[:5] if name not in (rows.fieldnames or ())]
    if missing:
        raise SuiteError(f"--dicom_codes {where}: has no column {missing[0]!r}: its columns are {','.join(COLUMNS)}")
    found: dict[str, ClassCode] = {}
    try:
        for number, row in enumerate(rows, start=1):
            name = (row["name"] or "").strip()
            if not name:
                raise ValueError(f"row {number} has no name")
            codes = [_code(row, column, f"row {number} ({name})") for column in ("category", "type", "modifier")]
            if codes[0] is None or codes[1] is None:
                empty = "category" if codes[0] is None else "type"
                raise ValueError(f"row {number} ({name}) has no {empty}: write SCHEME:VALUE, such as SCT:10200004")
            found[_key(name)] = ClassCode(codes[0], codes[1], codes[2])
    except (ValueError, csv.Error) as error:
        raise SuiteError(f"--dicom_codes {where}: {error}") from None
    return found


def _code(row: Mapping[str, str | None], column: str, where: str) -> Code | None:
    """The code of a cell, with the meaning beside it; None where it is empty."""
    written, meaning = (row.get(column) or "").strip(), (row.get(f"{column}_meaning") or "").strip()
    if not written:
        return None
    scheme, colon, value = (part.strip() for part in written.partition(":"))
    if not (scheme and colon and value):
        raise ValueError(f"{where}: {column} {written!r} is no code: write SCHEME:VALUE, such as SCT:10200004")
    if not meaning:
        raise ValueError(f"{where}: {column}_meaning is empty: say what {written} means")
    limits = ((scheme, _LONGEST_SCHEME), (value, _LONGEST_VALUE), (meaning, _LONGEST_MEANING))
    for text, longest in limits:
        if len(text) > longest or "\\" in text or not text.isprintable():
            raise ValueError(f"{where}: {text[:80]!r} is longer than {longest} characters, or holds what no code may")
    return Code(scheme, value, meaning)


def _key(name: str) -> str:
    return " ".join(re.sub(r"[_\-]+", " ", name.casefold()).split())


def _fitted(name: str) -> str:
    """A name as the meaning of a code, or as a label: printable, without backslash, at most 64 characters."""
    clean = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in name)
    return " ".join(clean.split())[:_LONGEST_MEANING] or "?"


def labels_of(names: Iterable[str]) -> list[str]:
    """Names of classes as DICOM's labels (LO): what does not fit is cut, and cut ones are told apart by a number."""
    labels: list[str] = []
    for name in names:
        label = _fitted(name)
        if label in labels:
            number = f" {len(labels) + 1}"
            label = label[: _LONGEST_MEANING - len(number)] + number
        labels.append(label)
    return labels
