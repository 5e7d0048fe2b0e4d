"""Choice of cases: the worst is the worst, classes take turns, patients are not repeated where there are others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.evaluation.gallery.choice import KINDS, MOST_CASES, ChosenCase, Kind, choose_cases
from tasks.evaluation.gallery.measures import CaseMeasures


def measures(
    value: list[float] | NDArray[np.float64],
    *,
    higher_is_better: bool = True,
    group: list[int] | None = None,
    uncertainty: list[float] | None = None,
    false_positive: list[bool] | None = None,
) -> CaseMeasures:
    count = len(value)
    none = np.zeros(count, dtype=bool)
    return CaseMeasures(
        "value",
        np.asarray(value, dtype=np.float64),
        higher_is_better,
        np.full(count, np.nan) if uncertainty is None else np.array(uncertainty, dtype=np.float64),
        "" if uncertainty is None else "entropy",
        none if false_positive is None else np.array(false_positive, dtype=bool),
        none,
        none,
        np.zeros(count, dtype=np.intp) if group is None else np.array(group, dtype=np.intp),
    )


def of_kind(chosen: list[ChosenCase], kind: Kind) -> list[int]:
    return [one.row for one in chosen if kind in one.kinds]


CASES = st.lists(
    st.tuples(
        st.one_of(st.just(float("nan")), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1)),
        st.one_of(st.just(float("nan")), st.floats(0, 1)),
        st.integers(0, 3),
        st.integers(0, 20),
        st.booleans(),
    ),
    min_size=1,
    max_size=120,
)


@given(CASES, st.booleans())
def test_the_extreme_cases_are_chosen(cases: list[tuple[float, float, int, int, bool]], higher: bool) -> None:
    value, uncertainty, group, patients, false = zip(*cases, strict=True)
    own = measures(
        list(value),
        higher_is_better=higher,
        group=list(group),
        uncertainty=list(uncertainty),
        false_positive=list(false),
    )
    chosen = choose_cases(own, np.array(patients, dtype=np.intp))
    rows = [one.row for one in chosen]
    assert len(set(rows)) == len(rows) <= MOST_CASES
    assert all(one.kinds for one in chosen)
    goodness = own.goodness
    defined = np.flatnonzero(~np.isnan(goodness))
    worst, best, typical = of_kind(chosen, "worst"), of_kind(chosen, "best"), of_kind(chosen, "typical")
    assert not set(worst) & set(best)
    assert not set(typical) & {*worst, *best}
    assert not np.isnan(goodness[[*worst, *best, *typical]]).any()
    for kind in KINDS:
        assert len(of_kind(chosen, kind)) <= KINDS[kind]
    if len(defined):
        assert goodness[worst].min() == goodness[defined].min()
        middle = np.median(goodness[defined])
        assert (goodness[worst] <= middle).all()
        assert (goodness[best] >= middle).all()
    if len(defined) > 2 and len(set(goodness[defined])) > 2:
        assert goodness[best].max() == goodness[defined].max()
    sure = own.uncertainty[~np.isnan(own.uncertainty)]
    if len(sure):
        assert own.uncertainty[of_kind(chosen, "most uncertain")].max() == sure.max()
    called = np.flatnonzero(own.false_positive & ~np.isnan(goodness))
    found = of_kind(chosen, "false positive")
    assert own.false_positive[found].all()
    assert bool(len(called)) == bool(len(found))


def test_the_worst_of_one_class_are_its_worst_and_classes_take_turns() -> None:
    rng = np.random.default_rng(0)
    value, group = rng.random(300) * 0.5, np.repeat([0, 0, 0, 1, 2], 60)
    value[group == 2] += 0.1
    chosen = choose_cases(measures(value, group=group.tolist()), np.arange(300))
    worst = np.array(of_kind(chosen, "worst"))
    assert set(group[worst]) == {0, 1, 2}
    for number in range(3):
        own = worst[group[worst] == number]
        assert 3 <= len(own) <= 4
        assert set(own) == set(np.flatnonzero(group == number)[np.argsort(value[group == number])[: len(own)]])


def test_a_patient_is_not_repeated_where_there_are_others() -> None:
    value = np.linspace(0, 1, 80)
    patients = np.concatenate([np.zeros(20, dtype=np.intp), np.arange(1, 61)])
    assert of_kind(choose_cases(measures(value), patients), "worst")[:4] == [0, 20, 21, 22]
    assert len(of_kind(choose_cases(measures(value), np.zeros(80, dtype=np.intp)), "worst")) == KINDS["worst"]


def test_few_cases_are_good_or_bad() -> None:
    assert choose_cases(measures([np.nan]), np.arange(1)) == []
    assert choose_cases(measures([0.4]), np.arange(1)) == [ChosenCase(0, ("worst",))]
    two = choose_cases(measures([0.9, 0.4]), np.arange(2))
    assert two == [ChosenCase(1, ("worst",)), ChosenCase(0, ("best",))]
    three = choose_cases(measures([0.9, 0.4, 0.6]), np.arange(3))
    assert {one.row: one.kinds for one in three} == {0: ("best",), 1: ("worst",), 2: ("typical",)}
    errors = choose_cases(measures([0.9, 0.4, 0.6], higher_is_better=False), np.arange(3))
    assert {one.row: one.kinds for one in errors} == {0: ("worst",), 1: ("best",), 2: ("typical",)}
