"""Changes of values in whole batches: blur, brightness, contrast, gamma, shading, colour, speckle, noise.

Each is what the transform of the CPU's pipeline does for the same parameters
(:func:`~datamodules.transforms.presets.transforms_of`), in its order. Neither torchvision's functions (one factor for a
whole batch) nor Kornia's (random numbers of a batch's own, and of its device) take a factor a case.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.transforms.device import parameters as at
from datamodules.transforms.device.pixel_noise import normal, uniform
from datamodules.transforms.names import AugmentConfig

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's grey


def change_values(image: Tensor, params: Tensor, config: AugmentConfig) -> Tensor:
    """Change the values of a batch.

    Args:
        image: (B, C, H, W) float32 in [0, 1]; not changed.
        params: (B, K), see :mod:`~datamodules.transforms.device.parameters`.
        config: ranges; what is 0 there costs nothing here.

    Returns:
        (B, C, H, W) float32 in [0, 1].
    """
    case = params[:, :, None, None, None].unbind(1)  # each (B, 1, 1, 1)
    channels, height, width = image.shape[1:]
    if config.blur:
        image = blurred(image, params[:, at.BLUR], config.blur)
    if config.color and channels == 3:
        image = image.contiguous()  # colours in planes: each is read by itself many times
    if config.brightness or config.contrast:
        offset = image.mean((1, 2, 3), keepdim=True) * case[at.PULL]
        image = torch.addcmul(offset, image, case[at.GAIN]).clamp_(0, 1)
    if config.gamma:
        image = torch.pow(image, case[at.GAMMA])
    if config.bias_field:
        across, down = (
            torch.arange(side, device=image.device, dtype=torch.float32) / max(1, side - 1) for side in (width, height)
        )
        column = case[at.SHADE] + case[at.SHADE + 2] * down[:, None]
        image = (image * (column + case[at.SHADE + 1] * across)).clamp_(0, 1)
    if config.color and channels == 3:
        image = recoloured(image, case[at.SATURATION], case[at.HUE])
    if config.speckle:
        pattern = uniform(params[:, at.SPECKLE_WORD], params[:, at.SPECKLE_WORD + 1], (1, height, width))
        image = (image * (pattern.mul_(case[at.SPECKLE]).add_(1))).clamp_(0, 1)
    if config.noise:
        pattern = normal(params[:, at.NOISE_WORD], params[:, at.NOISE_WORD + 1], (channels, height, width))
        sigma = image.std((1, 2, 3), correction=0, keepdim=True) * case[at.NOISE]
        image = torch.addcmul(image, pattern, sigma).clamp_(0, 1)
    return image


def blurred(image: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Gaussian blur of each case with its own standard deviation; 0 leaves a case as it is.

    Args:
        image: (B, C, H, W).
        sigma: (B,) in pixels; kernels reach to 3.5 of it, rounded down; beyond its edge pixels the image is mirrored.
        largest: that may occur.
    """
    batch, channels, height, width = image.shape
    radius = min(int(largest * 3.5), height - 1, width - 1)
    if radius < 1:
        return image
    offsets = torch.arange(-radius, radius + 1, device=image.device)
    sigma = sigma[:, None]
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)) ** 2) * (offsets.abs() <= (sigma * 3.5).floor())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    # Each channel of each case is a group of its own: torch's kernel for that computes in float32 throughout.
    padded = F.pad(image.contiguous(), (radius, radius, radius, radius), mode="reflect").flatten(0, 1)[None]
    across = F.conv2d(padded, kernel[:, None, None, :], groups=batch * channels)
    return F.conv2d(across, kernel[:, None, :, None], groups=batch * channels).view(image.shape).clamp_(0, 1)


def recoloured(image: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Saturation (a factor), then hue (a turn in sixths of the circle) of (B, 3, H, W).

    Albumentations draws the order of the two; they commute but for a product of two small changes.
    """
    red, green, blue = image.unbind(1)
    grey = torch.add(torch.add(red * _LUMA[0], green, alpha=_LUMA[1]), blue, alpha=_LUMA[2])
    image = torch.lerp(grey[:, None], image, saturation).clamp_(0, 1)
    red, green, blue = image.unbind(1)
    value, darkest = image.amax(1), image.amin(1)
    chroma = value - darkest
    by_red, by_green = value == red, value == green
    angle = torch.where(by_red, green - blue, torch.where(by_green, blue - red, red - green))
    angle /= chroma.clamp_min(1e-8)
    angle += torch.where(by_red, 0.0, torch.where(by_green, 2.0, 4.0))
    angle = torch.remainder(angle + hue[:, 0], 6)
    # And back, on the circle of 6: red |h - 3| - 1, green 2 - |h - 2|, blue 2 - |h - 4|, each from 0 to 1.
    number = torch.arange(3, device=image.device, dtype=torch.float32)[:, None, None]
    middle = 3 - 0.5 * number * (5 - 3 * number)  # 3, 2, 4
    sign = 1 - 2 * number.clamp(max=1)  # 1, -1, -1
    share = (angle[:, None] - middle).abs_()
    share = torch.addcmul(0.5 - 1.5 * sign, share, sign).clamp_(0, 1)
    return torch.addcmul(darkest[:, None], chroma[:, None], share).clamp_(0, 1)
