"""Images filled up to sizes that all levels of a pyramid divide.

torchvision's ``GeneralizedRCNNTransform``, which knows such multiples, resizes too and fills with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

MULTIPLE = 32  # images are padded to a multiple of this, so that each level is exactly twice as large as the next


def padded(size: Sequence[int]) -> tuple[int, int]:
    """(H, W) of an image -> (H, W) of the padded one."""
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    return height, width


def pad(image: Tensor) -> Tensor:
    """(B, C, H, W) -> the same at the size of :func:`padded`, the last pixels below and on the right repeated."""
    height, width = image.shape[-2:]
    full_height, full_width = padded((height, width))
    if (full_height, full_width) == (height, width):
        return image
    return F.pad(image, (0, full_width - width, 0, full_height - height), mode="replicate")
