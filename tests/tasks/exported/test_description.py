"""The description of an exported model comes back as it was written, and foreign ones are refused."""

from __future__ import annotations

import json

import pytest

from datamodules.preprocess import Preprocess
from scansuite.errors import SuiteError
from tasks.exported.description import Boxes, Check, Description, Member

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
        Member("1.", ordinal=True, own={"topk": 0.2}),
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


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3"])
def test_what_is_no_description_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match=r"m\.onnx: its description cannot be read"):
        Description.from_json(text, "m.onnx")
