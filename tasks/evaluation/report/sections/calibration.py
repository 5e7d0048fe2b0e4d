"""Calibration: whether a score of 0.8 means that eight of ten such cases have the finding, before and after fitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scansuite.words import number_of
from tasks.evaluation.calibration.calibration import Method, read_method
from tasks.evaluation.calibration.cross_fitting import cross_fitted
from tasks.evaluation.calibration.figures import ALPHA, LEAST_OFF, LEAST_SIDE, Figures, calibration_figures
from tasks.evaluation.calibration.reliability import reliability_of
from tasks.evaluation.calibration.scored import Finding, Scored, scored, uncalibrated
from tasks.evaluation.calibration.tables import fit_on
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import Cell, Line, LinePlot, PValue, Section, Subject, Table
from tasks.evaluation.report.words import number, with_interval

_SHOWN = 12  # classes in the plot
_NAMED = 5  # classes in a flag
_AS_IS = "as the model gives them"
_METHODS = {
    "temperature": "Temperature scaling",
    "platt": "Platt scaling",
    "isotonic": "Isotonic regression",
    "dirichlet": "Dirichlet calibration",
    "beta": "Beta calibration",
}
_MEANINGS = {
    "slope": "1 is calibrated; below 1 scores are too near to 0 and 1 (over-confident), above 1 not near enough",
    "intercept": "of the regression that the slope is of; 0 is calibrated",
    "in the large": "intercept where the slope is 1: above 0 there is more than the scores say, below 0 less",
    "mean score": "what the model expects",
    "share": "what there is",
    "Brier score": "squared error of the scores; lower is better",
    "reliability": "part of the Brier score that calibration can take away; 0 is calibrated",
    "resolution": "part that the scores earn by telling cases apart; higher is better",
    "uncertainty": "part that is of the data, not of the model",
    "within bins": "rest: spread of the scores within the bins of the other parts",
    "ECE": "mean distance of score and share over 15 bins; biased upward in small samples",
    "squared ECE": "the squared distance without that bias",
    "test": "p of slope 1 and intercept 0 at once",
}


@dataclass(frozen=True, eq=False)
class _State:
    """Scores as they are, or as a calibration makes them."""

    name: str
    scores: Scored
    whole: Figures | None
    by_class: list[Figures]


def section(subject: Subject) -> Section | None:
    """Calibration of the scores in use, and what a fitted calibration changes; None where scores are no shares."""
    used = scored(subject.tables)
    if used is None or not any(len(one.score) for one in used.findings):
        return None
    states, current, lines = _states(subject, used)
    own = states[current]
    boxes = used.kind == "boxes"
    flags = _flags(own, boxes)
    parts: list[Table | LinePlot] = [*_plots(states, current, boxes), _figures(states)]
    if len(own.by_class) > 1:
        parts.append(_by_class(states, current))
    parts.append(_bins(own))
    said = [_verdict(own, boxes), *lines]
    figures = {state.name: _plain(state) for state in states} | {"in_use": own.name}
    return Section("calibration", "Calibration", said, flags, parts, figures)


def _states(subject: Subject, used: Scored) -> tuple[list[_State], int, list[str]]:
    """What is shown beside one another, which of it is in use, and what has to be said of it."""
    raw_tables = uncalibrated(subject.tables)
    asked = read_method(subject.settings.calibration) if subject.settings.calibration else None
    if raw_tables is not None and asked is None:
        raw = scored(raw_tables)
        assert raw is not None
        fitted = subject.run.task.own.get("calibrated_by") or {}
        name = f"calibrated ({fitted.get('method') or subject.run.task.own.get('calibration') or 'stored'})"
        on = f" on {_count(fitted['cases'], used.kind == 'boxes')}" if fitted.get("cases") else ""
        lines = [f"The scores of the run are {name}, fitted on validation{on}; before that they were {_AS_IS}."]
        if subject.split == "val":
            lines.append("These are the cases that the calibration was fitted on: what it gains here flatters it.")
        return [_state(_AS_IS, raw), _state(name, used, subject)], 1, lines
    first = _state(_AS_IS if raw_tables is None else "as in the run", used, subject)
    if asked == "none":
        return [first], 0, []
    start = used if raw_tables is None else scored(raw_tables)
    assert start is not None
    again, lines = _fitted_anew(subject, start, asked or "temperature")
    if raw_tables is None and again is not None:
        lines.append(f"A training with --model.calibration {asked or 'temperature'} applies it.")
    return [first, *([] if again is None else [again])], 0, lines


def _fitted_anew(subject: Subject, start: Scored, method: Method) -> tuple[_State | None, list[str]]:
    """What a calibration would make of the scores: fitted on validation; of validation itself, on other patients."""
    if subject.split == "val":
        crossed = cross_fitted(start, method, subject.settings.seed)
        if crossed is None:
            return None, ["No calibration could be fitted on four fifths of these cases."]
        return _not_applied(crossed, method, "fitted on the other patients, a fifth of all left out at a time,")
    if subject.validation is None:
        return None, ["There is no validation part that a calibration could be fitted on."]
    fit = fit_on(subject.validation, method)
    if fit.calibration is None:
        return None, [*_sentences(fit.said), "No calibration could be fitted on validation."]
    state, lines = _not_applied(start.calibrated(fit.calibration), fit.calibration.method, "fitted on validation")
    return state, [*_sentences(fit.said), *lines]


def _sentences(said: Sequence[str]) -> list[str]:
    return [f"{one[0].upper()}{one[1:]}." for one in said]


def _not_applied(scores: Scored, method: str, how: str) -> tuple[_State, list[str]]:
    name = f"{method}, not applied"
    said = f"{_METHODS[method]} {how} would give what stands under {name!r}; the scores of the run are as they were."
    return _state(name, scores), [said]


def _state(name: str, scores: Scored, subject: Subject | None = None) -> _State:
    """Figures of scores; where they are those of the tables their Brier and ECE are those of ``metrics.json``."""
    whole, by_class = calibration_figures(scores, intervals=subject is None or scores.kind == "boxes")
    if subject is not None and scores.kind != "boxes":
        whole = None if whole is None else _as_in_metrics(whole, subject)
        by_class = [_as_in_metrics(one, subject) for one in by_class]
    return _State(name, scores, whole, by_class)


def _as_in_metrics(figures: Figures, subject: Subject) -> Figures:
    known = subject.metrics
    suffix = f"/{figures.name}" if figures.name and f"brier/{figures.name}" in known else ""
    if figures.name and not suffix and subject.tables.kind != "binary":
        return figures
    brier, ece, squared = (known.get(f"{name}{suffix}") for name in ("brier", "ece", "squared_ece"))
    return replace(
        figures,
        brier=brier or figures.brier,
        ece=ece or figures.ece,
        squared_ece=squared or figures.squared_ece,
    )


def _verdict(state: _State, boxes: bool) -> str:
    """Over- or under-confident, and by how much."""
    off = [one for one in state.by_class if one.miscalibrated]
    whole = state.whole
    if whole is None:
        if off:
            names = _listed([one.name for one in off])
            return f"Scores of {number_of(len(off), 'label')} of {len(state.by_class)} are miscalibrated: {names}."
        unsure = _unsure(state.by_class, boxes)
        return f"{unsure}." if unsure else "No label shows miscalibration beyond chance."
    slope = whole.recalibration.slope
    what = "score and share of right boxes" if boxes else "score and outcome"
    said = f"slope {with_interval(slope, 2)}, where 1 is calibrated"
    if not math.isfinite(slope.value):
        said = f"no slope: {_no_slope(state.scores.whole)}"
    if whole.miscalibrated:
        apart = number(whole.recalibration.off, 2)
        return f"The scores are {whole.direction}: {what} are {apart} apart in the mean ({said})."
    if unsure := _unsure([whole], boxes):
        return f"{unsure} ({said})."
    if math.isnan(whole.recalibration.p):
        return f"Whether the scores are calibrated could not be tested: too many of them are the same ({said})."
    also = f" Of single classes {_listed([one.name for one in off])} are miscalibrated." if off else ""
    return f"The scores show no miscalibration beyond chance ({said}).{also}"


def _no_slope(whole: Finding | None) -> str:
    """Why there is no regression of the outcomes on the scores."""
    if whole is None or not whole.smaller:
        return "all cases are alike"
    if float(whole.score.max() - whole.score.min()) < 1e-9:
        return "all scores are the same"
    return "outcomes are told apart without a mistake"


def _unsure(figures: Sequence[Figures], boxes: bool) -> str:
    """That too few patients are behind all of it; empty where there are enough."""
    most = max((one.smaller for one in figures), default=0)
    if most >= LEAST_SIDE:
        return ""
    sides = "with right boxes and as many with wrong ones" if boxes else "with a finding and as many without"
    return (
        f"Whether the scores are calibrated cannot be said: it takes {LEAST_SIDE} patients {sides}, and there are "
        f"{most} on the smaller side"
    )


def _flags(state: _State, boxes: bool) -> list[str]:
    whole = state.whole
    flags = []
    if whole is not None and whole.miscalibrated:
        flags.append(_verdict(state, boxes))
    off = [one for one in state.by_class if one.miscalibrated and one is not whole]
    if whole is not None and whole.miscalibrated:  # what the whole says already is not said once more
        off = [one for one in off if one.direction != whole.direction]
    if off:
        flags.append(f"Scores are miscalibrated of: {_listed([f'{one.name} ({one.direction})' for one in off])}.")
    return flags


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _plots(states: Sequence[_State], current: int, boxes: bool) -> list[LinePlot]:
    """Reliability of the whole before and after, and that of each class as it is in use; of labels each state's."""
    plots = []
    share = "share of boxes that are right" if boxes else "share of cases with the finding"
    if states[current].whole is not None:
        lines = [_line(state.scores.whole, state.name, boxes) for state in states if state.scores.whole is not None]
        several = not boxes and len(states[current].by_class) > 1
        of_whole = "share of cases whose highest-scoring class is right" if several else share
        plots.append(_plot("reliability", "Reliability", of_whole, lines))
        states = [states[current]]
    for place, state in enumerate(states):
        if len(state.by_class) > 1 or state.whole is None:
            lines = [_line(one, one.name, boxes) for one in state.scores.findings if len(one.score)][:_SHOWN]
            name = "reliability_by_class" + (f"_{place + 1}" if place else "")
            plots.append(_plot(name, f"Reliability by class: scores {state.name}", share, lines))
    return plots


def _line(finding: Finding, name: str, boxes: bool) -> Line:
    found = reliability_of(finding)
    said = [
        f"score {number(x, 2)}: {number(y, 2)} ({number(low, 2)} to {number(high, 2)}) of {_count(int(n), boxes)}"
        for x, y, low, high, n in zip(found.score, found.share, found.low, found.high, found.cases, strict=True)
    ]
    return Line(name, found.score, found.share, found.low, found.high, kind="dots", said=said)


def _count(count: int, boxes: bool) -> str:
    return number_of(count, "case") if not boxes else f"{count} box" if count == 1 else f"{count} boxes"


def _plot(name: str, title: str, share: str, lines: Sequence[Line]) -> LinePlot:
    import numpy as np

    # Scores of boxes may all be near 0: as much is shown as there is.
    ends = np.concatenate(
        [np.fmax(np.fmax(line.x, line.y), line.y if line.high is None else line.high) for line in lines]
    )
    top = min(1.0, math.ceil(10 * float(ends.max(initial=0.1))) / 10)
    reference = Line("", np.array([0.0, top]), np.array([0.0, top]), kind="reference")
    return LinePlot(
        name,
        title,
        "score",
        share,
        [reference, *lines],
        (0.0, top),
        (0.0, top),
        square=True,
        note="Dots on the line are calibrated; below it scores are too high. Bins hold about as many each; bars are "
        "95 % intervals by patient.",
    )


def _rows(figures: Figures) -> dict[str, Cell]:
    fit, parts = figures.recalibration, figures.parts
    return {
        "slope": fit.slope,
        "intercept": fit.intercept,
        "in the large": fit.in_the_large,
        "mean score": figures.score,
        "share": figures.share,
        "Brier score": figures.brier,
        "reliability": parts.reliability,
        "resolution": parts.resolution,
        "uncertainty": parts.uncertainty,
        "within bins": parts.within,
        "ECE": figures.ece,
        "squared ECE": figures.squared_ece,
        "test": PValue(fit.p),
    }


def _figures(states: Sequence[_State]) -> Table:
    """A row a figure, a column a state; of labels a row a figure and label."""
    lead = [state.whole for state in states]
    rows: list[tuple[Cell, ...]] = []
    if all(one is not None for one in lead):
        columns = [_rows(one) for one in lead if one is not None]
        rows = [(name, *(column[name] for column in columns), meaning) for name, meaning in _MEANINGS.items()]
    else:
        for figures in zip(*(state.by_class for state in states), strict=True):
            columns = [_rows(one) for one in figures]
            rows += [(f"{name}, {figures[0].name}", *(column[name] for column in columns), meaning)
                     for name, meaning in _MEANINGS.items()]  # fmt: skip
    note = "95 % intervals by patient."
    first = states[0].scores
    if first.kind == "classes":
        note += " Slope, ECE and test are of the highest-scoring class of each case; the Brier score is of all classes."
    return Table("figures", "Before and after" if len(states) > 1 else "Figures",
                 ("figure", *(state.name for state in states), "meaning"), rows, note)  # fmt: skip


def _by_class(states: Sequence[_State], current: int) -> Table:
    """A row a class: of the scores in use, and beside them the slope of the others."""
    rows: list[tuple[Cell, ...]] = []
    other = [state for number, state in enumerate(states) if number != current]
    for place, one in enumerate(states[current].by_class):
        fit = one.recalibration
        beside = [state.by_class[place].recalibration.slope for state in other]
        test = PValue(fit.p, None if math.isnan(one.adjusted) else one.adjusted)
        mark = one.direction if one.miscalibrated else ""
        rows.append(
            (
                one.name,
                one.cases,
                one.score,
                one.share,
                fit.slope,
                *beside,
                fit.in_the_large,
                one.brier,
                one.ece,
                test,
                mark,
            )
        )
    things = "boxes" if states[current].scores.kind == "boxes" else "cases"
    head = (
        "class", things, "mean score", "share", "slope", *(f"slope, {state.name}" for state in other), "in the large",
        "Brier score", "ECE", "p (Holm)", "miscalibrated",
    )  # fmt: skip
    note = (
        f"Scores {states[current].name}. Marked where p < {ALPHA}, score and outcome are {LEAST_OFF} apart in the "
        f"mean, and there are {LEAST_SIDE} patients on each side."
    )
    return Table("by_class", "By class", head, rows, note, sortable=len(rows) > _SHOWN)


def _bins(state: _State) -> Table:
    """What the plot shows of the scores in use, in numbers."""
    rows: list[tuple[Cell, ...]] = []
    whole = state.scores.whole
    for one in [whole] if whole is not None else state.scores.findings:
        found = reliability_of(one)
        for x, y, low, high, n, patients in zip(
            found.score, found.share, found.low, found.high, found.cases, found.patients, strict=True
        ):
            share = MetricValue(float(y), float(low), float(high), int(n), patients=int(patients))
            rows.append((*([one.name] if whole is None else []), float(x), share, int(n), int(patients)))
    things = "boxes" if state.scores.kind == "boxes" else "cases"
    head = (*(["label"] if whole is None else []), "mean score", "share", things, "patients")
    return Table("bins", "Reliability in numbers", head, rows, f"Scores {state.name}.", sortable=len(rows) > _SHOWN)


def _plain(state: _State) -> dict[str, object]:
    """For ``report.json``."""

    def plain(one: Figures) -> Mapping[str, object]:
        test = {"p": one.recalibration.p, "adjusted": one.adjusted, "miscalibrated": one.miscalibrated}
        cells = {name.replace(" ", "_").lower(): cell for name, cell in _rows(one).items() if name != "test"}
        return cells | test | {"off": one.recalibration.off}

    whole = None if state.whole is None else plain(state.whole)
    return {"whole": whole, "classes": {one.name: plain(one) for one in state.by_class}}
