"""Items of checklists and of the model card, filled with what a run knows, and blanks for the rest.

The items are tables beside this module. ``tripod_ai.csv`` holds the items of TRIPOD+AI as published: G. S. Collins et
al., TRIPOD+AI statement, BMJ 2024;385:e078378, CC BY 4.0; marks of footnotes are left out, and the column ``answer`` is
ours. ``claim_2024.csv`` has the numbers and topics of CLAIM 2024 (A. S. Tejani et al., Radiology: Artificial
Intelligence 2024;6(4):e240300) in words of our own, ``model_card.csv`` the questions of a model card (M. Mitchell et
al., Model Cards for Model Reporting, FAT* 2019), likewise.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, TypeAlias

from tasks.evaluation.documents.answers import Answer

Document: TypeAlias = Literal["model_card", "tripod_ai", "claim_2024"]
BLANK = "[to be filled in by the authors]"
ADD = "[to be completed by the authors]"


@dataclass(frozen=True)
class Item:
    """An item.

    Attributes:
        number: as published; in the model card a name.
        section: of the document.
        topic: what it is about.
        text: what is to be reported.
        answers: names of the answers that belong to it.
        applies: of TRIPOD+AI: ``D`` development, ``E`` evaluation, ``D;E`` both; otherwise empty.
    """

    number: str
    section: str
    topic: str
    text: str
    answers: tuple[str, ...]
    applies: str = ""


@dataclass(frozen=True)
class Filled:
    """An item with what the run knows of it.

    Attributes:
        item: that is answered.
        answer: in words; empty: the run knows nothing of it.
        source: files and sections that it is from.
        whole: nothing is left for the authors to add.
    """

    item: Item
    answer: str
    source: str
    whole: bool

    @property
    def text(self) -> str:
        """The answer, with a blank where the authors have something to add."""
        if not self.answer:
            return BLANK
        return self.answer if self.whole else f"{self.answer} {ADD}"


@cache
def items_of(document: Document) -> tuple[Item, ...]:
    """The items of a document, in its order."""
    text = files("tasks.evaluation.documents").joinpath(f"{document}.csv").read_text(encoding="utf-8")
    return tuple(
        Item(
            row["item"], row["section"], row["topic"], row["text"], tuple(row["answer"].split()), row.get("applies", "")
        )
        for row in csv.DictReader(text.splitlines())
    )


def filled(document: Document, answers: Mapping[str, Answer]) -> list[Filled]:
    """All items of a document, answered as far as the run knows."""
    return [_filled(item, [answers[name] for name in item.answers if name in answers]) for item in items_of(document)]


def _filled(item: Item, known: Sequence[Answer]) -> Filled:
    whole = bool(known) and len(known) == len(item.answers) and all(one.whole for one in known)
    sources = dict.fromkeys(source for one in known for source in one.source.split(", "))
    return Filled(item, " ".join(one.text for one in known), ", ".join(sources), whole)


def counted(found: Sequence[Filled]) -> tuple[int, int, int]:
    """How many items are filled, filled in part, and open."""
    whole = sum(one.whole for one in found)
    part = sum(bool(one.answer) and not one.whole for one in found)
    return whole, part, len(found) - whole - part
