"""Export of detectors: their graphs, and what an exported file says of them. Boxes are decoded outside."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import Tensor, nn

from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.fcos import Fcos
from tasks.detect.retinanet import RetinaNet
from tasks.detect.task import DetectionTask
from tasks.export.exporter import Exporter
from tasks.exported.description import Boxes, Member
from tasks.padding import MULTIPLE

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
