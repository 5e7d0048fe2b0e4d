"""The gallery of a run: pictures of telling cases, made while the model's masks and the data are at hand."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from datamodules.base import ScanDataModule
from scansuite.errors import SuiteError
from tasks.distributed import gather, is_rank_zero
from tasks.evaluation.evaluated import KNOWN_TASKS, EvaluatedRun, PartTables
from tasks.evaluation.gallery.choice import Kind, choose_cases
from tasks.evaluation.gallery.measures import case_measures
from tasks.evaluation.gallery.store import CasePicture, write_gallery
from tasks.running.evaluator import EvalResult, Evaluator

log = logging.getLogger(__name__)

# For large scans of a slow disk: pictures are no reason to wait.
MOST_SECONDS = 60.0
_OF_ERRORS: tuple[Kind, ...] = ("worst", "false negative", "false positive", "wrong class")


def store_gallery(
    evaluator: Evaluator[Any, Any],
    result: EvalResult,
    split: str,
    model: Any,
    data: ScanDataModule,
    run_dir: Path,
    seconds: float = MOST_SECONDS,
) -> None:
    """Leave pictures of the telling cases of a part in ``gallery/`` of a run folder; all ranks must ask, rank 0 writes.

    Nothing of it ends an evaluation: what cannot be read or written is a line of the log. Each case is read once more.

    Args:
        evaluator: that has just run the model over the part.
        result: what it gave.
        split: ``val`` or ``test``.
        model: that was run.
        data: the part's data module.
        run_dir: of the run.
        seconds: after which a rank begins no further case; those that tell most come first.
    """
    task = evaluator.run_task(model)
    if task.task not in KNOWN_TASKS:
        return
    try:
        tables = _tables(evaluator, result, split, model, data)
        chosen = choose_cases(case_measures(tables), tables.patients)
    except Exception as error:  # as of any section of a report; the same on all ranks
        log.warning("no gallery of %s: %s", split, " ".join(str(error).split()) or type(error).__name__)
        log.debug("gallery of %s", split, exc_info=True)
        return
    rows = {str(case): row for row, case in enumerate(data.table.cases["case_id"])}
    ids = [str(tables.cases["case_id"].iat[one.row]) for one in chosen]
    began = time.monotonic()
    own: dict[str, CasePicture] = {}
    for place, (case_id, one) in enumerate(zip(ids, chosen, strict=True)):
        if not evaluator.holds(case_id, place) or time.monotonic() - began > seconds:
            continue
        errors = any(kind in _OF_ERRORS for kind in one.kinds)
        try:
            own[case_id] = evaluator.case_picture(case_id, rows[case_id], model, data, errors=errors)
        except (SuiteError, OSError, ValueError) as error:
            log.warning("no picture of %s: %s", case_id, " ".join(str(error).split()))
    made = {case_id: one for rank in gather(own) for case_id, one in rank.items()}
    if not is_rank_zero():
        return
    if len(made) < len(ids):
        log.info("the gallery of %s has %s of %d: the others could not be read in time", split, len(made), len(ids))
    pictures = [
        replace(made[case_id], kinds=one.kinds) for case_id, one in zip(ids, chosen, strict=True) if case_id in made
    ]
    try:
        write_gallery(run_dir, split, pictures)
    except (SuiteError, OSError) as error:
        log.warning("no gallery of %s: %s", split, error)


def _tables(
    evaluator: Evaluator[Any, Any], result: EvalResult, split: str, model: Any, data: ScanDataModule
) -> PartTables:
    """The tables of the part as the run folder will have them."""
    cases = data.table.cases.iloc[data.rows(split)]
    cases = cases.drop(columns=["width", "height", "spacing"], errors="ignore").merge(
        result.scans.drop_duplicates("case_id"), on="case_id", how="inner"
    )
    if result.targets is None:
        cases = cases[cases["case_id"].isin(result.predictions["case_id"])]
    run = EvaluatedRun("run", evaluator.run_task(model), cases, result.predictions, result.targets)
    return run.part(split)
