"""What a comparison says in sentences: the answer, what the data leave open, and non-inferiority."""

from __future__ import annotations

import math

from tasks.evaluation.comparison.differences import Comparison, Difference, direction
from tasks.evaluation.metric_names import label_of
from tasks.evaluation.report.content import PValue
from tasks.evaluation.report.words import number, p_value


def answer(comparison: Comparison, unit: str = "", tests: int = 1) -> list[str]:
    """The answer in the primary metric, and which of the secondary ones differ.

    Args:
        comparison: of two models.
        unit: of surface distances.
        tests: of the primary metric: how many models are held against the reference.
    """
    primary = comparison.primary
    if primary is None:
        return [f"{comparison.other.name} and {comparison.reference.name} have no metric in common."]
    lines = [difference_line(comparison, primary, unit, adjusted=tests > 1)]
    found = [each for each in comparison.secondary if each.found]
    if found:
        said = [f"a {_changed(each)} {label_of(each.metric, unit)} ({_signed(each)})" for each in found]
        lines.append(
            f"Of the {len(comparison.secondary)} secondary metrics {comparison.other.name} has {_joined(said)}; "
            "p is adjusted for all of them."
        )
    elif comparison.secondary:
        lines.append(
            f"In the {len(comparison.secondary)} secondary metrics no difference between {comparison.other.name} and "
            f"{comparison.reference.name} was found once p is adjusted for all of them."
        )
    return lines


def difference_line(comparison: Comparison, difference: Difference, unit: str = "", *, adjusted: bool = False) -> str:
    """The difference in a sentence: ``B has a higher AUROC than A by 0.030 (0.010 to 0.050), p 0.004``.

    Where none was found it says which differences the data leave open: that none was found is not that there is none.

    Args:
        comparison: of two models.
        difference: a metric of theirs.
        unit: of surface distances.
        adjusted: p was adjusted for several tests, which is said.
    """
    label, value = label_of(difference.metric, unit), difference.value
    other, reference = comparison.other.name, comparison.reference.name
    if math.isnan(value.value):
        return f"{label} is undefined for {other} or {reference}."
    p = _p(difference, adjusted=adjusted)
    if math.isnan(value.low):
        if difference.paired.p == 1 and math.isfinite(difference.p):
            return f"{other} and {reference} have the same {label}: {value.withheld}."
        return (
            f"The {label} of {other} less that of {reference} is {number(value.value)}; how sure that is cannot be "
            f"said: {value.withheld or 'no interval was asked for'}."
        )
    if difference.found:
        return f"{other} has a {_changed(difference)} {label} than {reference} by {_size(difference)}, {p}."
    return (
        f"No difference in {label} between {other} and {reference} was found ({p}): differences between "
        f"{number(value.low)} and {number(value.high)} are compatible with the data, and {number(value.value)} fits "
        "them best. That is no proof that they are equal."
    )


def margin_line(comparison: Comparison, margin: float, unit: str = "") -> str:
    """What the interval of the primary metric says against a margin of non-inferiority; empty without one.

    Args:
        comparison: of two models.
        margin: above 0, in units of the metric.
        unit: of surface distances.
    """
    primary = comparison.primary
    if primary is None:
        return ""
    label, other, reference = label_of(primary.metric, unit), comparison.other.name, comparison.reference.name
    low, high = primary.value.low, primary.value.high
    worst = -low if direction(primary.metric) > 0 else high
    size = f"{margin:g}"
    verdict = primary.verdict(margin)
    if verdict == "superior":
        return f"{other} is superior to {reference} in {label}, and so not inferior by the margin of {size}."
    if verdict == "non-inferior":
        return (
            f"{other} is not inferior to {reference} in {label} by the margin of {size}: it is worse by at most "
            f"{number(max(0.0, worst))} (95 % interval). That it is better is not shown."
        )
    if verdict == "inferior":
        return f"{other} is inferior to {reference} in {label}: worse by more than the margin of {size}."
    if verdict == "unknown":
        return (
            f"Whether {other} is inferior to {reference} by the margin of {size} cannot be said: there is no interval."
        )
    return (
        f"That {other} is not inferior to {reference} in {label} by the margin of {size} is not shown: it may be worse "
        f"by {number(worst)}."
    )


def seeds_line(comparison: Comparison, unit: str = "") -> str:
    """What the test over trainings says; empty where there are not several of both."""
    seeds = comparison.seeds
    if seeds is None or comparison.primary is None or math.isnan(seeds.p):
        return ""
    label = label_of(comparison.primary.metric, unit)
    ours, theirs = len(comparison.other.parts), len(comparison.reference.parts)
    how = "all deals of the runs" if seeds.exact else "deals of the runs drawn at random"
    said = (
        f"Over trainings: {label} of the {ours} runs of {comparison.other.name} against the {theirs} of "
        f"{comparison.reference.name}, {_p_words(seeds.p)} (permutation test, {how}; two-sided)."
    )
    if seeds.least >= 0.05:
        said += f" So few runs cannot give a p below {seeds.least:.2g}."
    return said


def _p(difference: Difference, *, adjusted: bool) -> str:
    value = _p_words(difference.adjusted)
    return f"{value} adjusted for several comparisons" if adjusted else value


def _p_words(p: float) -> str:
    text = p_value(PValue(p))
    return f"p {text}"


def _changed(difference: Difference) -> str:
    return "higher" if difference.value.value > 0 else "lower"


def _size(difference: Difference) -> str:
    """A difference without its sign, with its interval."""
    value = difference.value
    ends = (value.low, value.high) if value.value > 0 else (-value.high, -value.low)
    return f"{number(abs(value.value))} ({number(ends[0])} to {number(ends[1])})"


def _signed(difference: Difference) -> str:
    value = difference.value
    ends = "" if math.isnan(value.low) else f", {number(value.low)} to {number(value.high)}"
    return f"{value.value:+.3f}{ends}"


def _joined(said: list[str]) -> str:
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
