"""Layers get the sizes that were noted, and keep everything else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tasks.compression.pruned_sizes import changed_sizes, resize, sizes_of


def test_a_model_gets_the_sizes_of_another_and_its_weights_fit() -> None:
    whole = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))
    whole[0].weight.requires_grad_(False)
    small = nn.Sequential(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1))
    sizes = changed_sizes(sizes_of(whole), sizes_of(small))
    assert sizes["0"] == {"attributes": {"out_channels": 5}, "tensors": {"weight": [5, 1, 3, 3], "bias": [5]}}
    assert sizes["2"] == {"attributes": {"in_channels": 5}, "tensors": {"weight": [2, 5, 1, 1]}}

    kept = whole[2].bias
    resize(whole, sizes)
    assert whole[2].bias is kept
    assert not whole[0].weight.requires_grad
    whole.load_state_dict(small.state_dict())
    image = torch.rand(2, 1, 6, 6)
    assert torch.equal(whole(image), small(image))

    before = copy.deepcopy(whole.state_dict())
    resize(whole, sizes)  # again: nothing is emptied
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())


@pytest.mark.parametrize("sizes", [
    {"7": {"attributes": {}, "tensors": {}}},
    {"0": {"attributes": {"forward": 3}, "tensors": {}}},
    {"0": {"attributes": {}, "tensors": {"nothing": [1]}}},
])  # fmt: skip
def test_what_a_model_has_not_is_refused(sizes: dict[str, dict[str, dict[str, object]]]) -> None:
    with pytest.raises(AttributeError):
        resize(nn.Sequential(nn.Conv2d(1, 2, 1)), sizes)
