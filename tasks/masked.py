"""Sums over the part of a tensor that a mask names."""

from __future__ import annotations

from torch import Tensor


def sum_where(values: Tensor, mask: Tensor) -> Tensor:
    """() sum of the values where a mask of their shape is True; the others, NaN and infinite ones too, bear on nothing.

    A GPU would have to be waited for to learn how many values a boolean index takes. Elsewhere the index is cheaper
    than the values that it leaves out.
    """
    if values.is_cuda:
        return values.masked_fill(~mask, 0.0).sum()
    return values[mask].sum()
