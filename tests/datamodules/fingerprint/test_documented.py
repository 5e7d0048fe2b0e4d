"""docs/fingerprint.md names every field, and the numbers in it are those of the code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from datamodules.fingerprint import directions, foreground, look, measure, modality
from datamodules.fingerprint.fingerprint import Fingerprint, Objects, Spread

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "fingerprint.md").read_text(encoding="utf-8")
NAMES = [*(one.name for kind in (Fingerprint, Objects) for one in fields(kind)), *Spread._fields]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "words",
    [
        f"at most {look.MOST_IMAGES} of the training part",
        f"({look.MOST_VOLUMES} volumes, {look.MOST_SLICES} slices of",
        f"after {look.SECONDS:g} seconds",
        f"{measure.UNKEPT} of them are looked at each time",
        f"{foreground.PERCENTILES[0]:g}th and {foreground.PERCENTILES[1]:g}th percentile of the stored values",
        f"fewer than {foreground.LEAST_VOXELS} such voxels",
        f"at most {look._VALUES} values of each volume",
        f"is at least {directions.UPRIGHT}",
        f"than {directions.LEAST_IMAGES} images give 0",
        f"pixels of at most {modality._MICROSCOPE} mm",
        f"are {modality._HOUNSFIELD:g} or below",
    ],
)
def test_numbers_are_those_of_the_code(words: str) -> None:
    assert words in " ".join(PAGE.split())
