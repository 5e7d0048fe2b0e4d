"""Images and masks at another size, against literal references."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datamodules.preprocess import Preprocess
from datamodules.readers.volume import Volume
from datamodules.resampling import resize_image, resize_mask
from datamodules.samples.picture import picture
from datamodules.samples.slices import SliceSpec
from datamodules.types import Scan, ScanInfo

RNG = np.random.default_rng(0)
ROOT = Path(__file__).resolve().parents[2]


def along(old: int, new: int) -> NDArray[np.float64]:
    """(new, old) weights of one side: shares of the area where it shrinks, linear between centres where it grows."""
    weights = np.zeros((new, old))
    for row in range(new):
        if new <= old:
            low, high = row * old / new, (row + 1) * old / new
            weights[row] = [max(0.0, min(high, one + 1) - max(low, one)) for one in range(old)]
            weights[row] /= high - low
        else:
            place = min(max((row + 0.5) * old / new - 0.5, 0.0), old - 1.0)
            first = min(int(place), old - 1)
            weights[row, first] += 1 - (place - first)
            weights[row, min(first + 1, old - 1)] += place - first
    return weights


def reference(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = (along(old, new) for old, new in zip(image.shape[:2], size, strict=True))
    return np.asarray(np.einsum("ri,ij...,cj->rc...", rows, image.astype(np.float64), columns))


def volume_of(array: NDArray[Any], spacing: tuple[float, float, float]) -> Volume:
    """Whose axial slices are ``array[..., k]`` turned: rows run along Y, columns along X."""
    from datamodules.readers.grid import geometry_header

    affine = np.diag([*spacing, 1.0])
    return Volume("v.nii", array.shape, affine, geometry_header(array.shape, affine), array)


SIDES = st.integers(1, 24)


@settings(deadline=None, max_examples=150)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.integers(0, 11), st.integers(0, 2**32 - 1))
def test_each_side_shrinks_by_area_and_grows_linearly_with_any_number_of_channels(
    old: tuple[int, int], new: tuple[int, int], channels: int, seed: int
) -> None:
    """``INTER_AREA`` refused more than four channels."""
    shape = old if channels == 0 else (*old, channels)
    image = np.random.default_rng(seed).random(shape, dtype=np.float32)
    resized = resize_image(image, new)
    assert resized.shape == (*new, *shape[2:])
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, reference(image, new), atol=2e-5)
    mask = (image * 5).astype(np.uint8)
    assert set(np.unique(resize_mask(mask.reshape(*old, -1).transpose(2, 0, 1), new))) <= set(np.unique(mask))


@pytest.mark.parametrize("channels", [129, 300])
def test_more_channels_than_opencv_holds(channels: int) -> None:
    image = RNG.random((12, 9, channels), dtype=np.float32)
    for size in ((5, 7), (24, 18), (20, 5)):
        np.testing.assert_allclose(resize_image(image, size), reference(image, size), atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
@pytest.mark.parametrize("size", [(13, 17), (20, 25), (40, 25), (20, 50), (80, 100), (61, 50), (40, 77)])
def test_where_sides_only_shrink_or_only_grow_all_is_as_kept_models_know_it(
    kind: type[Any], channels: int, size: tuple[int, int]
) -> None:
    shape = (40, 50) if channels == 0 else (40, 50, channels)
    image = (RNG.random(shape) * (1 if kind is np.float32 else 250)).astype(kind)
    rule = cv2.INTER_AREA if size[0] <= 40 and size[1] <= 50 else cv2.INTER_LINEAR
    known = cv2.resize(image, size[::-1], interpolation=rule).reshape(*size, *shape[2:])
    resized = resize_image(image, size)
    assert resized.dtype == kind
    np.testing.assert_array_equal(resized, known)
    if rule == cv2.INTER_LINEAR:
        sharp = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, *shape[2:])
        np.testing.assert_array_equal(resize_image(image, size, "cubic"), sharp)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
def test_whole_numbers_are_rounded_once_and_stay_in_their_range(kind: type[Any]) -> None:
    limits = np.iinfo(kind)
    image = RNG.choice([limits.min, limits.max], (12, 10)).astype(kind)
    resized = resize_image(image, (6, 25))
    assert resized.dtype == kind
    np.testing.assert_allclose(resized, reference(image, (6, 25)), atol=0.51)
    sharp = resize_image(image, (6, 25), "cubic")  # overshoots
    assert np.abs(sharp.astype(float) - reference(image, (6, 25))).max() < 0.4 * (limits.max - limits.min)


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.bool_, ">f4", ">i2"])
def test_other_types_and_byte_orders(kind: Any) -> None:
    image = (RNG.random((9, 8, 2)) * 100).astype(kind)
    resized = resize_image(image, (5, 12))
    assert resized.dtype == (np.int16 if kind == ">i2" else np.float32)
    np.testing.assert_allclose(resized, reference(image, (5, 12)), atol=0.5 if kind == ">i2" else 1e-3)


# Aliasing.


def test_slices_do_not_alias_where_one_side_grows_and_the_other_shrinks() -> None:
    """Stripes finer than the new pixels, along the side that shrinks, came back as coarse stripes."""
    x = np.arange(96)
    stripes = np.where(x % 2 == 0, 1000, -1000).astype(np.int16)[:, None, None] * np.ones((96, 20, 2), np.int16)
    spec = SliceSpec(spacing=(0.5, 2.5), percentiles=None)
    cut = spec.cut_image(volume_of(stripes, (1.0, 1.0, 3.0)))
    assert cut.shape == (2, 40, 38)
    assert np.abs(cut).max() < 0.25 * 1000  # a new pixel covers 2.53 stripes: at most half a stripe is left over
    linear = cv2.resize(np.ascontiguousarray(stripes[:, :, 0].T), (38, 40), interpolation=cv2.INTER_LINEAR)
    assert np.abs(linear).max() > 0.9 * 1000
    # What the new pixels can show is kept.
    wave = (1000 * np.sin(2 * np.pi * (x + 0.5) / 24)).astype(np.float32)[:, None, None] * np.ones((96, 20, 1))
    cut = spec.cut_image(volume_of(wave.astype(np.float32), (1.0, 1.0, 3.0)))
    centres = (np.arange(38) + 0.5) * 96 / 38
    want = 1000 * np.sin(2 * np.pi * centres / 24) * np.sinc(96 / 38 / 24)  # the mean of a wave over a pixel
    got = cut[0, 5] if cut[0, 5, 0] * want[0] > 0 else cut[0, 5, ::-1]
    np.testing.assert_allclose(got, want, atol=12)


def test_slices_with_many_channels_shrink_by_any_factor() -> None:
    """2.5D of large CT: two neighbours on either side are five channels, 150 px become 64."""
    array = RNG.integers(-1000, 1000, (150, 130, 5)).astype(np.int16)
    image = Preprocess(size=(64, 64), channels=5, value_range=(-1000, 1000))(Scan(array, {"path": "ct.nii"}))
    np.testing.assert_allclose(image, (reference(array, (64, 64)) + 1000) / 2000, atol=1e-5)
    info = ScanInfo(path="ct.nii", content_size=(150, 130), original_size=(70, 61))
    shown = picture(Scan(array, info), Preprocess(size=(160, 160), channels=5, value_range=(-1000, 1000)))
    np.testing.assert_allclose(shown, (reference(array, (70, 61)) + 1000) / 2000, atol=1e-5)


# Masks.


@pytest.mark.parametrize("size", [(13, 17), (20, 50), (61, 25), (80, 100)])
def test_masks_take_the_pixel_under_the_centre(size: tuple[int, int]) -> None:
    regions = RNG.integers(0, 2, (3, 40, 50)).astype(np.uint8)
    regions[0, 3, 4] = 255
    resized = resize_mask(regions, size)
    exact = torch.nn.functional.interpolate(torch.from_numpy(regions)[None], size, mode="nearest-exact")[0]
    np.testing.assert_array_equal(resized, exact.numpy())
    for layer, wanted in zip(regions, resized, strict=True):
        np.testing.assert_array_equal(resize_mask(layer, size), wanted)


def test_small_lesions_keep_their_volume_on_average_and_do_not_vanish() -> None:
    """Why not the class of most of the area: lesions of 3 x 3 pixels in pixels of 8 x 8 would all be gone."""
    kept = []
    for top in range(8):
        for left in range(8):
            mask = np.zeros((64, 64), np.uint8)
            mask[16 + top : 19 + top, 16 + left : 19 + left] = 1
            assert (resize_image(mask.astype(np.float32), (8, 8)) < 0.5).all()
            kept.append(int(resize_mask(mask, (8, 8)).sum()) * 64)
    assert np.mean(kept) == 9


def test_image_and_mask_keep_lying_on_one_another() -> None:
    for old, new in (((30, 44), (60, 22)), ((30, 44), (17, 91)), ((31, 45), (10, 15))):
        yy, xx = np.indices(old) / np.array(old).reshape(2, 1, 1)
        inside = ((yy - 0.55) ** 2 + (xx - 0.4) ** 2 < 0.07).astype(np.float32)
        image, mask = resize_image(inside, new), resize_mask(inside, new)
        for axis in range(2):
            place = np.arange(new[axis]) + 0.5
            centre = [np.average(place, weights=one.sum(axis=1 - axis)) for one in (image, mask)]
            assert centre[0] == pytest.approx(centre[1], abs=0.35)


# The one door.


def test_nothing_else_resizes_scans() -> None:
    """Phantoms are drawn, networks resize maps, an export is tried at other sizes; no scan is read so."""
    allowed = {"datamodules/resampling.py", "datamodules/phantoms/shapes.py", "tasks/segment/assemble.py"}
    networks = {"tasks/segment/decoders.py", "tasks/segment/own_decoder.py"}
    maps = {"tasks/explain/cam.py", "tasks/explain/computing.py", "tasks/serving/heat.py"}
    trials = {"tasks/export/scans.py"}
    for package in ("datamodules", "tasks"):
        for file in sorted((ROOT / package).rglob("*.py")):
            calls = [
                ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
            ]
            found = [name for name in calls if name.split(".")[-1] in ("zoom", "interpolate") or name == "cv2.resize"]
            assert not found or file.relative_to(ROOT).as_posix() in allowed | networks | maps | trials, (file, found)
