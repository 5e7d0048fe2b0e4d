"""Which modality images are of, and what says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from datamodules.fingerprint.fingerprint import Spread

# Modality of DICOM (PS3.3, C.7.3.1.1.1) -> ours.
_DICOM = {
    "CT": "ct", "MR": "mr", "US": "ultrasound", "IVUS": "ultrasound", "BDUS": "ultrasound", "PT": "pet", "NM": "pet",
    "SM": "microscopy", "GM": "microscopy", "OP": "colour", "ES": "colour", "XC": "colour", "DMS": "colour",
    **dict.fromkeys(("CR", "DX", "RG", "MG", "XA", "RF", "IO", "PX"), "xray"),
}  # fmt: skip
# How sequences are called in a dataset.json.
_SEQUENCES = {
    "ct": "ct", "mri": "mr", "mr": "mr", "t1": "mr", "t1w": "mr", "t1ce": "mr", "t1gd": "mr", "t2": "mr", "t2w": "mr",
    "flair": "mr", "adc": "mr", "dwi": "mr", "pd": "mr", "pet": "pet", "us": "ultrasound", "ultrasound": "ultrasound",
    "xray": "xray", "x-ray": "xray", "microscopy": "microscopy", "rgb": "colour", "cine-mri": "mr",
}  # fmt: skip
_HOUNSFIELD = -400.0  # fat and water lie above, lung and air below: a fifth of the values there is air
_LEAST_HOUNSFIELD = -10000.0  # some scanners fill up with -3024 or -2000; maps of velocity and the like go below
_MICROSCOPE = 0.02  # mm from pixel to pixel
_MANY = 10  # objects of an image: no organ has as many


class Evidence(NamedTuple):
    """What is known of some images.

    Attributes:
        dicom: Modality of the DICOM files among them, each as often as it was read.
        sequences: names that a ``dataset.json`` gives.
        volumes: they are volumes.
        types: of stored values.
        intensities: of stored values.
        spacing: median, mm of rows and columns; empty: unknown.
        colour: share of them whose channels are unlike.
        many: median number of objects of an image.
        upright: they have an up and a down.
    """

    dicom: Counter[str]
    sequences: Sequence[str]
    volumes: bool
    types: Sequence[str]
    intensities: Spread | None
    spacing: Sequence[float]
    colour: float
    many: float
    upright: bool


def modality_of(known: Evidence) -> tuple[str, str]:
    """The modality and what says so, in words; the surest source first.

    Args:
        known: of the images.
    """
    for word, count in known.dicom.most_common(1):
        return _DICOM.get(word, "unknown"), f"Modality {word} in {count} DICOM files that were looked at"
    named = [_SEQUENCES.get(name.strip().lower()) for name in known.sequences]
    if named and named[0] is not None and len(set(named)) == 1:
        return named[0], f"dataset.json calls its images {', '.join(known.sequences)}"
    values = known.intensities
    if values is not None and values.low <= _HOUNSFIELD and values.least >= _LEAST_HOUNSFIELD:
        return "ct", f"values from {values.least:g} to {values.most:g}, as Hounsfield units of air and bone"
    if known.spacing and max(known.spacing[:2]) <= _MICROSCOPE:
        return "microscopy", f"pixels of {1000 * max(known.spacing[:2]):.3g} micrometres"
    if known.volumes and values is not None and set(known.types) != {"uint8"} and known.colour < 0.5:
        return "mr", f"volumes with values from {values.least:g} to {values.most:g}, which are no Hounsfield units"
    if not known.volumes and known.many >= _MANY and not known.upright:
        return "microscopy", f"{known.many:g} objects in an image (median), and no side of it is up"
    if known.colour >= 0.5:
        return "colour", f"{100 * known.colour:.0f} % of the images have colours"
    return "unknown", "neither headers nor colours, types or spacing tell"
