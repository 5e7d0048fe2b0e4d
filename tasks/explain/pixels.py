"""Maps of pixels: integrated gradients and occlusion, by captum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scansuite.errors import SuiteError

STEPS = 32  # of the path from the baseline to the image; Gauss-Legendre, as captum takes it
WINDOWS = 12  # windows of occlusion a side of the image, each of two of its steps


def baseline(image: Tensor) -> Tensor:
    """(1, C, H, W) an image that shows nothing: the mean of each channel.

    Black would be a value of the scan like any other, and dark findings would have none of the map (Sturmfels, Lundberg
    and Lee, "Visualizing the impact of feature attribution baselines", Distill 2020).
    """
    return image.mean(dim=(2, 3), keepdim=True).expand_as(image)


def integrated_gradients(image: Tensor, value: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    """Integrated gradients from a plain image to this one (Sundararajan, Taly and Yan, ICML 2017).

    Args:
        image: (1, C, H, W).
        value: (B, C, H, W) images -> (B,) numbers.
        batch_size: images at once, of :data:`STEPS`.

    Returns:
        (H, W), signed, summed over channels; its sum is the number's rise from the plain image to this one.
    """
    method = _captum("IntegratedGradients", "integrated_gradients")(value)
    found: Tensor = method.attribute(
        image.detach(), baselines=baseline(image.detach()), n_steps=STEPS, internal_batch_size=min(batch_size, STEPS)
    )
    return found[0].sum(dim=0).detach()


@torch.no_grad()
def occlusion(image: Tensor, value: Callable[[Tensor], Tensor], batch_size: int) -> Tensor:
    """How far the number falls where a window of the image is made plain (Zeiler and Fergus, ECCV 2014).

    Windows have two steps a side and overlap by one, so that each pixel is the mean of about four.

    Args:
        image: (1, C, H, W).
        value: (B, C, H, W) images -> (B,) numbers.
        batch_size: images at once.

    Returns:
        (H, W), signed, the mean over the windows that cover a pixel.
    """
    channels, height, width = image.shape[1:]
    step = max(1, round(max(height, width) / WINDOWS))
    method = _captum("Occlusion", "occlusion")(value)
    sides = (min(2 * step, height), min(2 * step, width))
    found: Tensor = method.attribute(
        image.detach(),
        sliding_window_shapes=(channels, *sides),
        strides=(channels, step, step),
        baselines=baseline(image.detach()),
        perturbations_per_eval=batch_size,
    )
    return found[0].mean(dim=0)  # every channel has the same


def _captum(name: str, method: str) -> Any:
    """A class of captum.

    Raises:
        SuiteError: it is not installed.
    """
    try:
        import captum.attr
    except ImportError:
        raise SuiteError(
            f"--method {method}: needs captum, which is not installed: pip install 'scansuite[explain]'"
        ) from None
    return getattr(captum.attr, name)
