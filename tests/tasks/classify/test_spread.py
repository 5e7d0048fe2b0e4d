"""How far members are apart: mutual information and standard deviation, in an ensemble's steps and in its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tasks.classify.ensemble import ClassificationEnsemble
from tasks.classify.scores import spread
from tasks.deployment.tables import UNCERTAINTY
from tasks.running.recorder import Recorder
from tests.tasks.classify.batches import KINDS, random_labels, small_batch, small_task


def test_of_classes_it_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(4), (3, 6))
    expected = stats.entropy(scores.mean(axis=0), axis=1) - stats.entropy(scores, axis=2).mean(axis=0)
    np.testing.assert_allclose(spread(torch.from_numpy(scores), "multiclass").numpy(), expected, rtol=1e-9)


def test_of_labels_it_is_the_mean_over_them_of_numbers_the_deviation() -> None:
    scores = torch.rand(3, 5, 2, dtype=torch.float64)
    each = [spread(torch.stack([scores[:, :, k], 1 - scores[:, :, k]], dim=2), "binary") for k in range(2)]
    torch.testing.assert_close(spread(scores, "multilabel"), torch.stack(each).mean(dim=0))
    np.testing.assert_allclose(
        spread(scores[:, :, :1], "regression").numpy(), scores[:, :, 0].numpy().std(axis=0, ddof=1), rtol=1e-9
    )


@pytest.mark.parametrize("target", KINDS)
def test_it_is_0_where_all_say_the_same_and_never_below(target: str) -> None:
    same = torch.rand(1, 7, 3, dtype=torch.float64).softmax(dim=2).expand(4, 7, 3)
    assert spread(same, target).abs().max() < 1e-12
    assert (spread(torch.eye(3, dtype=torch.float64)[None].expand(2, 3, 3), target) >= 0).all()


def members(kind: str) -> list[Any]:
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        found.append(small_task(kind).eval())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_leaves_it_in_the_rows_and_a_single_model_does_not(kind: str) -> None:
    single = members(kind)
    ensemble = ClassificationEnsemble(single, ["a", "b"]).eval()
    batch = small_batch(random_labels(kind, 5), padding={4})
    with torch.no_grad():
        said = ensemble.test_step(batch, 0)
        scores = torch.stack([one.scores(one(batch["image"])) for one in single])
    recorder = Recorder()
    recorder.active = True
    recorder._record(ensemble, said)
    rows = recorder.take()[0]
    np.testing.assert_allclose(rows[UNCERTAINTY], spread(scores[:, :4], kind), atol=1e-9)
    assert list(rows.columns)[-1] == UNCERTAINTY
    recorder.active = True
    recorder._record(single[0], {"output": single[0](batch["image"]).detach(), "batch": batch})
    assert UNCERTAINTY not in recorder.take()[0]
