"""Patient and study are the source's: all of them, letter for letter, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from tasks.deployment.dicom.patient import CARRIED, NEEDED
from tasks.deployment.dicom.result import Box, CaseResult, Kind, ModelFacts
from tasks.deployment.dicom.writer import DicomWriter
from tests.datamodules.dicom_on_disk import blob, image, item, write
from tests.tasks.deployment.dicom.made import DETECTOR

GREY = blob((1, 16, 12))[0]
CASE = [Box("mass", 0.8, (1, 2, 7, 9))]
KINDS: tuple[Kind, ...] = ("sr", "sc", "gsps", "pdf")
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
ARABIC = "قباني^لنزار"


def objects_of(file: Path, facts: ModelFacts = DETECTOR, kinds: tuple[Kind, ...] = KINDS) -> dict[str, Dataset]:
    writer = DicomWriter(facts, kinds)
    files = writer.write(CaseResult("case", file, boxes=CASE), file.parent / "made")
    assert writer.refused == []
    return {one.stem: pydicom.dcmread(one) for one in files}


def test_what_is_carried_is_what_the_standard_has() -> None:
    from highdicom._standard_utils import get_module_attribute_map

    modules = ("patient", "clinical-trial-subject", "general-study", "patient-study", "clinical-trial-study")
    table = get_module_attribute_map()
    stated = {one["keyword"] for module in modules for one in table[module] if not one["path"]}
    assert stated - set(CARRIED) == set()
    assert set(NEEDED) <= set(CARRIED)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], JAPANESE),
        ("ISO_IR 127", ARABIC),
        ("ISO_IR 192", JAPANESE),
        ("ISO_IR 100", "Müller^Jörg"),
        (None, "Doe^Jane"),
    ],
)
def test_names_of_all_letters_are_byte_for_byte_the_sources(tmp_path: Path, charset: Any, name: str) -> None:
    file = write(
        tmp_path / "a.dcm",
        GREY,
        SpecificCharacterSet=charset,
        PatientName=name,
        StudyDescription="Schädel" if charset == "ISO_IR 100" else "x",
    )
    source = pydicom.dcmread(file)
    for kind, made in objects_of(file, kinds=KINDS if name is JAPANESE else ("gsps",)).items():
        for keyword in CARRIED:
            assert (keyword in made) == (keyword in source or keyword in NEEDED), (kind, keyword)
            if keyword in source:
                assert made.get_item(keyword).value == source.get_item(keyword).value, (kind, keyword)
        assert made.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
        assert str(made.PatientName) == name


def test_letters_stay_where_the_models_own_need_another_character_set(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.dcm", GREY, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=JAPANESE,
        OtherPatientNames=[JAPANESE, "Tarou^Yamada"], ReferringPhysicianName="佐藤^花子",
    )  # fmt: skip
    facts = ModelFacts("Büro", "detect", ("mass", "узел"), run="ab" * 32)
    for made in objects_of(file, facts).values():
        assert made.SpecificCharacterSet == "ISO_IR 192"
        assert str(made.PatientName) == JAPANESE
        assert str(made.ReferringPhysicianName) == "佐藤^花子"
        assert [str(one) for one in made.OtherPatientNames] == [JAPANESE, "Tarou^Yamada"]
    assert "Büro" in made.SeriesDescription


def test_a_source_without_names_gets_none(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientAge", "StudyID"))
    file = write(tmp_path / "a.dcm", GREY, **nothing, AccessionNumber=None, ReferringPhysicianName=None)
    for made in objects_of(file).values():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyID", "AccessionNumber"):
            assert not made[keyword].value
        assert "PatientAge" not in made
        people = [one for one in made.iterall() if one.VR == "PN" and one.value]
        assert people == []


def test_values_that_break_the_standards_rules_are_carried_as_they_are(tmp_path: Path) -> None:
    """A hospital knows its patient by what stands there."""
    odd = {"PatientSex": "W", "PatientBirthDate": "1960.03.01", "StudyTime": "12:00", "PatientID": "a^b/ c*"}
    dataset = image(GREY)
    file = tmp_path / "a.dcm"
    for keyword, value in odd.items():
        dataset[keyword]._value = value
    dataset.save_as(file, enforce_file_format=True)
    for made in objects_of(file, kinds=("sr", "gsps")).values():
        for keyword, value in odd.items():
            assert str(made[keyword].value) == value


def test_private_elements_are_not_copied(tmp_path: Path) -> None:
    dataset = image(
        GREY, RequestingServiceCodeSequence=item(CodeValue="1", CodeMeaning="x", CodingSchemeDesignator="99X")
    )
    dataset.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "SECRET")
    dataset.RequestingServiceCodeSequence[0].private_block(0x0011, "ACME", create=True).add_new(1, "LO", "SECRET")
    file = tmp_path / "a.dcm"
    dataset.save_as(file, enforce_file_format=True)
    for made in objects_of(file, kinds=("sr", "gsps")).values():
        assert "SECRET" not in str(made)
        assert not any(one.tag.is_private for one in made.iterall())
        assert made.RequestingServiceCodeSequence[0].CodeMeaning == "x"
