"""Assembly of a case's mask on the device of its probabilities.

How tiles and slices become a case stands in :mod:`tasks.exported.segmentation.assemble`, for numpy and torch alike.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.exported.segmentation.assemble import FLOOR, Assembly, CalledImage, Size
from tasks.segment.mask_entropy import entropy_sums


def gaussian_weights(tile: Size) -> Tensor:
    """Weights of the pixels of a tile where tiles overlap: a Gaussian, for networks know borders less well.

    Its standard deviation is an eighth of the tile's side, as in F. Isensee et al., nnU-Net: a self-configuring
    method for deep learning-based biomedical image segmentation, Nature Methods 18:203-211, 2021.

    Args:
        tile: (h, w) in pixels.

    Returns:
        (h, w) float32 in [0.001, 1], the same after a flip.
    """
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float64) - (side - 1) / 2) / (side / 8)) ** 2)
        for side in tile
    )
    return torch.outer(rows, columns).clamp_min(FLOOR).float()


def call_classes(probabilities: Tensor, *, overlapping: bool) -> Tensor:
    """(B, K, H, W) probabilities -> (B, H, W) uint8 class numbers, or (B, K, H, W) uint8 regions: 1 above 0.5."""
    if overlapping:
        return (probabilities > 0.5).to(torch.uint8)
    # On a CPU, max is three times as fast as a transposed argmax and eight times as fast as argmax over dimension 1.
    return probabilities.max(dim=1).indices.to(torch.uint8)


def resize_probabilities(probabilities: Tensor, size: Size) -> Tensor:
    """(B, K, h, w) -> (B, K, H, W) by linear interpolation; sides that shrink are averaged (antialiased)."""
    height, width = probabilities.shape[-2:]
    if (height, width) == size:
        return probabilities
    shrinks = size[0] < height or size[1] < width
    return F.interpolate(probabilities, size, mode="bilinear", align_corners=False, antialias=shrinks)


class TileBlend:
    """The weighted mean of overlapping tiles of one image, in a band of rows that moves down.

    Args:
        classes: K of the probabilities.
        rows: height of the band: of a tile, or of the image where it is wanted whole.
        width: of the image.
        device: of the probabilities.
    """

    def __init__(self, classes: int, rows: int, width: int, device: torch.device) -> None:
        self.top = 0  # the image's row that the band begins with
        self.total = torch.zeros(classes, rows, width, device=device)
        self.weight = torch.zeros(rows, width, device=device)

    def add(self, probabilities: Tensor, weights: Tensor, top: int, left: int) -> None:
        """Add a tile (K, h, w) whose first pixel is the image's (top, left); what lies outside is dropped.

        Raises:
            ValueError: the tile begins above the band: tiles did not come in row-major order.
        """
        if top < self.top:
            raise ValueError(f"a tile begins at row {top}, but those above {self.top} are called: out of order")
        top -= self.top
        rows = max(0, min(weights.shape[0], self.weight.shape[0] - top))
        columns = max(0, min(weights.shape[1], self.weight.shape[1] - left))
        weights = weights[:rows, :columns]
        place = (..., slice(top, top + rows), slice(left, left + columns))
        self.total[place].addcmul_(probabilities[:, :rows, :columns], weights)
        self.weight[place].add_(weights)

    def advance(self, top: int) -> Tensor:
        """Move the band down to begin with row ``top``.

        Returns:
            (K, n, W) mean probabilities of the n rows that the band has left.

        Raises:
            ValueError: tiles left rows out.
        """
        done, rows = top - self.top, self.weight.shape[0]
        if done > rows:
            raise ValueError(f"no tile held rows {self.top + rows} to {top}: out of order")
        mean = self.total[:, :done] / self.weight[:done]
        for band in (self.total, self.weight):
            band[..., : rows - done, :] = band[..., done:, :].clone()  # the two may overlap
            band[..., rows - done :, :] = 0
        self.top = top
        return mean


class CaseAssembler(Assembly[Tensor]):
    """Puts cases together; pixels are called on the device of their probabilities, and only uint8 leaves it."""

    def __init__(self, overlapping: bool) -> None:
        super().__init__(overlapping)
        self._weights: dict[tuple[Size, torch.device], Tensor] = {}

    def call(self, probabilities: Tensor) -> list[CalledImage]:
        """See :class:`~tasks.exported.segmentation.assemble.Assembly`."""
        called = call_classes(probabilities, overlapping=self.overlapping)
        sums = entropy_sums(probabilities, called, overlapping=self.overlapping)
        return [CalledImage(mask, own) for mask, own in zip(called.cpu().numpy(), sums, strict=True)]

    def resize(self, probabilities: Tensor, size: Size) -> Tensor:
        """See :func:`resize_probabilities`."""
        return resize_probabilities(probabilities, size)

    def blend(self, like: Tensor, rows: int, width: int) -> TileBlend:
        """A band on the device of the tile."""
        return TileBlend(len(like), rows, width, like.device)

    def weights(self, like: Tensor) -> Tensor:
        """See :func:`gaussian_weights`; on the device of the tile."""
        tile, device = (like.shape[-2], like.shape[-1]), like.device
        if (tile, device) not in self._weights:
            self._weights[tile, device] = gaussian_weights(tile).to(device)
        return self._weights[tile, device]
