"""What holds for every split that is drawn, whatever the cases are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.cases.table import CaseTable, table_of_images
from datamodules.classification.target import make_target
from datamodules.splitting.dealing import stratified_groups, tie_words
from datamodules.splitting.leakage import grouping, refuse_leakage
from datamodules.splitting.splits import make_split
from datamodules.splitting.strata import column_strata, number_strata
from scansuite.errors import SuiteError

few = settings(max_examples=40, deadline=None, derandomize=True)


class Cohort(NamedTuple):
    """Rows of ``path, patient_id, label, scanner, dose, content``, and how they are to be split."""

    rows: pd.DataFrame
    how: dict[str, Any]


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    count = draw(st.integers(4, 24))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=count, max_size=count))

    rows = pd.DataFrame(
        {
            "path": [f"{number}.png" for number in range(count)],
            "patient_id": pd.Series(column(st.none() | st.sampled_from("ABCDEFGH")), dtype="str"),
            "label": column(st.sampled_from(["x", "y", "z"])),
            "scanner": pd.Series(column(st.none() | st.sampled_from("PQ")), dtype="str"),
            "dose": column(st.just(0.0) | st.floats(0, 9)),
            # Most images are their own; some are one of three pictures.
            "content": [
                f"image {number}" if same is None else same
                for number, same in enumerate(column(st.none() | st.none() | st.sampled_from("uvw")))
            ],
        }
    )
    test_fraction = draw(st.sampled_from([0.0, 0.2, 0.5]))
    folds = draw(st.integers(2 if test_fraction else 3, 5))
    how = {
        "test_fraction": test_fraction,
        "folds": folds,
        "fold": draw(st.integers(0, folds - 1)),
        "seed": draw(st.integers(0, 3)),
        "stratify": draw(st.sampled_from([[], ["scanner"], ["scanner", "dose"]])),
    }
    return Cohort(rows, how)


def drawn(cohort: Cohort) -> tuple[CaseTable, NDArray[np.int64]]:
    """The cases with their parts, and the groups that must stay whole."""
    table = table_of_images(cohort.rows)
    contents = cohort.rows["content"].tolist()
    groups = grouping(table, contents)
    strata = make_target(table.cases, ["label"], class_order=["x", "y", "z"], where="test").strata()
    return table.with_columns(split=make_split(table, strata, groups, **cohort.how)), groups


def drawn_or_refused(cohort: Cohort) -> dict[str, str] | str:
    """Part of each case, or why there is no such split."""
    try:
        cases = drawn(cohort)[0].cases
    except SuiteError as error:
        return str(error)
    return dict(zip(cases["case_id"], cases["split"], strict=True))


@few
@given(cohorts())
def test_no_patient_and_no_content_in_two_parts_and_shares_within_the_largest_group(cohort: Cohort) -> None:
    try:
        table, groups = drawn(cohort)
    except SuiteError:  # too few groups for what is asked
        return
    for key in ("patient_id", "content"):
        assert table.cases.groupby(cohort.rows[key])["split"].nunique().le(1).all()
    assert refuse_leakage(table, cohort.rows["content"].tolist(), allow=False) == 0
    counts = table.cases["split"].value_counts()
    test, val = (int(counts.get(part, 0)) for part in ("test", "val"))
    largest, total = int(np.bincount(groups).max()), len(table)
    fraction, folds = cohort.how["test_fraction"], cohort.how["folds"]
    outside = total - test if fraction else total
    assert abs(test - (fraction * total if fraction else total / folds)) <= largest + 1e-6
    assert abs(val - outside / folds) <= largest + 1e-6


@few
@given(cohorts(), st.randoms(use_true_random=False))
def test_the_parts_are_the_same_for_any_order_of_the_rows(cohort: Cohort, random: Any) -> None:
    order = list(range(len(cohort.rows)))
    random.shuffle(order)
    shuffled = cohort.rows.iloc[order].reset_index(drop=True)
    assert drawn_or_refused(Cohort(shuffled, cohort.how)) == drawn_or_refused(cohort)


@few
@given(
    st.lists(st.tuples(st.integers(0, 7), st.tuples(*[st.booleans()] * 3)), min_size=1, max_size=24),
    st.sampled_from([(0.8, 0.2), (0.5, 0.3, 0.2), (0.2,) * 5]),
    st.integers(0, 3),
)
def test_overlapping_strata_are_dealt_within_the_largest_group(
    cases: list[tuple[int, tuple[bool, ...]]], fractions: tuple[float, ...], seed: int
) -> None:
    groups = np.array([group for group, _ in cases])
    strata = np.array([carried for _, carried in cases], np.float64)
    names = [str(number) for number in range(len(cases))]
    parts = stratified_groups(strata, groups, fractions, tie_words(names, seed, "test"))
    assert pd.Series(parts).groupby(groups).nunique().eq(1).all()
    missing = np.array(fractions) * len(cases) - np.bincount(parts, minlength=len(fractions))
    assert np.abs(missing).max() <= np.bincount(groups).max() + 1e-6
    # Neither the order of the cases, nor that of the classes, nor the numbers of the groups matter.
    turned = stratified_groups(strata[::-1, ::-1], 100 - groups[::-1], fractions, tie_words(names[::-1], seed, "test"))
    assert turned[::-1].tolist() == parts.tolist()


@few
@given(st.lists(st.just(0.0) | st.floats(-9, 9) | st.just(float("nan")), min_size=1, max_size=60))
def test_strata_of_numbers_depend_on_the_number_alone_and_are_even(values: list[float]) -> None:
    numbers = np.array(values)
    strata = number_strata(numbers)
    assert number_strata(numbers[::-1])[::-1].tolist() == strata.tolist()
    assert ((strata == -1) == np.isnan(numbers)).all()
    known = numbers[strata >= 0]
    assert pd.Series(strata[strata >= 0]).groupby(known).nunique().eq(1).all()
    for stratum in np.unique(strata[strata >= 0]):
        inside = numbers[strata == stratum]
        # A range of its share and what rounds it, with one number that lies across its edge; or a number by itself.
        assert len(np.unique(inside)) == 1 or len(inside) <= 0.5 * len(known) + 1


# Examples of what the properties say.


def classes_of(count: int) -> NDArray[np.float64]:
    return np.eye(3)[np.random.default_rng(0).choice(3, count, p=[0.6, 0.3, 0.1])]


def test_reversed_rows_keep_every_case_in_its_part() -> None:
    """Reversing a table kept 51 % of these cases in their part, and one case more moved as many."""
    how: dict[str, Any] = {"test_fraction": 0.2, "folds": 5, "fold": 0, "seed": 0}
    classes = classes_of(300)
    table = table_of_images(pd.DataFrame({"path": [f"{number:03d}.png" for number in range(300)]}))
    parts = make_split(table, classes, np.arange(300), **how)
    turned = table_of_images(table.cases[::-1][["path"]])
    assert make_split(turned, classes[::-1], np.arange(300), **how).tolist() == parts.tolist()[::-1]
    one_less = table.select([True] * 299 + [False])
    kept = make_split(one_less, classes[:-1], np.arange(299), **how)
    assert (kept.to_numpy() == parts.to_numpy()[:-1]).mean() > 0.95


def test_columns_are_strata_whatever_the_order() -> None:
    cases = pd.DataFrame({"dose": np.arange(40) ** 2 % 17 / 3, "site": ["Bern", "Basel ", "Basel", "Bern"] * 10})
    assert column_strata(cases, ["site"]).sum(axis=0).tolist() == [20, 20]
    turned = column_strata(cases[::-1], ["dose", "site"])
    np.testing.assert_array_equal(turned[::-1], column_strata(cases, ["dose", "site"]))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9])
def test_zeros_of_a_zero_inflated_target_are_a_stratum_and_what_lies_above_is_spread(share: float) -> None:
    rng = np.random.default_rng(0)
    values = np.where(np.arange(200) < share * 200, 0.0, rng.gamma(2, 30, 200))
    target = make_target(pd.DataFrame({"volume": values}), ["volume"], kind="regression", where="test")
    strata = target.strata()
    zeros = strata[values == 0].sum(axis=0) > 0
    assert zeros.sum() == 1
    assert strata[values > 0][:, zeros].sum() == 0
    assert strata.shape[1] == 1 + max(1, round(5 * (1 - share)))
    table = table_of_images(pd.DataFrame({"path": [f"{number}.png" for number in range(200)]}))
    split = make_split(table, strata, np.arange(200), test_fraction=0.2, folds=5, fold=0, seed=0)
    for part in ("train", "val", "test"):
        assert (values[split == part] == 0).mean() == pytest.approx(share, abs=0.03)


def test_two_folds_without_a_test_part_leave_nothing_to_train_on() -> None:
    table = table_of_images(pd.DataFrame({"path": [f"{number}.png" for number in range(8)]}))
    how: dict[str, Any] = {"test_fraction": 0, "folds": 2, "fold": 0, "seed": 0}
    with pytest.raises(SuiteError, match=r"--data\.folds 2 --data\.test_fraction 0: .* at least 3 folds, or a test"):
        make_split(table, np.ones((8, 1)), np.arange(8), **how)
    given_parts = table.with_columns(split=["train"] * 4 + ["val"] * 4)
    assert (make_split(given_parts, np.ones((8, 1)), np.arange(8), **how) == "train").sum() == 4
