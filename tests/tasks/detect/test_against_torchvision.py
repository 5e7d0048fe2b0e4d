"""The same weights on the same levels: losses, gradients and boxes of torchvision's own detectors.

Ours differ on purpose in three things: losses are divided by the positives of the whole batch where torchvision's
RetinaNet divides image by image (so that one is compared image by image), anchors are not rounded to whole pixels (the
reference gets ours), and boxes clipped to nothing are dropped (from the reference too).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import MultiScaleRoIAlign

from tasks.detect.detectors import Detector
from tasks.detect.fpn import group_norm
from tasks.detect.interface import DecodeSettings, Detections
from tests.tasks.detect.drawn import SIDE, detector_of, drawn, levels_of, loosen

CHANNELS, CLASSES, MANY = 64, 2, 100_000
SETTINGS = DecodeSettings(score_threshold=0.05, nms_iou=0.5, max_detections=MANY, pre_nms_top=300)
NAMES = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "proposal_box",
    "loss_classifier": "classification",
    "loss_box_reg": "box",
    "bbox_regression": "box",
    "bbox_ctrness": "centerness",
}


class Levels(nn.Module):
    """Stands for backbone and pyramid: gives what our own neck makes of the levels."""

    out_channels = CHANNELS

    def __init__(self, ours: Detector, levels: list[Tensor]) -> None:
        super().__init__()
        self.ours, self.levels = [ours], levels  # in a list: not a submodule

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        maps = cast("Any", self.ours[0]).neck(self.levels)
        return OrderedDict((str(level), map_) for level, map_ in enumerate(maps))


class NoTransform(nn.Module):
    """Stands for the resizing and normalising that torchvision's detectors do inside."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        return ImageList(torch.stack(images), [(SIDE, SIDE)] * len(images)), targets

    def postprocess(self, result: Any, *_: Any) -> Any:
        return result


def reference(name: str, ours: Any, levels: list[Tensor]) -> Any:
    """Torchvision's detector with our weights and our anchors."""
    body = Levels(ours, levels)
    decoding = {"score_thresh": SETTINGS.score_threshold, "nms_thresh": SETTINGS.nms_iou, "detections_per_img": MANY}
    grid = ours.rpn.anchor_generator if name == "faster_rcnn" else ours.grid
    places = ((1,),) * len(ours.strides)
    anchors = AnchorGenerator(places, places)
    anchors.num_anchors_per_location = lambda: [grid.count] * len(ours.strides)
    model: Any
    if name == "faster_rcnn":
        model = FasterRCNN(
            body,
            CLASSES + 1,
            rpn_anchor_generator=anchors,
            box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2),
            box_batch_size_per_image=64,
            **{f"box_{key}": value for key, value in decoding.items()},
        )
        model.rpn.load_state_dict(
            {key: value for key, value in ours.rpn.state_dict().items() if "anchor_generator" not in key}
        )
        model.roi_heads.load_state_dict(ours.roi_heads.state_dict())
    else:
        head = (
            RetinaNetHead(CHANNELS, grid.count, CLASSES, norm_layer=group_norm)
            if name == "retinanet"
            else FCOSHead(CHANNELS, 1, CLASSES)
        )
        for part in ("classification_head", "regression_head"):
            getattr(head, part).load_state_dict(getattr(ours, part).state_dict())
            for theirs, module in zip(getattr(head, part).modules(), getattr(ours, part).modules(), strict=True):
                if isinstance(theirs, nn.GroupNorm):
                    theirs.num_groups = module.num_groups
        make = RetinaNet if name == "retinanet" else FCOS
        model = make(body, CLASSES, anchor_generator=anchors, head=head, topk_candidates=300, **decoding)
    half = grid.shapes / 2
    anchors.cell_anchors = list(torch.cat([-half, half], dim=2))
    model.transform = NoTransform()
    return model


def pair(name: str, images: list[int]) -> tuple[Any, Any, list[Tensor], Any]:
    ours: Any = detector_of(name, box_loss="l1" if name == "retinanet" else "auto")
    loosen(ours)
    if name == "fcos":
        ours.factor = 1.0  # of torchvision, whatever the size of the image
    levels = levels_of(name, images)
    return ours, reference(name, ours, levels), levels, drawn(images)


def theirs_of(name: str, model: Any, image: Tensor, boxes: list[Tensor], labels: list[Tensor]) -> dict[str, Tensor]:
    shift = int(name == "faster_rcnn")
    targets = [{"boxes": found, "labels": named + shift} for found, named in zip(boxes, labels, strict=True)]
    return {NAMES.get(key, key): value for key, value in model.train()(list(image), targets).items()}


@pytest.mark.parametrize(
    ("name", "images"),
    [("retinanet", [0]), ("retinanet", [2]), ("retinanet", [3]), ("fcos", [0, 1, 2, 3]), ("faster_rcnn", [0, 1, 2, 3])],
    ids=str,
)
def test_losses_and_gradients(name: str, images: list[int]) -> None:
    ours, model, levels, (image, boxes, labels) = pair(name, images)
    torch.manual_seed(5)  # both stages of Faster R-CNN draw samples
    expected = theirs_of(name, model, image, boxes, labels)
    slope = torch.autograd.grad(torch.stack(list(expected.values())).sum(), levels)
    torch.manual_seed(5)
    found = ours.train().loss(ours(image, levels), boxes, labels)
    assert found.keys() == expected.keys()
    assert all(value > 1e-3 for key, value in found.items() if key == "classification" or images != [3])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    own = torch.autograd.grad(torch.stack(list(found.values())).sum(), levels)
    torch.testing.assert_close(own, slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["retinanet", "fcos", "faster_rcnn"])
def test_boxes(name: str) -> None:
    ours, model, levels, (image, _, _) = pair(name, [0, 1, 2, 3])
    with torch.no_grad():
        expected = model.eval()(list(image))
        # Torchvision's Faster R-CNN looks at all classes of all regions.
        top = MANY if name == "faster_rcnn" else SETTINGS.pre_nms_top
        settings = DecodeSettings(SETTINGS.score_threshold, nms_iou=0.5, max_detections=MANY, pre_nms_top=top)
        found: list[Detections] = ours.eval().decode(ours(image, levels), settings)
    assert len(found) == len(expected) == 4
    for own, other in zip(found, expected, strict=True):
        sides = other["boxes"][:, 2:] - other["boxes"][:, :2]
        kept = (sides >= 0.01).all(dim=1)
        assert len(own.boxes) == kept.sum() > 20
        torch.testing.assert_close(own.scores.float(), other["scores"][kept], rtol=1e-4, atol=1e-6)
        # Of boxes with all but equal scores either may come first, and drop the other.
        shift = int(name == "faster_rcnn")
        rows = torch.cat([own.boxes, own.scores.float()[:, None] * 100, own.labels[:, None] * 100.0], dim=1)
        others = [other["boxes"], other["scores"][:, None] * 100, (other["labels"] - shift)[:, None] * 100.0]
        nearest = torch.cdist(rows, torch.cat(others, dim=1)[kept], p=1).min(dim=1)
        assert nearest.values.max() < 0.1
        assert len(set(nearest.indices.tolist())) == len(rows)


def test_retinanet_weighs_boxes_and_not_images() -> None:
    ours, model, levels, (image, boxes, labels) = pair("retinanet", [0, 1])
    batch = ours.loss(ours(image, levels), boxes, labels)
    counts = []
    for number in range(2):
        raw = ours(image, levels)[[number]]
        single = ours.loss(raw, boxes[number : number + 1], labels[number : number + 1])
        counts.append(single["box"])
    theirs = theirs_of("retinanet", model, image, boxes, labels)
    torch.testing.assert_close(theirs["box"], torch.stack(counts).mean(), rtol=1e-4, atol=1e-6)
    assert not torch.isclose(theirs["box"], batch["box"], rtol=1e-3)
