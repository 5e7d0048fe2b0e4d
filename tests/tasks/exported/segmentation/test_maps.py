"""Maps without torch are called, resized, blended and put together as torch's are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.samples.tiles import plan_tiles
from datamodules.types import Piece, ScanInfo
from tasks.deployment.segmented import AssembledCase
from tasks.exported.segmentation import maps
from tasks.exported.segmentation.assemble import Assembly, Size
from tasks.exported.segmentation.entropy import entropy_sums
from tasks.exported.segmentation.resizing import resize_probabilities
from tasks.segment import assemble, mask_entropy
from tasks.segment.tta import averaged

SIDES = st.integers(2, 40)  # of maps one pixel wide torch 2.14 shrinks the other side wrongly


def probabilities(shape: Sequence[int], seed: int = 0, *, overlapping: bool = False) -> NDArray[np.float32]:
    logits = torch.from_numpy(3 * np.random.default_rng(seed).standard_normal(shape, np.float32))
    return np.asarray((logits.sigmoid() if overlapping else logits.softmax(dim=1)).numpy())


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_resizing_is_that_of_torch(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    given_ = probabilities((1, 2, height, width), seed)
    expected = assemble.resize_probabilities(torch.from_numpy(given_), (rows, columns))
    np.testing.assert_allclose(resize_probabilities(given_, (rows, columns)), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(500, 30), (30, 500), (7, 301)])
def test_resizing_by_much_is_that_of_torch(size: Size) -> None:
    given_ = probabilities((2, 3, 100, 91))
    expected = assemble.resize_probabilities(torch.from_numpy(given_), size)
    np.testing.assert_allclose(resize_probabilities(given_, size), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("overlapping", [False, True])
def test_calls_and_entropies_are_those_of_torch(overlapping: bool) -> None:
    given_ = probabilities((2, 4, 30, 20), overlapping=overlapping)
    given_[:, :, :5] = 0.25  # of equal ones the first counts
    tensor = torch.from_numpy(given_)
    called = maps.call_classes(given_, overlapping=overlapping)
    expected = assemble.call_classes(tensor, overlapping=overlapping)
    np.testing.assert_array_equal(called, expected.numpy())
    sums = entropy_sums(given_, called, overlapping=overlapping)
    np.testing.assert_allclose(sums, mask_entropy.entropy_sums(tensor, expected, overlapping=overlapping), rtol=1e-5)


def test_entropy_of_what_is_certain_or_above_1_is_0() -> None:
    given_ = np.stack([np.zeros((2, 2)), np.full((2, 2), 1 + 1e-7)])[None].astype(np.float32)
    np.testing.assert_array_equal(entropy_sums(given_, np.ones((1, 2, 2), np.uint8), overlapping=False), [[[0, 4]]])


@pytest.mark.parametrize("tile", [(65, 32), (1, 1), (8, 96)])
def test_weights_are_those_of_torch(tile: Size) -> None:
    np.testing.assert_allclose(maps.gaussian_weights(tile), assemble.gaussian_weights(tile).numpy(), rtol=1e-6)


def test_mirror_images_are_averaged_as_by_torch() -> None:
    image = np.random.default_rng(0).random((2, 1, 5, 7), np.float32)
    ramp = np.arange(35, dtype=np.float32).reshape(5, 7)
    found = maps.averaged(lambda some: some * ramp, image, "flips")
    expected = averaged(lambda some: some * torch.from_numpy(ramp), torch.from_numpy(image), "flips")
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def fed(assembler: Assembly[NDArray[np.float32]] | Assembly[torch.Tensor], *, torch_side: bool) -> list[AssembledCase]:
    """Cases of one and of several images and tiles, mixed, some of another size as stored; one breaks off."""
    complete: list[AssembledCase] = []
    batches: list[tuple[int, NDArray[np.float32], list[Piece], list[ScanInfo]]] = []
    for case, (size, original, images) in enumerate(
        [((50, 41), (50, 41), 1), ((50, 41), (77, 30), 1), ((20, 24), (20, 24), 3), ((20, 24), (40, 40), 2)]
    ):
        tile = (20, 24)
        for image in range(images):
            places = plan_tiles(size, tile, 0.5)
            for number, (top, left) in enumerate(places):
                piece = Piece(case, image, images, top, left, size, number == len(places) - 1)
                scan = ScanInfo(case_id=str(case), path=f"{case}.png", original_size=original)
                batches.append((number, probabilities((1, 3, *tile), len(batches)), [piece], [scan]))
    for _, maps_, pieces, scans in sorted(batches, key=lambda one: (one[0], one[2][0].image)):
        given_ = torch.from_numpy(maps_) if torch_side else maps_
        complete += assembler.add(given_, pieces, scans)  # type: ignore[arg-type]
    return sorted(complete, key=lambda one: one.case)


@pytest.mark.parametrize("overlapping", [False, True])
def test_cases_are_put_together_as_by_torch(overlapping: bool) -> None:
    found = fed(maps.MapAssembly(overlapping), torch_side=False)
    expected = fed(assemble.CaseAssembler(overlapping), torch_side=True)
    assert [one.case for one in found] == [0, 1, 2, 3]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.planes.shape == theirs.planes.shape
        assert (ours.planes != theirs.planes).mean() < 1e-3
        np.testing.assert_allclose(ours.uncertainty, theirs.uncertainty, rtol=1e-4)


def test_a_band_holds_a_row_of_tiles_alone() -> None:
    blend = maps.TileBlend(2, 8, 30)
    weights = maps.gaussian_weights((8, 8))
    given_ = probabilities((4, 2, 8, 8))
    for number, left in enumerate((0, 8, 16, 22)):
        blend.add(given_[number], weights, 0, left)
    assert blend.advance(4).shape == (2, 4, 30)
    assert blend.total.shape == (2, 8, 30)
    with pytest.raises(ValueError, match="a tile begins at row 0, but those above 4 are called"):
        blend.add(given_[0], weights, 0, 0)
    with pytest.raises(ValueError, match="no tile held rows 12 to 40"):
        blend.advance(40)
