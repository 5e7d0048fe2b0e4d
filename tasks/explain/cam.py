"""Class activation maps from the cells of a layer: CAM, Grad-CAM, Grad-CAM++, Layer-CAM and Score-CAM.

Ours, and not of the package ``grad-cam``: a target here may be the logits of a mask's pixels, of one anchor or region
of a detector, or of a case of many images, at the level of a pyramid that gave it; the package asks for gradients by
``backward``, which leaves them in the model's parameters. It is the reference in the tests.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6


def cam(cells: Tensor, weights: Tensor) -> Tensor:
    """Class activation map (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).

    Args:
        cells: (1, C, h, w) that are pooled and then weighed.
        weights: (C,) of the linear layer.

    Returns:
        (h, w), signed; its mean is the logit, up to the bias.
    """
    return torch.einsum("c,chw->hw", weights, cells[0])


def gradcam(cells: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al., ICCV 2017): channels weighed by the mean of their gradient.

    Args:
        cells: (1, C, h, w).
        gradient: (1, C, h, w) of the target's number.

    Returns:
        (h, w), signed; the paper keeps what is above 0.
    """
    return torch.einsum("c,chw->hw", gradient[0].mean(dim=(1, 2)), cells[0])


def gradcam_plusplus(cells: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al., WACV 2018, equations 7 and 19).

    Cells whose gradient is above 0 count alike, however small they are, so that several things of a class all show.
    """
    cells, gradient = cells[0], gradient[0]
    squared = gradient.square()
    below = 2 * squared + cells.sum(dim=(1, 2), keepdim=True) * squared * gradient + EPS
    alpha = torch.where(gradient != 0, squared / below, 0.0)
    return torch.einsum("c,chw->hw", (gradient.relu() * alpha).sum(dim=(1, 2)), cells)


def layercam(cells: Tensor, gradient: Tensor) -> Tensor:
    """Layer-CAM (Jiang et al., IEEE TIP 30, 2021): each cell weighed by its own gradient, where that is above 0."""
    return (gradient[0].relu() * cells[0]).sum(dim=0)


def scorecam(
    cells: Tensor, image: Tensor, padded: tuple[int, int], value: Callable[[Tensor], Tensor], batch_size: int
) -> Tensor:
    """Score-CAM (Wang et al., CVPRW 2020): channels weighed by the number of the image where they alone let it through.

    Args:
        cells: (1, C, h, w).
        image: (1, c, H, W).
        padded: (H, W) of the image that the cells cover.
        value: (B, c, H, W) images -> (B,) numbers.
        batch_size: images at once, of as many as there are channels.

    Returns:
        (h, w), signed; the paper keeps what is above 0.
    """
    height, width = image.shape[-2:]

    def masks(some: Tensor) -> Tensor:
        fine = F.interpolate(some[:, None], padded, mode="bilinear", align_corners=True)[..., :height, :width]
        low, high = fine.amin(dim=(1, 2, 3), keepdim=True), fine.amax(dim=(1, 2, 3), keepdim=True)
        return (fine - low) / (high - low + 1e-8)

    weights = torch.cat([value(image * masks(some)) for some in torch.split(cells[0], batch_size)]).softmax(dim=0)
    return torch.einsum("c,chw->hw", weights, cells[0])
