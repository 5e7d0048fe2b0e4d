"""Checks of maps while cases are explained, and what of them the page says first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tasks.explain.maps import Map
from tasks.explain.methods import ABOUT, Method
from tasks.explain.page import Kind, PageVerdict
from tasks.explain.sanity.checks import Sanity, check_maps
from tasks.explain.sanity.randomise import randomised
from tasks.explain.sanity.verdict import Verdict, overall
from tasks.loading import Model

NETWORKS = 3  # with random weights, that maps are compared with
NUMBERS = (
    *("pointing", "energy", "truth_share", "deletion", "deletion_random", "insertion", "insertion_random"),
    *("moved_better", "fall", "mprt", "emprt"),
)
_UNCHECKED = (
    "Nothing shows yet that these maps depend on what the model learnt. Take them as pictures, not as evidence. "
    "--sanity true checks them."
)
WORDS = {True: "trusted", False: "not trusted", None: "unknown"}  # of ``explain.csv``
SAID = {True: "trusted", False: "not trusted", None: "not known whether to trust it"}  # below a map
_KINDS: dict[bool | None, Kind] = {True: "trusted", False: "distrusted", None: "unknown"}


class Judge:
    """Checks the maps of a model; networks with random weights are made once.

    Args:
        model: whose maps they are.
        layer: whose cells maps have; None: the usual one.
    """

    def __init__(self, model: Model, layer: str | None = None) -> None:
        self.model, self.layer = model, layer
        self.random = [randomised(model, seed) for seed in range(NETWORKS)]
        self.checked: list[Sanity] = []

    def check(self, images: Tensor, maps: Sequence[Map], truth: NDArray[np.bool_] | None) -> list[Sanity]:
        """Check the maps of one target in one image.

        Args:
            images: as they were explained.
            maps: of them.
            truth: (H, W) where the target truly is; None: unknown.
        """
        known = [truth] * len(maps)
        found = check_maps(self.model, images, maps, random=self.random, truth=known, layer=self.layer)
        self.checked += found
        return found


def check_columns(one: Sanity) -> dict[str, Any]:
    """Columns of ``explain.csv`` for a map that was checked."""
    verdict = one.verdict
    numbers = {name: getattr(one, name) for name in NUMBERS}
    return {**numbers, "verdict": WORDS[verdict.trusted], "reason": "; ".join(verdict.reasons)}


def page_verdicts(methods: Sequence[Method], judge: Judge | None) -> list[PageVerdict]:
    """What the page says of the maps first.

    Args:
        methods: of the maps; none: nothing is said.
        judge: that has checked them; None: nobody has.
    """
    if not methods:
        return []
    if judge is None:
        return [PageVerdict("Not checked", _UNCHECKED, _KINDS[None])]
    return [_of_method(method, verdict) for method, verdict in overall(judge.checked).items()]


def _of_method(method: Method, verdict: Verdict) -> PageVerdict:
    return PageVerdict(ABOUT[method].title, verdict.text, _KINDS[verdict.trusted], verdict.reasons)
