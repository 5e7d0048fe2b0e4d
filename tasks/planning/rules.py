"""The rules of planning, in their order. This file is meant to be read; what each does is in ``settle``.

A rule takes the draft, asks it for what is settled, and plans; it returns what else is to be said. No rule names a
data set. A flag that the user gave is never planned: :meth:`~tasks.planning.draft.Draft.plan` sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from tasks.planning.draft import Draft
from tasks.planning.settle import length, network

Rule: TypeAlias = Callable[[Draft], "Iterable[str] | None"]

RULES: dict[str, tuple[Rule, ...]] = {
    "classify": (network.network, length.steps),
    "segment": (network.network, length.steps),
    "detect": (network.network, length.steps),
}
