"""A look at some images as a model sees them, for the profile of its training data and for what is compared with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from datamodules.base import ScanDataModule
from datamodules.loading.case_source import CaseSource, TableCases
from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.deployment.tables import scan_rows
from tasks.evaluation.bootstrap import group_cases
from tasks.evaluation.drift.profile import MOST_PATIENTS
from tasks.evaluation.drift.variables import one_a_patient

SECONDS = 10.0  # after which a look ends: volumes may take long to read
_PIXELS = 1 << 18  # of an image that are measured


def look_at(source: CaseSource, preprocess: Preprocess, cases: Sequence[int], seconds: float = SECONDS) -> pd.DataFrame:
    """Measure the middle image of some cases as the model sees it.

    Args:
        source: of the cases.
        preprocess: of the model.
        cases: their numbers; the first ones are looked at until the time is over.
        seconds: so long, at most; at least one case is looked at.

    Returns:
        ``case_id,width,height,spacing`` as stored, ``mean,sd,p5,p95`` of the model's image (0 to 1), and
        ``patient_id`` where table or file have one; a case that cannot be read has no row.
    """
    scans: list[Any] = []
    patients: list[str | None] = []
    measured: list[tuple[float, float, float, float]] = []
    end = time.monotonic() + seconds
    for case in cases:
        if scans and time.monotonic() > end:
            break
        try:
            images = source.images(case)
            scan = images[len(images) // 2]
            opened = preprocess.opened(scan)
        except SuiteError:  # who evaluates or predicts it says so
            continue
        size = scan.array.shape[:2]
        height, width = preprocess.content_size((size[0], size[1])) if preprocess.fills else opened.size
        measured.append(_measured(opened.tile(0, 0, *opened.size)[:height, :width]))
        identity = source.scan_of(case)
        scans.append({"original_size": (size[0], size[1]), **scan.info, **identity})
        patients.append(identity.get("patient_id") or scan.info.get("patient_id"))
    columns = pd.DataFrame(measured, columns=["mean", "sd", "p5", "p95"], dtype=np.float64)
    return pd.concat([scan_rows(scans), columns], axis=1).assign(patient_id=pd.Series(patients, dtype="str"))


def _measured(image: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Mean, standard deviation, 5th and 95th percentile over the pixels and channels of an image."""
    values = image.ravel()[:: max(1, image.size // _PIXELS)].astype(np.float64)
    low, high = np.percentile(values, [5, 95])
    return float(values.mean()), float(values.std()), float(low), float(high)


def look_at_part(data: ScanDataModule, split: str, seconds: float = SECONDS) -> pd.DataFrame:
    """Measure one case of each of at most :data:`~tasks.evaluation.drift.profile.MOST_PATIENTS` patients of a part.

    Which they are, the hashes of their ids say: the same whenever it is done.
    """
    rows = chosen_rows(data, split)
    return look_at(TableCases(data, rows), data.preprocess, range(len(rows)), seconds)


def chosen_rows(data: ScanDataModule, split: str) -> NDArray[np.int64]:
    """Row numbers in the case table of the cases of a part that stand for their patients."""
    rows = data.rows(split)
    cases = data.table.cases.iloc[rows]
    return rows[chosen(cases["case_id"], cases["patient_id"])]


def chosen(case_ids: pd.Series, patients: pd.Series | None) -> NDArray[np.intp]:
    """Places of one case of each of so many patients, in the order of the hashes of their ids."""
    ids = case_ids.reset_index(drop=True)
    one = one_a_patient(ids, group_cases(ids, None if patients is None else patients.reset_index(drop=True)))
    hashes = pd.util.hash_array(ids.astype("str").to_numpy(dtype=object)[one])
    return one[np.argsort(hashes, kind="stable")][:MOST_PATIENTS]
