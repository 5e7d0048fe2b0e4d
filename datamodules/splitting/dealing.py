"""Dealing cases into parts: groups whole, strata even, and whatever the order of the cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_SAME = 1e-9  # what rounding alone may make of two equal sums


def tie_words(names: Iterable[str], seed: int, purpose: str) -> NDArray[np.uint64]:
    """(N,) a number for each case that looks drawn, and depends on its name, the seed and the purpose alone."""
    start = blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    words = []
    for name in names:
        word = start.copy()
        word.update(name.encode("utf-8", "surrogatepass"))
        words.append(int.from_bytes(word.digest(), "little"))
    return np.array(words, dtype=np.uint64)


def stratified_groups(
    strata: NDArray[np.float64], groups: NDArray[np.int64], fractions: Sequence[float], ties: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Deal cases into parts so that groups stay whole and each part has about its share of every stratum.

    Greedy, as scikit-learn's ``StratifiedGroupKFold``, but for strata that overlap and parts of unequal shares: groups
    with many cases of rare strata go first, each to the part where the chi-square sum over parts and strata of
    (count - expected)^2 / expected falls most. In the end no part is further from its share of the cases than the
    largest group. Groups that carry the same are dealt as so many pieces; which of them go where is decided by their
    tie words, in ascending order, part by part.

    The result depends on the set of cases, not on their order; and of groups that carry the same few change their part
    when a case is added.

    Args:
        strata: (N, S) how much of each stratum a case carries, usually 0 or 1.
        groups: (N,) group number of each case.
        fractions: share of each part, above 0; they sum to 1.
        ties: (N,) of :func:`tie_words`; a group has the least of its cases'.

    Returns:
        (N,) number of the part of each case.
    """
    order = np.argsort(ties, kind="stable")
    number = _by_appearance(groups[order])
    carried = np.nan_to_num(strata[order])
    carried = carried[:, sorted(range(carried.shape[1]), key=lambda column: carried[:, column].tobytes())]
    counts = np.zeros((int(number.max()) + 1, carried.shape[1] + 1))
    np.add.at(counts[:, :-1], number, carried)
    counts[:, -1] = np.bincount(number)  # the last stratum is "a case": it balances sizes
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    totals = counts.sum(axis=0)
    missing = np.outer(fractions, totals)
    weights = 1 / np.outer(fractions, np.where(totals > 0, totals, 1))
    heaviness = (kinds**2 * weights[0]).sum(axis=1).round(9)
    members = np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])
    largest = counts[:, -1].max()
    part_of = np.empty(len(counts), dtype=np.int64)
    for one in np.argsort(-heaviness, kind="stable"):
        dealt = np.zeros(len(missing), dtype=np.int64)
        for _ in members[one]:
            fall = ((2 * missing - kinds[one]) * kinds[one] * weights).sum(axis=1)
            fall[~_may_take(missing[:, -1], kinds[one, -1], largest)] = -np.inf
            # Of equal parts the last: a class of one patient then trains by default, where fold 0 validates.
            part = int(np.flatnonzero(fall >= fall.max() - _SAME)[-1])
            dealt[part] += 1
            missing[part] -= kinds[one]
        part_of[members[one]] = np.repeat(np.arange(len(missing)), dealt)
    parts = np.empty(len(number), dtype=np.int64)
    parts[order] = part_of[number]
    return parts


def _may_take(missing: NDArray[np.float64], size: float, largest: float) -> NDArray[np.bool_]:
    """Which parts may take the next group, so that in the end each is within the largest group of its share.

    No part that has its share takes more, so none has too much by a whole group. Parts that lack more than the largest
    group must get some of what is left: what is left beyond that is what the others lack together, and once it would be
    overdrawn only the former may take. Taking themselves they never overdraw it, so the rule can always be kept.

    Args:
        missing: (P,) cases that each part lacks; negative where it has too many.
        size: of the next group.
        largest: of all groups.
    """
    needy = missing > largest + _SAME
    if needy.any() and missing[~needy].sum() - size < -_SAME:
        return needy
    return missing > _SAME


def _by_appearance(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group numbers in the order in which the groups appear."""
    first, number = np.unique(groups, return_index=True, return_inverse=True)[1:]
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[number])
