"""A tiny exported model, written with onnx alone: class scores by the mean and the edges of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.preprocess import Preprocess
from tasks.exported.description import KEY, Check, Description

DESCRIPTION = Description(
    task="classify",
    class_names=("healthy", "lesion <b>"),
    preprocess=Preprocess(size=(32, 32), channels=1),
    in_channels=1,
    input_size=(32, 32),
    target="binary",
    positive_class="lesion <b>",
    operating_points={"lesion <b>": 0.4},
    checks=(Check("logits", 1e-6, 1e-4, 12),),
    suite="0.1.0",
    made="2026-01-01T00:00:00+00:00",
    name="tiny",
)


def write_tiny(file: Path, description: Description = DESCRIPTION, scale: float = 1.0) -> Path:
    """A graph of a convolution, a mean and a matrix product that takes images of any size and batch."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    channels = description.in_channels
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array((scale * rng.normal(size=(4, channels, 3, 3))).astype(np.float32), "kernels"),
        onnx.numpy_helper.from_array(rng.normal(size=(4, 2)).astype(np.float32), "matrix"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("GlobalAveragePool", ["kept"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", kind, ["batch", channels, "height", "width"])
    logits = helper.make_tensor_value_info("logits", kind, ["batch", 2])
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", [image], [logits], weights),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description.to_json()
    file.write_bytes(model.SerializeToString())
    return file


def described(**changes: object) -> Description:
    return replace(DESCRIPTION, **changes)  # type: ignore[arg-type]
