"""Distillation of segmentation: distance of a student's masks from a teacher's."""

from __future__ import annotations

from torch import Tensor

from tasks.compression.divergence import sigmoid_divergence, softmax_divergence
from tasks.distributed import mean_over_ranks


def imitation(
    output: Tensor, wanted: Tensor, mask: Tensor, *, overlapping: bool, ignore_index: int, temperature: float
) -> Tensor:
    """The divergence at each pixel whose truth is known, the mean over pixels and ranks (Liu et al., CVPR 2019).

    By pixel and not by channel (Shu et al., ICCV 2021): a softmax over the pixels of a map would let those without
    annotation, where a teacher says anything, bear on all others.

    Args:
        output: (B, C, H, W) logits of the student.
        wanted: (B, C, H, W) logits of the teacher.
        mask: (B, H, W), or (B, C, H, W) of regions.
        overlapping: each region has a sigmoid of its own.
        ignore_index: value of pixels without annotation.
        temperature: by which logits are divided; the divergence is multiplied by its square.

    Returns:
        () float32; 0 where nothing is known.
    """
    own, wanted = output.float() / temperature, wanted.detach().float() / temperature
    known = mask != ignore_index
    cells = sigmoid_divergence(own, wanted) if overlapping else softmax_divergence(own, wanted, dim=1)
    return mean_over_ranks((cells * known).sum(), known.sum()) * temperature**2
