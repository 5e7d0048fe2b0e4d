"""The rule of an operating point: chosen again from tables alone, how sure the choice is, and whether promises hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scansuite.errors import SuiteError
from tasks.evaluation.classification.operating_point import call_at, operating_points
from tasks.evaluation.classification.weighted import FloatArray
from tasks.evaluation.decisions.called import Called
from tasks.evaluation.decisions.findings import findings_of
from tasks.evaluation.decisions.levels import Levels, box_levels, levels_of
from tasks.evaluation.detection.calls import NO_HIT, choose_thresholds
from tasks.evaluation.evaluated import EvaluatedRun, PartTables
from tasks.evaluation.holm import holm
from tasks.evaluation.metric_values import LEAST_PATIENTS
from tasks.evaluation.operating_rules import Candidates, OperatingRule, box_candidates, case_candidates, read_rule

CHOICES = 500  # resamples of validation


def rule_of(tables: PartTables) -> OperatingRule | None:
    """The rule by which the operating points of a run were chosen; None where there are none, or it is not known."""
    text = tables.task.own.get("operating_point")
    if not text or not tables.task.operating_points:
        return None
    try:
        return read_rule(text, _what_is_called(tables.task.task))
    except SuiteError:  # of another version
        return None


def choose_again(run: EvaluatedRun, rule: str, flag: str = "--operating_point") -> EvaluatedRun:
    """The run with operating points chosen anew on its validation part, by a rule; the model is not needed.

    Args:
        run: its tables, with scores of the validation part.
        rule: see :class:`~tasks.evaluation.operating_rules.OperatingRule`.
        flag: by which it was given.

    Returns:
        The run with the thresholds of the rule in its task, and the calls at them in its predictions.

    Raises:
        SuiteError: it is no rule, the task has no operating point, or there is no validation part.
    """
    task = run.task
    chosen = read_rule(rule, _what_is_called(task.task), flag)
    kind = task.own.get("target", "")
    if task.task not in ("classify", "detect") or (task.task == "classify" and kind not in ("binary", "multilabel")):
        what = f"a {kind} target" if task.task == "classify" else f"the task {task.task}"
        raise SuiteError(f"{flag} {rule}: {what} has no operating point: leave the flag out")
    if "val" not in run.parts:
        raise SuiteError(
            f"{flag} {rule}: {run.name} has no case of validation, on which it is chosen: evaluate the checkpoint with "
            "validate into the same folder first"
        )
    part = run.part("val")
    if task.task == "detect":
        points = choose_thresholds(part.matches, task.class_names, 0, chosen)
        predictions = run.predictions
    else:
        facts = {"kind": kind, "class_names": task.class_names, "positive_class": part.positive_class}
        points = operating_points(part.predictions, **facts, rule=chosen)
        old = ["prediction_op", *(f"prediction_op_{name}" for name in task.class_names)]
        predictions = call_at(run.predictions.drop(columns=old, errors="ignore"), points, **facts)
    own = {**task.own, "operating_point": chosen.text}
    return replace(run, task=replace(task, operating_points=points, own=own), predictions=predictions)


@dataclass(frozen=True)
class Choice:
    """How sure the choice of a threshold is: what other patients like those of validation would have made of it.

    Patients of validation are drawn with replacement, the rule chooses on each draw, and its threshold is looked at on
    the validation part as it is, which stands to a draw as all patients stand to it.

    Attributes:
        name: of the class.
        low: of the 95 % interval of the threshold; NaN = too few patients.
        high: its upper end.
        reached: interval of the promised figure at such thresholds; NaN where nothing is promised.
        kept: share of the draws whose threshold keeps the promise; NaN likewise.
    """

    name: str
    low: float
    high: float
    reached: tuple[float, float] = (math.nan, math.nan)
    kept: float = math.nan


def choices_of(tables: PartTables, rule: OperatingRule, resamples: int = CHOICES, seed: int = 0) -> dict[str, Choice]:
    """How sure each class's operating point is.

    Args:
        tables: of the validation part.
        rule: that chose.
        resamples: of patients.
        seed: of the draws.

    Returns:
        By class; those with an operating point alone.
    """
    points = tables.task.operating_points
    if tables.task.task == "detect":
        pairs = zip(tables.task.class_names, tables.matches, strict=True)
        levels = {name: box_levels([matches], tables.patients) for name, matches in pairs if name in points}
        boxes = True
    else:
        levels = {each.name: levels_of(each) for each in findings_of(tables) if each.threshold is not None}
        boxes = False
    return {name: _choice(name, each, rule, resamples, seed, boxes=boxes) for name, each in levels.items()}


def _choice(name: str, levels: Levels, rule: OperatingRule, resamples: int, seed: int, *, boxes: bool) -> Choice:
    if not resamples or levels.patients < LEAST_PATIENTS or not len(levels.highest) or levels.with_positive < 2:
        return Choice(name, math.nan, math.nan)
    thresholds = []
    for weights in levels.resampled(resamples, seed):
        counts = levels.counted(weights)
        for tp, fp, positives, others in zip(*counts, strict=True):
            drawn = np.diff(tp + fp, prepend=0.0) > 0
            if boxes and positives > 0 and not tp[-1:].any():
                thresholds.append(NO_HIT)
            elif positives > 0 and drawn.any() and (boxes or others > 0):
                candidates = _candidates(levels, drawn, tp, fp, (float(positives), float(others)), rule, boxes=boxes)
                thresholds.append(rule.choose(candidates, quiet=True))
    found = np.array([each for each in thresholds if not math.isnan(each)])
    if len(found) < resamples / 2:
        return Choice(name, math.nan, math.nan)
    low, high = np.percentile(found, [2.5, 97.5])
    if not rule.promises:
        return Choice(name, float(low), float(high))
    reached = _reached(levels, found, rule, boxes=boxes)
    kept = reached <= rule.bound + 1e-12 if rule.kind == "fp" else reached >= rule.bound - 1e-12
    ends = np.percentile(reached, [2.5, 97.5])
    return Choice(name, float(low), float(high), (float(ends[0]), float(ends[1])), float(kept.mean()))


def _candidates(
    levels: Levels,
    drawn: FloatArray,
    tp: FloatArray,
    fp: FloatArray,
    sides: tuple[float, float],
    rule: OperatingRule,
    *,
    boxes: bool,
) -> Candidates:
    """Those of a draw: its own scores alone."""
    if boxes:
        return box_candidates(levels.lowest[drawn], tp[drawn], fp[drawn], *sides, rule)
    return case_candidates(levels.lowest[drawn][::-1], tp[drawn][::-1], fp[drawn][::-1], rule)


def _reached(levels: Levels, thresholds: FloatArray, rule: OperatingRule, *, boxes: bool) -> FloatArray:
    """The promised figure of the part itself at each threshold."""
    counts = levels.counted()
    called = np.searchsorted(-levels.lowest, -thresholds, side="right")  # levels at and above
    tp, fp = (np.append(0.0, each[0])[called] for each in (counts.tp, counts.fp))
    positives, others = float(counts.positives[0]), float(counts.others[0])
    if rule.kind == "fp":
        return fp / others
    of = Candidates(thresholds, tp, fp, positives, None if boxes else others, positives + others)
    reached: FloatArray = getattr(of, rule.kind)
    return reached


Kept = Literal["kept", "open", "broken", ""]


@dataclass(frozen=True)
class Promise:
    """A promise of a rule against what is reached on other cases.

    Attributes:
        kept: ``kept`` = the value reaches it; ``broken`` = its whole interval does not; ``open`` = it does not, but its
            interval does; empty = nothing is known.
        p: that chance made it so, in choosing and in testing alike: one side; NaN = unknown.
        flagged: it is more than chance, over all classes (Holm).
    """

    kept: Kept
    p: float = math.nan
    flagged: bool = False


def promises_kept(
    rule: OperatingRule, reached: Sequence[Called], chosen_on: Sequence[Called], level: float = 0.025
) -> dict[str, Promise]:
    """Whether what a rule promises holds on cases that it was not chosen on.

    That a value is below its promise may be chance of the cases, or of those that the threshold was chosen on. Both
    variances are added: a model that is no worse on new cases is flagged by chance alone, in ``level`` of the runs.

    Args:
        rule: with a promise.
        reached: calls on other cases.
        chosen_on: calls of the same classes on validation; classes without are judged by the others' variance alone.
        level: of the one-sided test.
    """
    other = {each.name: each for each in chosen_on}
    sign = -1.0 if rule.kind == "fp" else 1.0
    found: dict[str, Promise] = {}
    for called in reached:
        value = called.value(rule.kind)
        if math.isnan(value.value):
            found[called.name] = Promise("")
            continue
        short = sign * (rule.bound - value.value)
        far = sign * (rule.bound - (value.low if rule.kind == "fp" else value.high))
        kept: Kept = "kept" if short <= 1e-12 else "broken" if far > 0 else "open"
        found[called.name] = Promise(kept, _chance(rule, short, called, other.get(called.name)))
    adjusted = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    return {
        name: replace(each, flagged=each.kept == "broken" and adjusted[name] <= level) for name, each in found.items()
    }


def _chance(rule: OperatingRule, short: float, called: Called, chosen_on: Called | None) -> float:
    """One-sided p that a value lies so far on the wrong side of its promise."""
    from scipy.stats import t  # here: slow to import

    variance, patients = _spread(rule, called)
    if chosen_on is not None:
        own, of_choice = _spread(rule, chosen_on)
        variance, patients = variance + own, min(patients, of_choice)
    if patients < 2 or not variance > 0:
        return math.nan
    return float(t.sf(short / math.sqrt(variance), patients - 1))


def _spread(rule: OperatingRule, called: Called) -> tuple[float, int]:
    """Variance of the promised figure, of a share as if the promise were kept exactly, and the patients behind it."""
    ratio = called.ratio(rule.kind)
    variance, patients = float(ratio.variance[0]), int(ratio.patients[0])
    share = float(ratio.value[0])
    if rule.kind == "fp" or not 0 < rule.bound < 1:
        return variance, patients
    spread = share * (1 - share)
    n = min(spread / variance, float(ratio.units[0])) if variance > 0 and spread > 0 else float(patients)
    return rule.bound * (1 - rule.bound) / n if n else math.nan, patients


def _what_is_called(task: str) -> Literal["cases", "boxes"]:
    return "boxes" if task == "detect" else "cases"
