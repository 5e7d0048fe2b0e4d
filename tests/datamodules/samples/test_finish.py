"""What travels as stored becomes, by tensor code, what preprocessing makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.samples.boxes import Boxes
from datamodules.samples.dataset import ScanDataset
from datamodules.samples.finish import model_images
from datamodules.samples.masks import Masks
from datamodules.samples.moving import PackedBatch, pack
from datamodules.samples.patches import PatchPlace
from datamodules.samples.sources import Samples, ScanSource
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.names import AugmentConfig
from datamodules.types import Draw, Scan, ScanInfo
from tests.datamodules.images_of_all_kinds import batches, specs

RNG = np.random.default_rng(0)
ULPS = 8  # of the exponent


def units_apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> int:
    """Most units in the last place between values in [0, 1]."""
    return int(np.abs(one.view(np.int32).astype(np.int64) - other.view(np.int32)).max(initial=0))


def stored_batch(arrays: list[Any], spec: Preprocess) -> tuple[torch.Tensor, torch.Tensor]:
    opened = [spec.opened(Scan(array)) for array in arrays]
    parts = [one.stored_tile(0, 0, *one.size) for one in opened]
    images = np.stack([part if part.ndim == 3 else part[:, :, None] for part in parts if part is not None])
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(np.stack([one.limits for one in opened]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_values_are_those_of_preprocessing_bit_for_bit(data: st.DataObject) -> None:
    spec = data.draw(specs(gammas=(1.0, 1.0, 0.5, 1.7)))
    arrays = data.draw(batches(1 if len(spec.windows) > 1 else spec.channels, 3))
    opened = spec.opened(Scan(arrays[0]))
    if opened.stored_tile(0, 0, *opened.size) is None:
        return  # it travels as float32
    stored, limits = stored_batch(arrays, spec)
    before = stored.clone()
    got = model_images(stored, limits, spec)
    wanted = np.stack([spec.image(array, "a") for array in arrays])
    assert got.dtype == torch.float32
    assert torch.equal(stored, before)
    assert got.permute(0, 2, 3, 1).is_contiguous()
    assert got.stride() == torch.from_numpy(wanted).permute(0, 3, 1, 2).stride()
    values = got.permute(0, 2, 3, 1).numpy()
    if spec.gamma == 1:
        np.testing.assert_array_equal(values, wanted)
    else:
        assert units_apart(np.ascontiguousarray(values), wanted) <= ULPS


def source_of(arrays: list[Any], spec: Preprocess) -> ScanSource:
    """Scans with a mask and a box each."""
    scans = [ScanInfo(case_id=str(number)) for number in range(len(arrays))]
    read = [Scan(array, {"path": f"{number}.png"}) for number, array in enumerate(arrays)]
    masks = [RNG.integers(0, 3, array.shape[:2]).astype(np.uint8) for array in arrays]
    boxes = [np.array([[1.0, 2, 6, 7]] * (number % 3)).reshape(-1, 4) for number in range(len(arrays))]
    annotations = (
        Masks(lambda number, _: masks[number]),
        Boxes(lambda number: (boxes[number], np.arange(len(boxes[number])))),
    )
    labels = torch.arange(len(arrays))
    return ScanSource(read.__getitem__, Samples(np.arange(len(arrays)), scans, labels), spec, annotations)


GREY = [RNG.integers(0, 256, (16, 12), np.uint8) for _ in range(5)]
UNLIKE = [*GREY[:3], RNG.integers(0, 65536, (16, 12)).astype(np.uint16), RNG.integers(0, 256, (16, 12, 4), np.uint8)]
LARGER = [RNG.integers(0, 256, (30, 40), np.uint8) for _ in range(5)]
WAYS: dict[str, tuple[list[Any], Preprocess, dict[str, Any]]] = {
    "whole": (GREY, Preprocess(channels=3), {}),
    "unlike": (UNLIKE, Preprocess(channels=3), {}),
    "percentiles": (GREY, Preprocess(channels=1, percentiles=(5, 95)), {}),
    "windows": (GREY, Preprocess(channels=2, windows=((100, 50), (30, 60))), {}),
    "padded": (LARGER, Preprocess(channels=1, size=(24, 24), fit="pad", round_resized=True), {}),
    "no dark value": (
        LARGER, Preprocess(channels=1, size=(24, 24), fit="pad", value_range=(-9, 255), round_resized=True), {}
    ),
    "patches": (LARGER, Preprocess(channels=3), {"patch": PatchPlace((24, 48), 0.5)}),
    "mosaic": (LARGER, Preprocess(channels=3), {"patch": PatchPlace((24, 24)), "mosaic": 0.9}),
    "mosaic of unlike": (
        LARGER, Preprocess(channels=1, percentiles=(5, 95)), {"patch": PatchPlace((24, 24)), "mosaic": 0.9}
    ),
}  # fmt: skip


def travelled(packed: PackedBatch) -> PackedBatch:
    return packed.to(torch.device("cpu"))


@pytest.mark.parametrize("trained", [False, True], ids=["evaluated", "trained"])
@pytest.mark.parametrize("way", WAYS)
def test_a_batch_that_travelled_as_stored_is_the_batch(way: str, trained: bool) -> None:
    """Also with an augmentation that is still to come; of patches and mosaics the same are drawn."""
    arrays, spec, how = WAYS[way]
    size = how["patch"].size if how else spec.opened(Scan(arrays[0])).size
    augment = None
    if trained:
        augment = DeviceAugmentation(AugmentConfig(horizontal_flip=True, brightness=0.3), spec.channels, size)
    dataset = ScanDataset(source_of(arrays, spec), augment, **how)
    for one in (dataset, dataset.in_memory()):
        draws = [Draw(number, (3, number)) for number in range(len(arrays))]
        wanted = dataset.collate([dataset.sample(draw) for draw in draws])
        stored = one.as_stored()
        batch = stored.collate([stored.sample(draw) for draw in draws])
        got = stored.finish(travelled(pack(batch)).unpacked())
        assert sorted(got) == sorted(wanted)
        np.testing.assert_allclose(got["image"].numpy(), wanted["image"].numpy(), atol=2e-7 if trained else 0)
        assert got["image"].stride() == wanted["image"].stride()
        assert got["mask"].dtype == wanted["mask"].dtype == torch.int64
        assert torch.equal(got["mask"], wanted["mask"])
        assert torch.equal(got["label"], wanted["label"])
        assert got["scan"] == wanted["scan"]
        for name in ("boxes", "labels"):
            assert [part.tolist() for part in got[name]] == [part.tolist() for part in wanted[name]]


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("whole", torch.uint8),
        ("unlike", torch.float32),
        ("padded", torch.uint8),
        ("no dark value", torch.float32),
        ("patches", torch.uint8),
        ("mosaic", torch.uint8),
        ("mosaic of unlike", torch.float32),
    ],
)
def test_what_travels_is_small_where_it_can_be(way: str, kind: torch.dtype) -> None:
    arrays, spec, how = WAYS[way]
    size = how["patch"].size if how else (1, 1)
    augment = DeviceAugmentation(AugmentConfig(), spec.channels, size) if how else None
    stored = ScanDataset(source_of(arrays, spec), augment, **how).as_stored()
    packed = pack(stored.collate([stored.sample(Draw(number, (1, number))) for number in range(len(arrays))]))
    assert packed.places["image"].kind == kind
    assert packed.places["mask"].kind == torch.uint8
    assert ("limits" in packed.places) == (kind == torch.uint8)
    # Nothing but these, and what brings each to a multiple of 64 bytes.
    assert len(packed.memory) < sum(place.size + 64 for place in packed.places.values())


def test_images_that_numpy_holds_in_odd_ways_travel() -> None:
    """Turned upside down without a copy, mapped read-only, a part of its channels."""
    locked = GREY[0].copy()
    locked.flags.writeable = False
    colour = RNG.integers(0, 256, (16, 12, 4), np.uint8)
    for arrays in ([GREY[0][::-1, ::-1]], [locked], [colour]):
        dataset = ScanDataset(source_of(arrays, Preprocess(channels=3)))
        stored = dataset.as_stored()
        got = stored.finish(stored.collate([stored.sample(Draw(0))]))
        assert torch.equal(got["image"][0], dataset.sample(Draw(0))["image"])
