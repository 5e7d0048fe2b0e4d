"""Checks of maps: each with its numbers and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.explain.explainer import looking
from tasks.explain.maps import BATCH, Map, explain_image, explainers
from tasks.explain.sanity.localise import BoolArray, energy, pointing
from tasks.explain.sanity.perturb import curve, moved
from tasks.explain.sanity.randomise import relative_rise, similarity
from tasks.explain.sanity.verdict import LEAST_FALL, MOST_MOVED, Verdict, verdict_of

if TYPE_CHECKING:
    from tasks.loading import Model

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sanity:
    """What was found of one map.

    Attributes:
        map: that was checked.
        pointing: 1 where its highest place lies in the truth, else 0; a share where several are equally high; None
            without truth.
        energy: share of the map in the truth; None without truth or of an empty map.
        truth_share: the truth's share of the image.
        deletion: area under the deletion curve, a mean of the model's number; None where it was not asked for.
        deletion_random: mean of the same of the map moved elsewhere.
        insertion: area under the insertion curve.
        insertion_random: mean of the same of the map moved elsewhere.
        moved_better: share of the moved maps with an area under the deletion curve as small.
        fall: the model's number less that of a plain image.
        mprt: rank correlation with maps of random networks, the mean over these.
        emprt: relative rise of the map's complexity in random networks, the mean over these.
    """

    map: Map
    pointing: float | None = None
    energy: float | None = None
    truth_share: float | None = None
    deletion: float | None = None
    deletion_random: float | None = None
    insertion: float | None = None
    insertion_random: float | None = None
    moved_better: float | None = None
    fall: float | None = None
    mprt: float | None = None
    emprt: float | None = None

    @property
    def strength(self) -> FloatArray:
        """See :attr:`~tasks.explain.maps.Map.strength`."""
        return self.map.strength

    @property
    def faithful(self) -> bool | None:
        """Whether its places bear on the number more than the same places elsewhere; None where that cannot be told."""
        if self.moved_better is None or self.fall is None or self.fall < LEAST_FALL:
            return None
        return self.moved_better <= MOST_MOVED

    @property
    def verdict(self) -> Verdict:
        """Whether it may be trusted, in words."""
        return verdict_of(self)


def check_maps(
    model: Model,
    images: Tensor,
    maps: Sequence[Map],
    *,
    random: Sequence[Model] = (),
    truth: Sequence[BoolArray | None] | None = None,
    layer: str | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
) -> list[Sanity]:
    """Check the maps of one image or bag.

    Args:
        model: whose maps they are.
        images: as given to :func:`~tasks.explain.maps.explain_image`.
        maps: that it gave.
        random: networks with random weights (:func:`~tasks.explain.sanity.randomise.randomised`), made once for all
            images; none: maps are not compared with theirs.
        truth: for each map (H, W) pixels of what its target is in truth; None where that is not known.
        layer: as given to ``explain_image``.
        seed: of the moved maps.
        batch_size: images at once.

    Returns:
        In the order of the maps.
    """
    known = [None] * len(maps) if truth is None else truth
    compared = _random_maps(random, images, maps, layer, batch_size)
    found = []
    for one, others, mask in zip(maps, compared, known, strict=True):
        strength = one.strength
        rises = [rise for other in others if (rise := relative_rise(strength, other.strength)) is not None]
        curves = _curves(model, images, one, seed, batch_size) if strength.any() else {}
        placed = {}
        if mask is not None and mask.any():
            placed = {"pointing": pointing(strength, mask), "energy": energy(strength, mask)}
        found.append(
            Sanity(
                one,
                **placed,
                truth_share=None if mask is None else float(mask.mean()),
                **curves,
                mprt=float(np.mean([similarity(strength, other.strength) for other in others])) if others else None,
                emprt=float(np.mean(rises)) if rises else None,
            )
        )
    return found


def _random_maps(
    random: Sequence[Model], images: Tensor, maps: Sequence[Map], layer: str | None, batch_size: int
) -> list[list[Map]]:
    """For each map those of the same image, target and method by random networks."""
    targets = list(dict.fromkeys(one.target for one in maps))
    methods = list(dict.fromkeys(one.method for one in maps))
    chosen = list(dict.fromkeys(one.image for one in maps))
    found: list[list[Map]] = [[] for _ in maps]
    for model in random:
        theirs = explain_image(model, images, targets, methods, layer=layer, batch_size=batch_size, chosen=chosen)
        by_key = {(one.image, id(one.target), one.method): one for one in theirs}
        for one, others in zip(maps, found, strict=True):
            others.append(by_key[one.image, id(one.target), one.method])
    return found


def _curves(model: Model, images: Tensor, one: Map, seed: int, batch_size: int) -> dict[str, float]:
    """Areas under the curves of a map, and of the same map moved elsewhere."""
    members = explainers(model, images)
    image = members[0].images[one.image : one.image + 1]
    with looking([member.model for member in members]), torch.no_grad():
        scorers = [member.scorer(one.target) for member in members]

        def score(some: Tensor) -> Tensor:
            scores = [
                scorer.score(member.forward(some, one.image)).double()
                for member, scorer in zip(members, scorers, strict=True)
            ]
            return torch.stack(scores).mean(dim=0)

        elsewhere = moved(one.strength, seed)
        found: dict[str, float] = {}
        for kind in ("deletion", "insertion"):
            own = curve(image, one.strength, score, kind, batch_size=batch_size)
            theirs = [curve(image, other, score, kind, batch_size=batch_size).area for other in elsewhere]
            found |= {kind: own.area, f"{kind}_random": float(np.mean(theirs))}
            if kind == "deletion":
                found["fall"] = float(own.scores[0] - own.scores[-1])
                found["moved_better"] = float(np.mean([area <= own.area for area in theirs]))
    return found
