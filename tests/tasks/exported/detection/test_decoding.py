"""Boxes without torch are those of torchvision and of the torch side: anchors, coding, suppression, both stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import batched_nms, box_iou

from tasks.detect import nms as of_torch
from tasks.detect.anchors import AnchorGrid, choose_anchors
from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.task import DetectionTask
from tasks.exported.description import Boxes
from tasks.exported.detection import overlaps
from tasks.exported.detection.anchors import anchor_grid, decode_distances, decode_offsets, level_grids
from tasks.exported.detection.dense import decode_dense, top
from tasks.exported.detection.suppression import DecodeSettings, Found, select, soft_nms, suppress
from tasks.exported.detection.two_stage import propose

STRIDES = (8, 16, 32, 64, 128)
Arrays = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]


def drawn(count: int, seed: int, *, ties: bool = False, classes: int = 3) -> Arrays:
    """Boxes, scores and class numbers; with ``ties`` many of each are alike."""
    rng = np.random.default_rng(seed)
    corner, sides = rng.random((count, 2)) * 90, rng.random((count, 2)) * 40 + 0.1
    scores = rng.random(count)
    if ties:
        corner, sides, scores = corner.round(-1), sides.round(-1) + 10, scores.round(1)
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    return boxes, scores, rng.integers(classes, size=count)


def tensors(*arrays: Any) -> Any:
    return [torch.from_numpy(array) for array in arrays]


@given(st.integers(0, 60), st.integers(0, 999), st.booleans(), st.sampled_from([0.3, 0.5, 0.55]))
def test_suppression_is_that_of_torchvision_ties_included(count: int, seed: int, ties: bool, iou: float) -> None:
    boxes, scores, labels = drawn(count, seed, ties=ties)
    expected = batched_nms(*tensors(boxes.astype(np.float64), scores, labels), iou)
    assert suppress(boxes, scores, labels, iou).tolist() == expected.tolist()


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [900, 2500])  # torchvision has another way above 1000 boxes
def test_suppression_of_many_boxes(count: int, ties: bool, precision: type[Any]) -> None:
    boxes, scores, labels = drawn(count, 1, ties=ties)
    kinds = boxes.astype(precision), scores.astype(precision), labels
    found, expected = suppress(*kinds, 0.5), batched_nms(*tensors(*kinds), 0.5).numpy()
    assert (np.diff(kinds[1][found]) <= 0).all()
    if count > 1000 and ties:  # whose order is not stable there
        found, expected = np.sort(found), np.sort(expected)
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["nms", "soft"])
def test_what_remains_of_an_image_is_what_torch_leaves(name: Any) -> None:
    boxes, scores, labels = drawn(300, 2)
    boxes -= 10  # some lie outside
    settings = DecodeSettings(score_threshold=0.2, nms=name, max_detections=40)
    found = select(Found(boxes, scores, labels), (80, 100), settings)
    expected = of_torch.select(
        torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(labels), (80, 100), settings
    )
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_array_equal(found.boxes, expected.boxes.numpy())
    np.testing.assert_allclose(found.scores, expected.scores.numpy(), rtol=1e-5)
    assert 5 < len(found.scores) <= 40


def test_soft_suppression_of_nothing() -> None:
    chosen, lowered = soft_nms(Found(*drawn(0, 0)), 0.5, 10)
    assert chosen.shape == lowered.shape == (0,)


def test_overlaps_are_those_of_torchvision() -> None:
    first, second = drawn(30, 0)[0], drawn(20, 1)[0]
    np.testing.assert_allclose(overlaps.box_iou(first, second), box_iou(*tensors(first, second)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (32, 352)])
def test_anchors_lie_where_torchvision_lays_them(size: tuple[int, int]) -> None:
    table = choose_anchors("default", STRIDES, octaves=3, density=4, input_size=size)
    shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in table.shapes)
    expected = AnchorGrid(STRIDES, table.shapes)(level_grids(size, STRIDES))
    for ours, theirs in zip(anchor_grid(size, STRIDES, shapes), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_boxes_are_decoded_as_by_torchvision(weights: Any) -> None:
    anchors = drawn(50, 3)[0]
    codes = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32) * 3
    expected = BoxCoder(weights).decode_single(*tensors(codes, anchors))
    np.testing.assert_allclose(decode_offsets(codes, anchors, weights), expected.numpy(), rtol=1e-5, atol=1e-4)
    distances = BoxLinearCoder().decode(*tensors(codes[:, :4], anchors))
    np.testing.assert_allclose(decode_distances(codes[:, :4], anchors), distances.numpy(), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 99))
def test_the_largest_are_those_of_a_stable_sort(count: int, most: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 9, count) / 8
    found = top(scores, most)
    np.testing.assert_array_equal(scores[found], np.sort(scores)[::-1][:most])
    assert len(set(found.tolist())) == min(most, count)


def test_proposals_are_those_of_torchvision() -> None:
    size, shapes = (64, 96), (((16.0, 16.0), (24.0, 12.0)), ((32.0, 32.0), (48.0, 24.0)))
    strides = (4, 8)
    anchors = anchor_grid(size, strides, shapes)
    grid = AnchorGrid(strides, [[list(pair) for pair in level] for level in shapes])
    rpn = RegionProposalNetwork(
        grid, RPNHead(8, 2), 0.7, 0.3, 256, 0.5, {"testing": 1000}, {"testing": 1000}, 0.7
    ).eval()  # fmt: skip
    count = sum(map(len, anchors))
    rng = np.random.default_rng(0)
    objectness = rng.standard_normal((2, count)).astype(np.float32)
    offsets = (rng.standard_normal((2, count, 4)) * 0.5).astype(np.float32)
    decoded = rpn.box_coder.decode(torch.from_numpy(offsets), [torch.cat(tensors(*anchors))] * 2)[:, 0]
    expected, _ = rpn.filter_proposals(
        decoded.reshape(2, -1, 4), torch.from_numpy(objectness), [size] * 2, [len(level) for level in anchors]
    )
    for image in range(2):
        found = propose(objectness[image], offsets[image], anchors, size)
        assert len(found) > 50
        np.testing.assert_allclose(found, expected[image].numpy(), atol=1e-3)


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_heads_are_decoded_as_by_torch(name: Any) -> None:
    torch.manual_seed(0)
    task = DetectionTask("test_resnet", detector=name, class_names=["a", "b"], num_classes=2, channels=16)
    detector = task.detector
    assert isinstance(detector, DenseDetector)
    size = (64, 96)
    grids = level_grids(size, detector.strides)
    count = sum(height * width for height, width in grids) * detector.grid.count
    central = torch.randn(2, count, 1) if name == "fcos" else None
    raw = DenseRaw(size, tuple(grids), torch.randn(2, count, 2) - 2, torch.randn(2, count, 4), central)
    shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in detector.grid.shapes.tolist())
    outputs = {"logits": raw.logits.numpy(), "codes": raw.codes.numpy()}
    if central is not None:
        outputs["centerness"] = central.numpy()
    about = Boxes(name, tuple(detector.strides), shapes)
    settings = DecodeSettings(pre_nms_top=50)
    for ours, theirs in zip(decode_dense(outputs, about, size, settings), detector.decode(raw, settings), strict=True):
        assert ours.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(ours.boxes, theirs.boxes.numpy(), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), rtol=1e-9)
    with pytest.raises(ValueError, match="anchors for an image of"):
        decode_dense(outputs, about, (96, 96), settings)
