"""How long trainings are that nobody has given a length."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.fingerprint.fingerprint import Fingerprint, Kind, Spread
from datamodules.samples.tiles import plan_tiles
from scansuite.errors import SuiteError
from tasks.planning.budget import QUICK_SECONDS, Budget, Timing
from tasks.planning.draft import Draft
from tasks.planning.machine import Machine
from tasks.planning.settle.length import (
    FEW_CASES,
    FEWEST,
    GAIN,
    LONGER,
    SCRATCH,
    STEPS,
    VALIDATIONS,
    evaluated_patches,
    samples_an_epoch,
    steps,
    stop_early,
    validations_of,
    whole_epoch,
)

DEFAULTS: dict[str, Any] = {
    "data.batch_size": 8, "data.total_batch_size": None, "data.patch_size": None, "data.patches": "auto",
    "data.zoom": 1.0, "model.weights": "imagenet", "model.early_stopping": None, "model.early_stopping_median": 1,
    "model.early_stopping_gain": 0.0,
    "trainer.max_epochs": 20, "trainer.max_steps": -1, "trainer.max_time": None, "trainer.fast_dev_run": False,
    "trainer.limit_train_batches": None, "trainer.overfit_batches": 0.0, "trainer.check_val_every_n_epoch": 1,
    "trainer.accumulate_grad_batches": 1,
}  # fmt: skip


def draft_of(
    task: Kind = "detect", images: int = 60, given: dict[str, Any] | None = None, devices: int = 1, **facts: Any
) -> Draft:
    cases = facts.pop("cases", {"train": images, "val": images // 4, "test": images // 4})
    fingerprint = Fingerprint(task, cases=cases, samples=images, images=images, **facts)
    return Draft(fingerprint, Machine("cpu", devices=devices), Budget(), given or {}, DEFAULTS)


def planned(draft: Draft) -> dict[str, Any]:
    steps(draft)
    return {flag: one.value for flag, one in draft.planned.items()}


def test_an_epoch_of_patches_is_as_long_however_many_batches_are_added_up() -> None:
    """The data class counts batches of it, and knows nothing of steps."""
    side = Spread(*[4096.0] * 5)

    def epoch(accumulated: int) -> tuple[int, int]:
        draft = draft_of(given={"trainer.accumulate_grad_batches": accumulated}, height=side, width=side)
        draft.plan("data.patch_size", 64, "tiny", "data")
        return samples_an_epoch(draft), whole_epoch(draft)

    assert epoch(1) == (2000, 250)
    assert epoch(4) == (2000, 63)


def test_sixty_images_are_trained_on_for_as_many_steps_as_detection_takes() -> None:
    values = planned(draft_of())
    assert values["trainer.max_epochs"] * 8 >= 1200  # of 8 steps: 60 images in batches of 8
    assert values["trainer.max_epochs"] % values["trainer.check_val_every_n_epoch"] == 0
    assert values["trainer.max_epochs"] // values["trainer.check_val_every_n_epoch"] in range(FEWEST, VALIDATIONS + 9)


def test_large_sets_are_not_shown_twenty_times() -> None:
    cases = {"train": 1_000_000, "val": 5000}
    draft = draft_of("classify", 1_000_000, {"data.batch_size": 32}, cases=cases)
    values = planned(draft)
    assert values["trainer.max_epochs"] * values["trainer.limit_train_batches"] == pytest.approx(20_000, rel=0.05)
    assert values["trainer.max_epochs"] >= FEWEST  # of which each is validated


def test_validation_within_an_epoch_is_counted_in_batches_of_a_whole_one() -> None:
    given = {"data.batch_size": 8, "trainer.val_check_interval": 1000}
    draft = draft_of("classify", 100_000, given, cases={"train": 100_000, "val": 5000})
    assert "trainer.limit_train_batches" not in planned(draft)


@pytest.mark.parametrize(
    "flag", ["trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.fast_dev_run"]
)
def test_a_length_that_is_given_stays(flag: str) -> None:
    assert planned(draft_of(given={flag: 3})) == {}


def test_a_length_that_is_left_open_in_a_config_is_not_given() -> None:
    assert "trainer.max_epochs" in planned(draft_of(given={"trainer.max_time": None}))


def test_from_scratch_it_takes_longer() -> None:
    before, after = (planned(draft_of(given={"model.weights": word})) for word in ("imagenet", None))
    assert after["trainer.max_epochs"] == pytest.approx(before["trainer.max_epochs"] * SCRATCH, rel=0.1)


def test_best_takes_longer() -> None:
    usual, best = draft_of(), draft_of()
    best.budget = Budget("best")
    assert planned(best)["trainer.max_epochs"] == pytest.approx(planned(usual)["trainer.max_epochs"] * LONGER, rel=0.1)
    assert "--quality best" in best.planned["trainer.max_epochs"].reason


def test_without_validation_nothing_stops_early_and_nothing_is_said_of_it() -> None:
    assert set(planned(draft_of(cases={"train": 60}))) == {"trainer.max_epochs"}


def test_patches_that_the_plan_has_chosen_are_counted_as_the_data_would() -> None:
    side = Spread(1024, 1024, 1024, 1024, 1024)
    draft = draft_of("segment", 10, height=side, width=side)
    assert samples_an_epoch(draft) == 10
    draft.plan("data.patch_size", 256, "", "")
    assert samples_an_epoch(draft) == 160
    draft.plan("data.patches", 3, "", "")
    assert samples_an_epoch(draft) == 30
    # Unlike sizes: a mean over images, not their middle one. 1, 1, 1, 16 and 16 patches at the quantiles.
    unlike = Spread(256, 256, 256, 1024, 1024)
    draft = draft_of("segment", 100, height=unlike, width=unlike)
    draft.plan("data.patch_size", 256, "", "")
    assert samples_an_epoch(draft) == round(100 * (0.5 + 0.45 * 8.5 + 0.05 * 16))


@given(
    task=st.sampled_from(["classify", "segment", "detect"]),
    images=st.integers(1, 300_000),
    validated=st.integers(0, 50_000),
    batch=st.integers(1, 128),
    accumulated=st.integers(1, 4),
    devices=st.integers(1, 4),
    weights=st.sampled_from(["imagenet", None]),
    limit=st.one_of(st.none(), st.integers(1, 50)),
    every=st.one_of(st.none(), st.integers(1, 7)),
)
def test_any_set_gets_a_length_within_the_bounds_of_its_task(
    task: Kind,
    images: int,
    validated: int,
    batch: int,
    accumulated: int,
    devices: int,
    weights: str | None,
    limit: int | None,
    every: int | None,
) -> None:
    own: dict[str, Any] = {"data.batch_size": batch, "trainer.accumulate_grad_batches": accumulated}
    own["model.weights"] = weights
    if limit is not None:
        own["trainer.limit_train_batches"] = limit
    if every is not None:
        own["trainer.check_val_every_n_epoch"] = every
    draft = draft_of(task, images, own, devices, cases={"train": images, "val": validated})
    values = planned(draft)
    assert not set(values) & set(own)
    batches = math.ceil(images / (batch * devices))
    batches = min(batches, values.get("trainer.limit_train_batches") or limit or batches)
    total = values["trainer.max_epochs"] * math.ceil(batches / accumulated)
    between = values.get("trainer.check_val_every_n_epoch", every or 1)
    assert values["trainer.max_epochs"] % between == 0
    assert total >= STEPS[task].least
    # At most one stretch between two validations above what is wanted.
    assert total <= STEPS[task].most * SCRATCH + between * math.ceil(batches / accumulated)
    if validated:
        patience = values.get("model.early_stopping", 8)
        assert patience <= values["trainer.max_epochs"] // between or "model.early_stopping" not in values


def test_a_validation_part_of_a_few_cases_ends_no_training_of_a_classifier() -> None:
    """Its metric has a few values, and soon the best of them."""
    few, enough = ({"train": 500, "val": number} for number in (FEW_CASES - 1, FEW_CASES))
    assert "model.early_stopping" not in planned(draft_of("classify", 500, cases=few))
    assert "model.early_stopping" in planned(draft_of("classify", 500, cases=enough))
    assert "model.early_stopping" in planned(draft_of("segment", 500, cases=few))


@pytest.mark.parametrize(("validations", "patience"), [(30, 9), (16, 8), (12, 6), (6, 3), (4, 3), (3, None)])
def test_few_validations_are_waited_for_less_long(validations: int, patience: int | None) -> None:
    draft = draft_of(given={"trainer.max_epochs": validations})
    stop_early(draft)
    assert draft.value("model.early_stopping") == patience


def test_validation_of_a_large_part_takes_no_longer_than_training() -> None:
    draft = draft_of("classify", 480_000, {"data.batch_size": 8}, cases={"train": 480_000, "val": 120_000})
    assert validations_of(draft, 20_000) == 3


def test_a_last_batch_of_one_is_no_step() -> None:
    assert [whole_epoch(draft_of(images=images)) for images in (8, 9, 10, 16, 17, 1)] == [1, 1, 2, 2, 2, 1]
    assert whole_epoch(draft_of(images=9, given={"data.batch_size": 1})) == 9


def test_hours_on_a_processor_are_foretold() -> None:
    size: dict[str, Any] = {"height": Spread(*[500] * 5), "width": Spread(*[500] * 5)}
    large = draft_of("classify", 80_000, {"data.batch_size": 16, "data.image_size": 224}, **size)
    assert re.search(r"2\d{4} steps of 16 images of 224 x 224 .* some \d+ hours on two cores: --time", steps(large)[0])
    assert steps(draft_of("classify", 500, {"data.image_size": 224}, **size)) == []
    large.machine = Machine("cuda")
    assert steps(large) == []


def test_a_first_look_for_which_there_is_no_time_is_not_told_of_a_flag_that_nobody_gave() -> None:
    draft = timed(QUICK_SECONDS, Timing(20.0, 1.0, 1.0))
    draft.budget = replace(draft.budget, quality="quick")
    with pytest.raises(SuiteError, match=r"^--quick: on this machine .* give at least --time"):
        steps(draft)


def test_a_smallest_gain_is_planned_of_metrics_from_0_to_1_alone() -> None:
    assert planned(draft_of())["model.early_stopping_gain"] == GAIN
    own = {"model.monitor": "own", "model.metrics": ["own"]}
    for draft in (draft_of("classify", 600, target="regression"), draft_of(given=own)):  # of any unit
        assert "model.early_stopping_gain" not in planned(draft)
    assert not [flag for flag in planned(draft_of(given={"model.early_stopping": None})) if "stopping" in flag]


def timed(seconds: float, timing: Timing, given: dict[str, Any] | None = None, **facts: Any) -> Draft:
    draft = draft_of(given=given, **facts)
    draft.budget = Budget(facts.get("quality", "good"), seconds, trial=lambda planned: timing)
    return draft


def test_a_time_is_filled_with_steps_and_short_epochs() -> None:
    # 600 s, 30 before the first step, 16 + 1.5 * 30 images * 0.2 s behind the last one: 545 s; 30 validations of 3 s.
    draft = timed(600.0, Timing(0.25, 0.2, 30.0))
    assert steps(draft) == []
    values = {flag: one.value for flag, one in draft.planned.items()}
    assert values["trainer.max_epochs"] * 8 * 0.25 == pytest.approx(455.0, rel=0.05)
    assert "model.early_stopping" not in values  # the whole time is used
    assert values["trainer.max_epochs"] // values["trainer.check_val_every_n_epoch"] >= 25


def test_a_short_time_says_how_many_steps_it_gave_up_and_what_would_hold_them() -> None:
    (note,) = steps(timed(120.0, Timing(0.5, 0.2, 30.0)))
    assert "instead of 1200" in note
    assert "--time 14m" in note  # 30 + 25 + 1200 * 0.5 / 0.8 s


@pytest.mark.parametrize(
    ("step", "batch", "times"),
    [(0.5, 8, 1), (0.8, 4, 2), (4.0, 2, 4)],  # 960, 600 and 120 s for 1200 steps of 8 images, in 459 s of training
)
def test_where_far_too_few_steps_fit_they_are_of_fewer_images(step: float, batch: int, times: int) -> None:
    draft = timed(600.0, Timing(step, 0.2, 30.0))
    steps(draft)
    assert draft.value("data.batch_size") == batch
    done = draft.value("trainer.max_epochs") * min(draft.value("trainer.limit_train_batches") or 999, 60 // batch)
    assert done * step / times == pytest.approx(459, rel=0.15)


def test_a_batch_that_is_given_and_that_of_a_gpu_stay_and_from_scratch_it_is_larger() -> None:
    for own in ({"data.batch_size": 8}, {"data.total_batch_size": 8}, {"trainer.accumulate_grad_batches": 2}):
        draft = timed(120.0, Timing(4.0, 0.2, 30.0), own)
        steps(draft)
        assert "data.batch_size" not in draft.planned
    draft = timed(120.0, Timing(4.0, 0.2, 30.0), {"model.weights": None})
    steps(draft)
    assert draft.value("data.batch_size") == 4  # from scratch batch norms need more than two
    draft = timed(120.0, Timing(4.0, 0.2, 30.0))
    draft.machine = Machine("cuda")
    steps(draft)
    assert "data.batch_size" not in draft.planned


def test_large_sets_are_cut_into_epochs_that_are_short_beside_the_time() -> None:
    draft = timed(600.0, Timing(0.5, 0.01, 30.0), images=100_000, cases={"train": 100_000, "val": 200})
    steps(draft)
    values = {flag: one.value for flag, one in draft.planned.items()}
    assert values["trainer.limit_train_batches"] * 0.5 < 0.05 * 600


def test_no_time_for_any_training_is_one_line_that_says_what_would_do() -> None:
    with pytest.raises(SuiteError, match=r"--time 20s: .* it takes 15 s until the first step.* at least --time \d+s"):
        steps(timed(20.0, Timing(1.0, 0.2, 15.0)))


@given(side=st.integers(1, 3000), other=st.integers(1, 3000), tile=st.integers(1, 512), overlap=st.floats(0, 0.95))
def test_tiles_are_counted_as_the_data_cut_them(side: int, other: int, tile: int, overlap: float) -> None:
    height, width = Spread(*[side] * 5), Spread(*[other] * 5)
    values = {"data.patch_size": tile, "model.overlap": overlap}
    tiles = plan_tiles((side, other), (tile, tile), overlap)
    assert evaluated_patches(draft_of("segment", 60, values, height=height, width=width)) == pytest.approx(len(tiles))


def test_what_evaluation_sees_of_an_image_is_counted_in_patches() -> None:
    side = Spread(*[512] * 5)
    for given_, patches in (
        ({}, 1),
        ({"data.patch_size": 256, "model.overlap": 0.0}, 4),
        ({"data.patch_size": 256, "model.window": "whole"}, 4),
        ({"data.patch_size": 256, "data.image_size": 256}, 1),
        ({"data.patch_size": 128, "model.window": 256, "model.overlap": 0.0}, 16),
        ({"data.patch_size": 256, "data.zoom": 2.0, "model.overlap": 0.0}, 16),
    ):
        assert evaluated_patches(draft_of("segment", 60, given_, height=side, width=side)) == pytest.approx(patches)


def test_a_short_time_leaves_what_evaluation_by_tiles_takes() -> None:
    timing, side = Timing(0.05, 0.05, 5.0), Spread(*[2000] * 5)
    values = {"data.patch_size": 256, "model.overlap": 0.5, "model.tta": "flips"}
    draft = timed(600, timing, values, height=side, width=side)
    with pytest.raises(SuiteError, match="evaluation at the end"):  # 225 tiles of four views, of 30 images
        steps(draft)


def test_folds_share_the_time() -> None:
    one, five = (
        timed(1000.0, Timing(0.1, 0.01, 10.0), given) for given in ({"folds": None}, {"folds": 5, "data.batch_size": 8})
    )
    steps(one)
    steps(five)
    assert five.value("trainer.max_epochs") < one.value("trainer.max_epochs") / 4


def test_a_quick_look_takes_no_more_than_the_data_want() -> None:
    draft = timed(120.0, Timing(0.001, 0.0001, 5.0))
    draft.budget = Budget("quick", 120.0, trial=lambda planned: Timing(0.001, 0.0001, 5.0))
    steps(draft)
    assert draft.value("trainer.max_epochs") * 8 == pytest.approx(1200, rel=0.1)
