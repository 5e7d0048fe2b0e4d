"""Tiny exported models of three kinds, written with onnx alone, for the service's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.preprocess import Preprocess
from tasks.exported.description import KEY, Description

CLASSIFIER = Description(
    task="classify",
    class_names=("healthy", "lesion <b>"),
    preprocess=Preprocess(size=(32, 32), channels=1, percentiles=(0.0, 100.0)),
    in_channels=1,
    input_size=(32, 32),
    operating_points={"lesion <b>": 0.4},
    operating_rule="youden",
    target="binary",
    positive_class="lesion <b>",
    name="tiny <i>",
    licence="CC0-1.0",
)
SEGMENTER = Description(
    task="segment",
    class_names=("background", "organ"),
    preprocess=Preprocess(channels=1, percentiles=(0.0, 100.0)),
    in_channels=1,
    multiple=4,
    name="tiny masks",
)
VOLUMES = replace(
    SEGMENTER,
    preprocess=Preprocess(channels=1, stored_range=False),
    slices={"plane": "axial", "neighbors": 0, "spacing": None, "percentiles": [0.5, 99.5]},
)


def write_model(file: Path, description: Description = CLASSIFIER, *, cam: bool = True) -> Path:
    """A graph whose maps are the image's brightness, for and against; a classifier's logits are their means.

    Args:
        file: where to.
        description: what it says of itself.
        cam: a classifier has class activation maps.
    """
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    channels, count = description.in_channels, len(description.class_names)
    signs = np.linspace(-4, 4, count, dtype=np.float32)
    kernels = np.repeat(signs[:, None], channels, 1)[:, :, None, None] / channels
    whole = description.task == "segment"
    maps = "logits" if whole else "cam"
    weights = [
        onnx.numpy_helper.from_array(kernels.astype(np.float32), "kernels"),
        onnx.numpy_helper.from_array(-signs / 2, "against"),
    ]
    nodes = [helper.make_node("Conv", ["image", "kernels", "against"], [maps])]
    outputs = [helper.make_tensor_value_info(maps, kind, ["batch", count, "height", "width"])] if whole or cam else []
    if not whole:
        nodes += [
            helper.make_node("GlobalAveragePool", ["cam"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["logits"]),
        ]
        outputs.append(helper.make_tensor_value_info("logits", kind, ["batch", count]))
    image = helper.make_tensor_value_info("image", kind, ["batch", channels, "height", "width"])
    graph = helper.make_graph(nodes, "tiny", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, description.to_json()
    file.write_bytes(model.SerializeToString())
    return file
