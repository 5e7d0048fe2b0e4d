"""What maps of a detector explain: the class of one box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou, clip_boxes_to_image

from scansuite.errors import SuiteError
from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.faster_rcnn import FasterRcnn
from tasks.detect.interface import Detections, Raw
from tasks.detect.task import DetectionTask
from tasks.explain.explainer import Explainer, of_classes
from tasks.explain.targets import Box, Scorer, Target
from tasks.exported.detection.fusion import fuse_boxes

BOXES = 5  # that are explained unless some are asked for


class DetectionExplainer(Explainer[DetectionTask]):
    """One image as a detector sees it.

    The number of a box is that of what gave it: of the anchors (or places, or proposed regions) of which the box
    overlaps it, the one with the highest product of score and overlap, as D-RISE weighs them (Petsiuk et al., CVPR
    2021); it stays the same while the image changes. It is the logit of the class; in a two-stage detector the log-odds
    of the class, against the others and background, of the second look at that region.

    Args:
        model: with its weights.
        images: see :class:`~tasks.explain.explainer.Explainer`.
    """

    pads = True
    # Grad-CAM weighs channels by means over places of a gradient that lies about one place (docs/explain_results.md).
    usual = "layercam"

    def __init__(self, model: DetectionTask, images: Tensor) -> None:
        super().__init__(model, images)
        self._raw: Raw | None = None

    @property
    def raw(self) -> Raw:
        """What the heads say of the image itself."""
        if self._raw is None:
            with torch.no_grad():
                self._raw = self.forward(self.images[:1]).detach()
        return self._raw

    @property
    def differentiable(self) -> bool:
        """Whether it is known how boxes come out of what the heads say."""
        return isinstance(self.model.detector, (DenseDetector, FasterRcnn))

    @classmethod
    def targets(cls, members: Sequence[Self], asked: Sequence[str | Target] | None) -> list[Target]:
        """The highest-scoring boxes that are called, else the highest one; or those of the classes asked for."""
        model = members[0].model
        boxes, scores, labels = _found(members)
        names = model.class_names
        found: list[Target] = []
        for one in [None] if asked is None else asked:
            if isinstance(one, Target):
                found.append(one)
                continue
            if one is None:
                points = np.array([model.operating_points.get(name, 0.5) for name in names])
                called = np.flatnonzero(scores >= points[labels])[:BOXES]
                chosen = called if len(called) else np.arange(min(len(scores), 1))
            else:
                chosen = np.flatnonzero(labels == of_classes(names, one))[:BOXES]
                if not len(chosen):
                    raise SuiteError(f"target {one!r}: no box of it was found in this image: name another class")
            for place in chosen:
                label = names[labels[place]]
                box = cast("Box", tuple(float(side) for side in boxes[place]))
                found.append(Target(f"{label}, box {len(found) + 1}", label, box=box))
        return found

    def scorer(self, target: Target) -> Scorer:
        """The target as functions of what the heads say.

        Raises:
            SuiteError: it has no box.
        """
        if target.box is None:
            raise SuiteError(f"target {target.name!r}: it has no box: give the box that is explained")
        number = of_classes(self.model.class_names, target.label)
        box = torch.tensor([target.box], dtype=torch.float32, device=self.images.device)
        detector = self.model.detector
        if isinstance(detector, DenseDetector):
            return self._dense(detector, box, number)
        if isinstance(detector, FasterRcnn):
            return self._two_stage(detector, box, number)
        score = self._found_again(box, number)
        return Scorer(score, score, differentiable=False)

    def _dense(self, detector: DenseDetector, box: Tensor, number: int) -> Scorer:
        raw = cast("DenseRaw", self.raw)
        with torch.no_grad():
            anchors = torch.cat(detector.grid(raw.grids))
            boxes = clip_boxes_to_image(detector.boxes(raw.codes[0], anchors), raw.size)
            scores = detector.scores(raw)[0, :, number]
            anchor = int((box_iou(box, boxes)[0] * scores).argmax())
        return Scorer(
            lambda output: output.logits[:, anchor, number],
            lambda output: detector.scores(output)[:, anchor, number].detach(),
        )

    def _two_stage(self, detector: FasterRcnn, box: Tensor, number: int) -> Scorer:
        regions, boxes, scores = detector.candidates(self.raw)
        if not len(regions):
            raise SuiteError("no region of this image was proposed: there is no box to explain")
        overlap = box_iou(box, clip_boxes_to_image(boxes[:, number], self.raw.size))[0]
        region = regions[int((overlap * scores[:, number]).argmax())][None]

        def logits(output: Raw) -> Tensor:
            return detector.region_output(output, region)[0][:, 0]

        def value(output: Raw) -> Tensor:
            given = logits(output)
            others = torch.cat([given[:, : number + 1], given[:, number + 2 :]], dim=1)
            return given[:, number + 1] - others.logsumexp(dim=1)

        return Scorer(value, lambda output: logits(output).softmax(dim=1)[:, number + 1].detach())

    def _found_again(self, box: Tensor, number: int) -> Callable[[Any], Tensor]:
        """The highest product of score and overlap of the boxes that are found, which has no gradient."""

        def score(output: Raw) -> Tensor:
            best = []
            for found in self.model.decode(output):
                same = found.labels == number
                overlap = box_iou(box, found.boxes[same])[0] * found.scores[same].to(box.dtype)
                best.append(overlap.max() if len(overlap) else overlap.new_zeros(()))
            return torch.stack(best)

        return score

    def layers(self) -> list[str]:
        """The levels of the backbone, before the neck: behind it a map lies about the one place that gave the box."""
        return ["backbone"]


def _found(members: Sequence[DetectionExplainer]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of the image, their scores and class numbers, highest score first; those of several members fused."""
    every: list[Detections] = [one.model.decode(one.raw)[0] for one in members]
    arrays = [tuple(part.cpu().numpy() for part in one) for one in every]
    if len(arrays) == 1:
        return arrays[0]  # type: ignore[return-value]
    return fuse_boxes([(boxes.astype(np.float64), scores, labels) for boxes, scores, labels in arrays])
