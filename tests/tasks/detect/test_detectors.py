"""Every detector: shapes, learning, images without boxes, networks of each kind, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from backbones.pyramid import Backbone
from scansuite.errors import SuiteError
from tasks.detect.dense import DenseRaw
from tasks.detect.detectors import DecodeSettings, Detector, build_detector, detector_strides
from tests.tasks.detect.drawn import DETECTORS, SIDE, backbone_of, detector_of, drawn, levels_of, loosen

# With batch norm and without, windows of one size, one stride alone, strides that end at 16, small ones of all kinds.
NETWORKS = (
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "tf_efficientnet_lite0",
    "densenet121",
    "nest_tiny",
    "test_resnet",
    "test_vit",
    "test_byobnet",
)


def total(parts: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(parts.values())).sum()


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("small_lesions", [False, True])
def test_shapes(name: str, small_lesions: bool) -> None:
    detector = detector_of(name, small_lesions=small_lesions)
    image, _, _ = drawn([0, 1])
    raw: Any = detector(image, levels_of(name, [0, 1], small_lesions=small_lesions))
    finest = 4 if small_lesions or name == "faster_rcnn" else 8
    coarsest = 64 if name == "faster_rcnn" else 128
    assert detector.strides == [stride for stride in (4, 8, 16, 32, 64, 128) if finest <= stride <= coarsest]
    assert raw.size == (SIDE, SIDE)
    assert raw.grids == tuple((SIDE // stride, SIDE // stride) for stride in detector.strides)
    places = sum(height * width for height, width in raw.grids)
    count = {"retinanet": 9, "fcos": 1, "faster_rcnn": 3}[name]
    if isinstance(raw, DenseRaw):
        assert raw.logits.shape == (2, places * count, 2)
        assert raw.codes.shape == (2, places * count, 4)
        assert (raw.centerness is not None) == (name == "fcos")
    else:
        assert raw.objectness.shape == (2, places * count)
        assert raw.offsets.shape == (2, places * count, 4)
        assert [level.shape[-1] for level in raw.levels] == [32, 16, 8, 4]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_choice_of_images_is_as_if_the_others_were_not_there(name: str) -> None:
    detector = detector_of(name).eval()
    loosen(detector)
    image, boxes, labels = drawn()
    raw = detector(image, levels_of(name, [0, 1, 2, 3]))
    chosen = detector(image[[2, 0]], levels_of(name, [2, 0]))
    expected = detector.loss(chosen, [boxes[2], boxes[0]], [labels[2], labels[0]])
    found = detector.loss(raw[[2, 0]].detach().float(), [boxes[2], boxes[0]], [labels[2], labels[0]])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not total(found).requires_grad or name == "faster_rcnn"  # its second stage is in the loss


@pytest.mark.parametrize("name", DETECTORS)
def test_decoded_boxes_keep_to_their_settings(name: str) -> None:
    detector = detector_of(name).eval()
    loosen(detector)
    image, _, _ = drawn()
    raw = detector(image, levels_of(name, [0, 1, 2, 3]))
    for nms in ("nms", "soft"):
        settings = DecodeSettings(0.01, nms=cast("Any", nms), nms_iou=0.4, max_detections=5)
        for found in detector.decode(raw, settings, [(SIDE, SIDE), (SIDE, SIDE), (100, 90), (SIDE, SIDE)]):
            assert len(found.boxes) == len(found.scores) == len(found.labels) == 5
            assert (found.boxes.dtype, found.scores.dtype) == (torch.float32, torch.float64)
            assert found.labels.dtype == torch.int64
            assert set(found.labels.tolist()) <= {0, 1}
            assert ((found.scores > 0.01) & (found.scores <= 1)).all()
            assert (found.scores.diff() <= 0).all()
            assert (found.boxes >= 0).all()
            assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
            assert (found.boxes <= SIDE).all()
            if nms == "nms":
                overlap = box_iou(found.boxes, found.boxes).triu(diagonal=1)
                assert (overlap[found.labels[:, None] == found.labels] <= 0.4).all()
            assert not found.boxes.requires_grad
        third = detector.decode(raw, settings, [(SIDE, SIDE), (SIDE, SIDE), (100, 90), (SIDE, SIDE)])[2]
        assert third.boxes[:, 2].max() <= 90
        assert third.boxes[:, 3].max() <= 100
    assert not any(len(found.boxes) for found in detector.decode(raw, DecodeSettings(0.99999)))


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_sure_boxes_do_not_tie(name: str) -> None:
    """Logits around 25: in float32 every score is 1, and boxes are ranked by chance."""
    detector = detector_of(name).eval()
    loosen(detector)
    raw = cast("DenseRaw", detector(drawn([0])[0], levels_of(name, [0])))
    centerness = None if raw.centerness is None else raw.centerness + 40
    sure = replace(raw, logits=raw.logits + 25, centerness=centerness)
    (found,) = detector.decode(sure, DecodeSettings(0.01, nms_iou=0.9))
    assert len(set(found.scores.float().tolist())) == 1
    assert len(set(found.scores.tolist())) > 0.9 * len(found.scores) > 50


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "faster_rcnn" else name for name in DETECTORS]
)
def test_a_few_rectangles_are_learnt(name: str) -> None:
    torch.manual_seed(0)
    image, boxes, labels = drawn([0, 1, 3])
    backbone = Backbone("test_byobnet", 3, detector_strides(name), image_size=(SIDE, SIDE))
    given: dict[str, Any] = {"channels": 64, "input_size": (SIDE, SIDE), "roi_samples": 64, "anchors": "default"}
    detector: Any = build_detector(name, backbone, 2, **given)
    if name == "faster_rcnn":  # for speed
        detector.rpn._pre_nms_top_n = detector.rpn._post_nms_top_n = {"training": 100, "testing": 100}
    parameters = [*detector.parameters(), *backbone.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3 if name == "faster_rcnn" else 2e-3)
    best = 0.0
    for step in range(120):
        detector.train(), backbone.train()
        loss = total(detector.loss(detector(image, backbone(image)), boxes, labels))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        if step % 10 == 9:
            best = max(best, worst_overlap(detector.eval(), backbone.eval(), image, boxes, labels))
            if best > 0.8:
                return
    pytest.fail(f"a rectangle overlaps by {best:.2f} at most with the highest-scoring boxes of its class")


@torch.no_grad()
def worst_overlap(
    detector: Detector, backbone: Backbone, image: Tensor, boxes: list[Tensor], labels: list[Tensor]
) -> float:
    """Overlap of the worst found rectangle, where an image gives as many boxes as it has; -1 with a wrong box."""
    worst = 1.0
    for found, truth, classes in zip(
        detector.decode(detector(image, backbone(image)), DecodeSettings(0.2)), boxes, labels, strict=True
    ):
        highest = found.boxes[: len(truth)], found.labels[: len(truth)]
        if len(highest[0]) < len(truth):
            return 0.0
        same = highest[1][:, None] == classes
        if len(truth):
            worst = min(worst, float((box_iou(highest[0], truth) * same).amax(dim=0).min()))
    return worst


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("images", [[3], []], ids=["no box", "no image"])
def test_nothing_to_find(name: str, images: list[int], training: bool) -> None:
    detector = detector_of(name).train(training)
    image, boxes, labels = drawn()
    levels = levels_of(name, [0, 1, 2, 3])
    raw = detector(image, levels)[images]
    parts = detector.loss(raw, [boxes[i] for i in images], [labels[i] for i in images])
    assert all(torch.isfinite(part) and part.dtype == torch.float32 for part in parts.values())
    assert (total(parts) > 0) == bool(images)  # background costs
    assert parts["box"] == 0
    total(parts).backward()  # type: ignore[no-untyped-call]
    for key, parameter in detector.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    found = detector.decode(raw, DecodeSettings())
    assert len(found) == len(images)


def test_no_proposal_at_all() -> None:
    """As where all proposals lie outside the image."""
    detector: Any = detector_of("faster_rcnn")
    torch.nn.init.constant_(detector.rpn.head.bbox_pred.bias, -1000.0)
    image, boxes, labels = drawn([3])
    raw = detector(image, levels_of("faster_rcnn", [3]))
    assert not len(detector._proposals(raw)[0])
    parts = detector.loss(raw, boxes, labels)
    assert parts["classification"] == 0
    total(parts).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in detector.parameters())
    assert not len(detector.decode(raw, DecodeSettings())[0].boxes)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_trains_every_detector(network: str) -> None:
    size = 224 if network in ("nest_tiny", "test_vit") else 64
    size = 64 if network == "test_vit" else size
    for name in DETECTORS:
        backbone = backbone_of(network, detector_strides(name), size).train()
        detector = build_detector(
            name, backbone, 2, channels=16, input_size=(size, size), roi_samples=8, anchors="default"
        )
        boxes = [torch.tensor([[4.0, 6.0, 40.0, 50.0], [20.0, 20.0, 33.0, 29.0]]), torch.zeros(0, 4)]
        labels = [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.int64)]
        image = torch.rand(2, 3, size, size)
        backbone.zero_grad()
        total(detector.loss(detector(image, backbone(image)), boxes, labels)).backward()  # type: ignore[no-untyped-call]
        for part in (backbone, detector):
            for key, parameter in part.named_parameters():
                assert parameter.grad is not None or not parameter.requires_grad, f"{name}: {key}"
                assert parameter.grad is None or torch.isfinite(parameter.grad).all(), f"{name}: {key}"


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("box_loss", ["smooth_l1", "giou", "diou", "ciou"])
def test_losses_by_name(name: str, box_loss: Any) -> None:
    if name == "fcos" and box_loss == "smooth_l1":
        with pytest.raises(SuiteError, match=r"--model.box_loss smooth_l1: fcos.*take giou, diou or ciou"):
            detector_of(name, box_loss=box_loss)
        return
    detector = detector_of(name, box_loss=box_loss)
    loosen(detector)
    image, boxes, labels = drawn()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = [level.bfloat16() for level in levels_of(name, [0, 1, 2, 3])]
        parts = detector.loss(detector(image, levels), boxes, labels)
    assert all(torch.isfinite(part) and part > 0 and part.dtype == torch.float32 for part in parts.values())


@pytest.mark.parametrize("name", ["retinanet", "fcos"])
def test_focal_settings_reach_the_loss(name: str) -> None:
    image, boxes, labels = drawn()
    found = {}
    for alpha, gamma in ((0.25, 2.0), (0.5, 2.0), (0.25, 0.0)):
        detector = detector_of(name, focal_alpha=alpha, focal_gamma=gamma)
        found[alpha, gamma] = detector.loss(detector(image, levels_of(name, [0, 1, 2, 3])), boxes, labels)
    assert len({round(float(parts["classification"].detach()), 6) for parts in found.values()}) == 3
    assert len({round(float(parts["box"].detach()), 6) for parts in found.values()}) == 1


def test_validation_draws_the_same_samples_and_no_random_numbers() -> None:
    detector = detector_of("faster_rcnn").eval()
    image, boxes, labels = drawn()
    raw = detector(image, levels_of("faster_rcnn", [0, 1, 2, 3]))
    state = torch.get_rng_state()
    first = detector.loss(raw, boxes, labels)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    torch.testing.assert_close(detector.loss(raw, boxes, labels), first, rtol=0, atol=0)
    detector.train()
    assert not torch.equal(total(detector.loss(raw, boxes, labels)), total(detector.loss(raw, boxes, labels)))


def test_a_checkpoint_brings_its_anchors() -> None:
    built = detector_of("retinanet", anchors="auto", box_sizes=[[10 + i, 12 + i] for i in range(40)])
    again = detector_of("retinanet", anchors=built.anchors)
    assert again.anchors == built.anchors
    other = detector_of("retinanet", anchors="16")
    other.load_state_dict(built.state_dict())
    torch.testing.assert_close(other.get_buffer("grid.shapes"), built.get_buffer("grid.shapes"))
    assert detector_of("fcos").anchors is None
    assert detector_of("fcos", anchors=None).table is None


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("retinanett", {}, "--model.detector 'retinanett' is unknown: did you mean 'retinanet'"),
        ("retinanet", {"box_loss": "iou"}, "--model.box_loss 'iou' is unknown: did you mean"),
        ("retinanet", {"channels": 60}, "--model.channels 60: must be a multiple of 8"),
        ("fcos", {"focal_alpha": 2.0}, "--model.focal_alpha 2.0"),
        ("fcos", {"focal_gamma": -1.0}, "--model.focal_gamma -1.0"),
        ("faster_rcnn", {"roi_samples": 1}, "--model.roi_samples 1"),
        ("faster_rcnn", {"classes": 0}, "no class to detect"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        detector_of(name, **options)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nms": "softt"}, "--model.nms 'softt' is unknown: did you mean 'soft'"),
        ({"score_threshold": 1.0}, "--model.score_threshold 1.0"),
        ({"nms_iou": 0.0}, "--model.nms_iou 0.0"),
        ({"soft_sigma": 0.0}, "--model.soft_sigma 0.0"),
        ({"max_detections": 0}, "--model.max_detections 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        DecodeSettings(**settings)
