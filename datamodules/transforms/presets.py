"""Augmentation from the name of a preset and a user's ranges."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import albumentations

from datamodules.transforms.additions import BrightnessContrast, QuarterTurns, RelativeNoise
from datamodules.transforms.listed import transforms_from_list
from datamodules.transforms.names import PRESET_CONFIGS, PRESETS, AugmentConfig
from datamodules.transforms.pipeline import Augmentation
from scansuite.errors import SuiteError

# The largest value that each of a user's ranges may take.
_LIMITS = {"rotation": 180.0, "scale": 0.9, "shift": 1.0, "brightness": 1.0, "contrast": 1.0, "color": 1.0}


def build_augmentation(
    preset: str,
    *,
    rotation: float | None = None,
    scale: float | None = None,
    shift: float | None = None,
    brightness: float | None = None,
    contrast: float | None = None,
    color: float | None = None,
    horizontal_flip: bool | None = None,
    vertical_flip: bool | None = None,
    transforms: Sequence[Mapping[str, Any] | str] | None = None,
    channels: int,
    size: tuple[int, int] | None = None,
    boxes: bool = False,
) -> Augmentation:
    """Build the augmentation of the training images and try it out on a dummy.

    A range that is given replaces the preset's own; 0 or False turns that change off. Ranges are those of
    :class:`~datamodules.transforms.names.AugmentConfig`.

    Args:
        preset: one of :data:`~datamodules.transforms.names.PRESETS`.
        rotation: degrees to either side, 0..180.
        scale: fraction, 0..0.9; 0.1 means 0.9 to 1.1 times the size.
        shift: fraction of the side, 0..1.
        brightness: fraction, 0..1; 0.1 means 0.9 to 1.1 times the values.
        contrast: fraction, 0..1, by which differences to the image's mean grow or shrink.
        color: saturation as a fraction, 0..1, with hue at a fifth of it; only for 3 channels.
        horizontal_flip: mirror left and right in half of the cases.
        vertical_flip: mirror up and down in half of the cases.
        transforms: Albumentations classes from YAML, applied after the preset's (see
            :func:`~datamodules.transforms.listed.transforms_from_list`).
        channels: of the images; a transform that cannot take them is refused here.
        size: (H, W) that every image has before and must have after; None where sizes differ.
        boxes: whether boxes will be given with the images.

    Raises:
        SuiteError: unknown preset, range out of bounds, colour without three channels, or a refused transform.
    """
    if preset not in PRESET_CONFIGS:
        near = difflib.get_close_matches(preset, PRESETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SuiteError(f"--data.augment {preset!r} is no preset: {hint}There are {', '.join(PRESETS)}")
    ranges = {
        "rotation": rotation,
        "scale": scale,
        "shift": shift,
        "brightness": brightness,
        "contrast": contrast,
        "color": color,
    }
    for name, value in ranges.items():
        if value is not None and not 0 <= value <= _LIMITS[name]:
            raise SuiteError(f"augmentation {name} {value}: must lie between 0 and {_LIMITS[name]:g}")
    if color and channels != 3:
        raise SuiteError(f"augmentation color {color}: colour needs images of 3 channels, these have {channels}")
    flips = {"horizontal_flip": horizontal_flip, "vertical_flip": vertical_flip}
    given: dict[str, Any] = {name: value for name, value in {**ranges, **flips}.items() if value is not None}
    config = replace(PRESET_CONFIGS[preset], **given)
    steps = transforms_of(config, channels) + transforms_from_list(transforms or ())
    return Augmentation(steps, channels=channels, size=size, boxes=boxes)


def transforms_of(config: AugmentConfig, channels: int) -> list[albumentations.BasicTransform]:
    """The transforms of a configuration; colour is left out unless there are three channels.

    Only transforms that take any number of channels are used, apart from colour. Values change before geometry, so that
    mean and spread are those of the scan alone, and pixels that come from outside are exactly 0.
    """
    steps: list[albumentations.BasicTransform] = []
    if config.blur:
        # A kernel size of 0 lets the filter derive it from sigma.
        steps.append(albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.1, config.blur), p=0.2))
    if config.brightness or config.contrast:
        steps.append(BrightnessContrast(config.brightness, config.contrast, p=0.8))
    if config.gamma:
        steps.append(
            albumentations.RandomGamma(gamma_limit=(100 * (1 - config.gamma), 100 * (1 + config.gamma)), p=0.5)
        )
    if config.bias_field:
        # The linear shading is the one of the three that takes any number of channels in 2.0.8.
        steps.append(albumentations.Illumination(mode="linear", intensity_range=(0.01, config.bias_field), p=0.5))
    if config.color and channels == 3:
        hue = config.color / 5
        steps.append(albumentations.ColorJitter(brightness=0, contrast=0, saturation=config.color, hue=hue, p=0.8))
    if config.speckle:
        low, high = 1 - config.speckle, 1 + config.speckle
        steps.append(albumentations.MultiplicativeNoise(multiplier=(low, high), elementwise=True, p=0.5))
    if config.noise:
        steps.append(RelativeNoise(config.noise, p=0.3))
    if config.horizontal_flip:
        steps.append(albumentations.HorizontalFlip(p=0.5))
    if config.vertical_flip:
        steps.append(albumentations.VerticalFlip(p=0.5))
    if config.quarter_turns:
        steps.append(QuarterTurns(p=1.0))
    if config.rotation or config.scale or config.shift:
        steps.append(
            albumentations.Affine(
                rotate=(-config.rotation, config.rotation),
                scale=(1 - config.scale, 1 + config.scale),
                translate_percent=(-config.shift, config.shift),
                keep_ratio=True,
                fill=0,
                fill_mask=0,
                p=0.8,
            )
        )
    return steps
