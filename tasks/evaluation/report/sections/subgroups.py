"""Subgroups: for whom the model is worse, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, ForestPlot, Plot, PValue, Section, Subject, Table
from tasks.evaluation.report.words import number, p_value, with_interval
from tasks.evaluation.subgroups.analysis import Analysis, Comparison, analyse
from tasks.evaluation.subgroups.groupings import Grouping

_FLAGS = 5  # sentences
_NAMED = 8  # columns
_RATES = {"sensitivity": "false negative rate", "specificity": "false positive rate"}


def section(subject: Subject) -> Section | None:
    """Subgroups by the columns of the cases table, and by two of them."""
    analysis = analyse(subject.tables, subject.settings.subgroups, subject.settings.resamples)
    if not analysis.groupings:
        return None
    flagged = _flagged(analysis)
    singles = [grouping for grouping in analysis.groupings if len(grouping.columns) == 1]
    pairs = [grouping for grouping in analysis.groupings if len(grouping.columns) > 1]
    parts: list[Table | Plot] = []
    if (plot := _forest(analysis, singles, 0)) is not None:
        parts.append(plot)
    parts.append(_values(analysis, singles, "columns", "By column"))
    if (rates := _error_rates(analysis, singles)) is not None:
        parts.append(rates)
    if any(not math.isnan(each.test.p) for each in analysis.comparisons):
        parts.append(_tests(analysis))
    later = sorted({analysis.measures.index(each.measure) for each in flagged} - {0})
    parts += [plot for number in later if (plot := _forest(analysis, singles, number)) is not None]
    if pairs:
        parts.append(_values(analysis, pairs, "pairs", "By two columns"))
    flags = [_flag(each) for each in flagged[:_FLAGS]]
    if len(flagged) > _FLAGS:
        flags.append(f"{len(flagged) - _FLAGS} further differences between subgroups are in the table of tests.")
    return Section("subgroups", "Subgroups", _lines(analysis, flagged), flags, parts, _figures(analysis))


def _flagged(analysis: Analysis) -> list[Comparison]:
    """Comparisons to be flagged, the least p first; of two columns only what neither of them says alone."""
    found = sorted((each for each in analysis.comparisons if each.flagged), key=lambda each: each.test.p)
    alone = {(each.measure.name, *each.grouping.columns) for each in found if len(each.grouping.columns) == 1}
    return [
        each
        for each in found
        if len(each.grouping.columns) == 1
        or not any((each.measure.name, column) in alone for column in each.grouping.columns)
    ]


def _flag(comparison: Comparison) -> str:
    """A difference that is more than chance, in a sentence."""
    worst = comparison.flagged[0]
    p = p_value(PValue(comparison.test.p, comparison.adjusted))
    return (
        f"{_capital(comparison.measure.label)} differs by {comparison.grouping.title} (p {_equals(p)}, adjusted): "
        f"{with_interval(worst.metric)} for {worst.name}, {number(comparison.whole.value)} for all."
    )


def _lines(analysis: Analysis, flagged: Sequence[Comparison]) -> list[str]:
    tested = [each for each in analysis.comparisons if not math.isnan(each.test.p)]
    columns = list(dict.fromkeys(each.grouping.title for each in tested if len(each.grouping.columns) == 1))
    named = ", ".join(columns[:_NAMED]) + (" and others" if len(columns) > _NAMED else "")
    lead = analysis.measures[0].label
    if not tested:
        said = ["No two subgroups of any column are large enough to be compared; their sizes are below."]
    elif flagged:
        by = ", ".join(dict.fromkeys(each.grouping.title for each in flagged))
        said = [f"Performance differs beyond chance by {by}. Looked at: {named}."]
    else:
        widest = max(
            (
                (one.grouping.title, each)
                for one in tested
                for each in one.subgroups
                if one.measure is analysis.measures[0]
            ),
            key=lambda found: _width(found[1].metric),
            default=None,
        )
        said = [f"No difference beyond chance was found between the subgroups of {named}."]
        if widest is not None and _width(widest[1].metric) > 0:
            said.append(
                f"That is no proof that there is none: of {widest[0]} ({widest[1].name}), for one, {lead} is known "
                f"only as {with_interval(widest[1].metric)}."
            )
    return said


def _values(analysis: Analysis, groupings: Sequence[Grouping], name: str, title: str) -> Table:
    """A row a subgroup, with each measure that is no error rate."""
    shown = [k for k, measure in enumerate(analysis.measures) if measure.name.partition("@")[0] not in _RATES]
    labels = [analysis.measures[k].label for k in shown]
    positives = any(each.metric.positives is not None for one in analysis.comparisons for each in one.subgroups)
    rows: list[Sequence[Cell]] = []
    for grouping in groupings:
        found = analysis.of(grouping)
        for k, subgroup in enumerate(grouping.names):
            lead = found[0].subgroups[k]
            mark = any(any(each.name == subgroup for each in one.flagged) for one in found)
            rows.append(
                (
                    grouping.title,
                    subgroup,
                    lead.metric.n,
                    lead.metric.patients,
                    *([lead.metric.positives] if positives else []),
                    *(found[number].subgroups[k].metric for number in shown),
                    _withheld(lead.rest),
                    "differs" if mark else _reason(lead.metric),
                )
            )
    unknown = [f"{each.unknown} of {each.title}" for each in groupings if each.unknown]
    note = (
        "95 % intervals by patient; the difference is that of the first measure from all other cases. "
        "Marked: the column's adjusted test is significant and the interval does not reach the value of the whole."
    )
    if unknown:
        note += f" Cases in no subgroup, since the cell is empty: {', '.join(unknown)}."
    head = ("by", "subgroup", "cases", "patients", *(["positives"] if positives else []), *labels)
    return Table(name, title, (*head, "difference from the rest", "remark"), rows, note=note, sortable=len(rows) > 20)


def _error_rates(analysis: Analysis, groupings: Sequence[Grouping]) -> Table | None:
    """False negative and false positive rates, whose equality is called equalised odds."""
    shown = [k for k, measure in enumerate(analysis.measures) if measure.name.partition("@")[0] in _RATES]
    if not shown:
        return None
    rows: list[Sequence[Cell]] = []
    for grouping in groupings:
        found = analysis.of(grouping)
        for k, subgroup in enumerate(grouping.names):
            rates = [_complement(found[number].subgroups[k].metric) for number in shown]
            rows.append((grouping.title, subgroup, *rates))
    names = [_RATES[analysis.measures[k].name.partition("@")[0]] for k in shown]
    where = "at the operating point" if "@op" in analysis.measures[shown[0]].name else "of the most likely class"
    note = f"Calls {where}. Both rates alike in all subgroups are equalised odds (Hardt and others 2016)."
    return Table("error_rates", "Error rates by column", ("by", "subgroup", *names), rows, note=note)


def _tests(analysis: Analysis) -> Table:
    rows: list[Sequence[Cell]] = [
        (
            each.grouping.title,
            each.measure.label,
            each.test.groups,
            each.gap,
            each.test.q,
            PValue(each.test.p),
            PValue(each.test.p, each.adjusted),
        )
        for each in analysis.comparisons
        if not math.isnan(each.test.p)
    ]
    return Table(
        "tests",
        "Do subgroups differ?",
        ("by", "measure", "subgroups", "largest less smallest", "Cochran's Q", "p", "p, adjusted"),
        rows,
        note="Cochran's Q by patient with Welch's correction; adjusted by Holm's method over all rows. Subgroups of "
        "fewer than 10 patients, or 5 on the side that a measure rests on, are not in a test.",
        sortable=True,
    )


def _forest(analysis: Analysis, groupings: Sequence[Grouping], number: int) -> ForestPlot | None:
    """A measure in all subgroups whose interval is not withheld."""
    measure = analysis.measures[number]
    rows: list[tuple[str, MetricValue | None]] = []
    flagged = []
    whole = math.nan
    for grouping in groupings:
        comparison = analysis.of(grouping)[number]
        shown = [each for each in comparison.subgroups if not math.isnan(each.metric.low)]
        if not shown:
            continue
        whole = comparison.whole.value
        if rows:
            rows.append(("", None))
        for each in shown:
            if each in comparison.flagged:
                flagged.append(len(rows))
            rows.append((f"{grouping.title}: {each.name} (n = {each.metric.n})", each.metric))
    if not rows:
        return None
    name = "forest" if number == 0 else f"forest_{number}"
    title = f"{_capital(measure.label)} by subgroup"
    note = "The line is the value of all cases." + (" Marked: differs beyond chance." if flagged else "")
    reference = None if math.isnan(whole) else whole
    return ForestPlot(name, title, measure.label, rows, reference=reference, flagged=flagged, note=note)


def _figures(analysis: Analysis) -> dict[str, object]:
    return {
        "measures": [measure.name for measure in analysis.measures],
        "tests": [
            {
                "by": list(each.grouping.columns),
                "measure": each.measure.name,
                "subgroups": each.test.groups,
                "gap": each.gap,
                "q": each.test.q,
                "p": each.test.p,
                "adjusted": each.adjusted,
                "flagged": [one.name for one in each.flagged],
            }
            for each in analysis.comparisons
        ],
    }


def _complement(metric: MetricValue) -> MetricValue:
    """1 less a share."""
    return replace(metric, value=1 - metric.value, low=1 - metric.high, high=1 - metric.low)


def _withheld(gap: MetricValue) -> MetricValue | None:
    """A difference whose interval is not withheld."""
    return None if math.isnan(gap.low) else gap


def _reason(metric: MetricValue) -> str:
    """Why a subgroup has no interval; empty where it has one."""
    if math.isnan(metric.value):
        return "one class alone, or none"
    return "too few" if metric.withheld else ""


def _width(metric: MetricValue) -> float:
    return 0.0 if math.isnan(metric.low) else metric.high - metric.low


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
