"""The section of a report that compares runs on the same cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scansuite.errors import SuiteError
from tasks.evaluation.comparison.alignment import aligned_parts
from tasks.evaluation.comparison.differences import Comparison, Difference, compare_models, direction
from tasks.evaluation.comparison.models import Model, models_of
from tasks.evaluation.comparison.plots import curves, forests
from tasks.evaluation.comparison.words import answer, margin_line, seeds_line
from tasks.evaluation.evaluated import KNOWN_TASKS, EvaluatedRun
from tasks.evaluation.metric_names import distance_unit, label_of
from tasks.evaluation.report.content import Cell, PValue, ReportSettings, Section, Table
from tasks.evaluation.report.header import part_name
from tasks.evaluation.tables import counted

_HEAD = ("metric", "difference", "p", "p adjusted", "test", "cases", "patients")


def compare(runs: Sequence[EvaluatedRun], split: str, settings: ReportSettings | None = None) -> list[Section]:
    """What a report says of several runs on the same cases; the first is the reference.

    Runs whose ``config.yaml`` differ in the seed alone are one model, whose metrics are averaged.

    Args:
        runs: two or more.
        split: the part.
        settings: margin of non-inferiority, whether cases that not all have are left out, resamples, seed.

    Raises:
        SuiteError: fewer than two runs, tables that are not about the same cases, targets and classes, or a margin that
            is not above 0.
    """
    settings = settings or ReportSettings()
    if len(runs) < 2:
        raise SuiteError("--compare: give two runs or more: the first is what the others are held against")
    if settings.margin is not None and not settings.margin > 0:
        raise SuiteError(f"--margin {settings.margin:g}: is the most that a model may be worse: give a number above 0")
    if runs[0].task.task not in KNOWN_TASKS:
        raise SuiteError(f"{runs[0].name}: task {runs[0].task.task!r}: its metrics are not made from tables alone")
    parts = aligned_parts(runs, split, common=settings.common_cases)
    models = models_of(runs, parts, settings.resamples)
    comparisons = compare_models(models, settings.seed)
    cases = parts[0].cases
    unit = distance_unit(cases) if "spacing" in cases else ""
    tests = len(comparisons)
    lines = [line for each in comparisons for line in answer(each, unit, tests)]
    if settings.margin is not None:
        lines += [line for each in comparisons if (line := margin_line(each, settings.margin, unit))]
    lines += [line for each in comparisons if (line := seeds_line(each, unit))]
    lines.append(_about(runs, models, counted(cases["case_id"], cases), split, settings))
    section = Section(
        "comparison",
        "Comparison",
        lines,
        parts=[
            *_tables(models, comparisons, unit),
            *forests(comparisons, unit),
            *curves(models),
        ],
        figures=_figures(models, comparisons, settings),
    )
    return [section]


def _about(
    runs: Sequence[EvaluatedRun], models: Sequence[Model], who: str, split: str, settings: ReportSettings
) -> str:
    said = f"Compared on the same {who} ({part_name(split)}); {models[0].name} is the reference."
    left = [len(run.part(split).cases) - len(models[0].parts[0].cases) for run in runs] if settings.common_cases else []
    if any(left):
        said += f" Cases that not all runs have are left out: {', '.join(map(str, left))} of the runs in turn."
    if split == "val":
        said += " Checkpoints and operating points were chosen on these cases, so all of them are flattered."
    return said


def _tables(models: Sequence[Model], comparisons: Sequence[Comparison], unit: str) -> list[Table]:
    first = comparisons[0]
    names = [each.metric for each in (first.primary, *first.secondary) if each is not None]
    rows: list[tuple[Cell, ...]] = [
        (label_of(name, unit), *(model.metrics[name] for model in models), _better(name)) for name in names
    ]
    note = "95 % intervals by patient, of each model by itself: whether two differ is read from the differences below."
    if any(len(model.parts) > 1 for model in models):
        note += " Of a model of several runs, their mean."
    tables = [Table("values", "Each model", ("metric", *(model.name for model in models), "better"), rows, note)]
    tables += _difference_tables(comparisons, unit)
    if any(len(model.parts) > 1 for model in models) and names:
        runs: list[tuple[Cell, ...]] = [
            (model.name, run, metrics.get(names[0]))
            for model in models
            for run, metrics in zip(model.run_names, model.run_metrics, strict=True)
        ]
        tables.append(Table("runs", "Each run", ("model", "run", label_of(names[0], unit)), runs))
    return tables


def _difference_tables(comparisons: Sequence[Comparison], unit: str) -> list[Table]:
    several = len(comparisons) > 1
    wilcoxon = any(not math.isnan(each.paired.wilcoxon) for one in comparisons for each in one.secondary) or any(
        one.primary is not None and not math.isnan(one.primary.paired.wilcoxon) for one in comparisons
    )
    head = (*(["model"] if several else []), *_HEAD[:4], *(["p Wilcoxon"] if wilcoxon else []), *_HEAD[4:])

    def row(comparison: Comparison, each: Difference) -> tuple[Cell, ...]:
        p = None if math.isnan(each.p) else each.p
        cells: list[Cell] = [comparison.other.name] if several else []
        cells += [label_of(each.metric, unit), each.value]
        cells += [None, None] if p is None else [PValue(p), PValue(p, each.adjusted)]
        cells += [PValue(each.paired.wilcoxon)] if wilcoxon and not math.isnan(each.paired.wilcoxon) else []
        cells += [None] if wilcoxon and math.isnan(each.paired.wilcoxon) else []
        return (*cells, each.paired.method, each.paired.n, each.paired.patients)

    reference = comparisons[0].reference.name
    of_whole = [row(one, each) for one in comparisons for each in (one.primary, *one.secondary) if each is not None]
    note = (
        f"Each model less {reference}, on the same cases, with 95 % intervals by patient. p is two-sided; adjusted by "
        "Holm's method, that of the first metric over the models, those of the others over all of them together."
    )
    if wilcoxon:
        note += " Wilcoxon's signed-rank test is over patients, is not adjusted, and decides nothing."
    tables = [Table("differences", "Paired differences", head, of_whole, note)]
    by_class = [row(one, each) for one in comparisons for each in one.by_class]
    if by_class:
        note = "As above; p is adjusted over all rows."
        tables.append(Table("by_class", "Paired differences by class", head, by_class, note, sortable=True))
    return tables


def _better(metric: str) -> str:
    return {1: "higher", -1: "lower", 0: "near 0"}[direction(metric)]


def _figures(models: Sequence[Model], comparisons: Sequence[Comparison], settings: ReportSettings) -> Mapping[str, Any]:
    """What ``report.json`` holds: differences by model and metric."""
    found: dict[str, Any] = {
        "reference": models[0].name,
        "runs": {model.name: list(model.run_names) for model in models},
    }
    for one in comparisons:
        own: dict[str, Any] = {}
        for each in (one.primary, *one.secondary, *one.by_class):
            if each is not None:
                own[each.metric] = {
                    "difference": each.value, "p": each.p, "p_adjusted": each.adjusted, "test": each.paired.method,
                }  # fmt: skip
        entry: dict[str, Any] = {"primary": None if one.primary is None else one.primary.metric, "metrics": own}
        if settings.margin is not None and one.primary is not None:
            entry |= {"margin": settings.margin, "verdict": one.primary.verdict(settings.margin)}
        if one.seeds is not None:
            entry["p_over_trainings"] = one.seeds.p
        found.setdefault("models", {})[one.other.name] = entry
    return found
