"""Sizes of what the network sees: from flags to numbers of pixels, and back."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.fingerprint.fingerprint import Fingerprint
from datamodules.settings import numbers as typed_numbers
from tasks.planning.draft import Draft

# Slices without a spacing or a size, as the data class takes them: of one size up to this side as stored, ...
AS_STORED = 256.0  # px
STRETCHED = 224.0  # ... others at this side
UNLIKE = 1.5  # times that large images are larger than small ones, from which sizes are unlike


def numbers(value: object) -> list[int]:
    """Sides of ``288``, ``"288,384"`` or ``[288, 384]``; empty where none is given."""
    if value is None or value == "":
        return []
    parts = value if isinstance(value, (list, tuple)) else str(value).strip("[]").split(",")
    return [int(part) for part in parts]


def as_flag(sides: Sequence[int]) -> int | list[int]:
    """(H, W) in pixels as a flag takes it: one number where both are the same."""
    return sides[0] if sides[0] == sides[1] else list(sides)


def in_pixels(height: float, width: float) -> str:
    """A size in words: ``96 x 128 pixels``."""
    return f"{height:.0f} x {width:.0f} pixels"


def multiple_of_32(side: float) -> int:
    """The nearest multiple of 32 px, which is the stride of the deepest level of most networks."""
    return max(32, 32 * round(side / 32))


def of_one_size(data: Fingerprint) -> bool:
    """Whether all images have the same height and width as stored."""
    return data.height.least == data.height.most and data.width.least == data.width.most


def one_scale(data: Fingerprint) -> str:
    """Why images of unlike sizes are not resized to one; empty: they are alike, or their objects grow with them."""
    objects = data.objects
    small, large = max(data.height.low, data.width.low), max(data.height.high, data.width.high)
    if large < UNLIKE * small or objects is None or objects.share is None:
        return ""
    shares = objects.share.high / max(1e-9, objects.share.low)
    areas = objects.area.high / max(1.0, objects.area.low)
    if areas >= shares:
        return ""
    return (
        f"images of {small:g} to {large:g} px, whose objects differ less in pixels ({areas:.0f}-fold) than as a share "
        f"of their image ({shares:.0f}-fold): one scale for all"
    )


def seen_size(draft: Draft) -> tuple[float, float]:
    """(H, W) in pixels of what the network sees in training, as far as it is settled."""
    for flag in ("data.patch_size", "data.image_size"):
        sides = numbers(draft.value(flag))
        if sides:
            return float(sides[0]), float(sides[-1])
    data = draft.fingerprint
    height, width = data.height.median, data.width.median
    if not data.volumes or data.slices is None:
        return height, width
    depth = data.slices.median
    rows, columns, apart = data.spacing if len(data.spacing) == 3 else (0.0, 0.0, 0.0)
    # Slices were measured as the user has them cut; the plan may cut them otherwise.
    turned = draft.planned["data.axis"].value if "data.axis" in draft.planned else ""
    if turned == "sagittal":
        height, width, rows, columns = depth, height, apart, rows
    elif turned == "coronal":
        height, width, rows = depth, width, apart
    asked = typed_numbers(draft.value("data.spacing"), "--data.spacing")
    if asked and rows > 0 and columns > 0:
        return height * rows / asked[0], width * columns / asked[-1]
    stored = of_one_size(data) and max(height, width) <= AS_STORED
    return (height, width) if stored else (STRETCHED, STRETCHED)
