"""The device's changes beside Albumentations' for the same parameters, and the distribution of both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import albumentations
import numpy as np
import pytest
import torch
from albumentations.augmentations.geometric import functional as geometric
from albumentations.augmentations.pixel import functional as pixel
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from datamodules.transforms.additions import BrightnessContrast, FreeFormDeformation
from datamodules.transforms.device import parameters as at
from datamodules.transforms.device.augmentation import DeviceAugmentation
from datamodules.transforms.elastic import LARGEST, POINTS
from datamodules.transforms.names import PRESET_CONFIGS, AugmentConfig
from datamodules.transforms.pipeline import Augmentation
from datamodules.transforms.presets import transforms_of
from tests.datamodules.transforms.device.drawn_scans import as_scan, batch, drawn, labels, scan

Image = NDArray[np.float32]
Row = NDArray[np.float32]


def brightness_contrast(image: Image, row: Row) -> Image:
    brightness = float(row[at.GAIN] + row[at.PULL])
    return BrightnessContrast(0, 0).apply(image, c=float(row[at.GAIN]) / brightness, b=brightness)


def gamma(image: Image, row: Row) -> Image:
    return np.asarray(pixel.gamma_transform(image, gamma=float(row[at.GAMMA])), dtype=np.float32)


def shading(image: Image, row: Row) -> Image:
    offset, across, down = (float(value) for value in row[at.SHADE : at.SHADE + 3])
    sign = 1 if offset < 1 else -1
    if not (across or down):
        return image
    angle = math.degrees(math.atan2(sign * down, sign * across)) % 360
    shaded = pixel.apply_linear_illumination(image, intensity=sign * math.hypot(across, down) / 2, angle=angle)
    return np.asarray(shaded, dtype=np.float32)


def color(image: Image, row: Row) -> Image:
    changed = pixel.adjust_saturation_torchvision(image, float(row[at.SATURATION]))
    return np.asarray(pixel.adjust_hue_torchvision(changed, float(row[at.HUE]) / 6), dtype=np.float32)


def blur(image: Image, row: Row) -> Image:
    sigma = float(row[at.BLUR])
    if not sigma:
        return image
    blurred = albumentations.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1)(image=image)["image"]
    return np.asarray(blurred, dtype=np.float32)


@pytest.mark.parametrize(
    ("reference", "config", "tolerance"),
    [
        (brightness_contrast, AugmentConfig(brightness=0.3, contrast=0.4), 1e-6),
        (gamma, AugmentConfig(gamma=0.4), 1e-6),
        (shading, AugmentConfig(bias_field=0.2), 1e-6),
        (color, AugmentConfig(color=0.5), 2e-6),
        (blur, AugmentConfig(blur=1.5), 1e-6),
    ],
)
@pytest.mark.parametrize("size", [(48, 48), (40, 56)])
def test_values_are_those_of_albumentations(reference: Any, config: AugmentConfig, tolerance: float, size: Any) -> None:
    augmentation = DeviceAugmentation(config, 3, size)
    images = [scan(size, 3, number) for number in range(24)]
    params = drawn(augmentation, len(images))
    result, _ = augmentation.apply(batch(images), params)
    struck = 0
    for image, found, row in zip(images, result, params.numpy(), strict=True):
        wanted = reference(image.copy(), row)
        struck += not np.array_equal(wanted, image)
        assert np.abs(as_scan(found) - wanted).mean() <= tolerance
        assert np.abs(as_scan(found) - wanted).max() <= 20 * tolerance
    assert struck >= 3


def matrix(row: Row, size: tuple[int, int], middle: float) -> NDArray[np.float64]:
    """(3, 3) from places in the image to places in the result, as OpenCV has it."""
    back = np.vstack([row[at.MAP : at.MAP + 6].astype(np.float64).reshape(2, 3), [0, 0, 1]])
    centre = np.array([[1, 0, size[1] / 2 + middle], [0, 1, size[0] / 2 + middle], [0, 0, 1]])
    return centre @ np.linalg.inv(back) @ np.linalg.inv(centre)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_rotation_scale_and_shift_are_those_of_albumentations(size: tuple[int, int]) -> None:
    augmentation = DeviceAugmentation(AugmentConfig(rotation=25, scale=0.2, shift=0.1), 3, size)
    images, masks = [scan(size, 3, number) for number in range(24)], [labels(size, number) for number in range(24)]
    params = drawn(augmentation, 24)
    result, moved = augmentation.apply(batch(images), params, torch.from_numpy(np.stack(masks)))
    assert moved is not None
    for image, mask, found, classes, row in zip(images, masks, result, moved, params.numpy(), strict=True):
        whole = matrix(row, size, -0.5)
        scale, angle = math.hypot(whole[0, 0], whole[0, 1]), math.degrees(math.atan2(whole[0, 1], whole[0, 0]))
        centre = np.array([size[1] / 2 - 0.5, size[0] / 2 - 0.5, 1])
        right, down = (round(value) for value in (whole @ centre - centre)[:2])
        assert (
            max(abs(angle) / 25, abs(scale - 1) / 0.2, abs(right) / size[1] / 0.1, abs(down) / size[0] / 0.1)
            <= 1 + 1e-6
        )
        reference = albumentations.Affine(
            rotate=(angle, angle), scale=(scale, scale), keep_ratio=True, fill=0, fill_mask=0, p=1,
            translate_px={"x": (right, right), "y": (down, down)},
        )(image=image, mask=mask.astype(np.uint8))  # fmt: skip
        # OpenCV rounds places to 1/32 of a pixel; the bar's edges are steps of up to 0.9.
        assert np.abs(as_scan(found) - reference["image"]).mean() < 2e-3
        assert (classes.numpy() != reference["mask"]).mean() < 0.01
        outside = geometric.warp_affine(np.ones(size, np.float32), whole, 1, 0, 0, size) == 0
        assert (as_scan(found)[outside] == 0).all()


def test_flips_and_quarter_turns_are_exact_and_fair() -> None:
    for size, ways in (((31, 31), 8), ((24, 40), 4)):
        config = AugmentConfig(horizontal_flip=True, vertical_flip=True, quarter_turns=True)
        augmentation = DeviceAugmentation(config, 2, size)
        images, masks = [scan(size, 2, number) for number in range(400)], [labels(size, n) for n in range(400)]
        params = drawn(augmentation, len(images))
        result, moved = augmentation.apply(batch(images), params, torch.from_numpy(np.stack(masks)))
        assert moved is not None
        seen: dict[bytes, int] = {}
        for image, mask, found, classes, row in zip(images, masks, result, moved, params.numpy(), strict=True):
            back = row[at.MAP : at.MAP + 6].reshape(2, 3)
            assert set(np.abs(back).ravel().tolist()) == {0.0, 1.0}
            turns = next(k for k in range(4) if _is_turn(back, k, 1) or _is_turn(back, k, -1))
            mirrored = bool(np.linalg.det(back[:, :2]) < 0)
            for given, there in ((image, as_scan(found)), (mask, classes.numpy())):
                wanted = np.rot90(given[:, ::-1] if mirrored else given, turns)
                np.testing.assert_array_equal(there, wanted)
            seen[back.tobytes()] = seen.get(back.tobytes(), 0) + 1
        assert len(seen) == ways
        assert max(seen.values()) < 3 * min(seen.values())


def _is_turn(back: Row, turns: int, sign: int) -> bool:
    """Whether a map is so many quarter turns, after a mirroring (-1) of left and right."""
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns)
    return np.array_equal(np.diag([sign, 1]) @ turn, back[:, :2])


@pytest.mark.parametrize("config", [AugmentConfig(), AugmentConfig(rotation=20, scale=0.1, horizontal_flip=True)])
def test_elastic_deformation_is_that_of_the_cpu(config: AugmentConfig) -> None:
    size = (64, 80)
    augmentation = DeviceAugmentation(replace(config, elastic=LARGEST), 1, size)
    images, masks = [scan(size, 1, number) for number in range(40)], [labels(size, number) for number in range(40)]
    params = drawn(augmentation, 40)
    result, moved = augmentation.apply(batch(images), params, torch.from_numpy(np.stack(masks)))
    assert moved is not None
    bend = FreeFormDeformation(LARGEST, p=1)
    struck = 0
    for image, mask, found, classes, row in zip(images, masks, result, moved, params.numpy(), strict=True):
        control = row[at.ELASTIC :].astype(np.float64).reshape(POINTS, POINTS, 2)
        if not control.any():
            continue
        struck += 1
        assert (np.abs(control) <= LARGEST * np.array(size[::-1])).all()
        whole = matrix(row, size, -0.5)
        wanted = geometric.warp_affine(image, whole, 1, 0, 0, size)
        labelled = geometric.warp_affine(mask.astype(np.uint8), whole, 0, 0, 0, size)
        maps = bend.maps(control, size)
        wanted, labelled = bend.apply(wanted, **maps), bend.apply_to_mask(labelled, **maps)
        # What the first of the two resamplings there leaves outside, the second cannot bring back as the one here does.
        inside = (np.minimum(maps["map_x"], maps["map_y"]) >= 0) & (maps["map_x"] <= 79) & (maps["map_y"] <= 63)
        assert inside.mean() > 0.8
        # Else the difference is the blur of the second, and next to 0 where nothing went before.
        apart = np.abs(as_scan(found)[..., 0] - wanted.reshape(size))[inside]
        assert apart.mean() < (1e-2 if config.rotation else 5e-4)
        assert (classes.numpy() != labelled)[inside].mean() < (0.03 if config.rotation else 0.005)
    assert struck >= 5


def features(image: Image) -> list[float]:
    """Mean, spread, centre of mass, sharpness and largest value of an image, to three digits: many cases tie."""
    grey = image.mean(2)
    rows, columns = np.indices(grey.shape)
    total = float(grey.sum()) + 1e-6
    centre = float((grey * rows).sum()) / total, float((grey * columns).sum()) / total
    sharpness = float(np.abs(np.diff(grey, axis=0)).mean())
    return [round(value, 3) for value in (float(grey.mean()), float(grey.std()), *centre, sharpness, float(grey.max()))]


@pytest.mark.parametrize("preset", [name for name in PRESET_CONFIGS if name != "none"])
def test_presets_have_the_same_distribution_on_both_paths(preset: str) -> None:
    size, count = (32, 32), 250
    config = replace(PRESET_CONFIGS[preset], elastic=0.05)
    image = scan(size, 3)
    on_cpu = Augmentation(transforms_of(config, 3), channels=3, size=size)
    on_device = DeviceAugmentation(config, 3, size)
    there = np.array([features(on_cpu(image, (5, number))["image"]) for number in range(count)])
    result, _ = on_device.apply(batch([image] * count), drawn(on_device, count, seed=6))
    here = np.array([features(as_scan(one)) for one in result])
    for column in range(there.shape[1]):
        assert ks_2samp(there[:, column], here[:, column]).pvalue > 1e-3, (preset, column)
