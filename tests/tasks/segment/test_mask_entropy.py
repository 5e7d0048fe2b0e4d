"""Entropy of masks, against probabilities that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from tasks.exported.segmentation.entropy import NEARLY_CALLED, mean_entropy
from tasks.segment.assemble import call_classes
from tasks.segment.mask_entropy import entropy_sums


def uncertainty(probabilities: torch.Tensor, *, overlapping: bool = False) -> np.ndarray:
    called = call_classes(probabilities, overlapping=overlapping)
    return mean_entropy(entropy_sums(probabilities, called, overlapping=overlapping).sum(axis=0))


def of_foreground(values: list[list[float]]) -> torch.Tensor:
    """(1, 2, H, W) of background and one class."""
    chance = torch.tensor(values)
    return torch.stack([1 - chance, chance])[None]


def test_pixels_called_and_nearly_called_count() -> None:
    found = uncertainty(of_foreground([[0.9, 0.6, 0.3], [0.04, 0.0, 1.0]]))
    bits = [entropy([p, 1 - p], base=2) for p in (0.9, 0.6, 0.3, 1.0)]
    np.testing.assert_allclose(found, [np.mean(bits)], rtol=1e-6)


def test_sure_masks_and_half_chances() -> None:
    assert uncertainty(of_foreground([[0.0, 1.0], [1.0, 0.0]])).tolist() == [0]
    assert uncertainty(of_foreground([[0.0, 0.04]])).tolist() == [0]  # nothing is called, nor nearly
    assert uncertainty(of_foreground([[0.5, 0.5]])).tolist() == [1]
    # Tiles that are blended may give a rounding above 1.
    assert uncertainty(of_foreground([[1.0 + 1e-6, 0.0]])).tolist() == pytest.approx([0], abs=1e-4)


def test_a_class_that_wins_below_the_threshold_counts() -> None:
    """Of very many classes the most probable one may have little."""
    probabilities = torch.full((1, 40, 1, 1), 0.96 / 39)
    probabilities[0, 7] = 0.04
    found = uncertainty(probabilities)
    assert found[6] == pytest.approx(entropy([0.04, 0.96], base=2), rel=1e-5)
    assert found.sum() == found[6]


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5), images=st.integers(1, 3), overlapping=st.booleans())
def test_sums_are_those_of_each_pixel(seed: int, classes: int, images: int, overlapping: bool) -> None:
    logits = 4 * torch.randn(images, classes, 5, 7, generator=torch.Generator().manual_seed(seed))
    probabilities = logits.sigmoid() if overlapping else logits.softmax(dim=1)
    called = call_classes(probabilities, overlapping=overlapping)
    sums = entropy_sums(probabilities, called, overlapping=overlapping)
    first = 0 if overlapping else 1
    assert sums.shape == (images, classes - first, 2)
    chance = np.clip(probabilities.double().numpy()[:, first:], 1e-300, 1 - 1e-16)
    planes = called.numpy() if overlapping else np.stack([called == k for k in range(first, classes)], axis=1)
    counted = (planes > 0) | (probabilities.numpy()[:, first:] > NEARLY_CALLED)
    bits = -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)
    np.testing.assert_array_equal(sums[..., 1], counted.sum(axis=(2, 3)))
    np.testing.assert_allclose(sums[..., 0], (bits * counted).sum(axis=(2, 3)), rtol=1e-4, atol=1e-4)
    mean = mean_entropy(sums[0])
    assert ((mean >= 0) & (mean <= 1)).all()
