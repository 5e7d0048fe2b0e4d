"""Checklists of reporting, TRIPOD+AI and CLAIM 2024, filled as far as the run knows the answers."""

from __future__ import annotations

from tasks.evaluation.documents.answers import answers_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.items import Document, counted, filled
from tasks.evaluation.documents.tables import document_table, said_of
from tasks.evaluation.report.content import Section, Subject

_CHECKLISTS: tuple[Document, ...] = ("tripod_ai", "claim_2024")


def section(subject: Subject) -> Section:
    """A table a checklist; ``tripod_ai.md`` and ``claim.md`` beside the report are to be completed."""
    answers = answers_of(subject, facts_of(subject))
    found = {document: filled(document, answers) for document in _CHECKLISTS}
    return Section(
        "checklists",
        "Checklists of reporting",
        [said_of(items, document) for document, items in found.items()],
        parts=[document_table(document, items) for document, items in found.items()],
        figures={
            document: dict(zip(("filled", "in_part", "open"), counted(items), strict=True))
            for document, items in found.items()
        },
        details=True,
    )
