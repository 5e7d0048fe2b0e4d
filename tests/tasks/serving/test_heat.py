"""Maps of the service: the graph is fed as for a prediction, and a map lies where the image is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.types import Scan, ScanInfo
from tasks.exported.classification.classifier import Classifier
from tasks.exported.description import IMAGE
from tasks.exported.images import image_batch
from tasks.serving.heat import heat_of
from tests.tasks.serving.models import CLASSIFIER

# 30 pixels are filled up to 32, and each image is standardised by its own numbers, outside of the graph.
ABOUT = replace(
    CLASSIFIER,
    preprocess=Preprocess(size=(30, 30), channels=1, value_range=(0.0, 255.0)),
    input_size=(30, 30),
    multiple=8,
    standardised=True,
)


class Graph:
    """Logits are plus and minus the mean of the upper left corner; it keeps what it was fed with."""

    where = "graph"
    description = ABOUT

    def __init__(self, *, cam: bool) -> None:
        self.outputs = ["logits", "cam"] if cam else ["logits"]
        self.fed: list[NDArray[Any]] = []

    def run(
        self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        image = feeds[IMAGE]
        self.fed.append(image)
        value = image[:, 0, :8, :8].mean(axis=(1, 2))
        made = {"logits": np.stack([-value, value], axis=1).astype(np.float32)}
        if "cam" in self.outputs:
            cells = image[:, 0].reshape(len(image), 4, 8, 4, 8).mean(axis=(2, 4))
            made["cam"] = np.stack([-cells, cells], axis=1).astype(np.float32)
        return {name: made[name] for name in asked or self.outputs}


def scan() -> Scan:
    array = np.full((30, 30), 50, np.uint8)
    array[:8, :8] = 250
    return Scan(array, ScanInfo())


@pytest.mark.parametrize("cam", [True, False], ids=["cam", "occlusion"])
def test_the_graph_is_fed_as_for_a_prediction(cam: bool) -> None:
    graph = Graph(cam=cam)
    opened = ABOUT.preprocess.opened(scan())
    Classifier(graph).images(image_batch([opened.tile(0, 0, *opened.size)]))
    predicted = graph.fed.pop()
    assert predicted.shape == (1, 1, 32, 32)
    assert abs(float(predicted[:, :, :30, :30].mean())) < 1e-3  # standardised
    assert heat_of(graph, scan()) is not None
    np.testing.assert_array_equal(graph.fed[0], predicted)
    assert all(image.shape[1:] == (1, 32, 32) for image in graph.fed)


@pytest.mark.parametrize("cam", [True, False], ids=["cam", "occlusion"])
def test_the_map_lies_where_the_bright_corner_is(cam: bool) -> None:
    found = heat_of(Graph(cam=cam), scan())
    assert found is not None
    assert found.kind == ("cam" if cam else "occlusion")
    lesion = found.maps[1]
    assert lesion.shape == (30, 30)
    row, column = np.unravel_index(int(lesion.argmax()), lesion.shape)
    assert row < 8
    assert column < 8
    assert lesion[20:, 20:].max() < 128
