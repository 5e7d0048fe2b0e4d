"""Samplers: every case where it belongs, on any number of processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from datamodules.loading.sampling import EvaluationSampler, TrainSampler, balanced_weights
from datamodules.types import Draw

SHAPES = [(10, 1), (10, 2), (10, 3), (7, 4), (3, 8), (1, 2)]


def draws(cases: int, seed: int, epoch: int = 0, world: int = 1) -> list[list[Draw]]:
    """What each rank draws in an epoch."""
    samplers = [TrainSampler(cases, seed, rank, world) for rank in range(world)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [list(sampler) for sampler in samplers]


def dealt(ranks: list[list[Draw]]) -> list[Draw]:
    """The draws of all ranks in the order they were dealt."""
    return [draw for turn in zip(*ranks, strict=True) for draw in turn]


# Training.


@pytest.mark.parametrize(("cases", "world"), SHAPES)
def test_training_ranks_draw_equally_often_and_miss_no_case(cases: int, world: int) -> None:
    ranks = draws(cases, seed=5, world=world)
    assert {len(rank) for rank in ranks} == {len(TrainSampler(cases, 5, 0, world))} == {-(-cases // world)}
    order = [draw.case for draw in dealt(ranks)]
    assert sorted(order[:cases]) == list(range(cases))
    assert order == [order[position % cases] for position in range(len(order))]  # filled up from its own start


@pytest.mark.parametrize("world", [2, 3, 5])
def test_the_order_and_its_seed_words_do_not_depend_on_the_number_of_ranks(world: int) -> None:
    alone = draws(30, seed=1, epoch=4)[0]
    assert dealt(draws(30, seed=1, epoch=4, world=world)) == alone


def test_training_draws_beyond_the_last_case_are_padding_and_all_have_seed_words_of_their_own() -> None:
    drawn = dealt(draws(10, seed=3, epoch=2, world=4))
    assert [draw.padding for draw in drawn] == [False] * 10 + [True] * 2
    assert not any(draw.padding for draw in draws(10, seed=3)[0])
    assert [draw.seed for draw in drawn] == [(3, 2, position) for position in range(12)]


def test_epochs_and_seeds_shuffle_anew_and_an_epoch_repeats() -> None:
    first = [draw.case for draw in draws(50, seed=0, epoch=0)[0]]
    assert first != sorted(first)
    assert first != [draw.case for draw in draws(50, seed=0, epoch=1)[0]]
    assert first != [draw.case for draw in draws(50, seed=1, epoch=0)[0]]
    assert draws(50, seed=0, epoch=7) == draws(50, seed=0, epoch=7)


def test_going_on_in_an_epoch_repeats_it() -> None:
    through = TrainSampler(20, 0)
    epochs = []
    for epoch in range(4):
        through.set_epoch(epoch)
        epochs.append(list(through))
    resumed = TrainSampler(20, 0)
    resumed.set_epoch(3)
    assert list(resumed) == list(resumed) == epochs[3]


@given(
    cases=st.integers(1, 40),
    world=st.integers(1, 5),
    epoch=st.integers(0, 3),
    start=st.integers(0, 50),
    balanced=st.booleans(),
)
def test_a_start_leaves_out_the_first_draws_of_each_rank_once(
    cases: int, world: int, epoch: int, start: int, balanced: bool
) -> None:
    weights = np.linspace(1, 2, cases) if balanced else None
    for rank in range(world):
        sampler = TrainSampler(cases, 7, rank, world, weights)
        sampler.set_epoch(epoch)
        whole = list(sampler)
        sampler.set_start(start)
        assert len(sampler) == len(whole)  # batches and schedules are those of the whole epoch
        assert list(sampler) == whole[start:]
        assert list(sampler) == whole


def test_a_start_within_an_epoch_keeps_the_batches_and_the_last_one_that_is_dropped() -> None:
    for drop_last in (False, True):
        sampler = TrainSampler(23, 1)
        batches = BatchSampler(sampler, 4, drop_last)  # type: ignore[arg-type]
        whole = list(batches)
        sampler.set_start(3 * 4)
        assert list(batches) == whole[3:]
        assert len(batches) == len(whole) == 6 - drop_last


def test_no_fewer_than_no_draws_are_left_out() -> None:
    with pytest.raises(ValueError, match="-1 draws"):
        TrainSampler(5, 0).set_start(-1)


# Balance.


def test_balanced_weights_make_classes_equally_likely() -> None:
    classes = np.array([0] * 90 + [1] * 9 + [3])  # class 2 does not occur
    weights = balanced_weights(classes)
    assert weights.shape == (100,)
    assert [weights[classes == number].sum() for number in (0, 1, 3)] == pytest.approx([1, 1, 1])
    assert len(set(weights[classes == 0])) == 1


@pytest.mark.parametrize("world", [1, 2])
def test_weighted_draws_balance_classes(world: int) -> None:
    classes = np.repeat([0, 1, 2], [8000, 1500, 500])
    drawn = []
    for rank in range(world):
        sampler = TrainSampler(10_000, 0, rank, world, balanced_weights(classes))
        assert len(sampler) == len(list(sampler)) == 10_000 // world
        drawn += [draw.case for draw in sampler]
    shares = np.bincount(classes[drawn]) / 10_000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.02)  # four standard deviations of a share
    assert len(set(drawn)) < 10_000  # with replacement


def test_weighted_ranks_share_one_order_and_a_weight_of_zero_is_never_drawn() -> None:
    weights = np.array([0.0, 1.0, 3.0, 0.0, 1.0])
    alone = list(TrainSampler(5, 9, 0, 1, weights))
    ranks = [list(TrainSampler(5, 9, rank, 2, weights)) for rank in range(2)]
    assert [draw.case for draw in dealt(ranks)][:5] == [draw.case for draw in alone]
    many = [draw.case for seed in range(50) for draw in TrainSampler(5, seed, weights=weights)]
    assert set(many) == {1, 2, 4}


# Several patches of a case.


@given(times=st.lists(st.integers(1, 5), min_size=1, max_size=12), world=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_case_is_drawn_as_often_as_it_has_patches_with_seed_words_of_their_own(
    times: list[int], world: int, seed: int
) -> None:
    ranks = []
    for rank in range(world):
        sampler = TrainSampler(len(times), seed, rank, world, times=np.array(times))
        sampler.set_epoch(3)
        ranks.append(list(sampler))
        assert len(ranks[-1]) == len(sampler)
    drawn = dealt(ranks)
    assert np.bincount([draw.case for draw in drawn if not draw.padding], minlength=len(times)).tolist() == times
    assert [draw.seed for draw in drawn] == [(seed, 3, position) for position in range(len(drawn))]
    alone = TrainSampler(len(times), seed, times=np.array(times))
    alone.set_epoch(3)
    assert drawn[: sum(times)] == list(alone)


def test_one_patch_a_case_draws_what_no_count_draws() -> None:
    assert list(TrainSampler(9, 4, times=np.ones(9, np.int64))) == list(TrainSampler(9, 4))


def test_weights_are_of_patches_too() -> None:
    drawn = list(TrainSampler(3, 0, weights=np.array([1.0, 1.0, 0.0]), times=np.array([900, 100, 500])))
    counts = np.bincount([draw.case for draw in drawn], minlength=3)
    assert len(drawn) == 1500
    assert counts[2] == 0
    assert 6 < counts[0] / counts[1] < 13


# Evaluation.


@pytest.mark.parametrize(("cases", "world"), SHAPES)
def test_evaluation_covers_each_case_once_and_marks_the_padding(cases: int, world: int) -> None:
    samplers = [EvaluationSampler(cases, rank, world) for rank in range(world)]
    ranks = [list(sampler) for sampler in samplers]
    assert {len(rank) for rank in ranks} == {len(sampler) for sampler in samplers} == {-(-cases // world)}
    evaluated = [draw.case for draw in dealt(ranks) if not draw.padding]
    assert evaluated == list(range(cases))
    padding = [draw.case for rank in ranks for draw in rank if draw.padding]
    assert len(padding) == -cases % world
    assert all(0 <= case < cases for case in padding)
    for rank in ranks:  # padding is at the end, so that what comes before is evaluated in order
        flags = [draw.padding for draw in rank]
        assert flags == sorted(flags)
