"""Random networks, and how maps of them are compared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.classify.ensemble import ClassificationEnsemble
from tasks.explain.sanity.randomise import cascade, complexity, randomised, relative_rise, similarity
from tests.tasks.explain.models import classifier, detector

MAPS = arrays(np.float32, (6, 5), elements=st.floats(0, 10, width=32))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_tiny_patch16_224"])
def test_every_weight_is_drawn_anew_and_by_seed(backbone: str) -> None:
    model = classifier(backbone)
    for value in model.parameters():  # as if trained: no rule of a module gives such values
        value.data += 0.01 * torch.randn(value.shape)
    before, state = weights(model), torch.random.get_rng_state()
    first, again, other = (weights(randomised(model, seed)) for seed in (1, 1, 2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    same = [name for name, value in first.items() if torch.equal(value, before[name])]
    assert not [name for name in same if first[name].numel() > 1]
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_norms_forget_their_statistics() -> None:
    model = classifier()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean += 1
    means = [value for name, value in randomised(model, 0).state_dict().items() if name.endswith("running_mean")]
    assert means
    assert all((value == 0).all() for value in means)


def test_members_of_an_ensemble_are_drawn_apart() -> None:
    drawn = randomised(ClassificationEnsemble([classifier(), classifier()], ["a", "b"]), 0)
    first, second = (weights(member) for member in drawn.members)  # type: ignore[union-attr]
    assert not torch.equal(first["head.linear.weight"], second["head.linear.weight"])


def test_the_cascade_goes_from_the_output_to_the_stem() -> None:
    model = classifier()
    before, changed = weights(model), []
    for part, copy in cascade(model, 0):
        now = weights(copy)
        changed.append((part, {name for name in now if not torch.equal(now[name], before[name])}))
    assert changed[0][0] == "head"
    assert changed[0][1] == {"head.linear.weight", "head.linear.bias"}
    assert all(one[1] < after[1] for one, after in pairwise(changed))
    assert "backbone.conv1.0.weight" in changed[-1][1]
    assert not any("conv1.0" in name for name in changed[-2][1] if name.startswith("backbone.conv1"))


def test_a_detectors_heads_are_drawn_first() -> None:
    part, copy = next(iter(cascade(detector(), 0)))
    before, now = weights(detector()), weights(copy)
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert part == "head"
    assert changed
    assert all(name.startswith("detector.") for name in changed)


def test_similarity_is_the_rank_correlation() -> None:
    one = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert similarity(one, one**3) == pytest.approx(1.0)
    assert similarity(one, -one) == pytest.approx(-1.0)
    assert similarity(one, np.ones_like(one)) == 0.0


@given(MAPS)
@settings(max_examples=30, deadline=None)
def test_complexity_is_that_of_scipy_and_does_not_know_the_scale(strength: np.ndarray) -> None:
    from scipy.stats import entropy

    found = complexity(strength)
    assert 0 <= found <= np.log(100)
    if strength.max() > 1e-3:
        assert found == pytest.approx(float(entropy(np.histogram(strength / strength.max(), 100, (0, 1))[0])))
        assert complexity(strength * np.float32(4)) == pytest.approx(found)


def test_a_map_that_becomes_noise_rises_in_complexity() -> None:
    spot = np.zeros((32, 32), np.float32)
    spot[4:8, 4:8] = np.arange(16).reshape(4, 4)
    noise = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    assert relative_rise(spot, noise) > 1  # type: ignore[operator]
    assert relative_rise(noise, spot) < 0  # type: ignore[operator]
    assert relative_rise(np.zeros((4, 4), np.float32), noise[:4, :4]) is None
