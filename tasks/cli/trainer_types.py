"""Types of the trainer's flags, as the parser takes them."""

from __future__ import annotations

import inspect
import operator
from functools import reduce
from typing import get_args


def whole_numbers_first(trainer: type) -> None:
    """Let the parser take ``1`` for a whole number where a flag of the trainer takes shares too.

    ``typing`` keeps equal unions as one, in the order of whichever came first in the process: where some library has
    written ``Union[float, int]`` before, one batch (1) would be read as all of them (1.0).

    Args:
        trainer: class whose annotations are put in order.
    """
    kinds = inspect.unwrap(trainer.__init__).__annotations__  # type: ignore[misc]
    for name, kind in kinds.items():
        parts = get_args(kind)
        if {int, float} <= set(parts):
            kinds[name] = reduce(operator.or_, [int, float, *(part for part in parts if part not in (int, float))])
