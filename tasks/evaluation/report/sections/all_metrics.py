"""All metrics of ``metrics.json``, folded: results have those that matter first."""

from __future__ import annotations

from tasks.evaluation.report.content import Section, Subject
from tasks.evaluation.report.header import part_of
from tasks.evaluation.report.sections.results import metric_table, unit_of


def section(subject: Subject) -> Section:
    """Every metric by its name in ``metrics.json``."""
    title = f"All metrics, {part_of(subject)}"
    table = metric_table("all", title, subject.metrics, unit_of(subject), every=True)
    return Section("all_metrics", "All metrics", parts=[table], details=True)
