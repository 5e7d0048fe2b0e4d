"""Sums, lists and means over all ranks.

Ours where Lightning's (``all_gather``, ``sync_ddp``) want a trainer or tensors of one shape, and where torch's
differentiable ``all_reduce`` makes the ranks wait for each other once more on the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def in_a_group() -> bool:
    """Whether this process trains or evaluates with others, or was started to."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def mean_over_ranks(total: Tensor, count: Tensor) -> Tensor:
    """Divide a rank's sum so that averaging gradients over ranks gives the gradient of one process.

    DDP averages gradients. A loss that each rank divides by its own data-dependent count (known labels, positive
    anchors, class weights) weighs ranks, not cases, equally. Here the sum is divided by the ranks' mean count.

    Args:
        total: () sum over this rank's cases, with gradient.
        count: () this rank's count or sum of weights.

    Returns:
        () the loss; 0 where no rank has anything to count.
    """
    count = count.detach().float()
    if torch.is_grad_enabled() and in_a_group():
        count = count.clone()
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return total / count.clamp_min(1e-8)


def sum_over_ranks(own: Tensor) -> Tensor:
    """The sum of a tensor over ranks, so that averaging gradients over ranks gives the gradient of one process.

    DDP averages gradients, where those of the ranks' shares of one sum would have to be added: the share of this rank
    is passed back as many times as there are ranks. Where no gradient is asked for, no rank waits for another, and the
    sum is this rank's own.
    """
    if not (torch.is_grad_enabled() and in_a_group()):
        return own
    total = own.detach().clone()
    torch.distributed.all_reduce(total)
    return total + torch.distributed.get_world_size() * (own - own.detach())


def from_batch_of_all(own: Tensor, sources: Sequence[int]) -> Tensor:
    """Cases of the batch of all ranks together, of which each rank holds every N-th, as samplers deal them out.

    Each rank is sent what it asks for and nothing else: as many cases as it holds. All ranks call this with tensors of
    one shape.

    Args:
        own: (B, ...) cases of this rank; number ``i`` of rank ``r`` of N is number ``r + i * N`` of all.
        sources: (B * N) for each case of all, the number of the one that takes its place.

    Returns:
        (B, ...) what takes the place of this rank's cases.
    """
    ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    sent, places = [], []
    for other in range(ranks):
        asked = [source for source in sources[other::ranks] if source % ranks == rank]
        sent.append([source // ranks for source in asked])
        places.append([place for place, source in enumerate(sources[rank::ranks]) if source % ranks == other])
    outgoing = own[[number for some in sent for number in some]].contiguous()
    arrived = torch.empty_like(outgoing[:1]).expand(len(own), *own.shape[1:]).contiguous()
    torch.distributed.all_to_all_single(arrived, outgoing, list(map(len, places)), list(map(len, sent)))
    taken = torch.empty_like(own)
    taken[[place for some in places for place in some]] = arrived
    return taken


def sum_of_counts(own: int, device: torch.device) -> int:
    """The sum over ranks of a number, on each; it makes a GPU wait."""
    if not in_a_group():
        return own
    total = torch.tensor(own, device=device)
    torch.distributed.all_reduce(total)
    return int(total)


def gather(own: T) -> list[T]:
    """Plain Python objects of all ranks, in order of rank; the same list on every rank."""
    if not in_a_group():
        return [own]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def count_ranks() -> int:
    """How many processes train or evaluate together."""
    return torch.distributed.get_world_size() if in_a_group() else 1


def rank_of() -> int:
    """Number of this process among those that train or evaluate together; 0 where it is alone."""
    return torch.distributed.get_rank() if in_a_group() else 0


def is_rank_zero() -> bool:
    """Whether this is the first (or the only) process."""
    return rank_of() == 0
