"""Reports in Python: from run folders or tables, without torch and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from scansuite.errors import SuiteError, nearest

if TYPE_CHECKING:
    from tasks.evaluation.evaluated import EvaluatedRun
    from tasks.evaluation.report.plain import PaperFormat

RunLike: TypeAlias = "str | PathLike[str] | EvaluatedRun"


def report(
    runs: RunLike | Sequence[RunLike],
    output: str | PathLike[str],
    *,
    split: str | None = None,
    plots: bool = False,
    paper: PaperFormat | None = None,
    **settings: Any,
) -> list[Path]:
    """Write the report of a run, or the comparison of several; the same as the verb ``report``.

    Args:
        runs: the folder of a run, or tables in memory (:class:`~tasks.evaluation.evaluated.EvaluatedRun`); several are
            compared, the first with the others.
        output: of the page, a name that ends in ``.html``; a present one is replaced.
        split: the part; left out: test where there is one.
        plots: every plot as SVG and PDF too.
        paper: tables as ``latex`` or ``markdown`` too; left out: not.
        settings: see :class:`~tasks.evaluation.report.content.ReportSettings`: ``subgroups``, ``prevalence``,
            ``coverage``, ``margin``, ``common_cases``, ``operating_point``, ``calibration``.

    Returns:
        The files written, the page first.

    Raises:
        SuiteError: a table is missing or not what it should be, or the runs are not of the same cases.
    """
    from dataclasses import fields

    from tasks.evaluation.evaluated import EvaluatedRun, read_evaluated
    from tasks.evaluation.report.content import ReportSettings
    from tasks.evaluation.report.write import Extras, write_comparison, write_report

    known = [field.name for field in fields(ReportSettings)]
    for name in settings:
        if name not in known:
            raise SuiteError(
                f"{name}: report has no such argument: {nearest(name, ['split', 'plots', 'paper', *known])}"
            )
    file = Path(output)
    if file.suffix != ".html":
        raise SuiteError(f"output {file}: the page is HTML: give a name such as {file.name}.html")
    listed = [runs] if isinstance(runs, (str, PathLike, EvaluatedRun)) else list(runs)
    if not listed:
        raise SuiteError("runs: is empty: name the folder of a run")
    read = [run if isinstance(run, EvaluatedRun) else read_evaluated(Path(run)) for run in listed]
    chosen, extras = ReportSettings(**settings), Extras(plots=plots, paper=paper)
    if len(read) > 1:
        return write_comparison(read, file, split, chosen, extras)
    return write_report(read[0], file, split, chosen, extras)
