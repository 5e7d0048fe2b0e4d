"""Whether cases are like those of training, said in a line where they are not: for ``fit``, ``test`` and ``predict``.

Nothing here may end a command whose tables are written: what cannot be compared is said, and left.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import pandas as pd

from datamodules.base import ScanDataModule
from datamodules.cases.table import CaseTable
from datamodules.loading.case_source import CaseSource
from datamodules.preprocess import Preprocess
from tasks.evaluation.drift.profile import Profile, write_profile
from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.tables import write_table
from tasks.evaluation.task_file import RunTask
from tasks.running.drifting import differing, profile_of, said
from tasks.running.looking import chosen, look_at, look_at_part

log = logging.getLogger(__name__)

T = TypeVar("T")
INTENSITIES = "intensities.csv"
_COLUMNS = ["case_id", "split", "mean", "sd", "p5", "p95"]


def training_profile(data: ScanDataModule, task: RunTask, tables: EvaluatedRun) -> Profile | None:
    """Profile of a training; None where it cannot be made.

    Args:
        data: with its training part.
        task: of the model.
        tables: of validation.
    """
    validation = tables.part("val") if "val" in tables.parts else None
    return _tried(lambda: profile_of(data, task, validation))


def compare_with_training(profile: Profile, tables: EvaluatedRun, data: ScanDataModule) -> None:
    """Write ``intensities.csv`` and ``training_profile.json``, and say which parts differ from training.

    Args:
        profile: of the training.
        tables: of the parts that were evaluated, with the run's folder.
        data: the parts.
    """
    folder = tables.folder
    assert folder is not None

    def compare() -> None:
        seen = {split: look_at_part(data, split) for split in tables.parts}
        every = pd.concat([look.assign(split=split) for split, look in seen.items()], ignore_index=True)
        write_table(every[_COLUMNS], folder / INTENSITIES)
        write_profile(folder, profile)
        for split, look in seen.items():
            found = differing(profile, tables.part(split), look)
            if found:
                log.warning("%s (section Drift of the report)", said(found, f"{split} cases"))

    _tried(compare)


def compare_predicted(
    profile: Profile,
    task: RunTask,
    source: CaseSource,
    preprocess: Preprocess,
    table: CaseTable,
    cases: Sequence[str],
    predictions: pd.DataFrame,
) -> None:
    """Say whether predicted files differ from training in images, scores and calls.

    Args:
        profile: of the training.
        task: of the model.
        source: reads the cases.
        preprocess: of the model.
        table: of the cases.
        cases: ids of those that were predicted.
        predictions: of them.
    """

    def compare() -> None:
        ids, predicted = table.cases["case_id"], set(cases)
        looked = [int(place) for place in chosen(ids, None) if ids.iloc[place] in predicted]
        seen = look_at(source, preprocess, looked)
        own = predictions[predictions["case_id"].isin(seen["case_id"])]
        if task.task == "classify":
            own = own.set_index("case_id").reindex(seen["case_id"]).reset_index()
        found = differing(profile, PartTables(task, "predict", seen, own), seen)
        if found:
            log.warning("%s", said(found, "predicted cases"))

    _tried(compare)


def _tried(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except Exception as error:  # a data class of the user's may lack what a look asks for
        reason = " ".join(str(error).split()) or type(error).__name__
        log.info("whether the cases are like those of training was not looked at: %s", reason)
        log.debug("comparison with training", exc_info=True)
        return None
