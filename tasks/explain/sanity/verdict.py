"""In words whether a map may be believed, and why: of one map, and of a method over all that it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scansuite.words import number_of
from tasks.explain.methods import ATTENTION, Method

if TYPE_CHECKING:
    from tasks.explain.sanity.checks import Sanity

SAME = 0.5  # rank correlation with maps of random networks from which a map is called the same
LEAST_FALL = 0.05  # change of the model's number between image and plain image below which curves say nothing
MOST_MOVED = 0.25  # share of moved maps that may do as well

_HALF = 0.5
_EDGES = "the map hardly changes with random weights: it shows edges of the image, not what the network learnt"
_LEARNT = "the map changes with random weights"
_FASTER = "hiding what it marks lowers the score faster than hiding the same shape elsewhere"
_NO_FASTER = "hiding what it marks lowers the score no faster than hiding the same shape elsewhere"
_UNTOLD = "hiding the whole image hardly changes the score, so hiding parts of it proves nothing"
_NO_CLASS = "it shows where the network attends, and is the same for every class"
_INSIDE = "its highest place lies in the annotated truth"
_OUTSIDE = "its highest place lies outside the annotated truth: the model may look elsewhere"
_UNKNOWN = "it is not known whether to trust it"
_OVER_MAPS = "hiding what a map marks lowers the score faster than hiding the same shape elsewhere"


@dataclass(frozen=True)
class Verdict:
    """Whether a map may be trusted.

    Attributes:
        trusted: True, False, or None where nothing could be said.
        text: the answer, then why, in short sentences.
        reasons: every finding behind it, a sentence each without capital and point.
    """

    trusted: bool | None
    text: str
    reasons: tuple[str, ...]


def verdict_of(sanity: Sanity) -> Verdict:
    """Whether one map may be trusted.

    Rules, in this order:

    1. A map of nothing shows nothing.
    2. It must depend on what was learnt: its rank correlation with maps of random networks, the mean over their seeds,
       lies below :data:`SAME` (Adebayo et al. 2018).
    3. It must be faithful: at most :data:`MOST_MOVED` of the same maps moved elsewhere have an area under the deletion
       curve as small (Petsiuk et al. 2018). Where the number hardly differs from that of a plain image, that cannot be
       told.
    4. A map of attention is of no class, whatever else holds.

    That a map misses the truth is no reason against it: the model may look elsewhere, and that is worth knowing.
    """
    name = sanity.map.target.name
    if not sanity.strength.any():
        text = f"the map is empty: by this method nothing in the image raises {name}"
        return Verdict(False, _sentences("do not trust it", text), (text,))
    wrong = [
        *([_EDGES] if sanity.mprt is not None and sanity.mprt >= SAME else []),
        *([_NO_FASTER] if sanity.faithful is False else []),
    ]
    right = [
        *([_LEARNT] if sanity.mprt is not None and sanity.mprt < SAME else []),
        *([_FASTER] if sanity.faithful else []),
    ]
    unknown = [
        *(["it was not compared with maps of random weights"] if sanity.mprt is None else []),
        *([_UNTOLD] if sanity.faithful is None else []),
        *([_NO_CLASS] if sanity.map.method in ATTENTION else []),
    ]
    where = [] if sanity.pointing is None else [_INSIDE if sanity.pointing >= _HALF else _OUTSIDE]
    reasons = (*wrong, *right, *unknown, *where)
    if wrong:
        return Verdict(False, _sentences("do not trust it", *wrong), reasons)
    if unknown:
        return Verdict(None, _sentences(_UNKNOWN, *unknown), reasons)
    return Verdict(True, _sentences("it may be trusted", *right), reasons)


def overall(checked: Sequence[Sanity]) -> dict[Method, Verdict]:
    """Whether a method may be trusted with this model, from all of its maps that were checked.

    The mean correlation over maps is held against :data:`SAME`. A method is faithful where more than half of the maps
    that could be told are, and not where fewer than half are, each with 95 % confidence (Wilson's interval of the
    share); between these it cannot be told.

    Args:
        checked: maps of any methods.

    Returns:
        By method, in the order of their first maps.
    """
    found: dict[Method, Verdict] = {}
    for method in dict.fromkeys(one.map.method for one in checked):
        some = [one for one in checked if one.map.method == method]
        found[method] = _of_method(method, some)
    return found


def _of_method(method: Method, some: Sequence[Sanity]) -> Verdict:
    from tasks.evaluation.intervals.share import wilson

    count = number_of(len(some), "map")
    empty = sum(not one.strength.any() for one in some)
    if empty > len(some) / 2:
        text = f"{empty} of {count} {'is' if len(some) == 1 else 'are'} empty"
        return Verdict(False, _sentences("do not trust it with this model", text), (text,))
    wrong: list[str] = []
    right: list[str] = []
    unknown: list[str] = []
    similar = [one.mprt for one in some if one.mprt is not None]
    if similar:
        mean = float(np.mean(similar))
        text = f"mean rank correlation {mean:.2f} over {number_of(len(similar), 'map')}"
        (wrong if mean >= SAME else right).append(f"{_EDGES if mean >= SAME else _LEARNT} ({text})")
    else:
        unknown.append("no map was compared with maps of random weights")
    told = [one.faithful for one in some if one.faithful is not None]
    if told:
        low, high = wilson(sum(told) / len(told), len(told))
        text = f"{sum(told)} of {number_of(len(told), 'map')}"
        if low > _HALF:
            right.append(f"{_OVER_MAPS} in {text}")
        elif high < _HALF:
            wrong.append(f"{_OVER_MAPS} in only {text}")
        else:
            unknown.append(f"{_OVER_MAPS} in {text}, which may be chance: explain more images")
    else:
        unknown.append(_UNTOLD)
    if method in ATTENTION:
        unknown.append(_NO_CLASS)
    hits = [one.pointing for one in some if one.pointing is not None]
    where = [f"{sum(hits):.0f} of {number_of(len(hits), 'map')} have their highest place in the truth"] if hits else []
    reasons = (*wrong, *right, *unknown, *where)
    if wrong:
        return Verdict(False, _sentences("do not trust it with this model", wrong[0]), reasons)
    if unknown:
        return Verdict(None, _sentences(_UNKNOWN, unknown[0]), reasons)
    return Verdict(True, _sentences("it may be trusted with this model", *right), reasons)


def _sentences(*texts: str) -> str:
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in texts)
