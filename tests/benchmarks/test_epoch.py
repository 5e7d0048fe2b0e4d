"""The CPU benchmark of an epoch, with tiny networks: each task on both sides."""

from __future__ import annotations

import pytest

from benchmarks import epoch
from benchmarks.epoch import Pair, measure, summary
from benchmarks.sides import Network


@pytest.mark.parametrize("task", list(epoch.NETWORKS))
def test_epochs_are_measured_in_pairs(task: str) -> None:
    tiny = Network(task, epoch.NETWORKS[task].task, "test_resnet", 64, 2)
    pairs = measure(tiny, 2, 2, "none")
    assert len(pairs) == 2
    assert all(pair.bare > 0 and pair.suite > pair.wait > 0 for pair in pairs)


def test_the_summary_is_a_median_of_ratios() -> None:
    assert summary([Pair(1, 1.2, 0.12), Pair(2, 2.2, 0.0), Pair(1, 5, 4)]) == pytest.approx((1.2, 0.1))
