"""An export in float16 is half as large, takes and gives float32, and says nearly the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.export.half import in_half


def linear(bias: float) -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    names = {"image": ["batch", 64], "logits": ["batch", 256]}
    given, said = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names.items())
    nodes = [
        helper.make_node("MatMul", ["image", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "bias"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([bias], np.float32), "bias"),
    ]
    graph = helper.make_graph(nodes, "linear", [given], [said], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_it_is_half_as_large_and_says_nearly_the_same() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    whole = linear(0.5)
    half = in_half(whole, "m.onnx")
    assert half.ByteSize() < 0.55 * whole.ByteSize()
    image = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    said = [
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"image": image})[0] for one in (whole, half)
    ]
    assert said[1].dtype == np.float32
    np.testing.assert_allclose(said[1], said[0], atol=0.05)
    assert not np.array_equal(said[1], said[0])


def test_values_beyond_its_reach_become_its_largest() -> None:
    constants = in_half(linear(1e6), "m.onnx").graph.initializer
    (bias,) = (numpy_helper.to_array(one) for one in constants if one.name == "bias")
    assert bias.tolist() == [65504.0]
