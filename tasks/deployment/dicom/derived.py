"""What all derived objects share: series, numbers, equipment, UIDs, and the last touches on each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from datamodules.readers.dicom.header import quiet, text, whole
from scansuite.errors import SuiteError
from tasks.deployment.dicom.codes import PRIVATE_SCHEME
from tasks.deployment.dicom.patient import carry
from tasks.deployment.dicom.result import KINDS, NOT_FOR_DIAGNOSIS, Kind, ModelFacts
from tasks.deployment.dicom.source import Source
from tasks.deployment.dicom.uids import derived_uid, digest_of

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.dataset import Dataset

MISSING = "highdicom is missing: pip install 'scansuite[dicom-out]'"
MANUFACTURER = "scansuite"
_LONG_STRING = 64  # characters of LO
_LARGEST = 2**31 - 1  # of IS
_OF_BODY_PARTS = ("OT", "PR")  # modalities of what we make whose series has a part and a side of the body
_NUMBERS: dict[Kind, int] = {"seg": 81, "sr": 82, "sc": 83, "gsps": 84, "pdf": 85}


def check_installed() -> None:
    """Refuse where highdicom is not there.

    Raises:
        SuiteError: names the extra.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError:
        raise SuiteError(f"--dicom: {MISSING}") from None
    quiet()
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)


def short(words: str) -> str:
    """Words as a long string (LO) takes them."""
    clean = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in words)
    return " ".join(clean.split())[:_LONG_STRING]


def series_of(kind: Kind, source: Source, facts: ModelFacts) -> dict[str, Any]:
    """Arguments of highdicom that say which series an object belongs to, and who made it.

    A model's objects of one kind on images of one series are one series. Its number is that of the images' series
    times 100, and the kind's.
    """
    header = source.first
    number = (whole(header, "SeriesNumber") or 0) * 100 + _NUMBERS[kind]
    kind_words = kind.upper()
    return {
        "series_instance_uid": derived_uid(f"{kind} series", facts.identity, str(header.SeriesInstanceUID)),
        "series_number": number if 0 < number <= _LARGEST else _NUMBERS[kind],
        "series_description": short(f"{kind_words} {NOT_FOR_DIAGNOSIS}: {facts.name}"),
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": short(facts.name) or MANUFACTURER,
        "software_versions": short(facts.version) or "?",
        "device_serial_number": facts.run[:16] if facts.run else "unknown",
        "content_qualification": "RESEARCH",
    }


def instance_number(source: Source) -> int:
    """Number of an object among those of its series: of a flat image its own, else 1."""
    number = whole(source.first, "InstanceNumber") or 1
    return number if source.grid is None and 0 < number <= _LARGEST else 1


def instance_uid(kind: Kind, source: Source, facts: ModelFacts, *content: str | bytes | memoryview) -> str:
    """UID of an object: of the kind, the model, the images and the content, and of nothing else."""
    frames = ",".join(f"{plane.image}:{plane.frame}" for plane in source.planes)
    return derived_uid(kind, facts.identity, *sorted(source.uids), frames, digest_of(content))


def finished(made: Dataset, source: Source, texts: str) -> Dataset:
    """Put patient and study of the source into an object, and the suite's own rules for UIDs.

    Args:
        made: by highdicom; is changed.
        source: its images.
        texts: of the object's own, which its character set must hold.
    """
    carry(source.first, made, texts)
    _say_side(source.first, made)
    own = derived_uid("dimensions", str(made.SOPInstanceUID))
    for item in (*made.get("DimensionOrganizationSequence", ()), *made.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = own  # highdicom draws one
    return made


def _say_side(header: Dataset, made: Dataset) -> None:
    """Part and side of the body, which belong to the series, as the source has them.

    The side has to be there, or must not be, depending on the part. Where the source names a part without a side, both
    stay unsaid: an empty side means that it is not known.
    """
    if made.Modality not in _OF_BODY_PARTS:
        return
    part, side = text(header, "BodyPartExamined"), text(header, "Laterality")
    made.Laterality = side if side in ("R", "L") else None
    if part is not None and made.Laterality:
        made.BodyPartExamined = header.BodyPartExamined


def algorithm(facts: ModelFacts) -> AlgorithmIdentificationSequence:
    """Who segmented: name, version and the run's hash."""
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    return AlgorithmIdentificationSequence(
        name=short(facts.name) or MANUFACTURER,
        family=codes.DCM.ArtificialIntelligence,
        version=short(facts.version) or "?",
        source=MANUFACTURER,
        parameters={"run": facts.run} if facts.run else None,
    )


def private_scheme() -> list[CodingSchemeIdentificationItem]:
    """What the suite's private codes are."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [
        CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME,
            name="Names of classes without a public code",
            responsible_organization=MANUFACTURER,
        )
    ]


@contextmanager
def made_of(kind: Kind, source: Source) -> Iterator[None]:
    """Turn what highdicom says of a source that it cannot make an object of into one line.

    Headers hold anything, and one odd file must not end a run over thousands.

    Raises:
        SuiteError: names the source and the kind.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(str(error).split()).strip("'\"")[:200] or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"its kind ({text(source.first, 'SOPClassUID')}) is none of the standard's images"
        raise SuiteError(f"{source.name}: no {KINDS[kind]} can be made of it: {reason}") from None
