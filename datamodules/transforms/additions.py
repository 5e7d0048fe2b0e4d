"""Four transforms of our own: two whose strength follows the image, turns that keep its shape, and a deformation.

Albumentations' ``RandomBrightnessContrast`` and ``GaussNoise`` measure by the full range of the type. Dim scans,
such as fluorescence that fills a tenth of the range, turn black or drown in noise by that.
"""

from __future__ import annotations

from typing import Any

import albumentations
import numpy as np
from numpy.typing import NDArray

from datamodules.transforms.elastic import POINTS, displacement_field
from datamodules.transforms.moved_boxes import bent_boxes


class BrightnessContrast(albumentations.ImageOnlyTransform):
    """Contrast about the image's mean, then brightness as a gain: ``((x - mean) * c + mean) * b``, clipped to [0, 1].

    These are the definitions of torchvision's ``ColorJitter``; black stays black under the gain, as with exposure.

    Args:
        brightness: b is uniform in 1 ± brightness.
        contrast: c is uniform in 1 ± contrast.
        p: probability.
    """

    def __init__(self, brightness: float, contrast: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.brightness = brightness
        self.contrast = contrast

    def get_params(self) -> dict[str, float]:
        """Draw both factors."""
        return {
            "c": 1 + self.py_random.uniform(-self.contrast, self.contrast),
            "b": 1 + self.py_random.uniform(-self.brightness, self.brightness),
        }

    def apply(self, img: NDArray[np.float32], c: float, b: float, **params: Any) -> NDArray[np.float32]:
        """Change the values of an (H, W, C) float32 image."""
        changed = img * np.float32(c * b)
        changed += np.float32(float(img.mean()) * (1 - c) * b)
        return np.clip(changed, 0, 1, out=changed)


class RelativeNoise(albumentations.ImageOnlyTransform):
    """Additive Gaussian noise, independent in each pixel and channel, measured by the image's own spread.

    The same measure as in nnU-Net, which adds noise to images of unit standard deviation.

    Args:
        noise: the noise's standard deviation is uniform in 0..noise times that of the image.
        p: probability.
    """

    def __init__(self, noise: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.noise = noise

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the noise of every pixel."""
        sigma = self.py_random.uniform(0, self.noise) * float(data["image"].std())
        pattern = self.random_generator.standard_normal(data["image"].shape, dtype=np.float32)
        pattern *= np.float32(sigma)
        return {"pattern": pattern}

    def apply(self, img: NDArray[np.float32], pattern: NDArray[np.float32], **params: Any) -> NDArray[np.float32]:
        """Add it to an (H, W, C) float32 image."""
        noisy = img + pattern
        return np.clip(noisy, 0, 1, out=noisy)


class QuarterTurns(albumentations.RandomRotate90):
    """Turn by 0, 90, 180 or 270 degrees; an image that is not square only by 0 or 180, so that its shape stays."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, int]:
        """Keep the half turn of the drawn number of quarter turns where the sides differ."""
        height, width = params["shape"][:2]
        return {} if height == width else {"factor": params["factor"] // 2 * 2}


class FreeFormDeformation(albumentations.ElasticTransform):
    """Smooth deformation by cubic B-splines (see :mod:`~datamodules.transforms.elastic`); pixels from outside are 0.

    Args:
        elastic: control points are displaced by at most a share of the side, uniform in 0..elastic.
        p: probability.
    """

    def __init__(self, elastic: float, p: float = 0.5) -> None:
        super().__init__(fill=0, fill_mask=0, p=p)
        self.elastic = elastic

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the control points, and where each pixel comes from by them."""
        height, width = params["shape"][:2]
        reach = self.py_random.uniform(0, self.elastic)
        control = self.random_generator.uniform(-reach, reach, (POINTS, POINTS, 2)) * (width, height)
        return {"control": control, **self.maps(control, (height, width))}

    @staticmethod
    def maps(control: NDArray[np.float64], size: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """Where each pixel of an image of (H, W) comes from: ``map_x`` and ``map_y``, (H, W) in pixels."""
        field = displacement_field(control, size)
        rows, columns = np.indices(size)
        return {
            "map_x": (field[..., 0] + columns).astype(np.float32),
            "map_y": (field[..., 1] + rows).astype(np.float32),
        }

    def apply_to_bboxes(
        self, bboxes: NDArray[np.float32], control: NDArray[np.float64], **params: Any
    ) -> NDArray[np.float32]:
        """Follow the boxes' edges; the library's own way draws each as a mask, to whole pixels."""
        height, width = params["shape"][:2]
        sides = np.array([width, height] * 2)
        moved = bent_boxes(bboxes[:, :4] * sides, control, (height, width)) / sides
        return np.concatenate([moved, bboxes[:, 4:]], axis=1).astype(np.float32)
