"""Choice of the cases that are shown: best, worst, typical, most uncertain, and the errors at the operating point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.evaluation.gallery.measures import BoolArray, CaseMeasures, FloatArray

Kind: TypeAlias = Literal[
    "worst", "false negative", "false positive", "wrong class", "most uncertain", "typical", "best"
]
# How many of each are chosen, the most telling kind first; a case may be of several.
KINDS: dict[Kind, int] = {
    "worst": 10,
    "false negative": 8,
    "false positive": 8,
    "wrong class": 8,
    "most uncertain": 8,
    "typical": 6,
    "best": 8,
}
MOST_CASES = 48
_PARTED: tuple[Kind, ...] = ("worst", "best", "typical")  # a case is of one of them alone
_LOOKED_AT = 64  # cases for each that is wanted, to find one of another patient


class ChosenCase(NamedTuple):
    """A case that is shown."""

    row: int  # of the table of cases
    kinds: tuple[Kind, ...]


def choose_cases(
    measures: CaseMeasures, patients: NDArray[np.intp], there: BoolArray | None = None
) -> list[ChosenCase]:
    """Choose the cases of a gallery, those first that tell most.

    Of each kind the first is the most extreme case of all; then the true classes take turns, each with its own most
    extreme ones. A patient is not repeated within a kind as long as there are others. Of equal cases the first of the
    table is taken. Best and worst are on their side of the median, and no case is both, or typical too.

    Args:
        measures: of the n cases.
        patients: ``(n,)`` patient number of each.
        there: ``(n,)`` of which cases there are pictures; left out: all.

    Returns:
        At most 48 cases, the kinds in turn: none has to be left out where there is room for a few alone.
    """
    goodness, unsure = measures.goodness, measures.uncertainty
    defined = ~np.isnan(goodness)
    middle = float(np.median(goodness[defined])) if defined.any() else np.nan
    doubtful = unsure >= np.median(unsure[~np.isnan(unsure)]) if (~np.isnan(unsure)).any() else np.zeros_like(defined)
    kinds: dict[Kind, tuple[FloatArray, BoolArray]] = {  # the lower the more telling, and which of them
        "worst": (goodness, goodness <= middle),
        "false negative": (goodness, measures.false_negative),
        "false positive": (goodness, measures.false_positive),
        "wrong class": (goodness, measures.wrong_class),
        "most uncertain": (-unsure, doubtful),
        "best": (-goodness, goodness >= middle),
        "typical": (np.abs(goodness - middle), defined),
    }
    least = max(1, int(defined.sum()) // 3)  # of a few cases none is good and bad alike
    picked: dict[Kind, list[int]] = {}
    for kind, (order, some) in kinds.items():
        free = some & ~np.isnan(order) & (True if there is None else there)
        count = KINDS[kind]
        if kind in _PARTED:
            free[[row for other in _PARTED for row in picked.get(other, ())]] = False
            count = min(count, least)
        picked[kind] = _picks(order, np.flatnonzero(free), measures.group, patients, count)
    found: dict[int, list[Kind]] = {}
    for turn in range(max(KINDS.values())):
        for kind in KINDS:
            rows = picked[kind]
            if turn < len(rows) and (rows[turn] in found or len(found) < MOST_CASES):
                found.setdefault(rows[turn], []).append(kind)
    return [ChosenCase(row, tuple(kind for kind in KINDS if kind in own)) for row, own in found.items()]


def _picks(
    order: FloatArray, candidates: NDArray[np.intp], group: NDArray[np.intp], patients: NDArray[np.intp], count: int
) -> list[int]:
    """Candidates by order, classes in turn, other patients first."""
    ranked = candidates[np.argsort(order[candidates], kind="stable")]
    if not len(ranked):
        return []
    numbers = group[ranked]
    # In the order of their most extreme cases, so that the first of all is the first.
    firsts = np.sort(np.unique(numbers, return_index=True)[1])[:count]
    turns = [ranked[numbers == numbers[first]][: count * _LOOKED_AT] for first in firsts]
    taken: dict[int, None] = {}
    for row in _other_patients(turns, patients, count):
        taken[row] = None
    for row in _in_turn(turns):
        if len(taken) >= count:
            break
        taken[row] = None
    return list(taken)


def _other_patients(turns: list[NDArray[np.intp]], patients: NDArray[np.intp], count: int) -> Iterator[int]:
    """Members in turn, each of a patient of its own."""
    seen: set[int] = set()
    waiting = [iter(members.tolist()) for members in turns]
    while waiting and len(seen) < count:
        for members in list(waiting):
            row = next((row for row in members if int(patients[row]) not in seen), None)
            if row is None:
                waiting.remove(members)
            elif len(seen) < count:
                seen.add(int(patients[row]))
                yield row


def _in_turn(turns: list[NDArray[np.intp]]) -> Iterator[int]:
    for turn in range(max(map(len, turns))):
        for members in turns:
            if turn < len(members):
                yield int(members[turn])
