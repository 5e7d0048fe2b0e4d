"""Images in memory, as they were stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datamodules.preprocess import Preprocess
from datamodules.samples.dataset import ScanDataset
from datamodules.samples.patches import PatchPlace
from datamodules.samples.sources import Samples, ScanSource
from datamodules.types import Draw, Scan, ScanInfo

RNG = np.random.default_rng(0)
GREY = [RNG.integers(0, 256, (12, 10)).astype(np.uint8) for _ in range(5)]
UNLIKE = [*GREY, RNG.integers(0, 65536, (20, 9)).astype(np.uint16), RNG.integers(0, 256, (12, 10, 4)).astype(np.uint8)]


def source_of(arrays: list[Any], spec: Preprocess) -> ScanSource:
    scans = [ScanInfo(case_id=str(number)) for number in range(len(arrays))]
    read = [Scan(array, {"path": f"{number}.png"}) for number, array in enumerate(arrays)]
    return ScanSource(read.__getitem__, Samples(np.arange(len(arrays)), scans), spec)


@pytest.mark.parametrize("arrays", [GREY, UNLIKE], ids=["alike", "unlike"])
@pytest.mark.parametrize(
    "spec",
    [
        Preprocess(channels=1),
        Preprocess(channels=3, percentiles=(5, 95), gamma=0.7),
        Preprocess(channels=3, size=(8, 8), fit="pad"),
        Preprocess(channels=2, windows=((100, 50), (30, 20))),
    ],
    ids=["range", "percentiles", "padded", "windows"],
)
def test_samples_are_the_same_from_memory(arrays: list[Any], spec: Preprocess) -> None:
    if len(spec.windows) > 1:
        arrays = [array for array in arrays if array.ndim == 2]
    for patch in (None, PatchPlace((6, 6))):
        source = source_of(arrays, spec)
        read, kept = (ScanDataset(one, patch=patch) for one in (source, source.in_memory()))
        for number in range(len(arrays)):
            wanted, sample = read.sample(Draw(number)), kept.sample(Draw(number))
            assert sample["image"].dtype == wanted["image"].dtype
            np.testing.assert_array_equal(sample["image"].numpy(), wanted["image"].numpy())
            assert sample["scan"] == wanted["scan"]


def test_alike_images_are_one_array_in_their_own_type() -> None:
    kept = source_of(GREY, Preprocess(channels=3)).in_memory()
    assert isinstance(kept.images, np.ndarray)
    assert kept.images.dtype == np.uint8
    assert kept.images.nbytes == sum(array.nbytes for array in GREY)
    assert ScanDataset(kept).pixel_bytes == 1


def test_unlike_images_are_kept_each_in_its_own_type() -> None:
    kept = source_of(UNLIKE, Preprocess(channels=3)).in_memory()
    assert [image.dtype.name for image in kept.images] == ["uint8"] * 5 + ["uint16", "uint8"]
    assert [image.shape for image in kept.images] == [*[(12, 10)] * 5, (20, 9), (12, 10, 3)]
    assert ScanDataset(kept).pixel_bytes == 3
