"""Limits: what this run cannot say, by its own data and files."""

from __future__ import annotations

from scansuite.words import number_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.limits import limits_of
from tasks.evaluation.report.content import Section, Subject, Table


def section(subject: Subject) -> Section:
    """Limits as a table; leaks, absent classes and results of validation are flags."""
    facts = facts_of(subject)
    found = limits_of(subject, facts)
    flags = [limit.why for limit in found if limit.flag]
    line = f"{number_of(len(found), 'limit')} can be read off the data and files of this run; others its authors know."
    rows = [(limit.what, limit.why) for limit in found]
    return Section(
        "limits",
        "What this run cannot say",
        [line],
        flags,
        [Table("limits", "Limits", ("not known", "reason"), rows)],
        {
            "test_looked_at": None if facts.looks is None else facts.looks.model,
            "seen_in_training": None if (seen := facts.seen(subject.split)) is None else int(seen.value),
        },
    )
