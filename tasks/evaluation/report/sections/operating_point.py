"""Operating point: which rule chose it, how sure that choice is, what it promised, and what it reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tasks.evaluation.decisions.called import Called, called_of
from tasks.evaluation.decisions.choice import CHOICES, Choice, Promise, choices_of, promises_kept, rule_of
from tasks.evaluation.decisions.findings import findings_of
from tasks.evaluation.decisions.net_benefit import benefit_at_point
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.operating_rules import OperatingRule
from tasks.evaluation.report.content import Cell, ForestPlot, Section, Subject, Table
from tasks.evaluation.report.header import part_name, part_of
from tasks.evaluation.report.words import number, with_interval

_SHOWN = 30  # classes
_FEW = 6  # likewise
_KIND_NAMES = {"fp": "false boxes an image", "precision": "precision"}
_PROMISES = {"kept": "kept", "open": "not reached, within its interval", "broken": "not reached", "": ""}


def section(subject: Subject) -> Section | None:
    """Operating points of the reported part; None where nothing is called at a threshold.

    A flag is raised where a promise is broken by more than chance in choosing and testing explains.
    """
    tables, settings = subject.tables, subject.settings
    called = called_of(tables)
    if not called:
        return None
    rule = rule_of(tables)
    on_validation = called_of(subject.validation) if subject.validation is not None else []
    choices: Mapping[str, Choice] = {}
    if rule is not None and subject.validation is not None:
        choices = choices_of(subject.validation, rule, _draws(subject), settings.seed)
    promises: Mapping[str, Promise] = {}
    if rule is not None and rule.promises and subject.split != "val":
        promises = promises_kept(rule, called, on_validation)
    parts: list[Table | ForestPlot] = [_thresholds(subject, rule, called, on_validation, choices, promises)]
    parts.append(_reached(subject, called))
    if tables.task.task == "classify":
        if (beliefs := _beliefs(subject, called)).rows:
            parts.append(beliefs)
        if len(called) > 1:
            rows = [(each.name, each.value("sensitivity")) for each in called[:_SHOWN]]
            title = f"Sensitivity at the operating point, {part_of(subject)}"
            parts.append(ForestPlot("sensitivity", title, "sensitivity", rows))
    flags = [_broken(rule, each) for each in called if rule and each.name in promises and promises[each.name].flagged]
    figures = {
        "rule": "" if rule is None else rule.text,
        "thresholds": {
            each.name: {"threshold": each.threshold, **_choice_figures(choices.get(each.name))} for each in called
        },
    }
    lines = _lines(subject, rule, called, on_validation, choices, promises)
    return Section("operating_point", "Operating point", lines, flags, parts, figures)


def _draws(subject: Subject) -> int:
    """How often a threshold is chosen anew: fewer times where there are many."""
    most = CHOICES if len(subject.run.task.operating_points) <= _FEW else 200
    return min(most, subject.settings.resamples)


def _lines(
    subject: Subject,
    rule: OperatingRule | None,
    called: Sequence[Called],
    on_validation: Sequence[Called],
    choices: Mapping[str, Choice],
    promises: Mapping[str, Promise],
) -> list[str]:
    lead = called[0]
    other = "precision" if lead.tn is None else "specificity"
    named = f" for {lead.name}" if len(called) > 1 else ""
    lines = [
        f"Called from {number(lead.threshold)} on{named}, sensitivity is {with_interval(lead.value('sensitivity'))} "
        f"and {other} {with_interval(lead.value(other))} ({part_of(subject)})."
    ]
    if rule is None:
        return lines
    if rule.promises:
        kept = [promises[each.name].kept for each in called if each.name in promises and promises[each.name].kept]
        if kept:
            count = sum(each == "kept" for each in kept)
            reach = "is reached" if count == len(kept) else "is not reached"
            if len(kept) > 1:
                reach = f"is reached for {count} of {len(kept)} classes"
            there = _on_validation(rule, [each for each in on_validation if each.name in promises])
            lines.append(f"{rule.text}, {there}, {reach} on {part_name(subject.split)}.")
    choice = choices.get(lead.name)
    if choice is not None and not math.isnan(choice.low):
        line = (
            f"Other patients like those of validation would have put the threshold{named} between "
            f"{number(choice.low)} and {number(choice.high)}"
        )
        if not math.isnan(choice.kept):
            line += f"; {choice.kept:.0%} of such thresholds keep the promise on validation as it is"
        lines.append(f"{line}.")
    return lines


def _on_validation(rule: OperatingRule, chosen_on: Sequence[Called]) -> str:
    """Whether the promise holds where it was chosen: it may be one that no threshold keeps."""
    values = [value for each in chosen_on if not math.isnan(value := each.value(rule.kind).value)]
    if not values:
        return "for which the rule chose on validation"
    sign = -1.0 if rule.kind == "fp" else 1.0
    count = sum(sign * (value - rule.bound) >= -1e-12 for value in values)
    if count == len(values):
        return "which the rule keeps on validation"
    return f"which is kept on validation for {count} of {len(values)} classes" if count else "not kept on validation"


def _thresholds(
    subject: Subject,
    rule: OperatingRule | None,
    called: Sequence[Called],
    on_validation: Sequence[Called],
    choices: Mapping[str, Choice],
    promises: Mapping[str, Promise],
) -> Table:
    """How the thresholds were chosen, and what became of what was promised."""
    validation = {each.name: each for each in on_validation}
    promised = rule is not None and rule.promises
    sure = any(not math.isnan(each.low) for each in choices.values())
    head = ["class", *(["rule"] if rule is not None else []), "threshold", *(["from", "to"] if sure else [])]
    if promised and rule is not None:
        what = _KIND_NAMES.get(rule.kind, rule.kind)
        head += [f"{what} promised", "on validation", f"on {part_name(subject.split)}", "promise", "kept in draws"]
    rows: list[list[Cell]] = []
    for each in called[:_SHOWN]:
        choice = choices.get(each.name, Choice(each.name, math.nan, math.nan))
        row: list[Cell] = [each.name, *([] if rule is None else [rule.text]), each.threshold]
        if sure:
            row += [None if math.isnan(end) else end for end in (choice.low, choice.high)]
        if promised and rule is not None:
            own = validation.get(each.name)
            row += [rule.bound, None if own is None else own.value(rule.kind), each.value(rule.kind)]
            row += [_PROMISES[promises[each.name].kept] if each.name in promises else ""]
            row += [None if math.isnan(choice.kept) else choice.kept]
        rows.append(row)
    note = ""
    if sure:
        draws = _draws(subject)
        note = f"From, to: 95 % of {draws} thresholds that the rule takes when patients of validation are drawn anew."
        if promised:
            note += " Kept in draws: share of these thresholds that keep the promise on validation as it is."
    return Table("thresholds", "Thresholds", head, rows, note)


def _reached(subject: Subject, called: Sequence[Called]) -> Table:
    """Calls at the operating points: the metrics of ``metrics.json``, and what readers ask beside them."""
    boxes = called[0].tn is None
    kinds = ("sensitivity", "precision") if boxes else ("sensitivity", "specificity", "precision", "npv")
    rule = rule_of(subject.tables)
    points = {each.name: benefit_at_point(each, rule) for each in findings_of(subject.tables)}
    rows: list[list[Cell]] = []
    for each in called[:_SHOWN]:
        row: list[Cell] = [each.name, *(each.value(kind) for kind in kinds), _f1(subject, each.name)]
        row.append(_to_read(each.value("precision")))
        if boxes:
            row.append(each.value("fp"))
        else:
            benefit = points[each.name]
            row.append(None if benefit is None else benefit.model)
        rows.append(row)
    head = ["class", *("NPV" if kind == "npv" else kind for kind in kinds), "F1", "number needed to read"]
    head.append("false boxes an image" if boxes else "net benefit")
    note = "Number needed to read: calls that are looked at for one that is right. 95 % intervals by patient."
    return Table("reached", f"At the operating point, {part_of(subject)}", head, rows, note)


def _beliefs(subject: Subject, called: Sequence[Called]) -> Table:
    """Likelihood ratios, and predictive values at the prevalence of the data and at those asked for."""
    rows: list[list[Cell]] = []
    for each in called[:_SHOWN]:
        ratios: list[Cell] = [each.likelihood_ratio("+"), each.likelihood_ratio("-")]
        own = each.positives / float(each.cases.sum())
        for place, prevalence in enumerate((own, *subject.settings.prevalence)):
            if 0 < prevalence < 1:
                values = [each.predictive_value(sign, prevalence) for sign in ("+", "-")]
                where = "of these cases" if place == 0 else "asked for"
                rows.append([each.name, prevalence, where, *values, *ratios])
    head = ("class", "prevalence", "", "precision (PPV)", "NPV", "likelihood ratio of a call", "of no call")
    note = (
        "Predictive values follow from the likelihood ratios by Bayes' theorem, for cases that differ from these in "
        "prevalence alone, which is taken as known. A likelihood ratio is undefined (infinite) where no call is wrong."
    )
    return Table("predictive_values", "What a call means", head, rows, note)


def _f1(subject: Subject, name: str) -> MetricValue | None:
    metrics = subject.metrics
    return metrics.get(f"f1@op/{name}", metrics.get("f1@op") if subject.tables.kind == "binary" else None)


def _to_read(precision: MetricValue) -> MetricValue:
    """Calls for one that is right; undefined where none is."""
    value, low, high = (1 / end if end > 0 else math.nan for end in (precision.value, precision.high, precision.low))
    if math.isnan(value) or math.isnan(high):
        low = high = math.nan
    return MetricValue(
        value, low, high, precision.n, withheld=precision.withheld, patients=precision.patients,
        positives=precision.positives,
    )  # fmt: skip


def _broken(rule: OperatingRule, called: Called) -> str:
    what = _KIND_NAMES.get(rule.kind, rule.kind)
    reached = with_interval(called.value(rule.kind))
    return f"{called.name}: the operating point promises {rule.text}, and {what} is {reached}."


def _choice_figures(choice: Choice | None) -> dict[str, float | tuple[float, float]]:
    if choice is None:
        return {}
    return {"low": choice.low, "high": choice.high, "reached": choice.reached, "promise_kept": choice.kept}
