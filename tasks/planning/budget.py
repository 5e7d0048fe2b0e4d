"""What the user will spend: time, memory, and how much care."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from scansuite.errors import SuiteError

Quality = Literal["quick", "good", "best"]
QUICK_SECONDS = 120.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Timing(NamedTuple):
    """What a trial of some steps has measured on this machine.

    Attributes:
        step: seconds of a step of the optimiser, with its loading.
        sample: seconds of a sample in validation.
        start: seconds until the first step, reading the data included.
    """

    step: float
    sample: float
    start: float


# From settled flags to what a trial measures with them.
Trial: TypeAlias = Callable[[Mapping[str, Any]], Timing]
# From settled flags and batches, largest first, to the first batch that the GPU's memory holds; None: none of them.
Holds: TypeAlias = Callable[[Mapping[str, Any], Sequence[int]], int | None]


@dataclass(frozen=True)
class Budget:
    """What the user will spend.

    Attributes:
        quality: ``quick`` is a first look, ``best`` folds and an ensemble.
        seconds: from the start of the command to its end; None: no limit.
        memory: bytes of the GPU; None: all of it.
        trial: measures this machine; None: nobody does, and steps are counted without a clock.
        holds: tries the memory of this machine's GPU; None: nobody does, and the batch is as it is best.
    """

    quality: Quality = "good"
    seconds: float | None = None
    memory: int | None = None
    trial: Trial | None = None
    holds: Holds | None = None


def seconds_of(text: str, flag: str = "--time") -> float:
    """Seconds of ``30m``, ``90s``, ``2h``, ``1h30m`` or ``1d``.

    Raises:
        SuiteError: it is none of these.
    """
    found = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd])+", text.strip().lower())
    total = sum(
        float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smhd])", text.strip().lower())
    )
    if found is None or not total > 0:
        raise SuiteError(f"{flag} {text}: a time such as 30m, 90s, 2h or 1h30m")
    return total
