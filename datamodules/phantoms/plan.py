"""Plan of a cohort of phantoms: patients, scans and lesions, without a single pixel.

All randomness comes from named streams, so a patient is the same whoever asks, in whatever order, in whatever cohort.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scansuite.errors import SuiteError

CLASS_NAMES = ("benign", "malignant")
SEGMENTATION_CLASSES = ("background", "organ", "benign", "malignant")
SITES = ("A", "B")

# The purpose word of each stream. SeedSequence pads with zeros, so that [seed, patient] and [seed, patient, 0] would be
# one stream without it.
PATIENT, ANATOMY, SLICE, CUT, POSITION, PIXELS = 1, 2, 3, 4, 5, 6

_MALIGNANT_PATIENTS = 0.46  # with the share of slices that miss the lesion, about 0.4 of the scans are malignant
_SEEN = 0.85  # chance that a slice goes through a given lesion
_MOST_LESIONS = 3


@dataclass(frozen=True)
class Lesion:
    """One lesion of a patient.

    Attributes:
        malignant: its kind, the truth.
        suspicion: in [0, 1], how malignant it looks: outline, interior and halo follow it. The two kinds overlap, as
            BI-RADS categories do.
        angle: direction from the organ's centre, radians.
        depth: distance from the organ's centre as a fraction of the organ's radius in that direction.
        radius: mm.
        contrast: signed difference to the organ, in units of a full-scale signal.
        edge: width of its border, mm (Gaussian sigma).
        shape: seed of its outline, the same in every slice.
    """

    malignant: bool
    suspicion: float
    angle: float
    depth: float
    radius: float
    contrast: float
    edge: float
    shape: int


@dataclass(frozen=True)
class Patient:
    """One patient: the columns for subgroups, the number of scans and all lesions, seen or not."""

    site: str
    age: int
    sex: str
    scans: int
    lesions: tuple[Lesion, ...]


def stream(seed: int, purpose: int, *words: int) -> np.random.Generator:
    """The random stream of one purpose; it depends on its arguments alone (NumPy's SeedSequence over PCG64)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose, *words])))


def check_difficulty(difficulty: float) -> None:
    """Refuse a difficulty outside [0, 1].

    Raises:
        SuiteError: it is outside, or not a number.
    """
    if not 0.0 <= difficulty <= 1.0:
        raise SuiteError(f"--data.difficulty {difficulty}: must be from 0 (easy) to 1 (hard)")


def plan_patient(patient: int, seed: int, difficulty: float) -> Patient:
    """Decide everything about a patient that is shared by the scans.

    Kinds and numbers of lesions, site, age and sex do not depend on the difficulty; size, contrast and suspicion of the
    lesions do. Malignancy raises the mean age by six years; site and sex are independent of it.

    Args:
        patient: number of the patient, from 0.
        seed: of the cohort, not negative.
        difficulty: 0 easy to 1 hard.
    """
    rng = stream(seed, PATIENT, patient)
    u = rng.random(7)
    has_malignant = u[0] < _MALIGNANT_PATIENTS
    malignant = int(has_malignant) + int(has_malignant and u[1] < 0.15)
    # Fewer benign lesions beside a malignant one: counting lesions should not tell the class.
    benign = int(u[2] > 0.65) if has_malignant else int(np.searchsorted([0.35, 0.75], u[2], side="right"))
    age = 56.0 + (6.0 if has_malignant else 0.0) + 12.0 * float(rng.standard_normal())
    count = malignant + benign
    draws = rng.random((_MOST_LESIONS, 9))
    shapes = rng.integers(2**31, size=_MOST_LESIONS)
    lesions = tuple(
        _plan_lesion(
            index < malignant,
            # Each lesion has its own sector of the organ, so that none hides another.
            sector=2.0 * np.pi * (float(u[6]) + index / max(count, 1)),
            u=draws[index],
            shape=int(shapes[index]),
            difficulty=difficulty,
        )
        for index in range(count)
    )
    return Patient(
        site=SITES[int(u[3] < 0.4)],
        age=int(np.clip(round(age), 20, 90)),
        sex="FM"[int(u[4] < 0.5)],
        scans=1 + int(4 * u[5]),
        lesions=lesions,
    )


def _plan_lesion(malignant: bool, sector: float, u: np.ndarray, shape: int, difficulty: float) -> Lesion:
    # The product of two uniforms is skewed: most lesions are typical of their kind, a few look like the other.
    doubt = (0.2 + 0.5 * difficulty) * float(u[0] * u[1])
    contrast = (0.34 - 0.09 * difficulty) * (1.0 + (0.3 + 0.3 * difficulty) * (2.0 * float(u[2]) - 1.0))
    if u[3] < 0.2 * difficulty:  # the faint ones
        contrast *= 0.5
    return Lesion(
        malignant=malignant,
        suspicion=1.0 - doubt if malignant else doubt,
        angle=sector + 0.5 * (float(u[4]) - 0.5),
        depth=0.35 + 0.25 * float(u[5]),
        radius=(1.15 - 0.18 * difficulty) * (8.0 + 7.0 * float(u[6])),
        contrast=contrast if u[7] < 0.15 else -contrast,
        edge=0.5 + 1.7 * float(u[8]),
        shape=shape,
    )


def seen_lesions(plan: Patient, patient: int, scan: int, seed: int) -> tuple[Lesion, ...]:
    """The lesions that the slice of one scan goes through, with the radius of the cut (a chord of a sphere).

    Args:
        plan: of the same patient, from :func:`plan_patient`.
        patient: number of the patient.
        scan: number of the scan within the patient, from 0.
        seed: of the cohort.
    """
    u = stream(seed, SLICE, patient, scan).random((_MOST_LESIONS, 2))
    return tuple(
        replace(lesion, radius=lesion.radius * float(np.sqrt(1.0 - (0.65 * offset) ** 2)))
        for lesion, (seen, offset) in zip(plan.lesions, u, strict=False)
        if seen < _SEEN
    )
