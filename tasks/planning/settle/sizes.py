"""Sizes of what the network sees: from flags to numbers of pixels, and back."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.planning.draft import Draft


def numbers(value: object) -> list[int]:
    """Sides of ``288``, ``"288,384"`` or ``[288, 384]``; empty where none is given."""
    if value is None or value == "":
        return []
    parts = value if isinstance(value, (list, tuple)) else str(value).strip("[]").split(",")
    return [int(part) for part in parts]


def as_flag(sides: Sequence[int]) -> int | list[int]:
    """(H, W) in pixels as a flag takes it: one number where both are the same."""
    return sides[0] if sides[0] == sides[1] else list(sides)


def multiple_of_32(side: float) -> int:
    """The nearest multiple of 32 px, which is the stride of the deepest level of most networks."""
    return max(32, 32 * round(side / 32))


def seen_size(draft: Draft) -> tuple[float, float]:
    """(H, W) in pixels of what the network sees in training, as far as it is settled."""
    for flag in ("data.patch_size", "data.image_size"):
        sides = numbers(draft.value(flag))
        if sides:
            return float(sides[0]), float(sides[-1])
    data = draft.fingerprint
    height, width = data.height.median, data.width.median
    spacing = draft.value("data.spacing")
    if data.volumes and data.slices is not None:
        depth = data.slices.median
        planes = {"sagittal": (depth, height), "coronal": (depth, width)}
        height, width = planes.get(str(draft.value("data.axis")), (height, width))
        if isinstance(spacing, (int, float)) and len(data.spacing) == 3 and spacing > 0:
            finer = min(data.spacing[:2]) / spacing
            height, width = height * finer, width * finer
    return height, width
