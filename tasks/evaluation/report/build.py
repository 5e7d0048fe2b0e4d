"""The sections of a report, in the order of the page."""

from __future__ import annotations

import importlib
import logging

from tasks.evaluation.report.content import Section, Subject

log = logging.getLogger(__name__)

# Each a module of `tasks.evaluation.report.sections` with `section(subject) -> Section | None`; None: nothing to say.
SECTIONS: tuple[str, ...] = (
    "results",
    "curves",
    "operating_point",
    "calibration",
    "decision",
    "sizes",
    "subgroups",
    "uncertainty",
    "drift",
    "gallery",
    "data",
    "training",
    "limits",
    "all_metrics",
    "model_card",
    "checklists",
)


def build_sections(subject: Subject, *, strict: bool = False) -> list[Section]:
    """All sections that have something to say of a run.

    Args:
        subject: the run, and the part that is reported.
        strict: a section that fails ends the report; otherwise it is one section less, and a warning says why: a
            training is not lost for its report.
    """
    found = []
    for name in SECTIONS:
        module = importlib.import_module(f"tasks.evaluation.report.sections.{name}")
        try:
            section = module.section(subject)
        except Exception as error:
            if strict:
                raise
            log.warning("report: no section %s: %s", name, " ".join(str(error).split()) or type(error).__name__)
            log.debug("report: section %s", name, exc_info=True)
            continue
        if section is not None:
            found.append(section)
    return found
