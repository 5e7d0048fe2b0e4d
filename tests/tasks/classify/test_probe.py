"""Heads on features against scikit-learn: linear ones for each kind of target, and nearest neighbours."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from datamodules.samples.features import FeatureDataset
from scansuite.errors import SuiteError
from tasks.classify.heads import Head
from tasks.classify.neighbours import TEMPERATURE, NeighbourHead
from tasks.classify.probe import FACTORS, fit_head
from tasks.classify.task import ClassificationTask

N, WIDTH = 120, 384  # of test_resnet


class _Data:
    """Two parts of features, as a data module gives them."""

    def __init__(self, train: FeatureDataset, val: FeatureDataset, weights: NDArray[np.float64] | None = None) -> None:
        self.parts, self.weights = {"train": train, "val": val}, weights

    def part(self, split: str) -> FeatureDataset:
        return self.parts[split]

    def rows(self, split: str) -> NDArray[np.int64]:
        return np.arange(len(self.parts[split]))

    def sampler_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        return self.weights


def _task(**flags: Any) -> ClassificationTask:
    return ClassificationTask("test_resnet", freeze="backbone", **flags)


def _features(task: ClassificationTask, seed: int, copies: int = 1) -> Tensor:
    assert task.feature_width is not None
    return torch.randn(N, copies, task.feature_width, generator=torch.Generator().manual_seed(seed))


def _fitted(
    task: ClassificationTask, labels: Tensor, copies: int = 1, weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], Tensor]:
    """(N * copies, F) training features, and scores of other images."""
    train, other = _features(task, 0, copies), _features(task, 1)
    fit_head(
        task,
        cast("Any", _Data(FeatureDataset(train, [{}] * N, labels), FeatureDataset(other, [{}] * N, labels), weights)),
    )
    with torch.no_grad():
        return train.flatten(0, 1).double().numpy(), task.scores(task(other[:, 0]))


def _classes(count: int) -> Tensor:
    return torch.randint(count, (N,), generator=torch.Generator().manual_seed(2))


def _others(task: ClassificationTask) -> NDArray[np.float64]:
    return _features(task, 1)[:, 0].double().numpy()


def test_a_head_on_all_levels_is_scikit_learns_logistic_regression_on_standardised_features() -> None:
    task, labels = _task(num_classes=2, head="levels", l2=10.0), _classes(2)
    features, scores = _fitted(task, labels)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=10_000))
    reference.fit(features, labels.numpy())
    assert scores.numpy() == pytest.approx(reference.predict_proba(_others(task)), abs=1e-4)


@pytest.mark.parametrize(("count", "copies"), [(2, 1), (2, 3), (4, 1)])
def test_a_linear_head_is_scikit_learns_logistic_regression(count: int, copies: int) -> None:
    task, labels = _task(num_classes=count, l2=10.0), _classes(count)
    features, scores = _fitted(task, labels, copies)
    reference = LogisticRegression(C=0.1, max_iter=10_000).fit(features, labels.repeat_interleave(copies).numpy())
    assert scores.numpy() == pytest.approx(reference.predict_proba(_others(task)), abs=1e-5)
    head = cast("Head", task.head)
    if count == 4:
        assert head.linear.weight.detach().numpy() == pytest.approx(reference.coef_, abs=1e-6)


def test_weights_of_classes_and_cases_are_those_of_samples() -> None:
    task, labels = _task(class_weights=[1.0, 3.0], l2=1.0), _classes(2)
    cases = np.linspace(0.5, 1.5, N)
    features, scores = _fitted(task, labels, weights=cases)
    weight = cases / cases.mean() * np.array([1.0, 3.0])[labels.numpy()]
    reference = LogisticRegression(C=1.0, max_iter=10_000).fit(features, labels.numpy(), sample_weight=weight)
    assert scores.numpy() == pytest.approx(reference.predict_proba(_others(task)), abs=1e-5)


def test_labels_of_which_some_are_unknown_or_all_alike() -> None:
    task = _task(target="multilabel", num_classes=3, l2=10.0)
    labels = torch.stack([_classes(2).float(), _classes(2).flip(0).float(), torch.zeros(N)], dim=1)
    labels[:30, 0] = torch.nan
    features, scores = _fitted(task, labels)
    for number, known in ((0, slice(30, None)), (1, slice(None))):
        reference = LogisticRegression(C=0.1, max_iter=10_000).fit(features[known], labels[known, number].numpy())
        expected = reference.predict_proba(_others(task))[:, 1]
        assert scores[:, number].numpy() == pytest.approx(expected, abs=1e-5)
    assert scores[:, 2].numpy() == pytest.approx(1 / (N + 2), rel=1e-5)


def test_grades_are_regressions_on_those_at_least_as_high() -> None:
    task, labels = _task(target="ordinal", num_classes=3, l2=10.0), _classes(3)
    features, scores = _fitted(task, labels)
    above = []
    for step in range(2):
        asked = labels.numpy() >= step
        reference = LogisticRegression(C=0.1, max_iter=10_000).fit(features[asked], labels.numpy()[asked] > step)
        above.append(reference.predict_proba(_others(task))[:, 1])
    assert scores[:, 0].numpy() == pytest.approx(1 - above[0], abs=1e-5)
    assert scores[:, 2].numpy() == pytest.approx(above[0] * above[1], abs=1e-5)


def test_numbers_are_ridge_regression() -> None:
    task = _task(target="regression", num_classes=1, l2=10.0)
    labels = _classes(50).float()
    features, scores = _fitted(task, labels)
    expected = Ridge(alpha=10.0).fit(features, labels.numpy()).predict(_others(task))
    assert scores[:, 0].numpy() == pytest.approx(expected, rel=1e-4)


def test_l2_is_chosen_on_validation_and_kept() -> None:
    task = _task()
    labels = _classes(2)
    _fitted(task, labels)  # features say nothing of the labels: the strongest is the best
    assert task.hparams["l2"] == FACTORS[0]


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(SuiteError, match="all training cases are of one class"):
        _fitted(_task(), torch.zeros(N, dtype=torch.int64))


def test_a_class_without_training_cases_is_never_called() -> None:
    task, labels = _task(num_classes=3, l2=1.0), _classes(2) * 2
    _, scores = _fitted(task, labels)
    assert float(scores[:, 1].max()) < 1e-6


def _weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp((1 - distances) / TEMPERATURE)  # cosine distances


def test_neighbours_are_scikit_learns() -> None:
    task, labels = _task(head="knn", num_classes=3, neighbours=7), _classes(3)
    features, scores = _fitted(task, labels)
    reference = KNeighborsClassifier(7, metric="cosine", weights=_weights).fit(features, labels.numpy())
    assert scores.numpy() == pytest.approx(reference.predict_proba(_others(task)), abs=1e-4)


def test_neighbours_say_numbers_labels_and_grades() -> None:
    numbers = _task(head="knn", target="regression", num_classes=1, neighbours=5)
    values = _classes(50).float()
    features, scores = _fitted(numbers, values)
    nearest = KNeighborsRegressor(5, metric="cosine", weights=_weights).fit(features, values.numpy())
    assert scores[:, 0].numpy() == pytest.approx(nearest.predict(_others(numbers)), rel=1e-3)

    labels = _task(head="knn", target="multilabel", num_classes=2, neighbours=5)
    target = torch.stack([_classes(2).float(), torch.full((N,), torch.nan)], dim=1)
    features, scores = _fitted(labels, target)
    share = KNeighborsClassifier(5, metric="cosine", weights=_weights).fit(features, target[:, 0].numpy())
    assert scores[:, 0].numpy() == pytest.approx(share.predict_proba(_others(labels))[:, 1], abs=1e-4)
    assert scores[:, 1].numpy() == pytest.approx(0.5)

    grades = _task(head="knn", target="ordinal", num_classes=3, neighbours=5)
    features, scores = _fitted(grades, _classes(3))
    share = KNeighborsClassifier(5, metric="cosine", weights=_weights).fit(features, _classes(3).numpy())
    assert scores.numpy() == pytest.approx(share.predict_proba(_others(grades)), abs=1e-4)


def test_a_checkpoint_brings_its_neighbours_back() -> None:
    task = _task(head="knn", num_classes=3, neighbours=500)
    _fitted(task, _classes(3))
    again = _task(head="knn", num_classes=3, neighbours=500)
    image = torch.rand(2, 3, 32, 32)
    assert again.eval()(image).abs().max() == 0  # it knows nobody yet
    again.load_state_dict(task.state_dict())
    assert torch.equal(again(image), task.eval()(image))
    assert isinstance(again.head, NeighbourHead)
    assert len(again.head.keys) == N


def test_neighbours_are_not_weighted() -> None:
    with pytest.raises(SuiteError, match=r"--data\.sampler weighs cases, and neighbours vote alike"):
        _fitted(_task(head="knn"), _classes(2), weights=np.ones(N))


def test_the_head_goes_back_to_where_the_network_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the other parts go through its norm there; it is fitted in main memory."""
    task = _task(num_classes=2, l2=1.0)
    moved: list[torch.device] = []
    plain = nn.Module.to

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        if module is task.head:
            moved.append(args[0])
        return plain(module, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "to", to)
    _fitted(task, _classes(2))
    assert moved == [task.device]
