"""A cohort of phantoms as a table: patients, scans, labels and subgroups, known without drawing a pixel."""

from __future__ import annotations

import pandas as pd

from datamodules.phantoms.plan import check_difficulty, plan_patient, seen_lesions
from scansuite.errors import SuiteError


def cohort(num_patients: int, seed: int, difficulty: float) -> pd.DataFrame:
    """List the scans of a cohort, one to four a patient; the first patients of a larger cohort are the same.

    Patients of different seeds are different people and have different names.

    Args:
        num_patients: at least 1.
        seed: of the cohort, not negative.
        difficulty: 0 easy to 1 hard; it changes ``lesion_mm``, never ``label``.

    Returns:
        One row a scan: ``path`` (``phantom/0003/1``: a name, no file; of seed 7 ``phantom7/0003/1``), ``patient_id``
        (``p0003``, ``p7-0003``), ``label`` (int64, index into ``CLASS_NAMES``); the subgroups ``site`` (A, B), ``age``
        (years), ``sex`` (F, M), ``lesions`` (number seen) and ``lesion_mm`` (diameter of the largest, NaN without any);
        ``patient`` and ``scan``, the numbers that
        ``draw`` takes.

    Raises:
        SuiteError: a number is out of range.
    """
    if num_patients < 1:
        raise SuiteError(f"--data.num_patients {num_patients}: must be at least 1")
    check_difficulty(difficulty)
    rows: list[dict[str, object]] = []
    for patient in range(num_patients):
        plan = plan_patient(patient, seed, difficulty)
        for scan in range(plan.scans):
            lesions = seen_lesions(plan, patient, scan, seed)
            rows.append(
                {
                    "path": f"phantom{seed or ''}/{patient:04d}/{scan}",
                    "patient_id": f"p{patient:04d}" if seed == 0 else f"p{seed}-{patient:04d}",
                    "label": int(any(lesion.malignant for lesion in lesions)),
                    "site": plan.site,
                    "age": plan.age,
                    "sex": plan.sex,
                    "lesions": len(lesions),
                    "lesion_mm": max((round(2.0 * lesion.radius, 1) for lesion in lesions), default=float("nan")),
                    "patient": patient,
                    "scan": scan,
                }
            )
    return pd.DataFrame(rows)
