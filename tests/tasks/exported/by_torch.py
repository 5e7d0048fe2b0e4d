"""A network of torch in the place of an exported file: what the runner makes of raw output, and no export a test."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.detect.faster_rcnn import FasterRcnn, TwoStageRaw
from tasks.detect.fcos import Fcos
from tasks.exported.description import IMAGE, Boxes, Description, Member
from tasks.padding import MULTIPLE

OWN: dict[str, Any] = {
    "target": None, "positive_class": None, "aggregate": "none", "bag_limit": None, "operating_rule": None,
    "overlapping": False, "calibration": None, "operating_points": {},
}  # fmt: skip


def boxes_of(task: Any) -> Boxes | None:
    """What decoding needs to know of a detector."""
    if task.name != "detect":
        return None
    detector = task.detector
    name = "fcos" if isinstance(detector, Fcos) else "faster_rcnn" if isinstance(detector, FasterRcnn) else "retinanet"
    grid = detector.rpn.anchor_generator if isinstance(detector, FasterRcnn) else detector.grid
    shapes = tuple(tuple((float(w), float(h)) for w, h in level) for level in grid.shapes.tolist())
    return Boxes(name, tuple(detector.strides), shapes)


def own_of(task: Any) -> dict[str, Any]:
    """What may be a member's own."""
    if task.name == "classify":
        return {"aggregate": task.aggregate, "topk": getattr(task.hparams, "topk", 0.1)}
    if task.name == "segment":
        return {"tta": task.tta}
    return {"decoding": asdict(task.decoding)}


def described(model: Any) -> Description:
    """The description of a model of torch, of one or of an ensemble."""
    members = list(getattr(model, "members", [model]))
    several = len(members) > 1
    facts = {name: getattr(model, name, default) for name, default in OWN.items()}
    facts["operating_rule"] = None
    return Description(
        task=model.name,
        class_names=tuple(model.class_names),
        preprocess=model.preprocess,
        in_channels=model.in_channels,
        input_size=model.input_size,
        multiple=1 if model.name == "classify" else MULTIPLE,
        standardised=model.name != "classify" and members[0].normalize.per_image,
        members=tuple(
            Member(
                f"{number}." if several else "",
                model.name == "classify" and one.criterion.name == "ordinal",
                boxes_of(one),
                own_of(one) if several else {},
            )
            for number, one in enumerate(members)
        ),
        slices=None if model.slices is None else model.slices.to_dict(),
        tile=model.tile,
        overlap=model.overlap,
        cleanup=model.cleanup.to_dict() if model.name == "segment" else {},
        **{**own_of(members[0]), **facts},
    )


class TorchRunnable:
    """Raw output of models of torch, by the names that an exported file has.

    Args:
        model: a task, or an ensemble.
    """

    def __init__(self, model: Any) -> None:
        self.where = "model.onnx"
        # By way of JSON, as from a file.
        self.description = Description.from_json(described(model).to_json(), self.where)
        self.members = list(getattr(model, "members", [model]))
        if self.description.standardised:  # outside of the graph, as the exporter has it
            self.members = [copy.deepcopy(one) for one in self.members]
            for one in self.members:
                one.normalize = torch.nn.Identity()
        self.shapes: list[tuple[int, ...]] = []
        for one in self.members:
            one.eval()

    def run(
        self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """See :class:`~tasks.exported.images.Runnable`."""
        assert asked is not None
        found: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for about, task in zip(self.description.members, self.members, strict=True):
                names = [name.removeprefix(about.prefix) for name in asked if name.startswith(about.prefix)]
                if "regions" in {name.removeprefix(about.prefix) for name in feeds}:
                    found |= {about.prefix + name: value for name, value in self._second(task, about.prefix, feeds)}
                elif names:
                    image = torch.from_numpy(feeds[IMAGE])
                    self.shapes.append(tuple(image.shape))
                    said = self._first(task, image, whole="weights" in names)
                    found |= {about.prefix + name: value for name, value in said.items()}
        return {name: found[name].numpy() for name in asked}

    def _first(self, task: Any, image: torch.Tensor, *, whole: bool) -> dict[str, torch.Tensor]:
        if task.name == "detect":
            raw = task(image)
            self._size = raw.size
            if isinstance(raw, TwoStageRaw):
                maps = {f"maps.{level}": map_ for level, map_ in enumerate(raw.levels)}
                return {"objectness": raw.objectness, "offsets": raw.offsets, **maps}
            central = {} if raw.centerness is None else {"centerness": raw.centerness}
            return {"logits": raw.logits, "codes": raw.codes, **central}
        if whole:
            logits, weights = task.weighed(image, [len(image)])
            return {"logits": logits, "weights": weights}
        return {"logits": task(image)}

    def _second(self, task: Any, prefix: str, feeds: Mapping[str, Any]) -> list[tuple[str, torch.Tensor]]:
        maps = [name for name in feeds if name.startswith(f"{prefix}of_maps.")]
        if f"{prefix}regions" not in feeds:
            return []
        levels = [torch.from_numpy(feeds[f"{prefix}of_maps.{number}"]) for number in range(len(maps))]
        regions = torch.from_numpy(feeds[f"{prefix}regions"])
        by_image = [regions[regions[:, 0] == image, 1:] for image in range(len(levels[0]))]
        raw = TwoStageRaw(self._size, (), levels, torch.zeros(0), torch.zeros(0))
        logits, codes = task.detector._second_stage(raw, by_image)
        return [("region_logits", logits), ("region_codes", codes)]
