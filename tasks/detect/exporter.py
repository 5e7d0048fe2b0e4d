"""Export of detectors: their graphs, and what an exported file says of them. Boxes are decoded outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.fcos import Fcos
from tasks.detect.interface import Detections
from tasks.detect.retinanet import RetinaNet
from tasks.detect.task import DetectionTask
from tasks.export.exporter import Exporter
from tasks.export.tally import Tally
from tasks.exported.description import Boxes, Member
from tasks.padding import MULTIPLE, padded

NAMES = {RetinaNet: "retinanet", Fcos: "fcos"}


class DenseGraph(nn.Module):
    """RetinaNet or FCOS as it is exported: what the heads say of all anchors of all levels.

    Args:
        model: trained.
    """

    def __init__(self, model: DetectionTask) -> None:
        super().__init__()
        assert isinstance(model.detector, DenseDetector)
        # An image is standardised before it is filled up, and it is filled up outside.
        self.normalize: nn.Module = nn.Identity() if model.normalize.per_image else model.normalize
        self.backbone, self.detector = model.backbone, model.detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) in [0, 1], both sides multiples of 32 -> ``logits``, ``codes`` and, of FCOS, ``centerness``."""
        maps = self.detector.neck(self.backbone(self.normalize(image)))
        return tuple(output for output in self.detector.heads(maps) if output is not None)


class DetectionExporter(Exporter[DetectionTask]):
    """Export of a detector; see :class:`~tasks.export.exporter.Exporter`."""

    multiple: ClassVar[int] = MULTIPLE

    def unfit(self, member: DetectionTask) -> str:
        """Detectors of the user's own are decoded by their own code."""
        if type(member.detector) not in NAMES:
            return (
                f"boxes of {type(member.detector).__name__} (--model.detector) are decoded by its own code, which a "
                f"file cannot hold: {', '.join(NAMES.values())} can be exported"
            )
        return ""

    def own(self, member: DetectionTask) -> dict[str, Any]:
        """How raw output becomes boxes."""
        return {"decoding": dataclasses.asdict(member.decoding)}

    def network(self, member: DetectionTask) -> nn.Module:
        """See :class:`DenseGraph`."""
        return DenseGraph(member)

    def outputs(self, member: DetectionTask) -> list[str]:
        """``logits``, ``codes`` and, of FCOS, ``centerness``."""
        return ["logits", "codes", *(["centerness"] if isinstance(member.detector, Fcos) else [])]

    def member(self, member: DetectionTask, prefix: str) -> Member:
        """See :class:`~tasks.exported.description.Member`."""
        detector = member.detector
        assert isinstance(detector, DenseDetector)
        shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in detector.grid.shapes.tolist())
        boxes = Boxes(NAMES[type(detector)], tuple(detector.strides), shapes)
        return Member(prefix, boxes=boxes)

    def facts(self) -> dict[str, Any]:
        """Nothing beside them."""
        return {}

    def reference(self, member: DetectionTask, image: Tensor) -> dict[str, Tensor]:
        """See :meth:`~tasks.export.exporter.Exporter.reference`."""
        raw = member(image)
        assert isinstance(raw, DenseRaw)
        centerness = {} if raw.centerness is None else {"centerness": raw.centerness}
        return {"logits": raw.logits, "codes": raw.codes, **centerness}

    def output(self, member: DetectionTask, found: Mapping[str, Tensor], image: Tensor) -> DenseRaw:
        """See :meth:`~tasks.export.exporter.Exporter.output`."""
        size = padded(image.shape[-2:])
        grids = tuple((-(-size[0] // stride), -(-size[1] // stride)) for stride in member.detector.strides)
        return DenseRaw(size, grids, found["logits"], found["codes"], found.get("centerness"))

    def compare_member(self, tally: Tally, member: DetectionTask, image: Tensor, found: Mapping[str, Tensor]) -> None:
        """``logits``; ``boxes`` and ``scores`` of the anchors that may be found; and the boxes that are ``found``."""
        wanted, given = member(image), self.output(member, found, image)
        tally.largest("logits", wanted.logits, given.logits, relative=True)
        detector = member.detector
        assert isinstance(detector, DenseDetector)
        anchors = torch.cat(detector.grid(wanted.grids))
        scores = detector.scores(wanted)
        for number in range(len(image)):
            best = scores[number].amax(dim=1)
            kept = best.topk(min(len(best), member.decoding.pre_nms_top)).indices
            kept = kept[best[kept] > member.decoding.score_threshold]
            pair = [
                clip_boxes_to_image(detector.boxes(raw.codes[number][kept], anchors[kept]), wanted.size)
                for raw in (wanted, given)
            ]
            tally.largest("boxes", *pair)
        tally.largest("scores", scores, detector.scores(given))
        for ours, theirs in zip(member.decode(wanted), member.decode(given), strict=True):
            for some, others in ((ours, theirs), (theirs, ours)):
                tally.share("found", alone(some, others), len(some.boxes))


def alone(some: Detections, others: Detections, within: float = 1.0) -> int:
    """How many boxes have none of the same class among others whose corners are all within some pixels."""
    apart = (some.boxes[:, None] - others.boxes[None]).abs().amax(dim=2)
    near = (apart <= within) & (some.labels[:, None] == others.labels[None])
    return int((~near.any(dim=1)).sum())
