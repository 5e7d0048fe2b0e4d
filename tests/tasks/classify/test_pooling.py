"""What is said of a case from its images: each rule by hand, in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datamodules.types import BagImage, Batch, ScanInfo
from scansuite.errors import SuiteError
from tasks.classify.pooling import AttentionPooling, LogitPooling
from tasks.exported.classification.pooling import top_count
from tests.tasks.classify.batches import KINDS, NAMES, random_labels, small_task

SIZES = [1, 4, 2, 3]


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def bags_of(array: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(array, np.cumsum(SIZES)[:-1])


@pytest.fixture
def logits() -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)


def pooled(name: Any, logits: NDArray[Any], target: str, share: float = 0.5, positive: int = 1) -> NDArray[Any]:
    out = LogitPooling(name, share, target, positive)(torch.from_numpy(logits), SIZES)
    assert out.dtype == torch.float32
    return np.asarray(out.numpy())


def test_the_mean_of_a_binary_target_is_the_geometric_mean_of_probabilities(logits: NDArray[Any]) -> None:
    means = np.stack([softmax(bag).prod(axis=0) ** (1 / len(bag)) for bag in bags_of(logits)])
    expected = means / means.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(pooled("mean", logits, "binary")), expected, rtol=1e-5)


@pytest.mark.parametrize("positive", [0, 1])
def test_the_max_of_a_binary_target_is_the_score_of_its_most_positive_image(
    logits: NDArray[Any], positive: int
) -> None:
    expected = [softmax(bag)[:, positive].max() for bag in bags_of(logits)]
    scores = softmax(pooled("max", logits, "binary", positive=positive))[:, positive]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_topk_of_a_binary_target_averages_its_most_positive_images(logits: NDArray[Any]) -> None:
    expected = []
    for bag, count in zip(bags_of(logits), [1, 2, 1, 2], strict=True):
        log_p = np.log(softmax(bag))
        best = np.argsort(-softmax(bag)[:, 1])[:count]
        expected.append(softmax(log_p[best].mean(axis=0)))
    np.testing.assert_allclose(softmax(pooled("topk", logits, "binary")), np.stack(expected), rtol=1e-5)


@pytest.mark.parametrize("name", ["mean", "max", "topk"])
@pytest.mark.parametrize("target", ["multiclass", "multilabel", "ordinal", "regression"])
def test_each_class_or_label_has_its_own_largest_images(name: str, target: str) -> None:
    logits = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)
    share = {"mean": 1.0, "max": 0.0, "topk": 0.4}[name]
    values = np.log(softmax(logits)) if target == "multiclass" else logits
    expected = [
        np.sort(bag, axis=0)[::-1][: max(1, int(np.ceil(share * len(bag))))].mean(axis=0) for bag in bags_of(values)
    ]
    np.testing.assert_allclose(pooled(name, logits, target, 0.4), np.stack(expected), rtol=1e-5, atol=1e-6)


def test_a_share_of_images_is_rounded_up_and_never_none() -> None:
    assert [top_count(30, 0.1), top_count(31, 0.1), top_count(3, 0.1), top_count(10, 1.0)] == [3, 4, 1, 10]
    for share in (0, 1.1):
        with pytest.raises(SuiteError, match=r"--model\.topk"):
            LogitPooling("topk", share, "binary", 1)


@pytest.mark.parametrize("gated", [False, True])
def test_attention_is_that_of_the_paper(gated: bool) -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(5, 7, gated)
    features = torch.randn(10, 5)
    out, weights = pooling(features, SIZES)

    weight, bias, w = (
        tensor.detach().numpy() for tensor in (pooling.values.weight, pooling.values.bias, pooling.weight.weight)
    )
    for row, own, h in zip(out, bags_of(weights.detach().numpy()), bags_of(features.numpy()), strict=True):
        hidden = np.tanh(h @ weight.T + bias)
        if pooling.gate is not None:
            u, c = pooling.gate.weight.detach().numpy(), pooling.gate.bias.detach().numpy()
            hidden = hidden / (1 + np.exp(-(h @ u.T + c)))
        a = softmax((hidden @ w.T)[:, 0])
        np.testing.assert_allclose(own, a, rtol=1e-4)
        np.testing.assert_allclose(row.detach().numpy(), a @ h, rtol=1e-4, atol=1e-6)


def bag_batch(sizes: list[int], label: torch.Tensor, padding: tuple[int, ...] = ()) -> Batch:
    image = torch.rand(sum(sizes), 1, 32, 32, generator=torch.Generator().manual_seed(3))
    bags = [[BagImage(f"c{case}.nii", number) for number in range(size)] for case, size in enumerate(sizes)]
    scans = [ScanInfo(case_id=f"c{case}", path=f"c{case}.nii", original_size=(32, 32)) for case in range(len(sizes))]
    for case in padding:
        scans[case]["padding"] = True
    return Batch(image=image, bags=bags, label=label, scan=scans)


@pytest.mark.parametrize("head", ["pool", "levels", "mlp", "flatten", "native"])
@pytest.mark.parametrize("aggregate", ["mean", "max", "topk", "attention"])
def test_every_parameter_learns_under_every_head(aggregate: str, head: str) -> None:
    made: dict[str, Any] = {"aggregate": aggregate, "head": head, "input_size": (32, 32), "attention_gated": True}
    if (aggregate, head) == ("attention", "native"):
        with pytest.raises(SuiteError, match=r"--model\.aggregate attention: with --model\.head native"):
            small_task(**made)
        return
    task = small_task(**made)
    loss, output, _ = task._shared_step(bag_batch(SIZES, random_labels("binary", 4)), "val")
    assert output.shape == (4, 2)
    torch.autograd.backward(loss)
    assert not [name for name, parameter in task.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("flag", ["mixup", "cutmix"])
def test_images_of_cases_are_not_mixed(flag: str) -> None:
    mixing: dict[str, Any] = {flag: 0.2}
    with pytest.raises(SuiteError, match=rf"--model\.{flag} 0\.2: with --model\.aggregate mean"):
        small_task(aggregate="mean", **mixing)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aggregate", ["topk", "attention"])
def test_a_batch_gives_one_row_a_case_and_leaves_padding_out(kind: str, aggregate: str) -> None:
    task = small_task(kind, aggregate=aggregate).eval()
    label = random_labels(kind, 4)
    with torch.no_grad():
        loss, output, batch = task._shared_step(bag_batch(SIZES, label, padding=(1,)), "val")
    assert torch.isfinite(loss)
    assert task.rows(output, batch)["case_id"] == ["c0", "c2", "c3"]
    assert len(batch["image"]) == 1 + 2 + 3
    assert len(task.scores(output)) == 3
    assert task.scores(output).shape[1] == len(NAMES[kind])


@pytest.mark.parametrize("aggregate", ["mean", "max", "topk", "attention"])
def test_a_case_is_evaluated_alike_alone_in_chunks_and_in_training(
    aggregate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = small_task(aggregate=aggregate).eval()
    batch = bag_batch(SIZES, random_labels("binary", 4))
    learning = task(batch["image"], SIZES).detach()
    monkeypatch.setattr("tasks.classify.task._IMAGES_AT_ONCE", 3)
    with torch.no_grad():
        torch.testing.assert_close(task(batch["image"], SIZES), learning)
        alone = torch.cat([task(some, [len(some)]) for some in torch.split(batch["image"], list(SIZES))])
        torch.testing.assert_close(alone, learning)
        # One image for itself: exported models see it so.
        one = batch["image"][:1]
        torch.testing.assert_close(task.scores(task(one)), task.scores(task(one, [1])))
