"""Export of detectors: their graphs, and what an exported file says of them. Boxes are decoded outside."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from tasks.detect.anchors import AnchorGrid
from tasks.detect.dense import DenseDetector, DenseRaw
from tasks.detect.faster_rcnn import FasterRcnn, TwoStageRaw
from tasks.detect.fcos import Fcos
from tasks.detect.graphs import DenseGraph, ProposalGraph, RegionGraph
from tasks.detect.interface import Detections, Detector
from tasks.detect.retinanet import RetinaNet
from tasks.detect.task import DetectionTask
from tasks.export.exporter import Exporter
from tasks.export.feeding import RunnableExport, Said
from tasks.export.graph import BATCH, TRACED, Graph
from tasks.export.tally import Tally
from tasks.exported.description import Boxes, Member
from tasks.padding import MULTIPLE, padded

NAMES: dict[type[Detector], str] = {RetinaNet: "retinanet", Fcos: "fcos", FasterRcnn: "faster_rcnn"}
_MOST = 1000  # proposals of an image


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
        """See :mod:`~tasks.detect.graphs`."""
        return ProposalGraph(member) if isinstance(member.detector, FasterRcnn) else DenseGraph(member)

    def outputs(self, member: DetectionTask) -> list[str]:
        """Those of :class:`~tasks.exported.description.Member`."""
        if isinstance(member.detector, FasterRcnn):
            return ["objectness", "offsets", *(f"maps.{level}" for level in range(len(member.detector.strides) - 1))]
        return ["logits", "codes", *(["centerness"] if isinstance(member.detector, Fcos) else [])]

    def second_stages(self) -> list[Graph]:
        """Those of Faster R-CNN."""
        return [
            _second_stage(member.detector, prefix)
            for member, prefix in self._pairs()
            if isinstance(member.detector, FasterRcnn)
        ]

    def member(self, member: DetectionTask, prefix: str) -> Member:
        """See :class:`~tasks.exported.description.Member`."""
        detector = member.detector
        shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in grid_of(detector).shapes.tolist())
        return Member(prefix, boxes=Boxes(NAMES[type(detector)], tuple(detector.strides), shapes))

    def facts(self) -> dict[str, Any]:
        """Nothing beside them."""
        return {}

    def reference(self, member: DetectionTask, image: Tensor) -> dict[str, Tensor]:
        """See :meth:`~tasks.export.exporter.Exporter.reference`."""
        raw = member(image)
        if isinstance(raw, TwoStageRaw):
            maps = {f"maps.{level}": found for level, found in enumerate(raw.levels)}
            return {"objectness": raw.objectness, "offsets": raw.offsets, **maps}
        centerness = {} if raw.centerness is None else {"centerness": raw.centerness}
        return {"logits": raw.logits, "codes": raw.codes, **centerness}

    def output(self, member: DetectionTask, found: Said, image: Tensor) -> DenseRaw | TwoStageRaw:
        """See :meth:`~tasks.export.exporter.Exporter.output`."""
        size = padded(image.shape[-2:])
        grids = tuple((-(-size[0] // stride), -(-size[1] // stride)) for stride in member.detector.strides)
        if isinstance(member.detector, FasterRcnn):
            maps = [found[f"maps.{level}"] for level in range(len(grids) - 1)]
            return TwoStageRaw(size, grids, maps, found["objectness"], found["offsets"])
        return DenseRaw(size, grids, found["logits"], found["codes"], found.get("centerness"))

    def compare_member(self, tally: Tally, member: DetectionTask, image: Tensor, found: Said) -> None:
        """``logits``; ``boxes`` and ``scores`` of what may be found; and the boxes that are ``found``."""
        wanted, given = member(image), self.output(member, found, image)
        other = member.detector
        if isinstance(other, FasterRcnn):
            compare_stages(tally, member, wanted, cast("TwoStageRaw", given), found)
            other = with_second_stage(other, found)
        else:
            compare_dense(tally, member, wanted, cast("DenseRaw", given))
        pair = member.detector.decode(wanted, member.decoding), other.decode(given, member.decoding)
        for ours, theirs in zip(*pair, strict=True):
            for some, others in ((ours, theirs), (theirs, ours)):
                tally.share("found", alone(some, others), len(some.boxes))

    def stand_ins(
        self, member: DetectionTask, model: RunnableExport, prefix: str
    ) -> list[tuple[Any, str, Callable[..., Any]]]:
        """The second stage too; see :meth:`~tasks.export.exporter.Exporter.stand_ins`."""
        found = super().stand_ins(member, model, prefix)
        if isinstance(member.detector, FasterRcnn):
            found.append((member.detector, "_second_stage", _second_of(Said(model, prefix, {}))))
        return found


def _second_of(found: Said) -> Callable[..., Any]:
    """What :meth:`FasterRcnn._second_stage` gives, by the export."""

    def second_stage(raw: TwoStageRaw, regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        numbered = [nn.functional.pad(boxes, (1, 0), value=float(image)) for image, boxes in enumerate(regions)]
        maps = {f"of_maps.{level}": map_ for level, map_ in enumerate(raw.levels)}
        logits, codes = found.further({"regions": torch.cat(numbered), **maps}, ("region_logits", "region_codes"))
        return logits, codes

    return second_stage


def compare_dense(tally: Tally, member: DetectionTask, wanted: DenseRaw, given: DenseRaw) -> None:
    """Note differences of what a dense detector says of all anchors, and of the boxes of the surest."""
    tally.largest("logits", wanted.logits, given.logits, relative=True)
    detector = cast("DenseDetector", member.detector)
    anchors = torch.cat(detector.grid(wanted.grids))
    scores = detector.scores(wanted)
    tally.largest("scores", scores, detector.scores(given))
    for number, best in enumerate(scores.amax(dim=2)):
        kept = best.topk(min(len(best), member.decoding.pre_nms_top)).indices
        kept = kept[best[kept] > member.decoding.score_threshold]
        pair = (detector.boxes(raw.codes[number][kept], anchors[kept]) for raw in (wanted, given))
        tally.largest("boxes", *(clip_boxes_to_image(boxes, wanted.size) for boxes in pair))


def compare_stages(tally: Tally, member: DetectionTask, wanted: TwoStageRaw, given: TwoStageRaw, found: Said) -> None:
    """Note differences of the first stage of Faster R-CNN, and of the second on the regions that PyTorch proposes."""
    detector = cast("FasterRcnn", member.detector)
    tally.largest("logits", wanted.objectness, given.objectness, relative=True)
    coder, anchors = detector.rpn.box_coder, torch.cat(detector.rpn.anchor_generator(wanted.grids))
    for number, best in enumerate(wanted.objectness):
        kept = best.topk(min(len(best), _MOST)).indices
        pair = (coder.decode_single(raw.offsets[number][kept], anchors[kept]) for raw in (wanted, given))
        tally.largest("boxes", *(clip_boxes_to_image(boxes, wanted.size) for boxes in pair))
    regions = detector._proposals(wanted)
    logits, codes = detector._second_stage(wanted, regions)
    their_logits, their_codes = with_second_stage(detector, found)._second_stage(given, regions)
    tally.largest("logits", logits, their_logits, relative=True)
    scores = logits.softmax(dim=1)[:, 1:]
    tally.largest("scores", scores, their_logits.softmax(dim=1)[:, 1:])
    pair = (detector.roi_heads.box_coder.decode_single(one, torch.cat(regions)) for one in (codes, their_codes))
    ours, theirs = (clip_boxes_to_image(boxes.reshape(len(boxes), -1, 4)[:, 1:], wanted.size) for boxes in pair)
    sure = scores > member.decoding.score_threshold
    tally.largest("boxes", ours[sure], theirs[sure])


def with_second_stage(detector: FasterRcnn, found: Said) -> FasterRcnn:
    """The detector with the second stage of its export; the rest is shared."""
    twin = copy.copy(detector)
    twin.__dict__["_second_stage"] = _second_of(found)
    return twin


def grid_of(detector: Detector) -> AnchorGrid:
    """The anchors of a detector."""
    grid = detector.rpn.anchor_generator if isinstance(detector, FasterRcnn) else cast("DenseDetector", detector).grid
    return cast("AnchorGrid", grid)


def alone(some: Detections, others: Detections, within: float = 1.0) -> int:
    """How many boxes have none of the same class among others whose corners are all within some pixels."""
    apart = (some.boxes[:, None] - others.boxes[None]).abs().amax(dim=2)
    near = (apart <= within) & (some.labels[:, None] == others.labels[None])
    return int((~near.any(dim=1)).sum())


def _second_stage(detector: FasterRcnn, prefix: str) -> Graph:
    """The graph of the second stage, which takes any number of regions and maps of any size."""
    channels = detector.neck.fpn.layer_blocks[0][0].out_channels
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}regions": (6, 5)}
    free = {f"{prefix}regions": {0: 1}}
    for level, stride in enumerate(detector.strides[:-1]):
        shapes[f"{prefix}of_maps.{level}"] = (BATCH, channels, TRACED[0] // stride, TRACED[1] // stride)
        free[f"{prefix}of_maps.{level}"] = {0: 1, 2: 1, 3: 1}
    outputs = [f"{prefix}region_logits", f"{prefix}region_codes"]
    return Graph(RegionGraph(detector), shapes, outputs, free, joined=1)
