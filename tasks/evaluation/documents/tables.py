"""Model card and checklists as tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluation.documents.items import Document, Filled, Item, counted
from tasks.evaluation.documents.markdown import CREDITS, FILES, TITLES
from tasks.evaluation.report.content import Table


def document_table(document: Document, found: Sequence[Filled]) -> Table:
    """A row an item, in the order of the document."""
    card = document == "model_card"
    head = ("section", "question", "answer", "from") if card else ("item", "topic", "to be reported", "answer", "from")
    rows = [
        (one.item.section, f"{one.item.topic}: {one.item.text}", one.text, one.source)
        if card
        else (one.item.number, _topic(one.item), one.item.text, one.text, one.source)
        for one in found
    ]
    return Table(document, TITLES[document], head, rows, note=CREDITS[document])


def _topic(item: Item) -> str:
    topic = item.topic if item.topic == item.section else f"{item.section}: {item.topic}"
    return f"{topic} ({item.applies})" if item.applies else topic


def said_of(found: Sequence[Filled], document: Document) -> str:
    """How far a document is filled, in a sentence."""
    whole, part, left = counted(found)
    return (
        f"{TITLES[document]}: of {len(found)} items the run answers {whole}, and {part} in part; {left} are left to "
        f"the authors ({FILES[document]} beside the report is to be completed)."
    )
