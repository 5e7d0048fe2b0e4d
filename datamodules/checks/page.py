"""The findings as one HTML page that needs nothing else: counts, what they are about, cases of each class, plots."""

from __future__ import annotations

from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datamodules.checks.class_cases import cases_of_classes
from datamodules.checks.kinds import SEVERITIES, Severity, kind_of
from datamodules.checks.measures import READ
from datamodules.checks.pictures import CasePictures
from datamodules.checks.store import Finding, FindingStore
from datamodules.checks.survey import Survey
from datamodules.evenly import evenly
from datamodules.pictures.html_page import class_legend, html_page, render
from datamodules.pictures.page_figures import PageFigures
from datamodules.remote import as_typed
from scansuite.files import write_text
from scansuite.words import number_of

if TYPE_CHECKING:
    from markupsafe import Markup

# Bytes of pictures, of the cases of each class and of all findings: a page that opens at once and goes by mail.
_CASES, _FINDINGS = 5 << 20, 7 << 20
_LOOSE = 8  # files shown, where there are no cases
_IN_LEGEND = 24  # classes


def write_page(file: Path, survey: Survey, store: FindingStore) -> None:
    """Write the page.

    Args:
        file: the HTML file.
        survey: what was checked; the images that are shown are read once more.
        store: the findings.
    """
    template = resources.files("datamodules.checks").joinpath("page.html").read_text(encoding="utf-8")
    data, pictures = survey.data, CasePictures(survey)
    title = as_typed(str(data.root)) if str(data.root) != "." else type(data).__name__
    kinds = [(severity, kind) for severity in SEVERITIES for of, kind in store.counts if of == severity]
    classes, left_out = _classes(survey, pictures)
    plots = [plot.markup() for plot in survey.plots]
    body = render(
        template,
        root=title,
        what=f"{type(data).__name__}: {number_of(len(survey.table), 'case')}, {len(survey.units)} images or volumes",
        when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        errors=store.count("error"),
        verdict=verdict(store),
        kinds=[_kind(severity, kind, store, pictures, _FINDINGS // len(kinds)) for severity, kind in kinds],
        classes=classes,
        left_out=left_out,
        legend=class_legend(pictures.names[:_IN_LEGEND]),
        plots=[plot for plot in plots if plot is not None],
    )
    write_text(file, html_page(f"Check of {title}", body))


def verdict(store: FindingStore) -> str:
    """Verdict in one sentence on all findings."""
    errors, warnings, notes = (store.count(severity) for severity in SEVERITIES)
    lead = f"{number_of(errors, 'error')} would" if errors else "nothing would"
    return f"{lead} stop or spoil training; {number_of(warnings, 'warning')}, {number_of(notes, 'note')}"


def _kind(severity: Severity, kind: str, store: FindingStore, pictures: CasePictures, room: int) -> dict[str, Any]:
    """A kind of finding, with the first of its findings as figures."""
    figures = PageFigures(room, f"{severity}-{kind}")
    some = [finding for finding in store.examples[kind] if finding.severity == severity]
    return {
        "severity": severity,
        "name": kind,
        "count": store.counts[severity, kind],
        "meaning": kind_of(kind).meaning,
        "figures": [_finding(finding, pictures, figures) for finding in some],
        "left_out": figures.left_out,
    }


def _finding(finding: Finding, pictures: CasePictures, figures: PageFigures) -> Markup:
    """What a finding is about: its image, and those that are compared with it."""
    about = [(finding.case, finding.unit), *finding.beside]
    shown = [pictures.of_unit(unit) if unit >= 0 else pictures.of_case(case) for case, unit in about]
    drawn = [picture for picture in shown if picture is not None]
    if len(drawn) > 1:  # each has its name below it, with patient and part
        return figures.figure(drawn, "", [finding.detail], pictures.names)
    name, lines = pictures.who(finding.case, finding.unit)
    return figures.figure(drawn, name or finding.path, [*lines, finding.detail], pictures.names)


def _classes(survey: Survey, pictures: CasePictures) -> tuple[list[dict[str, Any]], str]:
    """Classes with some of their cases as figures, and what is left out, in words."""
    figures = PageFigures(_CASES, "case")

    def drawn(case: int, unit: int = -1) -> Markup:
        picture = pictures.of_unit(unit) if unit >= 0 else pictures.of_case(case)
        name, lines = pictures.who(case, unit)
        return figures.figure([] if picture is None else [picture], name, lines, pictures.names)

    if len(survey.table):
        found, left = cases_of_classes(survey)
        shown = [
            {"name": name, "count": number_of(count, "case"), "figures": [drawn(case) for case in cases]}
            for name, count, cases in found
        ]
    else:
        units, left = np.flatnonzero(survey.records["status"] == READ), 0
        some = units[evenly(len(units), _LOOSE)]
        loose = [drawn(-1, int(unit)) for unit in some]
        shown = [{"name": "files", "count": number_of(len(units), "file"), "figures": loose}] if loose else []
    words = [f"{left} further classes are not shown"] if left else []
    if figures.left_out:
        words.append(f"{number_of(figures.left_out, 'picture')} left out, so that this page stays small")
    return shown, "; ".join(words)
