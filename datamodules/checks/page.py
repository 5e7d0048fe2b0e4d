"""The findings as one HTML page that needs nothing else: counts, thumbnails of the suspects, histograms."""

from __future__ import annotations

import base64
from datetime import datetime
from importlib import resources
from pathlib import Path

import pandas as pd

from datamodules.checks.kinds import SEVERITIES, kind_of
from datamodules.checks.measures import READ, thumbnail
from datamodules.checks.store import Finding, FindingStore
from datamodules.checks.survey import Survey
from datamodules.remote import as_typed
from scansuite.errors import SuiteError
from scansuite.files import write_text
from scansuite.words import number_of


def write_page(file: Path, survey: Survey, store: FindingStore) -> None:
    """Write the page.

    Args:
        file: the HTML file.
        survey: what was checked; its images are read once more for thumbnails.
        store: the findings.
    """
    from jinja2 import Environment

    template = resources.files("datamodules.checks").joinpath("page.html").read_text(encoding="utf-8")
    cases = survey.cases()
    kinds = []
    for severity in SEVERITIES:
        for (of, kind), count in store.counts.items():
            if of != severity:
                continue
            some = [finding for finding in store.examples[kind] if finding.severity == severity]
            kinds.append(
                {
                    "severity": severity,
                    "name": kind,
                    "count": count,
                    "meaning": kind_of(kind).meaning,
                    "some": [_shown(finding, survey, cases) for finding in some],
                }
            )
    data = survey.data
    errors = store.count("error")
    page = (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(
            root=as_typed(str(data.root)) if str(data.root) != "." else type(data).__name__,
            what=f"{type(data).__name__}: {len(cases)} cases, {len(survey.units)} images or volumes",
            when=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            errors=errors,
            verdict=verdict(store),
            kinds=kinds,
            histograms=[{"title": one.title, "bars": _bars(one.bars)} for one in survey.histograms if one.bars],
        )
    )
    write_text(file, page)


def verdict(store: FindingStore) -> str:
    """Verdict in one sentence on all findings."""
    errors, warnings, notes = (store.count(severity) for severity in SEVERITIES)
    lead = f"{number_of(errors, 'error')} would" if errors else "nothing would"
    return f"{lead} stop or spoil training; {number_of(warnings, 'warning')}, {number_of(notes, 'note')}"


def _bars(bars: list[tuple[str, int]]) -> list[tuple[str, int, float]]:
    most = max(count for _, count in bars) or 1
    return [(name, count, round(100 * count / most, 1)) for name, count in bars]


def _shown(finding: Finding, survey: Survey, cases: pd.DataFrame) -> dict[str, str]:
    case, unit = finding.case, finding.unit
    if unit < 0 and case >= 0:
        units = (survey.owners == case).nonzero()[0]
        unit = int(units[0]) if len(units) else -1
    who, part = finding.path, ""
    if case >= 0:
        who = str(cases["case_id"].iat[case])
        part = str(cases["split"].astype("str").fillna("").iat[case])
    return {"who": who, "part": part, "detail": finding.detail, "image": _image(survey, unit)}


def _image(survey: Survey, unit: int) -> str:
    """A thumbnail as a data URI; "" where the image was not read, or cannot be read any more."""
    if unit < 0 or survey.records["status"][unit] != READ:
        return ""
    import imagecodecs

    try:
        small = thumbnail(survey.units.picture(unit))
    except SuiteError:
        return ""
    return "data:image/png;base64," + base64.b64encode(imagecodecs.png_encode(small)).decode()
