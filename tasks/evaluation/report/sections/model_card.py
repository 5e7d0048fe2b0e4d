"""Model card: what the run knows of its model, and blanks for what its authors know."""

from __future__ import annotations

from tasks.evaluation.documents.answers import answers_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.items import filled
from tasks.evaluation.documents.tables import document_table, said_of
from tasks.evaluation.report.content import Section, Subject


def section(subject: Subject) -> Section:
    """The card as one table; ``model_card.md`` beside the report is to be completed."""
    found = filled("model_card", answers_of(subject, facts_of(subject)))
    line = said_of(found, "model_card")
    return Section("model_card", "Model card", [line], parts=[document_table("model_card", found)], details=True)
