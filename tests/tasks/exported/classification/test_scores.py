"""Scores, pooling and spread without torch are those of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from tasks.classify import scores as of_torch
from tasks.classify.pooling import LogitPooling
from tasks.exported.classification.pooling import pool_logits
from tasks.exported.classification.scores import probabilities
from tasks.exported.classification.spread import spread

KINDS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
LOGITS = arrays(np.float32, (4, 3), elements=st.floats(-200, 200, width=32))


@given(LOGITS, st.sampled_from(KINDS), st.booleans())
def test_scores_are_those_of_torch(logits: NDArray[np.float32], target: str, by_rank: bool) -> None:
    ordinal = target == "ordinal" and by_rank
    expected = of_torch.probabilities(torch.from_numpy(logits), target, ordinal=ordinal)
    found = probabilities(logits, target, ordinal=ordinal)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-300)


@given(LOGITS, st.sampled_from(KINDS), st.sampled_from(["mean", "max", "topk"]), st.sampled_from([0.1, 0.5, 0.6, 1.0]))
def test_pooling_is_that_of_torch(logits: NDArray[np.float32], target: str, name: Any, share: float) -> None:
    if target == "binary":
        logits = logits[:, :2]
        margin = logits[:, 1] - logits[:, 0]
        if len(set((logits - logits.max(axis=1, keepdims=True)).round(2)[:, 0].tolist())) < len(margin):
            return  # of images with equal scores torch takes whichever comes
    expected: Tensor = LogitPooling(name, share, target, 1)(torch.from_numpy(logits), [len(logits)])
    found = pool_logits(logits, name, share, target, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_the_images_of_a_binary_target_are_chosen_by_the_positive_class() -> None:
    logits = np.array([[0.0, 5.0], [3.0, 0.0], [0.0, 1.0]], np.float32)
    assert pool_logits(logits, "max", 0.1, "binary", 1)[0, 1] == pytest.approx(-np.log(1 + np.exp(-5)), rel=1e-4)
    assert pool_logits(logits, "max", 0.1, "binary", 0)[0, 0] == pytest.approx(-np.log(1 + np.exp(-3)), rel=1e-4)


def test_spread_of_two_opposite_models_is_one_bit() -> None:
    opposite = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert spread(opposite, "binary") == pytest.approx(np.log(2))
    assert spread(opposite, "multilabel") == pytest.approx(np.log(2))
    assert spread(opposite[:, :, :1], "regression") == pytest.approx(np.sqrt(0.5))
