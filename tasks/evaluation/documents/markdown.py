"""Model card and checklists as Markdown files beside a report, for the authors to complete."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite.words import number_of
from tasks.evaluation.documents.answers import answers_of
from tasks.evaluation.documents.facts import facts_of
from tasks.evaluation.documents.items import ADD, BLANK, Document, Filled, counted, filled
from tasks.evaluation.report.content import Subject

log = logging.getLogger(__name__)

FILES: dict[Document, str] = {"model_card": "model_card.md", "tripod_ai": "tripod_ai.md", "claim_2024": "claim.md"}
TITLES: dict[Document, str] = {
    "model_card": "Model card",
    "tripod_ai": "TRIPOD+AI checklist",
    "claim_2024": "CLAIM checklist, 2024 update",
}
CREDITS: dict[Document, str] = {
    "model_card": "Questions after M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019, in other words.",
    "tripod_ai": "Items: G. S. Collins et al., TRIPOD+AI statement: updated guidance for reporting clinical prediction "
    "models that use regression or machine learning methods, BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378, "
    "licensed CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Marks of footnotes are left out; the "
    "answers are added. D: items of development; E: of evaluation.",
    "claim_2024": "Numbers and topics of the Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 "
    "update, A. S. Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300, in other words: read the "
    "original for what each asks.",
}
_MARK = re.compile(r"\n<!-- scansuite ([0-9a-f]{8}) -->\n\Z")
_SPECIAL = re.compile(r"([\\`*_\[\]|#~$])")


def write_documents(folder: Path, subject: Subject) -> list[Path]:
    """Write ``model_card.md``, ``tripod_ai.md`` and ``claim.md``; one that somebody has edited stays as it is.

    Args:
        folder: of the report.
        subject: the run, and the part that is reported.

    Returns:
        The files that were written.

    Raises:
        SuiteError: the folder cannot be written to.
    """
    answers = answers_of(subject, facts_of(subject))
    written = []
    for document, name in FILES.items():
        file = folder / name
        if _edited(file):
            log.warning("%s was edited and stays as it is: move it away to have it written anew", file)
            continue
        write_text(file, _signed(document_text(document, filled(document, answers), Path(subject.run.name).name)))
        written.append(file)
    return written


def document_text(document: Document, found: Sequence[Filled], run: str) -> str:
    """A document as Markdown.

    Args:
        document: which.
        found: its items.
        run: name of the run.
    """
    whole, part, blank = counted(found)
    lines = [
        f"# {TITLES[document]}",
        "",
        f"Run: {escaped(run)}. {number_of(whole, 'item')} filled by the run, {part} in part, {blank} left to the "
        "authors (in square brackets).",
    ]
    section = ""
    for one in found:
        if one.item.section != section:
            section = one.item.section
            lines += ["", f"## {section}"]
        number = "" if document == "model_card" else f"{one.item.number} "
        applies = f" ({one.item.applies})" if one.item.applies else ""
        lines += ["", f"**{number}{one.item.topic}**{applies}: {escaped(one.item.text)}", "", f"> {_answer(one)}"]
    return "\n".join([*lines, "", CREDITS[document], ""])


def _answer(one: Filled) -> str:
    if not one.answer:
        return f"**{BLANK}**"
    said = f"{escaped(one.answer)} *(from {escaped(one.source)})*"
    return said if one.whole else f"{said} **{ADD}**"


def escaped(text: str) -> str:
    """Text from data that is text in Markdown and HTML, whatever it holds, in one line."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def _signed(text: str) -> str:
    """The text with a mark by which it is seen later whether somebody has edited it."""
    return f"{text}\n<!-- scansuite {zlib.crc32(text.encode()):08x} -->\n"


def _edited(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SuiteError(f"{file}: cannot be read: move it away, then make the report again") from None
    found = _MARK.search(text)
    return found is None or found.group(1) != f"{zlib.crc32(text[: found.start()].encode()):08x}"
