"""Each rule keeps what it promises on the cases that it was chosen on, and no other threshold is better."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scansuite.errors import SuiteError
from tasks.evaluation.classification.operating_point import choose_operating_point
from tasks.evaluation.operating_rules import Candidates, OperatingRule, read_rule

cases = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)
shares = st.integers(1, 20).map(lambda number: number / 20)


def at(truth: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Rates of calls at a threshold, literally."""
    called = score >= threshold
    tp, fp = (called & truth).sum(), (called & ~truth).sum()
    sensitivity, specificity = tp / truth.sum(), 1 - fp / (~truth).sum()
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "youden": sensitivity + specificity - 1,
        "precision": tp / max(1, tp + fp),
        "f1": 2 * tp / (tp + fp + truth.sum()),
        "fp": float(fp),
        "fn": float(truth.sum() - tp),
    }


def every(score: np.ndarray) -> list[float]:
    levels = np.unique(score)
    return [*levels, levels[-1] + 1]


@given(rows=cases, kind=st.sampled_from(["sensitivity", "specificity", "precision"]), bound=shares)
def test_what_is_promised_is_kept_and_nothing_kept_is_better(
    rows: list[tuple[bool, int]], kind: str, bound: float
) -> None:
    truth, score = np.array([row[0] for row in rows]), np.array([row[1] / 20 for row in rows])
    rule = read_rule(f"{kind}>={bound}", "cases")
    chosen = at(truth, score, choose_operating_point(truth, score, rule))
    kept = [rates for one in every(score) if (rates := at(truth, score, one))[kind] >= bound - 1e-12]
    other = "specificity" if kind == "sensitivity" else "sensitivity"
    if kept:
        assert chosen[kind] >= bound - 1e-12
        assert chosen[other] == pytest.approx(max(rates[other] for rates in kept))
    else:
        assert kind == "precision"
        assert chosen[kind] == pytest.approx(max(at(truth, score, one)[kind] for one in every(score)))


@given(rows=cases, false_call=st.integers(1, 5), missed=st.integers(1, 20))
def test_no_threshold_costs_less(rows: list[tuple[bool, int]], false_call: int, missed: int) -> None:
    truth, score = np.array([row[0] for row in rows]), np.array([row[1] / 20 for row in rows])
    rule = read_rule(f"cost {false_call}:{missed}", "cases")

    def cost(threshold: float) -> float:
        rates = at(truth, score, threshold)
        return false_call * rates["fp"] + missed * rates["fn"]

    assert cost(choose_operating_point(truth, score, rule)) == min(map(cost, every(score)))


@given(rows=cases)
def test_f1_and_youden_are_the_largest(rows: list[tuple[bool, int]]) -> None:
    truth, score = np.array([row[0] for row in rows]), np.array([row[1] / 20 for row in rows])
    inner = every(score)[1:-1]  # Youden's index parts the cases: all or none are never called
    for name, among in (("f1", every(score)), ("youden", inner)):
        chosen = at(truth, score, choose_operating_point(truth, score, read_rule(name, "cases")))
        if among:
            assert chosen[name] == pytest.approx(max(at(truth, score, one)[name] for one in among))


def test_false_boxes_an_image() -> None:
    candidates = Candidates(
        np.array([0.9, 0.6, 0.4, 0.2]), np.array([1.0, 2, 2, 3]), np.array([0.0, 1, 4, 5]), 4, None, images=4
    )
    nothing = np.array([])

    def choose(text: str) -> float:
        return read_rule(text, "boxes").choose(candidates)

    assert choose("fp<=0.2") == 0.9
    assert choose("fp<=1") == 0.6  # 0.4 finds no more
    assert choose("fp<=1.25") == 0.2
    assert choose("sensitivity>=0.5") == 0.6  # the more precise of three
    assert choose("cost 1:10") == 0.2
    assert math.isnan(read_rule("f1", "boxes").choose(Candidates(nothing, nothing, nothing, 0, None, 0)))


def test_a_precision_out_of_reach_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rule = read_rule("precision>=0.9", "cases")
    threshold = choose_operating_point([0, 1, 0, 1], [0.2, 0.4, 0.6, 0.5], rule, "malignant")
    assert threshold == pytest.approx(0.3)  # 2 of 3
    assert caplog.messages == [
        "operating point of malignant: precision>=0.9 is reached at no threshold on validation; the one nearest to it "
        "is taken (0.667)"
    ]


def test_rules_as_people_type_them() -> None:
    assert read_rule(" Sensitivity >= .95", "cases") == OperatingRule("sensitivity>=.95", "sensitivity", 0.95)
    assert read_rule("cost 2:10", "cases").bound == 5
    assert read_rule("fp <= 0.25", "boxes").bound == 0.25


@pytest.mark.parametrize(
    ("text", "called", "names"),
    [
        ("best", "cases", "is no rule; rules are, with numbers of your own: youden, f1, sensitivity>=0.95"),
        ("sensitivity>=95", "cases", "sensitivity is a share: give a number above 0 and at most 1"),
        ("sensitivity=0.9", "cases", "is no rule"),
        ("cost 0:1", "cases", "both costs are above 0"),
        ("fp<=1", "cases", "cases are called, not boxes"),
        ("youden", "boxes", "boxes have no specificity; rules of boxes are"),
        (None, "boxes", "is no rule"),
    ],
)
def test_what_is_no_rule_is_refused(text: str | None, called: Literal["cases", "boxes"], names: str) -> None:
    with pytest.raises(SuiteError) as error:
        read_rule(text, called)
    assert f"--model.operating_point {text}: " in str(error.value)
    assert names in str(error.value)
