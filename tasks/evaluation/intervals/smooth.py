"""Intervals of figures that no closed form serves: variance by the jackknife, ends on the figure's scale."""

from __future__ import annotations

import math

from tasks.evaluation.intervals.quantiles import student
from tasks.evaluation.intervals.scales import BELOW_ONE, FISHER, LOG, LOGIT, PLAIN, Scale, student_interval
from tasks.evaluation.intervals.share import UNKNOWN, Ends

# By metric, whatever stands behind "@" or "/" in its name; what is not here is a share, on the logit scale.
_SCALES = {
    "mcc": FISHER,
    "kappa": FISHER,
    "qwk": FISHER,
    "mae": LOG,
    "rmse": LOG,
    "hd95": LOG,
    "assd": LOG,
    "hd95_penalised": LOG,
    "assd_penalised": LOG,
    "brier": LOG,  # 0 to 1 of two classes, to 2 of more
    "r2": BELOW_ONE,
    "volume_difference": PLAIN,
}
CLIPPED = "squared_ece"  # the estimate may come below 0, the figure is not


def scale_of(name: str) -> Scale:
    """The scale of a metric on which it is nearly normal, by its name in ``metrics.json``."""
    return _SCALES.get(name.partition("/")[0].partition("@")[0], LOGIT)


def smooth_interval(name: str, value: float, variance: float, patients: int) -> Ends:
    """95 % interval of a metric.

    Args:
        name: of the metric, without stage.
        value: of it.
        variance: by patient.
        patients: that the variance rests on.
    """
    if name.partition("/")[0] == CLIPPED:
        if patients < 2 or not variance > 0:
            return UNKNOWN
        half = student(patients - 1) * math.sqrt(variance)
        return max(0.0, value - half), max(0.0, value) + half
    return student_interval(value, variance, scale_of(name), patients)
