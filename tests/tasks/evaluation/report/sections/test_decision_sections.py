"""Sections of curves, operating points, net benefit and sizes: of every kind of target, of hostile names, of little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.evaluation.decisions.choice import choose_again
from tasks.evaluation.evaluated import EvaluatedRun
from tasks.evaluation.metric_values import MetricValue
from tasks.evaluation.report.content import (
    ForestPlot,
    LinePlot,
    MatrixPlot,
    ReportSettings,
    Section,
    Subject,
    Table,
)
from tasks.evaluation.report.page.report_page import report_page
from tasks.evaluation.report.sections import curves, decision, operating_point, sizes
from tests.tasks.evaluation.decisions.runs import binary_run, box_run
from tests.tasks.evaluation.part_tables import KINDS, part_tables, subject_of

MODULES = (curves, operating_point, decision, sizes)
SPOKEN = {
    "binary": {"curves", "operating_point", "decision"},
    "multiclass": {"curves", "decision"},
    "ordinal": {"curves", "decision"},
    "multilabel": {"curves", "operating_point", "decision"},
    "regression": {"curves"},
    "segment": {"sizes"},
    "detect": {"curves", "operating_point", "sizes"},
}


def sections(subject: Subject) -> list[Section]:
    return [section for module in MODULES if (section := module.section(subject)) is not None]


def checked(section: Section) -> Section:
    """What every section keeps to."""
    names = [part.name for part in section.parts]
    kinds = [(type(part) is Table, name) for part, name in zip(section.parts, names, strict=True)]
    assert len(set(kinds)) == len(kinds)
    for part in section.parts:
        if isinstance(part, Table):
            assert all(len(row) == len(part.columns) for row in part.rows)
            assert part.rows
        elif isinstance(part, LinePlot):
            assert part.lines
            for line in part.lines:
                heights = [line.y] if line.low is None or line.high is None else [line.y, line.low, line.high]
                assert all(len(each) == len(line.x) > 0 for each in heights)
                assert all(np.isfinite(each).all() for each in (line.x, *heights))
                if line.low is not None and line.high is not None:
                    assert (line.low <= line.y + 1e-12).all()
                    assert (line.y <= line.high + 1e-12).all()
    report_page("run", [], [], [section])
    json.dumps(list(_plain(section.figures)), allow_nan=True)
    return section


def _plain(figures: Any) -> Iterator[Any]:
    for value in figures.values() if isinstance(figures, dict) else figures:
        if isinstance(value, (dict, list, tuple)):
            yield from _plain(value)
        else:
            assert value is None or isinstance(value, (str, int, float, MetricValue)), type(value)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_target_has_its_sections(kind: str) -> None:
    subject = subject_of(part_tables(kind, patients=40), resamples=100)
    found = sections(subject)
    assert {checked(section).name for section in found} == SPOKEN[kind]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "segment", "detect"])
def test_names_and_little_data_are_no_trouble(kind: str) -> None:
    part = part_tables(kind, patients=4)
    task = part.task
    strange = ["NA", "<script>alert(1)</script>", "score_x"][: len(task.class_names)]
    names = dict(zip(task.class_names, strange, strict=True))
    table = part.predictions.rename(columns=lambda column: _renamed(str(column), names))
    for column in {"target", "prediction", "prediction_op", "class", "label"} & set(table):
        table[column] = table[column].map(lambda name: names.get(name, name))
    targets = None if part.targets is None else part.targets.assign(label=part.targets["label"].map(names))
    own = dict(task.own)
    if own.get("positive_class"):
        own["positive_class"] = names[own["positive_class"]]
    points = {names[name]: point for name, point in task.operating_points.items()}
    renamed = replace(
        part, task=replace(task, class_names=strange, own=own, operating_points=points), predictions=table,
        targets=targets, cases=part.cases.drop(columns=["patient_id", "spacing"]),
    )  # fmt: skip
    found = sections(subject_of(renamed, resamples=50))
    assert {checked(section).name for section in found} == SPOKEN[kind]


def _renamed(column: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        for lead in ("target_", "prediction_op_", "prediction_", "score_"):
            if column == f"{lead}{old}":
                return f"{lead}{new}"
    return column


def test_one_class_or_equal_scores_or_a_detector_without_a_box() -> None:
    part = part_tables("binary", patients=20)
    one = replace(part, predictions=part.predictions.assign(target=part.task.class_names[0]))
    for section in sections(subject_of(one, resamples=50)):
        checked(section)
    same = replace(part, predictions=part.predictions.assign(**{f"score_{n}": 0.5 for n in part.task.class_names}))
    for section in sections(subject_of(same, resamples=50)):
        checked(section)
    unknown = replace(part, predictions=part.predictions.assign(target=pd.Series(pd.NA, part.predictions.index, "str")))
    for section in sections(subject_of(unknown, resamples=50)):
        checked(section)
    nothing = part_tables("detect", patients=20)
    nothing = replace(nothing, predictions=nothing.predictions[:0])
    found = sections(subject_of(nothing, resamples=50))
    assert "sizes" in {checked(section).name for section in found}


def test_the_operating_point_says_what_was_promised_and_what_is_reached() -> None:
    subject = Subject(binary_run(0, 60, "sensitivity>=0.9"), "test", ReportSettings(prevalence=[0.01], resamples=100))
    section = checked(operating_point.section(subject) or Section("", ""))
    chosen, reached, beliefs = (part for part in section.parts if isinstance(part, Table))
    row = dict(zip(chosen.columns, chosen.rows[0], strict=True))
    assert row["sensitivity promised"] == 0.9
    assert isinstance(row["on validation"], MetricValue)
    assert row["on validation"].value >= 0.9
    metrics = subject.metrics
    cells = dict(zip(reached.columns, reached.rows[0], strict=True))
    for name in ("sensitivity", "specificity", "precision", "F1"):
        assert cells[name] == pytest.approx(metrics[f"{name.lower()}@op"]) or repr(cells[name]) == repr(
            metrics[f"{name.lower()}@op"]
        )
    assert [each[1] for each in beliefs.rows] == [pytest.approx(metrics["auroc"].positives / metrics["auroc"].n), 0.01]  # type: ignore[operator]
    assert section.figures["rule"] == "sensitivity>=0.9"


def test_a_promise_that_no_threshold_keeps_is_not_said_to_be_kept_on_validation() -> None:
    subject = Subject(binary_run(0, 60, "precision>=1"), "test", ReportSettings(resamples=50))
    worst = subject.run.predictions["score_ill"].idxmax()
    subject.run.predictions.loc[subject.run.predictions["split"] == "val", "score_ill"] = 0.5
    subject.run.predictions.loc[worst, "score_ill"] = 0.5
    found = operating_point.section(subject)
    assert found is not None
    assert any("not kept on validation" in line for line in found.lines)
    assert not any("which the rule keeps" in line for line in found.lines)


def test_a_net_benefit_is_no_more_than_its_interval_shows() -> None:
    part = part_tables("binary", patients=40)
    part = replace(part, task=replace(part.task, operating_points={}))
    found = decision.section(subject_of(part, resamples=50))
    assert found is not None
    assert "how sure that is, the gains in the table say" in found.lines[0]
    backward = part_tables("binary", patients=40)
    score = 1 - backward.predictions["score_ill"]
    backward.predictions["score_ill"], backward.predictions["score_healthy"] = score, 1 - score
    found = decision.section(subject_of(replace(backward, task=replace(backward.task, operating_points={"ill": 0.6}))))
    assert found is not None
    assert "findings less than calling no case" in found.lines[0]
    assert "worth -" not in found.lines[0]


def test_net_benefit_is_the_same_in_both_sections() -> None:
    subject = Subject(binary_run(2, 60, "cost 1:4"), "test", ReportSettings(resamples=50))
    there, here = operating_point.section(subject), decision.section(subject)
    assert there is not None
    assert here is not None
    reached = next(part for part in there.parts if isinstance(part, Table) and part.name == "reached")
    assert repr(reached.rows[0][-1]) == repr(here.figures["net_benefit"]["ill"]["model"])


def test_what_a_worse_model_promised_is_flagged() -> None:
    run = binary_run(0, 150, "sensitivity>=0.9")
    test = run.predictions["split"] == "test"
    score = run.predictions["score_ill"].where(~test, run.predictions["score_ill"] / 2)
    worse = replace(run, predictions=run.predictions.assign(score_ill=score, score_well=1 - score))
    section = operating_point.section(Subject(worse, "test", ReportSettings(resamples=50)))
    assert section is not None
    (flag,) = section.flags
    assert "promises sensitivity>=0.9" in flag


def test_a_model_that_is_worse_than_none_is_flagged() -> None:
    run = binary_run(1, 150)
    turned = run.predictions.assign(score_ill=run.predictions["score_well"], score_well=run.predictions["score_ill"])
    section = decision.section(Subject(replace(run, predictions=turned), "test"))
    assert section is not None
    assert any("worth less than calling" in flag for flag in section.flags)


def test_fair_models_raise_few_flags() -> None:
    flags = 0
    for seed in range(60):
        subject = Subject(binary_run(seed, 40, "sensitivity>=0.9"), "test", ReportSettings(resamples=0))
        flags += any(section.flags for module in (operating_point, decision) if (section := module.section(subject)))
    assert flags <= 3


def test_sections_follow_a_rule_that_is_chosen_again() -> None:
    run: EvaluatedRun = choose_again(box_run(1), "fp<=0.2")
    section = operating_point.section(Subject(run, "test", ReportSettings(resamples=50)))
    assert section is not None
    assert section.figures["rule"] == "fp<=0.2"
    assert {type(part) for part in section.parts} <= {Table, ForestPlot, LinePlot, MatrixPlot}
