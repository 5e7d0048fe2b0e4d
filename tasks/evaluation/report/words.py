"""Numbers as a report shows them, on screen, page and in paper tables alike."""

from __future__ import annotations

import math

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, PValue

UNDEFINED = "undefined"


def number(value: float, digits: int = 3) -> str:
    """A value with so many digits behind the point; ``undefined`` where it is NaN."""
    if math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text  # not "-0.000"


def with_interval(metric: MetricValue, digits: int = 3) -> str:
    """``0.922 (0.838 to 0.964)``; the value alone where its interval is withheld or was not asked for."""
    if math.isnan(metric.low) or math.isnan(metric.value):
        return number(metric.value, digits)
    return f"{number(metric.value, digits)} ({number(metric.low, digits)} to {number(metric.high, digits)})"


def p_value(p: PValue) -> str:
    """``0.032``; ``< 0.001``; the adjusted one where it was adjusted."""
    value = p.value if p.adjusted is None else p.adjusted
    if math.isnan(value):
        return UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def cell_text(cell: Cell, digits: int = 3) -> str:
    """A cell of a table as text.

    Args:
        cell: None is an empty cell.
        digits: of values that are no counts.
    """
    if cell is None:
        return ""
    if isinstance(cell, MetricValue):
        return with_interval(cell, digits)
    if isinstance(cell, PValue):
        return p_value(cell)
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return number(cell, digits)
    return cell
