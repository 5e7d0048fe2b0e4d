"""One resampling of a batch for all that moves pixels: flips, turns, rotation, scale, shift and elastic deformation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.transforms.device import parameters as at
from datamodules.transforms.elastic import POINTS, weights


def sampling_grid(params: Tensor, size: tuple[int, int], *, elastic: bool) -> Tensor:
    """Places in the image from which the pixels of the result come.

    Args:
        params: (B, K).
        size: (H, W).
        elastic: whether there are control points of a deformation.

    Returns:
        (B, H, W, 2) float32 x and y as ``grid_sample`` takes them: from -1 to 1 between the image's outer edges.
    """
    height, width = size
    # Products of single numbers, not of matrices: those may be computed in TensorFloat-32, to 10 bits.
    map_ = params[:, at.MAP : at.MAP + 6].view(-1, 2, 3)
    unit = torch.arange(2, device=params.device)  # (2 / W, 2 / H) without a copy from the host
    to_unit = 2 / (width + unit * (height - width)).to(torch.float32)
    across, down = (
        torch.arange(side, device=params.device, dtype=torch.float32) - (side - 1) / 2 for side in (width, height)
    )
    columns = map_[:, None, None, :, 0] * to_unit * across[:, None]
    rows = (map_[:, None, None, :, 1] * down[:, None, None] + map_[:, None, None, :, 2]) * to_unit
    grid = rows + columns
    if elastic:
        # A pixel comes from map(pixel + displacement): the map's linear part moves the control points just as well.
        control = params[:, at.ELASTIC :].view(-1, POINTS, POINTS, 1, 2)
        control = (control * map_[:, None, None, :, :2]).sum(4) * to_unit
        numbers = torch.arange(POINTS, device=params.device)
        along_y, along_x = (
            weights(torch.arange(side, device=params.device, dtype=torch.float64)[:, None], side, numbers)
            for side in (height, width)
        )
        # In float64: matrix products of float32 may be computed in TensorFloat-32.
        grid = grid + torch.einsum("ha,wb,nabd->nhwd", along_y, along_x, control.double()).float()
    return grid


def move_image(image: Tensor, grid: Tensor, moved: Tensor | None, out: Tensor) -> Tensor:
    """The image at other places; 0 outside.

    Args:
        image: (B, C, H, W) float32.
        grid: of :func:`sampling_grid`.
        moved: (B,) 1 where places lie between pixels. The others are taken as they are: the coordinates of
            ``grid_sample`` are off by 1e-5 pixels. None: all are taken so.
        out: (B, C, H, W) that the result is written to; ``grid_sample`` itself makes no channels-last memory.
    """
    nearest = F.grid_sample(image, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    if moved is None:
        return out.copy_(nearest)
    between = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return torch.where(moved[:, None, None, None] > 0, between, nearest, out=out)


def move_mask(mask: Tensor, grid: Tensor) -> Tensor:
    """Class numbers (B, H, W) or (B, L, H, W) of any integer type at other places; 0 outside.

    Numbers pass through float32, exact to 16 million.
    """
    planes = mask.view(mask.shape[0], -1, *mask.shape[-2:]).to(torch.float32)
    moved = F.grid_sample(planes, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.view(mask.shape).to(mask.dtype)
