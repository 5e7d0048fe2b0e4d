"""Operating points chosen again, how sure a choice is, and promises that hold or do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.evaluation.decisions.called import called_of
from tasks.evaluation.decisions.choice import choices_of, choose_again, promises_kept, rule_of
from tasks.evaluation.operating_rules import read_rule
from tests.tasks.evaluation.decisions.runs import binary_run, box_run

RULES = st.one_of(
    st.sampled_from(["sensitivity", "specificity", "precision"]).flatmap(
        lambda kind: st.floats(0.05, 1.0).map(lambda bound: f"{kind}>={bound:.3f}")
    )
)


@settings(max_examples=25, deadline=None)
@given(RULES, st.integers(0, 20))
def test_what_a_rule_promises_holds_on_validation(text: str, seed: int) -> None:
    run = choose_again(binary_run(seed, patients=25), text)
    rule = rule_of(run.part("val"))
    assert rule is not None
    (own,) = called_of(run.part("val"))
    value = own.value(rule.kind).value
    best = max(1.0 if rule.kind != "precision" else 0.0, value)
    assert value >= rule.bound - 1e-9 or (rule.kind == "precision" and value < best + 1e-9)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["sensitivity>=0.5", "precision>=0.5", "fp<=0.5", "fp<=1"]), st.integers(0, 5))
def test_what_a_rule_promises_of_boxes_holds_on_validation(text: str, seed: int) -> None:
    run = choose_again(box_run(seed), text)
    rule = read_rule(text, "boxes")
    for own in called_of(run.part("val")):
        value = own.value(rule.kind).value
        assert value <= rule.bound + 1e-9 if rule.kind == "fp" else value >= rule.bound - 1e-9


@pytest.mark.parametrize("rule", ["youden", "f1", "sensitivity>=0.9", "cost 1:10"])
def test_chosen_again_is_chosen_at_first(rule: str) -> None:
    first, again = binary_run(4, rule=rule), choose_again(binary_run(4), rule)
    assert again.task.operating_points == first.task.operating_points
    assert again.predictions["prediction_op"].tolist() == first.predictions["prediction_op"].tolist()
    assert again.part("test").metrics(0).keys() == first.part("test").metrics(0).keys()


def test_boxes_chosen_again_are_chosen_at_first() -> None:
    assert choose_again(box_run(2), "precision>=0.7").task == box_run(2, rule="precision>=0.7").task


def test_what_has_no_operating_point_is_refused() -> None:
    run = binary_run()
    with pytest.raises(SuiteError, match=r"--operating_point nonsense: is no rule"):
        choose_again(run, "nonsense")
    with pytest.raises(SuiteError, match="boxes have no specificity"):
        choose_again(box_run(), "specificity>=0.9")
    alone = replace(run, **{n: getattr(run, n)[getattr(run, n)["split"] == "test"] for n in ("cases", "predictions")})
    with pytest.raises(SuiteError, match="demo has no case of validation"):
        choose_again(alone, "youden")
    grades = replace(run, task=replace(run.task, own={**run.task.own, "target": "multiclass"}))
    with pytest.raises(SuiteError, match="a multiclass target has no operating point"):
        choose_again(grades, "youden")


def test_the_choice_of_few_patients_is_less_sure() -> None:
    rule = read_rule("sensitivity>=0.9", "cases")
    few, many = (choices_of(binary_run(1, patients, rule.text).part("val"), rule, 200)["ill"] for patients in (20, 200))
    assert few.high - few.low > many.high - many.low > 0
    for choice in (few, many):
        assert choice.reached[0] < 0.9 <= choice.reached[1]
        assert 0.2 < choice.kept < 0.95


def test_the_threshold_lies_where_draws_put_it() -> None:
    for rule in ("youden", "f1", "specificity>=0.8"):
        run = binary_run(2, rule=rule)
        choice = choices_of(run.part("val"), read_rule(rule, "cases"), 200)["ill"]
        assert choice.low <= run.task.operating_points["ill"] <= choice.high


def test_a_choice_of_boxes() -> None:
    part = box_run(rule="fp<=0.5").part("val")
    found = choices_of(part, read_rule("fp<=0.5", "boxes"), 100)
    assert set(found) == {"cyst", "mass"}
    assert found["mass"].low < found["mass"].high
    assert 0 < found["mass"].kept <= 1


def test_too_few_patients_have_no_interval_of_the_threshold() -> None:
    choice = choices_of(binary_run(patients=6).part("val"), read_rule("youden", "cases"))["ill"]
    assert np.isnan(choice.low)


def test_a_promise_that_is_broken_is_flagged_and_one_that_is_kept_is_not() -> None:
    rule = read_rule("sensitivity>=0.9", "cases")
    run = binary_run(0, 150, rule.text)
    part = run.part("test")
    worse = replace(part, predictions=part.predictions.assign(score_ill=part.predictions["score_ill"] / 2))
    on_validation = called_of(run.part("val"))
    broken = promises_kept(rule, called_of(worse), on_validation)["ill"]
    assert broken.kept == "broken"
    assert broken.flagged
    kept = promises_kept(rule, on_validation, on_validation)["ill"]
    assert kept.kept == "kept"
    assert not kept.flagged


def test_a_fair_model_breaks_no_promise_beyond_chance() -> None:
    for text in ("sensitivity>=0.9", "precision>=0.7"):
        rule = read_rule(text, "cases")
        flags = 0
        for seed in range(60):
            run = binary_run(seed, 60, text)
            flags += promises_kept(rule, called_of(run.part("test")), called_of(run.part("val")))["ill"].flagged
        assert flags <= 3, text
