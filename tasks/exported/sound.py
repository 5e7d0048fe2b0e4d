"""Refusal of descriptions that lack what their task needs, or whose values are none: files come from elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.preprocess import Preprocess
    from tasks.evaluation.calibration.calibration import Calibration
    from tasks.exported.description import Boxes, Description, Member

TARGETS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
AGGREGATES = ("none", "mean", "max", "topk", "attention")

_MOST = 2**31
_MOST_VALUES = 2**28  # of an image that is fed: 1 GiB of float32
_WHOLE_NUMBERS = {"in_channels": 4096, "multiple": 4096, "most_images": _MOST, "bag_limit": _MOST, "opset": 1000}
_TEXTS = ("target", "positive_class", "operating_rule", "run", "weights", "licence", "profile")
_NEEDED_TEXTS = ("task", "aggregate", "tta", "precision", "suite", "made", "name")


def refuse_unfit(about: Description) -> None:
    """Stop at a description that cannot be applied.

    Args:
        about: whose fields hold what was read, of whatever type.

    Raises:
        ValueError: with what is missing, or out of its range.
        SuiteError: likewise, of its slices, its clean-up or its decoding.
    """
    for name in (*_NEEDED_TEXTS, *_TEXTS):
        value = getattr(about, name)
        _need(isinstance(value, str) or (value is None and name in _TEXTS), f"{name} is no text")
    for name, most in _WHOLE_NUMBERS.items():
        value = getattr(about, name)
        optional = name in ("most_images", "bag_limit", "opset")
        least = 0 if name == "bag_limit" else 1
        _need(_whole(value, least, most) or (value is None and optional), f"{name} must be a whole number from {least}")
    for name in ("standardised", "overlapping"):
        _need(isinstance(getattr(about, name), bool), f"{name} is neither true nor false")
    _class_names(about.class_names)
    for name, size in [
        ("input_size", about.input_size),
        ("tile", about.tile),
        *(("sizes", one) for one in about.sizes),
    ]:
        _need(size is None or _size(size, about.in_channels), f"{name} must be a height and a width in pixels")
    _preprocess(about.preprocess)
    _need(_number(about.overlap) and 0 <= about.overlap < 1, "overlap must be at least 0 and below 1")
    _own(about)
    for point in about.operating_points.values():
        _need(_number(point), "an operating point is no number")
    _members(about)
    if about.slices is not None:
        _slices(about.slices)
    for check in about.checks:
        _need(isinstance(check.name, str) and _number(check.value) and _number(check.tolerance), "a check is none")
        _need(_whole(check.scans, 0), "a check is none")
    if about.task == "classify":
        _classifier(about)
    elif about.task == "segment":
        _segmenter(about)
    elif about.task == "detect":
        _detector(about)


def _preprocess(said: Preprocess) -> None:
    _need(_whole(said.channels, 1, 4096), "channels of its preprocessing must be a whole number from 1")
    _need(said.size is None or _size(said.size, said.channels), "the size of its preprocessing is none")
    _need(_number(said.zoom) and _number(said.gamma), "zoom and gamma of its preprocessing must be numbers")
    for name in ("percentiles", "value_range"):
        pair = getattr(said, name)
        _need(pair is None or (_pair(pair) and all(map(_number, pair))), f"{name} of its preprocessing are none")
    for name in ("stored_range", "round_resized"):
        _need(isinstance(getattr(said, name), bool), f"{name} of its preprocessing is neither true nor false")


def refuse_outputs(about: Description, shapes: Mapping[str, Sequence[int]]) -> None:
    """Stop where a graph has not the outputs that its description speaks of.

    Args:
        about: of the graph.
        shapes: of its outputs by name; -1 is any size.

    Raises:
        ValueError: one is missing, or is of another number of classes.
    """
    count = len(about.class_names)
    for member in about.members:
        for name, (axis, channels) in _outputs(about, member, count).items():
            shape = shapes.get(member.prefix + name)
            _need(shape is not None, f"the graph has no output {member.prefix + name}")
            if shape is not None and channels:
                fits = axis < len(shape) and shape[axis] in (-1, channels)
                _need(fits, f"output {member.prefix + name} is not that of {count} classes")


def _outputs(about: Description, member: Member, count: int) -> dict[str, tuple[int, int]]:
    """Output -> axis and number of what there is one of for each class; 0: none is."""
    if about.task == "classify":
        weighed = member.own.get("aggregate", about.aggregate) == "attention"
        return {"logits": (1, count - member.ordinal)} | ({"weights": (0, 0)} if weighed else {})
    if about.task == "segment":
        return {"logits": (1, count)}
    if about.task != "detect" or member.boxes is None:
        return {}
    if member.boxes.detector == "faster_rcnn":
        first = ["objectness", "offsets", *(f"maps.{level}" for level in range(len(member.boxes.strides) - 1))]
        second = {"region_logits": (1, count + 1), "region_codes": (1, 4 * (count + 1))}
        return {**dict.fromkeys(first, (0, 0)), **second}
    central = {"centerness": (0, 0)} if member.boxes.detector == "fcos" else {}
    return {"logits": (2, count), "codes": (2, 4), **central}


def _classifier(about: Description) -> None:
    names, target = about.class_names, about.target
    _need(target in TARGETS, f"target of a classifier must be one of {', '.join(TARGETS)}")
    if target == "binary":
        _need(len(names) == 2, "a binary target has two classes")
        _need(about.positive_class in names, "positive_class of a binary target must be one of its classes")
    elif target == "regression":
        _need(len(names) == 1, "a regression target has one name")
    points = set(about.operating_points)
    _need(points <= set(names), "an operating point is of no class")
    _need(target != "binary" or not points or about.positive_class in points, "the positive class has no threshold")
    if about.calibration is not None:
        _need(list(about.calibration.names) == list(names), "its calibration is of other classes")
        _calibration(about.calibration, names, each=False)


def _segmenter(about: Description) -> None:
    from tasks.evaluation.segmentation.cleanup import CleanUp

    least = 1 if about.overlapping else 2
    _need(len(about.class_names) >= least, "masks need a background and a class")
    _need(len(about.class_names) <= 256, "masks hold 256 classes at most")
    cleanup = about.cleanup
    sizes = cleanup.get("min_size", {})
    _need(isinstance(sizes, Mapping) and all(map(_number, sizes.values())), "its clean-up has a size that is no number")
    CleanUp.from_dict(cleanup)
    named = [*cleanup.get("largest", ()), *sizes]
    _need(all(name in about.class_names for name in named), "its clean-up is of a class that it has not")


def _detector(about: Description) -> None:
    for member in about.members:
        _need(member.boxes is not None, "a detector needs boxes: its kind, strides and shapes of anchors")
        if member.boxes is not None:
            _boxes(member.boxes)
    _need(set(about.operating_points) <= set(about.class_names), "an operating point is of no class")
    if about.calibration is not None:
        _need(set(about.calibration.names) <= set(about.class_names), "its calibration is of other classes")
        _calibration(about.calibration, about.class_names, each=True)


def _own(about: Description) -> None:
    """What may be a member's own too."""
    from tasks.exported.detection.suppression import DecodeSettings

    for values in (about.__dict__, *(member.own for member in about.members)):
        aggregate, topk = values.get("aggregate", "none"), values.get("topk", 0.1)
        _need(aggregate in AGGREGATES, f"aggregate must be one of {', '.join(AGGREGATES)}")
        _need(_number(topk) and 0 < topk <= 1, "topk must be above 0 and at most 1")
        _need(values.get("tta", "none") in ("none", "mirror", "flips"), "tta must be none, mirror or flips")
        decoding = values.get("decoding", {})
        _need(isinstance(decoding, Mapping), "decoding is none")
        for name, value in decoding.items():
            whole = name in ("max_detections", "pre_nms_top")
            _need(name == "nms" or (_whole(value, 1) if whole else _number(value)), f"{name} is no number")
        DecodeSettings(**{**about.decoding, **decoding})


def _members(about: Description) -> None:
    _need(len(about.members) > 0, "it has no network")
    for member in about.members:
        _need(isinstance(member.prefix, str) and isinstance(member.ordinal, bool), "a member is none")
    prefixes = {member.prefix for member in about.members}
    _need(len(prefixes) == len(about.members), "two members have outputs of the same names")


def _boxes(boxes: Boxes) -> None:
    _need(isinstance(boxes.detector, str), "a detector has no kind")
    _need(0 < len(boxes.strides) == len(boxes.shapes) <= 32, "a detector needs anchors for each of its strides")
    _need(all(_whole(stride, 1, 2**16) for stride in boxes.strides), "strides must be whole numbers from 1")
    for level in boxes.shapes:
        _need(0 < len(level) <= 256, "a level has no anchors, or too many")
        _need(all(0 < side < math.inf for shape in level for side in shape), "sides of anchors must be above 0")


def _slices(slices: Mapping[str, Any]) -> None:
    from datamodules.samples.slices import SliceSpec

    _need(isinstance(slices, Mapping), "slices are none")
    _need(_whole(slices.get("neighbors", 0), 0, 2**10), "neighbors of slices must be a whole number from 0")
    for name in ("spacing", "percentiles"):
        pair = slices.get(name)
        _need(pair is None or (_pair(pair) and all(map(_number, pair))), f"{name} of slices must be two numbers")
    SliceSpec.from_dict(slices)


def _calibration(calibration: Calibration, names: Sequence[str], *, each: bool) -> None:
    """Applied once: what it lacks shows."""
    import numpy as np

    try:
        if each:
            for name in names:
                calibration.apply_to(name, [0.25, 0.75])
        else:
            calibration.apply(np.full((2, len(names)), 1 / len(names)))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError("its calibration is damaged") from None


def _class_names(names: Sequence[str]) -> None:
    _need(isinstance(names, tuple) and len(names) > 0, "class_names are missing")
    _need(all(isinstance(name, str) and name for name in names), "a class has no name")
    _need(len(set(names)) == len(names), "two classes have the same name")


def _size(size: Any, channels: int) -> bool:
    return _pair(size) and all(_whole(side, 1) for side in size) and size[0] * size[1] * channels <= _MOST_VALUES


def _pair(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) and len(list(value)) == 2


def _whole(value: Any, least: int, most: int = _MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)
