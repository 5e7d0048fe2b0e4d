"""Augmentation from the name of a preset and a user's ranges."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import albumentations

from datamodules.transforms.additions import BrightnessContrast, FreeFormDeformation, QuarterTurns, RelativeNoise
from datamodules.transforms.elastic import LARGEST
from datamodules.transforms.listed import transforms_from_list
from datamodules.transforms.names import CHANCES, PRESET_CONFIGS, PRESETS, AugmentConfig
from datamodules.transforms.pipeline import Augmentation
from scansuite.errors import SuiteError

# The largest value that each of a user's ranges may take.
_LIMITS = {
    "rotation": 180.0, "scale": 0.9, "shift": 1.0, "brightness": 1.0, "contrast": 1.0, "color": 1.0, "elastic": LARGEST,
}  # fmt: skip


def build_augmentation(
    preset: str,
    *,
    transforms: Sequence[Mapping[str, Any] | str] | None = None,
    channels: int,
    size: tuple[int, int] | None = None,
    boxes: bool = False,
    **ranges: float | bool | None,
) -> Augmentation:
    """Build the augmentation of the training images and try it out on a dummy.

    Args:
        preset: one of :data:`~datamodules.transforms.names.PRESETS`.
        transforms: Albumentations classes from YAML, applied after the preset's (see
            :func:`~datamodules.transforms.listed.transforms_from_list`).
        channels: of the images; a transform that cannot take them is refused here.
        size: (H, W) that every image has before and must have after; None where sizes differ.
        boxes: whether boxes will be given with the images.
        ranges: changes to the preset, see :func:`resolved_ranges`.

    Raises:
        SuiteError: unknown preset, range out of bounds, colour without three channels, or a refused transform.
    """
    config = resolved_ranges(preset, channels=channels, **ranges)
    steps = transforms_of(config, channels) + transforms_from_list(transforms or ())
    return Augmentation(steps, channels=channels, size=size, boxes=boxes)


def resolved_ranges(preset: str, *, channels: int, **ranges: float | bool | None) -> AugmentConfig:
    """The ranges of a preset with those that a user gives in their place; 0 or False turns a change off.

    Args:
        preset: one of :data:`~datamodules.transforms.names.PRESETS`.
        channels: of the images.
        ranges: of :class:`~datamodules.transforms.names.AugmentArgs`; None leaves the preset's own. ``rotation`` in
            degrees to either side, 0..180; ``scale``, fraction, 0..0.9; ``shift``, fraction of the side, 0..1;
            ``brightness``, ``contrast`` and ``color``, fractions, 0..1; ``elastic``, fraction of the side, 0..0.1;
            ``horizontal_flip`` and ``vertical_flip``, True or False.

    Raises:
        SuiteError: unknown preset, range out of bounds, or colour without three channels.
    """
    if preset not in PRESET_CONFIGS:
        near = difflib.get_close_matches(preset, PRESETS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SuiteError(f"--data.augment {preset!r} is no preset: {hint}There are {', '.join(PRESETS)}")
    given: dict[str, Any] = {name: value for name, value in ranges.items() if value is not None}
    unknown = sorted(set(given) - set(_LIMITS) - {"horizontal_flip", "vertical_flip"})
    if unknown:
        raise TypeError(f"no range of an augmentation: {', '.join(unknown)}")
    for name, limit in _LIMITS.items():
        if name in given and not 0 <= given[name] <= limit:
            raise SuiteError(f"augmentation {name} {given[name]}: must lie between 0 and {limit:g}")
    if given.get("color") and channels != 3:
        raise SuiteError(
            f"augmentation color {given['color']}: colour needs images of 3 channels, these have {channels}"
        )
    return replace(PRESET_CONFIGS[preset], **given)


def transforms_of(config: AugmentConfig, channels: int) -> list[albumentations.BasicTransform]:
    """The transforms of a configuration; colour is left out unless there are three channels.

    Only transforms that take any number of channels are used, apart from colour. Values change before geometry, so that
    mean and spread are those of the scan alone, and pixels that come from outside are exactly 0.
    """
    steps: list[albumentations.BasicTransform] = []
    if config.blur:
        # A kernel size of 0 lets the filter derive it from sigma.
        steps.append(albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.1, config.blur), p=CHANCES.blur))
    if config.brightness or config.contrast:
        steps.append(BrightnessContrast(config.brightness, config.contrast, p=CHANCES.brightness_contrast))
    if config.gamma:
        steps.append(
            albumentations.RandomGamma(
                gamma_limit=(100 * (1 - config.gamma), 100 * (1 + config.gamma)), p=CHANCES.gamma
            )
        )
    if config.bias_field:
        # The linear shading is the one of the three that takes any number of channels in 2.0.8.
        steps.append(
            albumentations.Illumination(mode="linear", intensity_range=(0.01, config.bias_field), p=CHANCES.bias_field)
        )
    if config.color and channels == 3:
        hue = config.color / 5
        steps.append(
            albumentations.ColorJitter(brightness=0, contrast=0, saturation=config.color, hue=hue, p=CHANCES.color)
        )
    if config.speckle:
        low, high = 1 - config.speckle, 1 + config.speckle
        steps.append(albumentations.MultiplicativeNoise(multiplier=(low, high), elementwise=True, p=CHANCES.speckle))
    if config.noise:
        steps.append(RelativeNoise(config.noise, p=CHANCES.noise))
    if config.horizontal_flip:
        steps.append(albumentations.HorizontalFlip(p=CHANCES.flip))
    if config.vertical_flip:
        steps.append(albumentations.VerticalFlip(p=CHANCES.flip))
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
                p=CHANCES.affine,
            )
        )
    if config.elastic:
        steps.append(FreeFormDeformation(config.elastic, p=CHANCES.elastic))
    return steps
