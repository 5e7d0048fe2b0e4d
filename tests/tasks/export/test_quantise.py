"""int8 by onnxruntime: what it holds, whom it fits, and which layers stay in float when accuracy falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scansuite.errors import SuiteError
from tasks.export.quantise import Method, Quantisation, Quantiser, has_wide_sums
from tasks.exported.description import KEY
from tasks.exported.model_file import ExportedModel
from tests.tasks.exported.tiny_model import DESCRIPTION, write_tiny

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
IMAGES = [RNG.random((1, 1, 32, 32), np.float32) for _ in range(12)]


def deep(channels: int = 16, outlier: float = 1.0) -> object:
    """Three convolutions and a head; ``outlier`` makes one channel of the second one that much larger."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(1)
    shapes = {"a": (channels, 1, 3, 3), "b": (channels, channels, 3, 3), "c": (channels, channels, 3, 3)}
    weights = {name: rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes.items()}
    weights["b"][0] *= outlier
    weights["c"][:, 0] /= outlier
    weights["m"] = rng.normal(size=(channels, 2))
    nodes, last = [], "image"
    for name in "abc":
        nodes += [
            helper.make_node("Conv", [last, name], [f"{name}1"], pads=[1, 1, 1, 1], name=f"conv_{name}"),
            helper.make_node("Relu", [f"{name}1"], [f"{name}2"], name=f"relu_{name}"),
        ]
        last = f"{name}2"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"], name="mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "m"], ["logits"], name="head"),
    ]
    image = helper.make_tensor_value_info("image", kind, ["batch", 1, "height", "width"])
    logits = helper.make_tensor_value_info("logits", kind, ["batch", 2])
    stored = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "deep", [image], [logits], stored),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, DESCRIPTION.to_json()
    return model


def logits(model: object) -> np.ndarray:
    ready = ExportedModel(model.SerializeToString(), "m", threads=1)  # type: ignore[attr-defined]
    return np.concatenate([ready.run({"image": image})["logits"] for image in IMAGES])


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_int8_is_small_near_and_describes_itself(method: Method) -> None:
    model = deep(64)
    with Quantiser(model, IMAGES, Quantisation(method, reduce_range=False)) as quantiser:
        small = quantiser.quantised()
        assert quantiser.nodes == ["conv_a", "conv_b", "conv_c", "head"]
    assert small.ByteSize() < 0.35 * model.ByteSize()  # type: ignore[attr-defined]
    kinds = {one.data_type for one in small.graph.initializer if len(one.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}
    scales = [one for one in small.graph.initializer if one.name == "b_scale"]
    assert list(scales[0].dims) == [64]  # by channel
    wanted, found = logits(model), logits(small)
    assert 0 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    assert [one.value for one in small.metadata_props] == [DESCRIPTION.to_json()]


@pytest.mark.parametrize(("reduce_range", "largest"), [(True, 64), (False, 127)])
def test_a_range_that_is_reduced_takes_seven_bits(reduce_range: bool, largest: int) -> None:
    with Quantiser(deep(), IMAGES, Quantisation(reduce_range=reduce_range)) as quantiser:
        small = quantiser.quantised()
    weights = [onnx.numpy_helper.to_array(one) for one in small.graph.initializer if len(one.dims) == 4]
    assert max(int(np.abs(one.astype(int)).max()) for one in weights) <= largest
    assert max(int(np.abs(one.astype(int)).max()) for one in weights) > largest / 2


def test_what_this_cpu_needs_is_read_off_it(tmp_path: Path) -> None:
    for flags, wide in (
        ("flags\t\t: fpu avx2 avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 fma", False),
        ("Features\t: fp asimd asimddp", True),
        ("flags : avx_vnni\nflags : avx2", False),  # cores of two kinds
    ):
        (tmp_path / "cpuinfo").write_text(f"model name\t: x\n{flags}\n", encoding="utf-8")
        assert has_wide_sums(tmp_path / "cpuinfo") is wide
    assert has_wide_sums(tmp_path / "none")


def test_the_layer_that_does_harm_stays_in_float() -> None:
    """A channel that is 300 times the others takes the range of its layer's output from all of them."""
    model = deep(outlier=300.0)
    wanted = logits(model)

    def loss(small: object) -> float:
        return float(np.abs(logits(small) - wanted).max() / np.abs(wanted).max())

    with Quantiser(model, IMAGES, Quantisation(reduce_range=False)) as quantiser:
        assert quantiser.worst_first()[0] == "conv_c"
        whole = quantiser.quantised()
        allowed = loss(whole) / 2
        found = quantiser.within(lambda small: "too far" if loss(small) > allowed else "")
        assert found.in_float == ("conv_c",)
        assert loss(found.model) <= allowed
        assert found.nodes == 4
        assert quantiser.noise(found.model) < quantiser.noise(whole)
        with pytest.raises(SuiteError, match=r"in int8, with 2 of 4 layers in float, it is bad: no file is left"):
            quantiser.within(lambda _: "it is bad")


def test_all_is_int8_where_nothing_is_wrong() -> None:
    with Quantiser(deep(), IMAGES) as quantiser:
        found = quantiser.within(lambda _: "")
    assert found.in_float == ()


def test_mistakes(tmp_path: Path) -> None:
    model = onnx.load(write_tiny(tmp_path / "m.onnx"))
    with pytest.raises(SuiteError, match="no scans to calibrate"):
        Quantiser(model, [])
    with (
        pytest.raises(SuiteError, match="cannot be quantised"),
        Quantiser(model, [np.zeros((1, 3, 8, 8), np.float32)]) as one,
    ):
        one.quantised()
    bare = onnx.load(write_tiny(tmp_path / "m.onnx"))
    del bare.graph.node[:]
    bare.graph.node.append(onnx.helper.make_node("Relu", ["image"], ["logits"]))
    with pytest.raises(SuiteError, match=r"nothing to quantise|cannot be prepared"):
        Quantiser(bare, IMAGES)
