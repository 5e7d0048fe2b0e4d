"""Windows of intensities, by name or as centre and width."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from scansuite.errors import SuiteError

# Centre and width in HU, as radiologists use them (Radiopaedia, "Windowing (CT)").
WINDOWS: dict[str, tuple[float, float]] = {
    "brain": (40, 80), "subdural": (80, 200), "stroke": (40, 40), "temporal_bone": (600, 2800), "bone": (400, 1800),
    "lung": (-600, 1500), "mediastinum": (50, 350), "soft": (40, 400), "abdomen": (50, 400), "liver": (30, 150),
    "spine": (50, 250), "angio": (300, 600),
}  # fmt: skip

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PAIR = re.compile(rf"\s*\(?({_NUMBER})\s*[,:/ ]\s*({_NUMBER})\)?\s*")


def parse_windows(value: str | Sequence[Any] | None) -> tuple[tuple[float, float], ...]:
    """Read ``--data.window``: names and centre-width pairs, one or several.

    ``brain``, ``40,400``, ``40:400``, ``brain,subdural,600:2800``, ``["brain", "40:400"]``, ``[40, 400]`` and
    ``[[40, 80], [80, 200]]`` are all understood; ``None`` and an empty list mean no window.

    Returns:
        (centre, width) pairs in stored units (HU for CT).

    Raises:
        SuiteError: a name is unknown, a text is no pair of numbers, or a width is not above 0.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        parts = [value] if _PAIR.fullmatch(value) else [part for part in re.split(r"[,;\s]+", value) if part]
        if not parts:
            raise SuiteError("--data.window is empty: give a name such as brain, or CENTRE:WIDTH")
        return tuple(_one_window(part) for part in parts)
    items = list(value)
    if len(items) == 2 and all(re.fullmatch(_NUMBER, str(item).strip()) for item in items):
        return (_one_window(f"{items[0]}:{items[1]}"),)
    texts = [
        ":".join(map(str, item)) if isinstance(item, Sequence) and not isinstance(item, str) else item for item in items
    ]
    return tuple(_one_window(str(text)) for text in texts)


def _one_window(text: str) -> tuple[float, float]:
    name = text.strip().lower()
    if name in WINDOWS:
        return WINDOWS[name]
    pair = _PAIR.fullmatch(text)
    if pair is None:
        raise SuiteError(
            f"--data.window {text!r} is neither CENTRE:WIDTH nor one of {', '.join(WINDOWS)}: write for example 40:400"
        )
    centre, width = float(pair[1]), float(pair[2])
    if not (math.isfinite(centre) and 0 < width < math.inf):
        raise SuiteError(f"--data.window {text!r}: the width (second number) must be above 0")
    return centre, width
