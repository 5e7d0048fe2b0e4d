from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from datamodules.preprocess import Preprocess
from datamodules.types import Scan
from datamodules.windows import WINDOWS, parse_windows
from scansuite.errors import SuiteError
from scansuite.words import number_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("kind", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.bool_, 1)])
def test_types_are_divided_by_their_range(kind: type[Any], largest: int) -> None:
    array = RNG.integers(0, largest + 1, (20, 30)).astype(kind)
    image = Preprocess(channels=1)(Scan(array, {"path": "a.png"}))
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image[:, :, 0], array.astype(np.float32) / np.float32(largest))


def test_big_endian_and_read_only_arrays_work() -> None:
    array = RNG.integers(0, 65536, (8, 9)).astype(">u2")
    array.flags.writeable = False
    image = Preprocess(size=(4, 4), channels=3).image(array, "a.tif")
    np.testing.assert_array_equal(image, Preprocess(size=(4, 4), channels=3).image(array.astype("=u2"), "a.tif"))


def test_float_in_unit_range_passes_and_keeps_the_callers_memory() -> None:
    array = RNG.random((6, 7), dtype=np.float32)
    image = Preprocess(channels=1).image(array, "a")
    np.testing.assert_array_equal(image[:, :, 0], array)
    assert not np.shares_memory(image, array)


@pytest.mark.parametrize(
    "array", [np.array([[-1000, 40]], np.int16), np.array([[0.0, 1.5]]), np.ones((2, 2), np.int64)]
)
def test_values_without_a_scale_are_refused_with_the_flag_that_mends(array: Any) -> None:
    with pytest.raises(SuiteError, match=r"scans/ct\.nii.*--data\.window"):
        Preprocess(channels=1).image(array, "scans/ct.nii")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_are_refused(bad: float) -> None:
    array = np.zeros((4, 4))
    array[1, 2] = bad
    with pytest.raises(SuiteError, match=r"x\.tif: NaN or infinite"):
        Preprocess(channels=1, windows=((0, 1),)).image(array, "x.tif")


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4), np.uint8), np.zeros((2, 3, 4, 5), np.uint8), np.zeros((2, 2), complex)]
)
def test_what_is_no_image_is_refused(array: Any) -> None:
    with pytest.raises(SuiteError, match=r"x\.tif.*no 2D image"):
        Preprocess().image(array, "x.tif")


def test_window_is_dicoms_linear_exact_function() -> None:
    hu = np.array([[-1024, 0, 20, 40, 60, 80, 3000]], np.int16)
    image = Preprocess(channels=1, windows=((40, 80),)).image(hu, "ct")
    np.testing.assert_allclose(image.ravel(), [0, 0, 0.25, 0.5, 0.75, 1, 1], atol=1e-7)


def test_several_windows_become_channels() -> None:
    hu = RNG.integers(-1024, 3000, (16, 16)).astype(np.int16)
    windows = parse_windows("brain,subdural,bone")
    image = Preprocess(channels=3, windows=windows, size=(8, 8)).image(hu, "ct")
    assert image.shape == (8, 8, 3)
    for channel, window in enumerate(windows):
        alone = Preprocess(channels=1, windows=(window,), size=(8, 8)).image(hu, "ct")
        np.testing.assert_array_equal(image[:, :, channel], alone[:, :, 0])
    with pytest.raises(SuiteError, match=r"five\.tif: has 5 channels, but 3 windows"):
        Preprocess(channels=3, windows=windows).image(np.zeros((4, 4, 5), np.uint8), "five.tif")


def test_value_range_and_percentiles() -> None:
    array = RNG.normal(500, 100, (50, 60)).astype(np.float32)
    low, high = np.percentile(array, (1, 99))
    expected = np.clip((array - low) / (high - low), 0, 1)
    np.testing.assert_allclose(
        Preprocess(channels=1, percentiles=(1, 99)).image(array, "m")[:, :, 0], expected, atol=1e-5
    )
    ranged = Preprocess(channels=1, value_range=(float(low), float(high))).image(array, "m")
    np.testing.assert_allclose(ranged[:, :, 0], expected, atol=1e-5)


def test_gamma_comes_after_the_scale() -> None:
    array = np.array([[0, 64, 255], [16, 128, 191]], np.uint8)
    lifted = Preprocess(channels=1, gamma=0.5).image(array, "m")[:, :, 0]
    np.testing.assert_allclose(lifted, np.sqrt(array / 255), atol=1e-6)
    # A window's 0 and 1 stay, whatever lies outside of it.
    values = np.array([[-2000, -160, 40, 240, 2000]], np.int16)
    windowed = Preprocess(channels=1, windows=((40, 400),), gamma=2).image(values, "ct")[0, :, 0]
    np.testing.assert_allclose(windowed, [0, 0, 0.25, 1, 1], atol=1e-6)


def test_the_square_root_gives_counts_of_photons_one_spread() -> None:
    rng = np.random.default_rng(0)
    spread = {
        gamma: [
            float(Preprocess(channels=1, value_range=(0, 1000), gamma=gamma).image(counts, "m").std())
            for counts in (rng.poisson(mean, (300, 300)).astype(np.uint16) for mean in (40, 400))
        ]
        for gamma in (1.0, 0.5)
    }
    assert spread[1.0][1] / spread[1.0][0] == pytest.approx(np.sqrt(10), rel=0.03)
    assert spread[0.5][1] / spread[0.5][0] == pytest.approx(1, rel=0.03)


def test_percentiles_keep_hue_of_colour_and_scale_other_channels_alone() -> None:
    colour = RNG.random((30, 30, 3)) * [0.2, 0.5, 1.0]
    image = Preprocess(channels=3, percentiles=(0, 100)).image(colour, "c")
    np.testing.assert_allclose(image, (colour - colour.min()) / (colour.max() - colour.min()), atol=1e-6)
    stains = RNG.random((30, 30, 5)) * [0.1, 0.2, 0.5, 1, 9]
    image = Preprocess(channels=5, percentiles=(0, 100)).image(stains, "s")
    np.testing.assert_allclose(image.max(axis=(0, 1)), 1)
    np.testing.assert_allclose(image.min(axis=(0, 1)), 0)


def test_an_image_of_one_value_becomes_zero() -> None:
    image = Preprocess(channels=1, percentiles=(1, 99)).image(np.full((5, 5), 700, np.int16), "blank")
    assert (image == 0).all()


def test_channels() -> None:
    grey = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    colour = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    alpha = np.dstack([colour, np.zeros((6, 8), np.uint8)])
    five = RNG.integers(0, 256, (6, 8, 5), dtype=np.uint8)
    three, one = Preprocess(channels=3), Preprocess(channels=1)
    np.testing.assert_array_equal(three.image(grey, "g"), np.repeat(one.image(grey, "g"), 3, axis=2))
    np.testing.assert_array_equal(one.image(grey[:, :, None], "g"), one.image(grey, "g"))
    np.testing.assert_array_equal(three.image(alpha, "a"), three.image(colour, "a"))
    luminance = colour.astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(one.image(colour, "c")[:, :, 0], luminance, atol=1e-6)
    np.testing.assert_array_equal(one.image(alpha, "a"), one.image(colour, "a"))
    np.testing.assert_array_equal(Preprocess(channels=5).image(five, "f"), five.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(Preprocess(channels=4).image(alpha, "f"), alpha.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("wanted", [1, 3])
def test_alpha_beside_grey_is_dropped(wanted: int) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    both = np.stack([grey, np.full_like(grey, 255)], axis=-1)
    spec = Preprocess(channels=wanted)
    np.testing.assert_array_equal(spec.image(both, "a"), spec.image(grey, "a"))


@pytest.mark.parametrize(("stored", "wanted"), [(5, 3), (3, 5), (1, 5), (5, 1)])
def test_channel_counts_without_a_rule_are_refused(stored: int, wanted: int) -> None:
    line = rf"b\.tif: has {number_of(stored, 'channel')}, but the model takes {wanted}"
    with pytest.raises(SuiteError, match=line):
        Preprocess(channels=wanted).image(np.zeros((4, 4, stored), np.uint8), "b.tif")


def test_shrinking_by_a_whole_number_is_the_mean_of_blocks_without_rounding() -> None:
    array = RNG.integers(0, 256, (12, 20, 5), dtype=np.uint8)
    image = Preprocess(size=(4, 10), channels=5).image(array, "a")
    blocks = array.reshape(4, 3, 10, 2, 5).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(image, blocks, atol=1e-6)


def test_enlarging_matches_torch_with_pixel_centres_aligned() -> None:
    array = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
    tensor = torch.from_numpy(array / 255)[None, None]
    wanted = torch.nn.functional.interpolate(tensor, (21, 20), mode="bilinear", align_corners=False)
    image = Preprocess(size=(21, 20), channels=1).image(array, "a")
    np.testing.assert_allclose(image[:, :, 0], wanted[0, 0].numpy(), atol=1e-5)
    sharp = Preprocess(size=(21, 20), channels=1, enlarge="cubic").image(array, "a")
    assert sharp.min() >= 0
    assert sharp.max() <= 1
    assert np.abs(sharp - image).max() > 0.01


def test_one_side_shrinks_while_the_other_grows() -> None:
    array = np.repeat(RNG.integers(0, 256, (4, 1), dtype=np.uint8), 12, axis=1)
    array[:, 1::2] = 255 - array[:, ::2]  # columns alternate about 127.5, so averaging over pairs leaves a flat image
    image = Preprocess(size=(8, 6), channels=1).image(array, "a")
    np.testing.assert_allclose(image, 0.5, atol=1e-6)


def test_size_comes_before_the_window_as_in_a_coarser_scan() -> None:
    hu = np.array([[40, 1040]], np.int16)  # half brain, half bone in one coarse pixel: 540 HU, white in a brain window
    assert Preprocess(size=(1, 1), channels=1, windows=((40, 80),)).image(hu, "ct").item() == 1.0


@pytest.mark.parametrize("shape", [(10, 14), (3, 10, 14)])
@pytest.mark.parametrize("size", [(5, 7), (20, 28), (4, 30)])
def test_mask_takes_the_nearest_pixel_and_keeps_its_type(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    mask = RNG.integers(0, 5, shape).astype(np.int64)
    moved = Preprocess(size=size).mask(mask)
    assert moved.dtype == np.int64
    layers = mask.reshape(-1, *shape[-2:]).astype(np.uint8)
    wanted = np.stack([cv2.resize(layer, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) for layer in layers])
    np.testing.assert_array_equal(moved.reshape(wanted.shape), wanted)
    assert Preprocess().mask(mask) is mask


SPECS = [
    Preprocess(),
    Preprocess(size=(28, 32), channels=1, windows=((40, 80),)),
    Preprocess(channels=2, windows=((40, 80), (80, 200))),
    Preprocess(percentiles=(0.5, 99.5), enlarge="cubic"),
    Preprocess(value_range=(-1000, 1000)),
    Preprocess(zoom=1.5),
    Preprocess(gamma=0.5),
]


@pytest.mark.parametrize("spec", SPECS)
def test_spec_survives_json_and_a_weights_only_checkpoint(spec: Preprocess) -> None:
    plain = spec.to_dict()
    assert Preprocess.from_dict(json.loads(json.dumps(plain))) == spec
    file = io.BytesIO()
    torch.save(plain, file)
    file.seek(0)
    assert Preprocess.from_dict(torch.load(file, weights_only=True)) == spec


def test_spec_of_a_newer_version_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"unknown fields warp"):
        Preprocess.from_dict({**Preprocess().to_dict(), "warp": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"size": (0, 5)},
        {"channels": 0},
        {"channels": 1, "windows": ((40, 80), (80, 200))},
        {"windows": ((40, 0),)},
        {"windows": ((40, 80),), "percentiles": (1, 99)},
        {"percentiles": (99, 1)},
        {"value_range": (1, 1)},
        {"enlarge": "lanczos"},
        {"zoom": 0},
        {"zoom": float("nan")},
        {"zoom": 2.0, "size": (28, 32)},
        {"gamma": 0},
        {"gamma": float("nan")},
    ],
)
def test_contradictory_specs_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SuiteError):
        Preprocess(**fields)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, ()),
        ([], ()),
        ("brain", (WINDOWS["brain"],)),
        (" Brain ", (WINDOWS["brain"],)),
        ("40,400", ((40, 400),)),
        ("40:400", ((40, 400),)),
        ("-600, 1500", ((-600, 1500),)),
        ("brain,subdural, 600:2800", ((40, 80), (80, 200), (600, 2800))),
        (["brain", "40,400"], ((40, 80), (40, 400))),
        ([40, 400], ((40, 400),)),
        (["40", "400"], ((40, 400),)),
        ([[40, 80], (80, 200)], ((40, 80), (80, 200))),
    ],
)
def test_parse_windows(given: Any, wanted: Any) -> None:
    assert parse_windows(given) == wanted


@pytest.mark.parametrize("given", ["brian", "40", "40:0", "40:-5", "", "40,400,50", ["brain", "x"], [[1, 2, 3]], [40]])
def test_parse_windows_refuses(given: Any) -> None:
    with pytest.raises(SuiteError, match=r"--data\.window"):
        parse_windows(given)


def test_zoom_is_a_factor_on_both_sides_of_image_and_mask() -> None:
    array = RNG.integers(0, 256, (15, 20), dtype=np.uint8)
    spec = Preprocess(channels=1, zoom=2)
    assert spec.content_size((15, 20)) == (30, 40)
    np.testing.assert_array_equal(spec.image(array, "a"), Preprocess(channels=1, size=(30, 40)).image(array, "a"))
    np.testing.assert_array_equal(spec.mask(array), array.repeat(2, axis=0).repeat(2, axis=1))
    assert Preprocess(zoom=0.5).mask(array).shape == (8, 10)


# Tiles of one image.


def _scan(kind: str, *shape: int) -> Scan:
    rng = np.random.default_rng(list(kind.encode()))
    array = (
        rng.random(shape) if kind.startswith("float") else rng.integers(0, 250, shape) * (257 if "16" in kind else 1)
    )
    return Scan((array - 20000 if kind == "int16" else array).astype(kind), {"path": "large.tif"})


@pytest.mark.parametrize(
    ("scan", "spec"),
    [
        (_scan("uint8", 130, 97, 3), Preprocess()),
        (_scan("uint8", 130, 97, 3), Preprocess(channels=1)),
        (_scan("uint8", 130, 97, 4), Preprocess(percentiles=(1, 99))),
        (_scan("uint8", 130, 97), Preprocess()),
        (_scan("uint16", 130, 97), Preprocess(channels=1, size=(130, 97))),
        (_scan(">u2", 130, 97), Preprocess(channels=1, percentiles=(0.5, 99.5))),
        (_scan("uint16", 130, 97, 3), Preprocess(channels=1, percentiles=(0, 100))),
        (_scan("int16", 130, 97), Preprocess(channels=3, windows=((40, 400), (-600, 1500), (0, 9000)))),
        (_scan("int16", 130, 97, 5), Preprocess(channels=5, percentiles=(5, 95))),
        (_scan("int16", 130, 97), Preprocess(channels=1, value_range=(-20000, 3000))),
        (_scan("float64", 130, 97, 3), Preprocess(channels=1)),
        (_scan("float32", 130, 97), Preprocess(size=(60, 200), enlarge="cubic")),
        (_scan("uint8", 130, 97, 3), Preprocess(size=(60, 200), channels=1, percentiles=(1, 99))),
        (_scan("int16", 130, 97), Preprocess(size=(60, 200), channels=2, windows=((40, 400), (-600, 1500)))),
        (_scan("uint8", 130, 97, 3), Preprocess(zoom=1.5)),
        (_scan("uint8", 130, 97), Preprocess(zoom=0.7, percentiles=(1, 99))),
        (_scan("uint8", 130, 97, 3), Preprocess(percentiles=(1, 99), gamma=0.45)),
        (_scan("int16", 130, 97), Preprocess(channels=2, windows=((40, 400), (-600, 1500)), gamma=2.2)),
    ],
)
def test_tiles_are_slices_of_the_image_bit_for_bit(scan: Scan, spec: Preprocess) -> None:
    image = spec(scan)
    opened = spec.opened(scan)
    assert opened.size == image.shape[:2]
    for top, left, height, width in [
        (0, 0, 32, 32),
        (3, 1, 17, 13),
        (28, 65, 32, 32),
        (59, 96, 1, 1),
        (0, 0, 500, 500),
    ]:
        tile = opened.tile(top, left, height, width)
        assert tile.dtype == np.float32
        assert tile.flags.c_contiguous
        np.testing.assert_array_equal(tile, image[top : top + height, left : left + width])
        tile[:] = -1  # is no part of what the next tile comes from
    np.testing.assert_array_equal(opened.tile(0, 0, *opened.size), image)


def test_opening_refuses_what_the_whole_image_has_wrong() -> None:
    array = np.zeros((3000, 600))  # several blocks of rows
    array[2990, 5] = 1.5
    with pytest.raises(SuiteError, match=r"x\.tif: float64 values from 0 to 1\.5 lie outside"):
        Preprocess(channels=1).opened(Scan(array, {"path": "x.tif"}))
    array[2990, 5] = np.nan
    for spec in (Preprocess(channels=1), Preprocess(channels=1, windows=((0, 1),))):
        with pytest.raises(SuiteError, match=r"x\.tif: NaN or infinite"):
            spec.opened(Scan(array, {"path": "x.tif"}))


def test_percentiles_of_a_very_large_image_come_from_a_part_of_it() -> None:
    array = np.random.default_rng(3).integers(0, 60000, (4200, 4100)).astype(np.uint16)  # more than 2**24
    kept = array.copy()
    image = Preprocess(channels=1, percentiles=(1, 99)).image(array, "slide.tif")
    low, high = np.percentile(array[::2, ::2], (1, 99))
    np.testing.assert_allclose(image[:50, :50, 0], np.clip((array[:50, :50] - low) / (high - low), 0, 1), atol=1e-6)
    np.testing.assert_array_equal(array, kept)
    np.testing.assert_allclose((low, high), np.percentile(array, (1, 99)), atol=60)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, ">u2"])
@pytest.mark.parametrize("size", [(7, 9), (33, 20)], ids=["smaller", "larger"])
@pytest.mark.parametrize("enlarge", ["linear", "cubic"])
def test_a_resized_image_is_rounded_to_its_own_type(kind: Any, size: tuple[int, int], enlarge: Any) -> None:
    low, high = np.iinfo(np.dtype(kind)).min, np.iinfo(np.dtype(kind)).max
    array = RNG.choice([low, high, 0, 100], (20, 16)).astype(kind)
    spec = Preprocess(size=size, channels=1, value_range=(low, high), enlarge=enlarge)
    exact, rounded = spec.opened(Scan(array)), replace(spec, round_resized=True).opened(Scan(array))
    assert exact.stored.dtype == np.float32
    assert rounded.stored.dtype == np.dtype(kind).newbyteorder("=")
    np.testing.assert_array_equal(rounded.stored, np.rint(exact.stored).clip(low, high))
    np.testing.assert_array_equal(
        rounded.tile(0, 0, *size), spec.scaled(np.rint(exact.stored).clip(low, high).astype(kind), exact.limits)
    )
    assert np.abs(rounded.tile(0, 0, *size) - exact.tile(0, 0, *size)).max() <= 0.51 / (high - low)


def test_rounding_leaves_alone_what_has_no_whole_numbers_or_its_size_already() -> None:
    spec = Preprocess(size=(5, 5), channels=3, value_range=(0, 9), round_resized=True)
    for array in (RNG.random((8, 8)), RNG.integers(0, 2, (8, 8)).astype(bool), RNG.integers(0, 9, (8, 8))):
        np.testing.assert_array_equal(spec.image(array, "a"), replace(spec, round_resized=False).image(array, "a"))
    array = RNG.integers(0, 9, (5, 5), np.uint8)
    np.testing.assert_array_equal(spec.image(array, "a"), replace(spec, round_resized=False).image(array, "a"))


def test_colour_becomes_grey_before_it_is_resized_and_rounded() -> None:
    array = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    opened = Preprocess(size=(5, 5), channels=1, round_resized=True).opened(Scan(array))
    assert opened.stored.shape == (5, 5)
    assert opened.stored.dtype == np.uint8


def test_specs_of_before_do_not_round() -> None:
    plain = Preprocess(size=(5, 5)).to_dict()
    del plain["round_resized"]
    assert not Preprocess.from_dict(plain).round_resized
    assert Preprocess.from_dict(Preprocess(round_resized=True).to_dict()).round_resized
