"""Runs of several threads that become one: equal to single ones, whatever comes together."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scansuite.errors import SuiteError
from tasks.exported.description import IMAGE, Description
from tasks.serving.batching import BatchedModel
from tests.tasks.serving.models import CLASSIFIER


class Sums:
    """A model whose output is the sum of each image; an image of ones is refused."""

    where, outputs = "sums", ["logits"]

    def __init__(self, description: Description = CLASSIFIER) -> None:
        self.description = description
        self.sizes: list[int] = []
        self._lock = threading.Lock()

    def run(
        self, feeds: Mapping[str, NDArray[Any]], asked: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        image = feeds[IMAGE]
        if (image == 1).all(axis=(1, 2, 3)).any():
            raise SuiteError("ones")
        with self._lock:
            self.sizes.append(len(image))
        return {"logits": image.sum(axis=(2, 3))}


def together(model: Sums, images: Sequence[NDArray[np.float32]], most: int = 8) -> list[Any]:
    """What each of as many threads gets."""
    ran: list[int] = []
    batched = BatchedModel(model, lambda: len(images), wait=0.2, most=most, ran=ran.append)
    gate = threading.Barrier(len(images))

    def one(image: NDArray[np.float32]) -> Any:
        gate.wait()
        try:
            return batched.run({IMAGE: image})["logits"]
        except SuiteError as error:
            return str(error)

    with ThreadPoolExecutor(len(images)) as pool:
        return list(pool.map(one, images))


def test_each_gets_its_own() -> None:
    rng = np.random.default_rng(0)
    images = [rng.random((1 + number % 2, 1, 4 + 2 * (number % 3), 6), np.float32) for number in range(12)]
    model = Sums()
    for image, found in zip(images, together(model, images), strict=True):
        np.testing.assert_allclose(found, image.sum(axis=(2, 3)), atol=1e-5)
    assert max(model.sizes) > 2
    assert max(model.sizes) <= 8


def test_one_that_fails_fails_alone() -> None:
    images = [np.full((1, 1, 4, 4), value, np.float32) for value in (0.25, 1, 0.5, 0.75)]
    found = together(Sums(), images)
    assert found[1] == "ones"
    assert [float(one.item()) for one in (found[0], found[2], found[3])] == [4, 8, 12]


@pytest.mark.parametrize("changes", [{"aggregate": "attention"}, {"most_images": 1}])
def test_what_is_no_batch_runs_by_itself(changes: dict[str, Any]) -> None:
    model = Sums(replace(CLASSIFIER, **changes))
    together(model, [np.zeros((1, 1, 4, 4), np.float32)] * 4)
    assert model.sizes == [1] * 4
