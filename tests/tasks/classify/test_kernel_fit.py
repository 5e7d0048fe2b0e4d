"""Heads of kernels against scikit-learn's kernel ridge, and the choice between kernels on folds."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from scansuite.errors import SuiteError
from tasks.classify import kernel_fit
from tasks.classify.kernel_fit import FOLDS, Cases, candidates, fit_kernels, folds_of, solved
from tasks.classify.kernel_head import KernelHead
from tasks.classify.task import ClassificationTask

N = 120
ALONE = np.arange(N)


def _task(**flags: Any) -> tuple[ClassificationTask, KernelHead]:
    task = ClassificationTask("test_resnet", freeze="backbone", head="kernel", **flags).eval()
    return task, cast("KernelHead", task.head)


def _features(head: KernelHead, seed: int) -> Tensor:
    return torch.randn(N, head.width, generator=torch.Generator().manual_seed(seed))


def _rings(seed: int, width: int) -> tuple[Tensor, Tensor]:
    """Features of which a fifth lies in a small cloud of its own, in the midst of the others."""
    draw = torch.Generator().manual_seed(seed)
    labels = (torch.arange(N) % 3 == 0).long()
    features = torch.randn(N, width, generator=draw)
    return torch.where(labels[:, None] > 0, 0.3 * features, features), labels


def test_numbers_are_scikit_learns_kernel_ridge() -> None:
    task, head = _task(target="regression", num_classes=1, l2=0.1)
    features, labels = _rings(0, head.width)
    others, values = _features(head, 1), 3 * labels.float() + 5
    fit_kernels(task, head, (features, values), (others, values), None, ALONE)
    assert len(head.landmarks) == N  # the Gaussian kernel
    scaler = StandardScaler().fit(features.numpy())
    target = (values.numpy() - values.numpy().mean()) / values.numpy().std()
    reference = KernelRidge(alpha=0.1, kernel="rbf").fit(scaler.transform(features.numpy()), target)
    expected = reference.predict(scaler.transform(others.numpy())) * values.numpy().std() + values.numpy().mean()
    assert task.scores(task(others))[:, 0].numpy() == pytest.approx(expected, abs=1e-3)


def test_logits_stretch_scikit_learns_kernel_ridge() -> None:
    task, head = _task(l2=0.3)
    (features, labels), others = _rings(0, head.width), _rings(1, head.width)
    fit_kernels(task, head, (features, labels), others, None, ALONE)
    scaler = StandardScaler().fit(features.numpy())
    reference = KernelRidge(alpha=0.3, kernel="rbf").fit(scaler.transform(features.numpy()), 2 * labels.numpy() - 1)
    said = reference.predict(scaler.transform(others[0].numpy()))
    logits = task(others[0])
    margin = (logits[:, 1] - logits[:, 0]).detach().numpy()
    slope, shift = np.polyfit(said, margin, 1)
    assert slope > 0
    assert margin == pytest.approx(slope * said + shift, abs=1e-3)


def test_what_no_line_separates_takes_the_gaussian_kernel_and_noise_a_large_ridge() -> None:
    task, head = _task()
    (features, labels), (others, truth) = _rings(0, head.width), _rings(1, head.width)
    fit_kernels(task, head, (features, labels), (others, truth), None, ALONE)
    assert len(head.landmarks) == N
    scores = task.scores(task(others)).detach().numpy()[:, 1]
    assert roc_auc_score(truth, scores) > 0.95

    noisy, head = _task()
    features, others = _features(head, 0), _features(head, 1)
    side = [(part[:, :8].sum(dim=1) + 4 * torch.randn(N, generator=torch.Generator().manual_seed(9)) > 0).long()
            for part in (features, others)]  # fmt: skip
    fit_kernels(noisy, head, (features, side[0]), (others, side[1]), None, ALONE)
    assert noisy.l2 is not None
    assert noisy.l2 >= 1  # little is to be believed
    assert noisy.hparams["l2"] == noisy.l2


def _cases(folds: NDArray[np.intp], targets: NDArray[np.float64]) -> Cases:
    rows = np.random.default_rng(0).normal(size=(len(folds), 6)) / np.sqrt(6)
    return Cases(rows, targets, np.ones_like(targets), folds)


def test_a_held_out_case_has_no_part_in_what_is_said_of_it() -> None:
    folds = np.arange(20) % 4
    targets = np.where(np.random.default_rng(1).random((20, 2)) > 0.5, 1.0, -1.0)
    changed = targets.copy()
    changed[folds == 2] *= -1
    others = np.zeros((1, 6))
    for one, two in zip(
        candidates(_cases(folds, targets), others, (1.0, 0.1)), candidates(_cases(folds, changed), others, (1.0, 0.1)),
        strict=True,
    ):  # fmt: skip
        assert one.held_out[folds == 2] == pytest.approx(two.held_out[folds == 2])
        assert one.held_out[folds == 1] != pytest.approx(two.held_out[folds == 1])


def test_weights_are_those_of_repeated_cases() -> None:
    targets = np.where(np.arange(12)[:, None] % 3 == 0, 1.0, -1.0)
    cases = _cases(np.zeros(12, np.intp), targets)
    counts = np.arange(12) % 2 + 1
    kernel, everyone = cases.rows @ cases.rows.T, np.ones(12, np.bool_)
    weighed = cases.__class__(cases.rows, targets, counts[:, None].astype(np.float64), cases.folds)
    rows = np.repeat(cases.rows, counts, axis=0)
    repeated = cases.__class__(rows, np.repeat(targets, counts, axis=0), np.ones((18, 1)), np.zeros(18, np.intp))
    one = solved(kernel, weighed, (0.5,), everyone)[0].T @ cases.rows
    two = solved(rows @ rows.T, repeated, (0.5,), np.ones(18, np.bool_))[0].T @ rows
    assert one == pytest.approx(two)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60))
def test_a_patient_is_held_out_as_a_whole(patients: list[int]) -> None:
    groups = np.array(patients)
    folds = folds_of(groups)
    people = len(set(patients))
    assert len(set(folds)) == min(FOLDS, people if people > 1 else len(patients))
    if people > 1:
        assert all(len(set(folds[groups == one])) == 1 for one in set(patients))


def test_labels_grades_and_classes_that_are_unknown_alike_or_missing() -> None:
    task, head = _task(target="multilabel", num_classes=3)
    features, labels = _rings(0, head.width)
    target = torch.stack([labels.float(), 1 - labels.float(), torch.zeros(N)], dim=1)
    target[:30, 0] = torch.nan
    fit_kernels(task, head, (features, target), (features, target), None, ALONE)
    scores = task.scores(task(features)).detach()
    assert float(scores[labels > 0, 0].min()) > float(scores[labels == 0, 0].max())
    assert scores[:, 2].numpy() == pytest.approx(1 / (N + 2), rel=1e-3)

    grades, head = _task(target="ordinal", num_classes=3)
    values = labels + (features[:, 0] > 0)
    fit_kernels(grades, head, (features, values), (features, values), None, ALONE)
    scores = grades.scores(grades(features)).detach()
    assert scores.sum(dim=1).numpy() == pytest.approx(1)

    classes, head = _task(num_classes=4)
    fit_kernels(classes, head, (features, 2 * labels), (features, 2 * labels), None, ALONE)
    scores = classes.scores(classes(features)).detach()
    assert float(scores[:, [1, 3]].max()) < 1e-6
    assert bool((scores.argmax(dim=1) == 2 * labels).all())


def test_weights_of_classes_move_the_scores() -> None:
    means = []
    for given_weights in ([1.0, 1.0], [1.0, 5.0]):
        task, head = _task(class_weights=given_weights)
        features, labels = _features(head, 0), (torch.arange(N) % 4 == 0).long()
        fit_kernels(task, head, (features, labels), (features, labels), None, ALONE)
        means.append(float(task.scores(task(_features(head, 1))).detach()[:, 1].mean()))
    assert means[1] > means[0] + 0.1


def test_one_class_and_more_images_than_are_compared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task, head = _task()
    features, labels = _rings(0, head.width)
    with pytest.raises(SuiteError, match="all training cases are of one class"):
        fit_kernels(task, head, (features, 0 * labels), (features, labels), None, ALONE)
    monkeypatch.setattr(kernel_fit, "MOST", 50)
    with caplog.at_level("INFO"):
        fit_kernels(task, head, (features, labels), (features, labels), np.ones(N), ALONE // 2)
    assert "50 of 120 training images, drawn at random, are compared with each other" in caplog.text
    assert len(head.landmarks) in (0, 50)


def test_a_checkpoint_brings_its_images_back() -> None:
    task, head = _task()
    features, labels = _rings(0, head.width)
    fit_kernels(task, head, (features, labels), (features, labels), None, ALONE)
    again, empty = _task()
    assert len(empty.landmarks) == 0
    again.load_state_dict(task.state_dict())
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(image), task(image))
    assert len(empty.landmarks) == N


def test_one_case_has_no_folds() -> None:
    assert sorted(folds_of(np.zeros(2, np.intp))) == [0, 1]  # of one patient
    with pytest.raises(SuiteError, match=r"--model\.head kernel: .* there is one: give --model\.head pool"):
        folds_of(np.zeros(1, np.intp))
