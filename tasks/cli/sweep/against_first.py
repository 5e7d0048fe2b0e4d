"""The winner of a sweep beside its first trial, which is what ``fit`` would take: on the same validation cases."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from scansuite.errors import SuiteError
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.by_task import paired_differences
from tasks.evaluation.comparison.paired import shown_p
from tasks.evaluation.evaluated import KNOWN_TASKS, read_evaluated
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.report.content import PValue
from tasks.evaluation.report.words import p_value, with_interval

log = logging.getLogger(__name__)


def against_first(first: Path, winner: Path, metric: str, seed: int) -> str | None:
    """A sentence on the paired difference; None where there is none to be had.

    Args:
        first: run folder of the first trial.
        winner: run folder of the best one.
        metric: that was looked for.
        seed: of what is drawn.
    """
    try:
        runs = [read_evaluated(folder) for folder in (first, winner)]
        if runs[0].task.task not in KNOWN_TASKS:
            return None
        before, after = aligned_parts(runs, "val")
        pair = paired_differences([before], [after], [metric], seed=seed).get(metric)
    except (SuiteError, KeyError) as error:
        log.warning("the winner is not compared with the first trial: %s", error)
        return None
    if pair is None or math.isnan(pair.value.value):
        return None
    value, p = pair.value, shown_p(pair)
    sure = "" if math.isnan(p) else f", p {p_value(PValue(p))}"
    return (
        f"{label_of(metric)} of the winner less that of the first trial, on the same validation cases: "
        f"{with_interval(value)}{sure}; the winner was chosen on them, which neither takes into account"
    )
