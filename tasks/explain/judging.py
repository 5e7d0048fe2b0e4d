"""Whether maps may be trusted: what the page says first."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.explain.methods import Method
from tasks.explain.page import PageVerdict

_UNCHECKED = (
    "nothing says yet whether these maps depend on what the model has learned, and meet what is true: take them for "
    "pictures, not for evidence."
)


def page_verdicts(methods: Sequence[Method]) -> list[PageVerdict]:
    """What is said of the maps first.

    Args:
        methods: of the maps; none: nothing is said.
    """
    return [PageVerdict("Not checked", _UNCHECKED, "unchecked")] if methods else []
