"""The description of an exported model comes back as it was written, and foreign ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.classification.target import TARGET_KINDS
from datamodules.preprocess import Preprocess
from datamodules.samples.slices import SliceSpec
from scansuite.errors import SuiteError
from tasks.evaluation.calibration.calibration import Calibration
from tasks.exported.description import Boxes, Check, Description, Member
from tasks.exported.model_file import open_model
from tasks.exported.sound import TARGETS
from tests.tasks.exported.tiny_model import described, write_tiny

DETECTOR = Description(
    task="detect",
    class_names=("cell", "<script>"),
    preprocess=Preprocess(size=(64, 96), windows=((40.0, 400.0),), channels=1),
    in_channels=1,
    input_size=(64, 96),
    sizes=((64, 96),),
    multiple=32,
    standardised=True,
    members=(
        Member("0.", boxes=Boxes("fcos", (8, 16), (((8.0, 8.0),), ((16.0, 16.0),)))),
        Member("1.", ordinal=True, boxes=Boxes("retinanet", (8,), (((8.0, 9.0),),)), own={"topk": 0.2}),
    ),
    tile=(64, 64),
    operating_points={"cell": 0.25},
    decoding={"nms": "soft"},
    checks=(Check("boxes", 0.001, 0.01, 12),),
    made="2026-01-01T00:00:00+00:00",
)


def test_a_description_comes_back() -> None:
    assert Description.from_json(DETECTOR.to_json(), "m.onnx") == DETECTOR


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 99}, "newer version"),
        ({"colour": 1}, "unknown fields colour"),
        ({"preprocess": 3}, "cannot be read"),
        ({"checks": [{"name": "x"}]}, "cannot be read"),
        ({"members": [{"boxes": {}}]}, "cannot be read"),
        ({"members": [{"own": {"colour": 1}}]}, "a member has colour of its own"),
    ],
)
def test_a_foreign_description_is_refused(change: dict[str, object], reason: str) -> None:
    plain = {**json.loads(DETECTOR.to_json()), **change}
    with pytest.raises(SuiteError, match=f"m.onnx: .*{reason}"):
        Description.from_json(json.dumps(plain), "m.onnx")


CLASSIFIER = Description("classify", ("a", "b"), Preprocess(channels=1), 1, target="binary", positive_class="b")
SEGMENTER = Description("segment", ("background", "a"), Preprocess(channels=1), 1, slices=SliceSpec().to_dict())
BOXES = {"detector": "fcos", "strides": [8], "shapes": [[[8.0, 8.0]]]}


@pytest.mark.parametrize(
    ("whole", "change", "reason"),
    [
        (CLASSIFIER, {"target": None}, "target of a classifier must be one of binary"),
        (CLASSIFIER, {"positive_class": None}, "positive_class of a binary target must be one"),
        (CLASSIFIER, {"class_names": ["a", "a"]}, "the same name"),
        (CLASSIFIER, {"class_names": "ab"}, "class_names is no list"),
        (CLASSIFIER, {"class_names": None}, "class_names are missing"),
        (CLASSIFIER, {"operating_points": {"c": 0.5}}, "is of no class"),
        (CLASSIFIER, {"operating_points": {"b": "0.5"}}, "operating point is no number"),
        (CLASSIFIER, {"aggregate": "median"}, "aggregate must be one of"),
        (CLASSIFIER, {"topk": 0}, "topk must be above 0"),
        (CLASSIFIER, {"in_channels": 0}, "in_channels must be a whole number"),
        (CLASSIFIER, {"in_channels": True}, "in_channels must be a whole number"),
        (CLASSIFIER, {"preprocess": {"size": [0, 3]}}, "--data.image_size"),
        (CLASSIFIER, {"preprocess": {"size": [10**6, 10**6]}}, "size of its preprocessing"),
        (CLASSIFIER, {"preprocess": {"size": [3.5, 3]}}, "size of its preprocessing"),
        (CLASSIFIER, {"preprocess": {"channels": 1.5}}, "channels of its preprocessing must be a whole number"),
        (CLASSIFIER, {"preprocess": {"value_range": [0, 1, 2]}}, "value_range of its preprocessing are none"),
        (CLASSIFIER, {"preprocess": {"colour": 1}}, "saved preprocessing has unknown fields colour"),
        (CLASSIFIER, {"members": []}, "it has no network"),
        (CLASSIFIER, {"members": [{}, {}]}, "outputs of the same names"),
        (
            CLASSIFIER,
            {"calibration": Calibration("platt", ("a", "b"), True).to_dict()},
            "its calibration is damaged",
        ),
        (CLASSIFIER, {"calibration": Calibration("platt", ("a", "c"), True).to_dict()}, "of other classes"),
        (SEGMENTER, {"class_names": ["background"]}, "a background and a class"),
        (SEGMENTER, {"tta": "turns"}, "tta must be none, mirror or flips"),
        (SEGMENTER, {"tile": [64]}, "tile must be a height and a width"),
        (SEGMENTER, {"tile": [0, 64]}, "tile must be a height and a width"),
        (SEGMENTER, {"tile": [10**9, 10**9]}, "tile must be a height and a width"),
        (SEGMENTER, {"overlap": 1.0}, "overlap must be at least 0"),
        (SEGMENTER, {"multiple": 0}, "multiple must be a whole number from 1"),
        (SEGMENTER, {"multiple": 1.5}, "multiple must be a whole number from 1"),
        (SEGMENTER, {"slices": {"plane": "tilted"}}, "--data.axis 'tilted'"),
        (SEGMENTER, {"slices": {"spacing": [1.0]}}, "spacing of slices must be two numbers"),
        (SEGMENTER, {"cleanup": {"largest": ["b"]}}, "of a class that it has not"),
        (SEGMENTER, {"cleanup": {"min_size": {"a": -1.0}}}, "clean-up: the smallest size"),
        (DETECTOR, {"members": [{}]}, "a detector needs boxes"),
        (DETECTOR, {"members": [{"boxes": {**BOXES, "strides": [0]}}]}, "strides must be whole numbers from 1"),
        (DETECTOR, {"members": [{"boxes": {**BOXES, "strides": [8, 16]}}]}, "anchors for each of its strides"),
        (DETECTOR, {"decoding": {"nms_iou": 2}}, "--model.nms_iou 2"),
        (DETECTOR, {"decoding": {"max_detections": 0.5}}, "max_detections is no number"),
        (DETECTOR, {"decoding": {"colour": 1}}, "colour"),
    ],
)
def test_a_description_that_cannot_be_applied_is_refused(
    whole: Description, change: dict[str, object], reason: str
) -> None:
    assert Description.from_json(whole.to_json(), "m.onnx") == whole
    plain = {**json.loads(whole.to_json()), **change}
    with pytest.raises(SuiteError) as refused:
        Description.from_json(json.dumps(plain), "m.onnx")
    said = str(refused.value)
    assert said.startswith("m.onnx: ")
    assert reason in said
    assert "\n" not in said


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + 400 * "0"])
@pytest.mark.parametrize("name", ["overlap", "topk", "operating_points"])
def test_numbers_that_are_none_are_refused(number: str, name: str) -> None:
    value = f'{{"b": {number}}}' if name == "operating_points" else number
    plain = {key: one for key, one in json.loads(CLASSIFIER.to_json()).items() if key != name}
    text = f'{json.dumps(plain)[:-1]}, "{name}": {value}}}'
    with pytest.raises(SuiteError, match=r"^m\.onnx: "):
        Description.from_json(text, "m.onnx")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([CLASSIFIER, SEGMENTER, DETECTOR]), st.data())
def test_whatever_stands_in_a_field_is_read_or_refused_in_a_line(whole: Description, data: st.DataObject) -> None:
    plain = json.loads(whole.to_json())
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(PLAIN)
    said = "m.onnx: "
    try:
        Description.from_json(json.dumps(plain), "m.onnx")
    except SuiteError as refused:
        said = str(refused)
    assert said.startswith("m.onnx: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class_names": ("a", "b", "c"), "target": "multiclass"}, "output logits is not that of 3 classes"),
        ({"members": (Member("0."), Member("1."))}, "the graph has no output 0.logits"),
        ({"aggregate": "attention"}, "the graph has no output weights"),
        ({"task": "segment", "class_names": ("background", "a", "b")}, "output logits is not that of 3 classes"),
        (
            {"task": "detect", "members": (Member(boxes=Boxes("retinanet", (8,), (((8.0, 8.0),),))),)},
            "output logits is not that of 2 classes",
        ),
        (
            {"task": "detect", "members": (Member(boxes=Boxes("faster_rcnn", (8,), (((8.0, 8.0),),))),)},
            "the graph has no output objectness",
        ),
    ],
)
def test_a_graph_without_what_its_description_speaks_of_is_refused(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    file = write_tiny(tmp_path / "m.onnx", described(operating_points={}, **change))
    with pytest.raises(SuiteError, match=rf"^{file}: {reason}: export the model again$"):
        open_model(file)


def test_kinds_of_targets_are_those_of_the_tables() -> None:
    assert TARGETS == TARGET_KINDS


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3"])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match=r"m\.onnx: its description cannot be read"):
        Description.from_json(text, "m.onnx")
