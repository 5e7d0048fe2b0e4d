"""Detectors export with their boxes decoded outside: what comes out decodes to the boxes of PyTorch."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from scansuite.errors import SuiteError
from tasks.detect.ensemble import DetectionEnsemble
from tasks.detect.exporter import DetectionExporter, alone
from tasks.detect.faster_rcnn import FasterRcnn
from tasks.detect.graphs import ProposalGraph, RegionGraph
from tasks.detect.interface import Detections
from tasks.detect.task import DetectionTask
from tasks.export.describe import describe
from tasks.export.exporting import exported, opened
from tasks.export.scans import Scans
from tasks.export.verify import verified


def made(detector: str, **flags: Any) -> DetectionTask:
    torch.manual_seed(0)
    return DetectionTask(
        "test_resnet", detector=detector, channels=16, class_names=["a", "b"], num_classes=2, in_channels=1,
        input_size=(64, 96), **flags,
    ).eval()  # fmt: skip


@torch.no_grad()
def test_the_stages_of_faster_rcnn_are_those_of_the_task() -> None:
    task = made("faster_rcnn")
    detector = cast("FasterRcnn", task.detector)
    raw = task(torch.rand(2, 1, 64, 96))
    objectness, offsets, *maps = ProposalGraph(task)(torch.rand(2, 1, 64, 96))
    assert (objectness.shape, offsets.shape) == (raw.objectness.shape, raw.offsets.shape)
    assert [one.shape for one in maps] == [one.shape for one in raw.levels]
    # Regions of all levels, some of them at the border between two, as torchvision's mapping has it.
    sides = torch.tensor([1.0, 10, 56, 111.9, 112, 112.1, 223.9, 224, 448, 900])
    regions = torch.stack([0 * sides, 0 * sides, sides, sides], dim=1)
    numbered = nn.functional.pad(regions, (1, 0), value=1.0)
    pool = cast("MultiScaleRoIAlign", cast("RoIHeads", detector.roi_heads).box_roi_pool)
    named = {str(level): one for level, one in enumerate(raw.levels)}
    pooled = pool(named, [regions[:0], regions], [raw.size, raw.size])
    wanted = detector.roi_heads.box_predictor(detector.roi_heads.box_head(pooled))
    for ours, theirs in zip(RegionGraph(detector)(numbered, tuple(raw.levels)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_boxes_that_have_no_counterpart_are_counted() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    some = Detections(boxes, torch.ones(3), torch.tensor([0, 0, 1]))
    others = Detections(boxes + torch.tensor([0.5, 0, 0, 0]), torch.ones(3), torch.tensor([0, 1, 1]))
    assert alone(some, others) == 1
    assert alone(some, Detections(boxes[:0], torch.ones(0), torch.ones(0, dtype=torch.int64))) == 3


def test_members_that_are_standardised_apart_are_refused() -> None:
    both = [made("fcos", normalize="image"), made("fcos")]
    with pytest.raises(SuiteError, match=r"--ckpt_paths: a\.ckpt was trained with --data\.normalize image and b\.ckpt"):
        DetectionExporter(DetectionEnsemble(both, ["a.ckpt", "b.ckpt"]), ["a.ckpt", "b.ckpt"])


@pytest.mark.slow
@pytest.mark.parametrize("detectors", [["retinanet"], ["faster_rcnn", "fcos"]])
def test_what_is_exported_finds_the_same_boxes(detectors: list[str]) -> None:
    members = [made(name, normalize="image") for name in detectors]
    model = members[0] if len(members) == 1 else DetectionEnsemble(members, detectors).eval()
    exporter = DetectionExporter(model, detectors)
    proto, description = exported(exporter, describe(exporter, [], "mine"), 20)
    assert description.standardised
    assert description.sizes == ()
    scans = Scans("drawn ones", [torch.rand(1, 64, 96) for _ in range(6)])
    checks = verified(exporter, opened(proto, "mine.onnx"), scans, "fp32")
    assert {check.name for check in checks} == {"logits", "boxes", "scores", "found"}
