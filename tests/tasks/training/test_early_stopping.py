from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.trainer.states import TrainerFn

from tasks.training.early_stopping import SmoothedStopping

# A curve that rises under noise: one lucky validation (0.90), which it needs nine more to come up to again.
NOISY = [0.50, 0.90, 0.60, 0.65, 0.70, 0.74, 0.78, 0.82, 0.86, 0.88, 0.91, 0.93]
FALLS = [0.80, 0.85, 0.84, 0.83, 0.82, 0.81, 0.80, 0.79]


def stopped_at(callback: SmoothedStopping, curve: list[float | None]) -> int | None:
    """Number of the validation, from 1 on, at which training stops."""
    trainer = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        fast_dev_run=False,
        should_stop=False,
        current_epoch=0,
        callback_metrics={},
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
    )
    for number, value in enumerate(curve, 1):
        trainer.callback_metrics = {} if value is None else {"val/auroc": torch.tensor(value)}
        callback.on_train_epoch_end(cast("Any", trainer), cast("Any", None))
        if trainer.should_stop:
            return number
    return None


def test_one_lucky_validation_ends_a_training_only_without_a_median() -> None:
    # By itself 0.90 is the best, and 0.60 ... 0.78 are five validations without a better one.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 5), list(NOISY)) == 7
    # Medians of three: .50 .70 .60 .65 .65 .70 .74 .78 .82 .86 .88 .91: at most four without a better one.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 5, 3), list(NOISY)) is None
    # .70 is passed for the first time by .74, the seventh: the sixth is the fourth that is no better.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 4, 3), list(NOISY)) == 6


def test_a_curve_that_falls_ends_the_training() -> None:
    # Medians of three: .80 .825 .84 .84 .83 .82 .81 .80: .84 is the best, and the fourth is the first no better.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 3, 3), list(FALLS)) == 6


def test_a_curve_that_creeps_up_ends_the_training_where_a_gain_is_asked_for() -> None:
    creeps = [0.7, 0.8, 0.801, 0.802, 0.803, 0.804, 0.806, 0.807]
    assert stopped_at(SmoothedStopping("val/auroc", "max", 3), list(creeps)) is None
    # No better than .80 by .005 are the third to the fifth.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 3, gain=0.005), list(creeps)) == 5
    # What creeps is no gain by itself, but adds up: .806 is one over .80.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 5, gain=0.005), list(creeps)) is None
    assert stopped_at(SmoothedStopping("val/auroc", "min", 3, gain=0.005), [-value for value in creeps]) == 5


def test_epochs_without_validation_and_undefined_values_do_not_count() -> None:
    curve = [0.5, None, 0.6, None, None, 0.55, None, 0.55]
    # Medians of three: .50, .55, .55, .55
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, 3), curve) == 8
    # Undefined ones are left out of a median: .50, .50, .55, ... and only undefined ones,
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, 2), [0.5, math.nan, 0.6, 0.7]) is None
    # of a part without one of the classes they say nothing for or against.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, 2), [0.5, math.nan, math.nan, math.nan]) is None
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, 2), [0.5, math.nan, math.nan, 0.5, 0.5]) == 5


def test_near_the_top_a_tenth_of_what_is_left_is_gain_enough() -> None:
    curve = [0.99, 0.992, 0.994, 0.995, 0.9956, 0.9961, 0.9966]
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, gain=0.005), list(curve)) is None
    # A thousandth of it is not.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, gain=0.005), [0.99, 0.9901, 0.9902, 0.9903]) == 3
    # Of one that has no top it is as much as is asked for.
    assert stopped_at(SmoothedStopping("val/auroc", "max", 2, gain=0.5), [1.0, 1.2, 1.3, 1.4]) == 3


def test_a_metric_that_falls_as_the_model_becomes_better() -> None:
    assert stopped_at(SmoothedStopping("val/auroc", "min", 3, 3), [-value for value in FALLS]) == 6


@pytest.mark.parametrize("cut", range(1, len(NOISY)))
def test_a_run_that_goes_on_stops_where_one_without_a_break_does(cut: int) -> None:
    whole = SmoothedStopping("val/auroc", "max", 2, 3)
    at = stopped_at(whole, list(FALLS))
    assert at == 5
    if cut >= at:
        return
    first = SmoothedStopping("val/auroc", "max", 2, 3)
    assert stopped_at(first, list(FALLS[:cut])) is None
    second = SmoothedStopping("val/auroc", "max", 2, 3)
    second.load_state_dict(first.state_dict())
    assert stopped_at(second, list(FALLS[cut:])) == at - cut


def test_runs_of_earlier_versions_go_on() -> None:
    before = EarlyStopping("val/auroc", mode="max", patience=3, check_on_train_epoch_end=True)
    now = SmoothedStopping("val/auroc", "max", 3, 3)
    assert now.state_key == before.state_key
    now.load_state_dict(before.state_dict())
    assert not now.recent
