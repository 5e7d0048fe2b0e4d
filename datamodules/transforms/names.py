"""The presets as plain numbers: light enough for the command line's help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of an augmentation: how far an image may be changed; 0 or False leaves a change out. Ranges are symmetric.

    Attributes:
        rotation: degrees to either side.
        scale: fraction; 0.1 means 0.9 to 1.1 times the size.
        shift: fraction of the side, in x and in y.
        brightness: fraction; 0.1 means 0.9 to 1.1 times the values, so that black stays black.
        contrast: fraction by which differences to the image's mean grow or shrink.
        color: fraction of saturation; hue turns by a fifth of it, in full circles. Only for 3 channels.
        horizontal_flip: mirror left and right in half of the cases.
        vertical_flip: mirror up and down in half of the cases.
        quarter_turns: turn by 0, 90, 180 or 270 degrees (0 or 180 where the image is not square).
        gamma: fraction; 0.2 means exponents from 0.8 to 1.2.
        bias_field: strength of a linear shading across the image, at most 0.2.
        speckle: multiplicative noise, uniform within this fraction of the pixel's value.
        noise: largest standard deviation of additive Gaussian noise, as a fraction of the image's own.
        blur: largest standard deviation of a Gaussian blur, in pixels.
        elastic: largest displacement of a smooth random deformation, as a fraction of the side, at most 0.1.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    color: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    quarter_turns: bool = False
    gamma: float = 0.0
    bias_field: float = 0.0
    speckle: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    elastic: float = 0.0


@dataclass(frozen=True)
class Chances:
    """Share of the cases that each change strikes, where its range is not 0; flips and quarter turns are fair."""

    blur: float = 0.2
    brightness_contrast: float = 0.8
    gamma: float = 0.5
    bias_field: float = 0.5
    color: float = 0.8
    speckle: float = 0.5
    noise: float = 0.3
    flip: float = 0.5
    affine: float = 0.8
    elastic: float = 0.3


CHANCES = Chances()
# Boxes of which less than this part of the area is still in the image are dropped.
MIN_VISIBILITY = 0.1

PRESET_CONFIGS: dict[str, AugmentConfig] = {
    "none": AugmentConfig(),
    # For scans of any kind. None flips up and down: scans have an up.
    "light": AugmentConfig(
        rotation=5, scale=0.05, shift=0.05, brightness=0.1, contrast=0.1, color=0.05, horizontal_flip=True
    ),
    "medium": AugmentConfig(
        rotation=15, scale=0.1, shift=0.1, brightness=0.2, contrast=0.2, color=0.1, horizontal_flip=True,
        gamma=0.15, noise=0.06,
    ),
    "strong": AugmentConfig(
        rotation=25, scale=0.2, shift=0.1, brightness=0.25, contrast=0.3, color=0.2, horizontal_flip=True,
        gamma=0.3, noise=0.12, blur=1.0,
    ),
    # No flip: heart and situs have a side. Exposure and processing differ between machines.
    "xray": AugmentConfig(
        rotation=7, scale=0.1, shift=0.05, brightness=0.15, contrast=0.2, gamma=0.15, noise=0.04
    ),
    # No flip, and little change of values: Hounsfield units are calibrated. Noise stands for a lower dose.
    "ct": AugmentConfig(rotation=10, scale=0.1, shift=0.05, brightness=0.05, contrast=0.1, noise=0.1),
    # Values have no unit: contrast and gamma vary, and the coil shades the image.
    "mri": AugmentConfig(
        rotation=10, scale=0.1, shift=0.05, brightness=0.15, contrast=0.2, horizontal_flip=True,
        gamma=0.25, bias_field=0.2, noise=0.08,
    ),
    # The probe is at the top, so no vertical flip; gain and speckle vary.
    "ultrasound": AugmentConfig(
        rotation=10, scale=0.1, shift=0.05, brightness=0.2, contrast=0.2, horizontal_flip=True,
        gamma=0.2, speckle=0.12,
    ),
    # Tissue on a slide has no up; only exact turns, because magnification is fixed and black corners are foreign to a
    # white background. Colour stands for stain and scanner.
    "histology": AugmentConfig(
        brightness=0.1, contrast=0.15, color=0.2, horizontal_flip=True, vertical_flip=True, quarter_turns=True, blur=0.7
    ),
    "microscopy": AugmentConfig(
        brightness=0.2, contrast=0.2, horizontal_flip=True, vertical_flip=True, quarter_turns=True,
        gamma=0.2, noise=0.08, blur=1.0,
    ),
    # A mirrored right eye looks like a left one; the surround is black, so free rotation leaves no trace.
    "fundus": AugmentConfig(
        rotation=20, scale=0.1, shift=0.03, brightness=0.15, contrast=0.2, color=0.1, horizontal_flip=True, blur=0.7
    ),
    "dermoscopy": AugmentConfig(
        scale=0.1, shift=0.05, brightness=0.15, contrast=0.15, color=0.1, horizontal_flip=True, vertical_flip=True,
        quarter_turns=True, blur=0.7,
    ),
}  # fmt: skip

PRESETS: tuple[str, ...] = tuple(PRESET_CONFIGS)
# Albumentations: each by its class_path and init_args, or by its name alone.
TransformList: TypeAlias = list[dict[str, Any]] | list[dict[str, Any] | str]


@dataclass(frozen=True)
class AugmentArgs:
    """Changes of a user's to a preset; None leaves the preset's own range, 0 or False turns a change off.

    Attributes:
        rotation: largest turn to either side, in degrees (0 to 180); left out: the preset's.
        scale: largest share (0 to 0.9) by which sizes change: 0.1 means 0.9 to 1.1 times the size; left out: the
            preset's.
        shift: largest move as a share (0 to 1) of the side; left out: the preset's.
        brightness: largest share (0 to 1) by which the image grows brighter or darker; left out: the preset's.
        contrast: largest share (0 to 1) by which differences to the image's mean grow or shrink; left out: the
            preset's.
        color: largest share (0 to 1) by which saturation changes; hue turns by a fifth of it; left out: the preset's.
        horizontal_flip: mirror left and right in half of the cases; left out: the preset's.
        vertical_flip: mirror up and down in half of the cases; left out: the preset's.
        elastic: share (0 to 0.1) of the side by which a smooth random deformation displaces pixels at most; left out:
            the preset's.
        transforms: a list of Albumentations behind the preset: ``[{class_path: HorizontalFlip, init_args: {p: 0.5}},
            ...]``; left out: none.
    """

    rotation: float | None = None
    scale: float | None = None
    shift: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    color: float | None = None
    horizontal_flip: bool | None = None
    vertical_flip: bool | None = None
    elastic: float | None = None
    transforms: TransformList | None = None
